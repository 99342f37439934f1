"""What papers and repositories report for models and tasks that codeft has; `published.json` holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from codeft.cli import conf_dir

_FILE = Path(__file__).with_suffix(".json")
_SAME_MODEL = {"codet5_base": "codet5"}
"""Configs that are another's under its full name."""

_SIZES = ("hidden_size", "num_hidden_layers", "d_model", "num_layers", "n_embd", "n_layer")
"""Width and depth, as architectures name them."""


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """One reported fine-tuning.

    Attributes:
        data: The data set.
        method: codeft's name of it.
        k: Telly's K; None for others.
        scores: On codeft's scales, by codeft's names.
        source: Where it is reported.
        trainable: Parameters that train; None where it isn't said, as with what follows.
        epoch_s: Seconds an epoch, on the authors' machine.
        epochs_to_best: Epochs until the best validation score.
        note: What to know about the numbers; "" for nothing.
    """

    data: str
    method: str
    k: int | None
    scores: Mapping[str, float]
    source: str
    trainable: int | None = None
    epoch_s: float | None = None
    epochs_to_best: int | None = None
    note: str = ""

    @property
    def to_best_s(self) -> float | None:
        """Return the seconds until the best validation score; None where one of both isn't said."""
        if self.epoch_s is None or self.epochs_to_best is None:
            return None
        return self.epoch_s * self.epochs_to_best


@dataclass(frozen=True, slots=True)
class PublishedSimilarity:
    """One reported comparison of a model before and after its fine-tuning.

    Attributes:
        pearson: By layer, the embeddings' output first.
        data: The data set.
        source: Where it is reported.
        note: How it was measured.
    """

    pearson: Sequence[float]
    data: str
    source: str
    note: str


def published_runs(*, task: str | None, model: str | None, lang: str | None) -> list[PublishedRun]:
    """Return what is reported for a model and a task in one language.

    Args:
        task: As typed.
        model: As typed.
        lang: Language or pair; None where a run had several, for which nothing is reported.

    >>> runs = published_runs(task="code_search", model="unixcoder", lang="python")
    >>> len(runs), runs[7].k, runs[7].scores["mrr"]
    (13, 6, 0.727)
    """
    names = set(PublishedRun.__dataclass_fields__)
    return [
        PublishedRun(**{name: value for name, value in row.items() if name in names})
        for row in _read()["runs"]
        if (row["task"], row["model"], row["lang"]) == (task, _SAME_MODEL.get(str(model), model), lang)
    ]


def published_similarity(*, task: str | None, model: str | None) -> PublishedSimilarity | None:
    """Return the reported similarity by layer for a model and a task; None where there is none.

    >>> published_similarity(task="code_search", model="unixcoder").pearson[-1]
    0.371
    """
    for row in _read()["similarity"]:
        if (row["task"], row["model"]) == (task, model):
            return PublishedSimilarity(row["pearson"], row["data"], row["source"], row["note"])
    return None


def is_published_size(model: str, architecture: object) -> bool:
    """Return whether a run's network is as wide and deep as the model that its config is named after.

    Smaller networks of a family are run by the same config with other weights, and what is published of the
    large one doesn't stand beside them.

    Args:
        model: As typed.
        architecture: The run's `model.architecture`; where it isn't known, nothing speaks against it.
    """
    try:
        named = yaml.safe_load((conf_dir() / "model" / f"{model}.yaml").read_text(encoding="utf-8"))
        usual = named["model"]["architecture"]
        return all(architecture.get(key) == usual[key] for key in _SIZES if key in usual)  # type: ignore[attr-defined]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        return True


@cache
def _read() -> dict[str, list[dict[str, Any]]]:
    return json.loads(_FILE.read_text(encoding="utf-8"))
