"""Which models are probed: one as it was published, the same with random weights, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from codeft.build import OF_WEIGHTS, check_lengths
from codeft.config import instantiate, literal_config
from codeft.export_folder import ABOUT
from codeft.finished_run import reopen, stored_config
from codeft.models.base import AbstractCodeModel
from codeft.models.loading import RANDOM
from codeft.tasks.base import AbstractTask
from codeft.trained import find_trained, locate_trained
from codeft.types import CodeftError

_ACCELERATORS = (None, "auto", "cpu", "gpu", "cuda")


@dataclass(frozen=True, slots=True)
class ProbedModel:
    """A model in memory, its weights loaded.

    Attributes:
        name: As typed; "random" for the one with random weights.
        model: The model.
        config: By which its network is built again.
    """

    name: str
    model: AbstractCodeModel
    config: dict[str, Any]


def open_models(cfg: DictConfig, task: AbstractTask, *, work_dir: Path) -> list[ProbedModel]:
    """Build the models that a verb's `model`, `runs` and `random` name, the random one first.

    Args:
        cfg: The verb's config.
        task: Says what a published model is built to give, and how long texts are.
        work_dir: Where trainers write, should they write.

    Raises:
        CodeftError: None is named, one can't be found or loaded, or is too short for the texts.
    """
    names = split_names(cfg.runs)
    if not cfg.choices.model and not names:
        raise CodeftError("probe needs model=<a model>, runs=[<runs' folders>], or both, and got none")
    device = _device(cfg.trainer.get("accelerator"))
    found = [_published(cfg, task)] if cfg.choices.model else []
    for name, label in zip(names, _labels(names), strict=True):
        found.append(_trained(cfg, name, label=label, work_dir=work_dir))
    if cfg.random and (not cfg.choices.model or found[0].config["weights"] != RANDOM):
        found.insert(0, _with_random_weights(cfg, found[0], task))
    for probed in found:
        probed.model.eval().to(device)
        check_lengths(task, probed.model)
    different = _apart([probed.name for probed in found])
    return [replace(probed, name=name) for probed, name in zip(found, different, strict=True)]


def split_names(runs: object) -> list[str]:
    """Return the names in `runs=[A,B]`; one that holds a comma is known by what lies there.

    Args:
        runs: "[A,B]", a single name, a list, or None.

    >>> split_names("[outputs/a, microsoft/unixcoder-base]"), split_names(None)
    (['outputs/a', 'microsoft/unixcoder-base'], [])
    """
    if runs is None:
        return []
    text = runs.removeprefix("[").removesuffix("]") if isinstance(runs, str) else None
    if isinstance(runs, str) and Path(runs).expanduser().exists():
        return [runs]
    words = text.split(",") if text is not None else [str(name) for name in list(runs)]  # type: ignore[call-overload]
    names: list[str] = []
    while words:
        lengths = [
            n for n in range(1, len(words) + 1) if Path(",".join(words[:n]).strip()).expanduser().exists()
        ]
        taken = lengths[0] if lengths else 1
        names.append(",".join(words[:taken]).strip(" '\""))
        words = words[taken:]
    if "" in names:
        raise CodeftError(f"expected models, runs=[A,B], got an empty name: {runs}")
    return names


def _labels(names: Sequence[str]) -> list[str]:
    """Return short names, the folders' own, where these differ."""
    short = [Path(name).name or name for name in names]
    return short if len(set(short)) == len(short) else list(names)


def _apart(names: Sequence[str]) -> list[str]:
    """Number the names that stood before.

    >>> _apart(["mini", "first", "mini"])
    ['mini', 'first', 'mini (2)']
    """
    count: Counter[str] = Counter()
    found = []
    for name in names:
        count[name] += 1
        found.append(name if count[name] == 1 else f"{name} ({count[name]})")
    return found


def _device(accelerator: object) -> torch.device:
    if accelerator not in _ACCELERATORS:
        raise CodeftError(f"trainer.accelerator must be cpu, gpu or null, not {accelerator!r}")
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise CodeftError(f"trainer.accelerator={accelerator}, but torch finds no such device here")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def _published(cfg: DictConfig, task: AbstractTask) -> ProbedModel:
    plain: Any = OmegaConf.to_container(cfg.model, resolve=True)
    if plain.get("trust_remote_code") is None:  # the verb's own key, where the model has none
        plain.pop("trust_remote_code", None)
    is_random = plain["weights"] == RANDOM and not plain.get("checkpoint")
    name = f"{cfg.choices.model}, random" if is_random else str(cfg.choices.model)
    return ProbedModel(name, _build(cfg, plain, task), plain)


def _trained(cfg: DictConfig, name: str, *, label: str, work_dir: Path) -> ProbedModel:
    asked = literal_config(
        {
            "run": name,
            "choices": {},
            "trust_targets": list(cfg.trust_targets),
            "task": {},
            "data": {},
            "trainer": {"accelerator": cfg.trainer.get("accelerator")},
            "model": {"trust_remote_code": OmegaConf.select(cfg, "model.trust_remote_code") if not
                      cfg.choices.model else None},
        }
    )  # fmt: skip
    try:
        path = locate_trained(asked)
        if (path / "config.json").is_file() and not (path / ABOUT).is_file():
            raise CodeftError(
                f"{name!r} is a model as it was published: name its family, and it by its weights, such as "
                f"model=codebert model.weights={name}"
            )
        folder = find_trained(asked)
        run_cfg = stored_config(folder, asked)
        run = reopen(run_cfg, folder, checkpoint=cfg.checkpoint, work_dir=work_dir)
        run.use()
    except CodeftError as error:
        raise CodeftError(f"runs: {error}") from None
    plain: Any = OmegaConf.to_container(run_cfg.model, resolve=True)
    return ProbedModel(label, run.parts.model, plain)


def _with_random_weights(cfg: DictConfig, like: ProbedModel, task: AbstractTask) -> ProbedModel:
    """Return a network of the same dimensions and tokenizer that has learnt nothing."""
    known = like.config.get("weights") != RANDOM
    plain = {
        **like.config,
        "weights": RANDOM,
        "tokenizer": like.config.get("tokenizer") or (like.config["weights"] if known else None),
        "architecture": dict(like.model.architecture),
    }
    plain.update({key: None for key in OF_WEIGHTS if key in plain})
    return ProbedModel("random", _build(cfg, plain, task), plain)


def _build(cfg: DictConfig, plain: dict[str, Any], task: AbstractTask) -> AbstractCodeModel:
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    model = instantiate(literal_config({"model": plain}).model, output=task.output, num_texts=task.num_texts)
    assert isinstance(model, AbstractCodeModel)
    return model
