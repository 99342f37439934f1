"""What `probe` does: read texts with frozen models once, and train probes on all of their layers."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from codeft.allocator import keep_freed_memory
from codeft.analysis.probes import (
    FEWEST_ROWS,
    AbstractProbes,
    ClassProbes,
    MatchProbes,
    ProbeResult,
    ProbeRows,
    Recipe,
    standardised,
    train_probes,
)
from codeft.build import LARGEST_SEED, build_data
from codeft.config import instantiate
from codeft.hidden_states import pooled_and_chosen_states, pooled_states
from codeft.metrics import map_at_r_of_labels
from codeft.probe_report import write_report
from codeft.probe_rows import (
    LEXICAL,
    SEMANTIC,
    SPLITS,
    STRUCTURAL,
    SYNTACTIC,
    Leaves,
    ProbeTexts,
    choose_leaves,
    choose_probes,
    complexity_classes,
    encode,
    problems,
    read_texts,
    traversals,
    type_shares,
    with_language,
)
from codeft.probed_models import ProbedModel, open_models
from codeft.run_folder import check_writable
from codeft.signatures import check_value, check_values
from codeft.summary import commit, versions
from codeft.syntax.complexity import COMPLEXITY_CLASSES
from codeft.syntax.token_types import TOKEN_TYPES
from codeft.tasks.base import AbstractTask
from codeft.types import CodeftError, Encoding

SIGNATURES = {
    LEXICAL: "accuracy|range:0-100|token_types:6|at:last_sub_token|v:1",
    SYNTACTIC: "mrr|range:0-1|protocol:full|candidates:different_trees|traversal:pre_order|v:1",
    SEMANTIC: "map_at_r|range:0-1|ties:pessimistic|v:1",
    STRUCTURAL: "accuracy|range:0-100|classes:1,2,3,4,5,6+|v:1",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Labels:
    """What all models are probed for; what a probe that wasn't chosen needs is None."""

    leaves: Leaves | None
    trees: tuple[list[str], np.ndarray] | None
    problems: np.ndarray | None
    complexity: np.ndarray | None


@dataclass(frozen=True, slots=True)
class _States:
    """One model's hidden states, each float32 [L + 1, …, D]."""

    texts: np.ndarray
    leaves: np.ndarray | None
    trees: np.ndarray | None


def probe_models(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Probe models, all on the same texts.

    Args:
        cfg: The verb's config.
        run_dir: Where `probe.json`, `probe.csv` and pictures go.

    Returns:
        What `probe.json` holds: the models, `rows`, the `recipe`, and for each probe its `signature`,
        `baseline`, and each model's scores by layer and of the mix, with the layers' weights in it.

    Raises:
        CodeftError: A model or the texts can't be read, or there is nothing to probe them for.
    """
    recipe = _check(cfg)
    check_writable(run_dir, advice="set hydra.run.dir=")
    keep_freed_memory()
    task = _task(cfg)
    models = open_models(cfg, task, work_dir=run_dir)
    data = build_data(cfg, task=task, tokenizer=models[0].model.tokenizer)
    texts = with_language(read_texts(data), cfg.lang)
    asked = None if cfg.probes is None else [str(name) for name in cfg.probes]
    chosen = choose_probes(asked, task=task, texts=texts)
    _check_sizes(texts)
    encodings = [_encode(task, texts, probed) for probed in models]
    labels = _labels(chosen, texts, encodings, cfg)
    found: dict[str, dict[str, list[ProbeResult]]] = {}
    for probed, of_model in zip(models, encodings, strict=True):
        number = len(found)
        states = _read(probed, task, of_model, labels, number)
        found[probed.name] = {
            name: _probe(name, states, labels, texts, recipe, device=_device_of(probed)) for name in chosen
        }
    result = {
        "models": [_describe_model(probed) for probed in models],
        "task": cfg.choices.task,
        "data": cfg.choices.data,
        "rows": {**texts.sizes, "left_out": texts.num_left_out},
        "max_source_length": task.max_source_length,
        "recipe": asdict(recipe),
        "probes": {name: _describe_probe(name, found, labels, texts) for name in chosen},
        "command": list(cfg.get("command") or []),
        "versions": versions(),
        "commit": commit(),
    }
    write_report(result, run_dir)
    return result


def _check(cfg: DictConfig) -> Recipe:
    check_value("seed", cfg.seed, kind=int, low=0, high=LARGEST_SEED)
    check_value("leaves", cfg.leaves, kind=int, low=1)
    if not isinstance(cfg.random, bool):
        raise CodeftError(f"random must be true or false, not {cfg.random!r}")
    if cfg.probes is not None and isinstance(cfg.probes, str):
        cfg.probes = [cfg.probes]
    values: Any = OmegaConf.to_container(cfg.recipe, resolve=True)
    check_values(Recipe, values, prefix="recipe.")
    for key, low in (("epochs", 1), ("batch_size", 2), ("hidden", 0), ("width", 1)):
        check_value(f"recipe.{key}", values[key], kind=int, low=low)
    for key in ("lr", "layer_lr", "temperature"):
        if values[key] <= 0:
            raise CodeftError(f"recipe.{key} must be above 0, not {values[key]}")
    return Recipe(**values, seed=cfg.seed)


def _task(cfg: DictConfig) -> AbstractTask:
    """Return the task that reads the rows, with their lines: a parser needs to see where a comment ends."""
    settings = copy.deepcopy(cfg.task)
    if "collapse_whitespace" in settings:
        with open_dict(settings):
            settings.collapse_whitespace = False
    task = instantiate(settings)
    assert isinstance(task, AbstractTask)
    return task


def _check_sizes(texts: ProbeTexts) -> None:
    for split, size in texts.sizes.items():
        if size < FEWEST_ROWS:
            raise CodeftError(
                f"probes need at least {FEWEST_ROWS} different texts in each split, but {split} has {size} "
                "(one that is to be tested, too, isn't counted for training): "
                f"give more rows, or take some of another split's, data.splits.{split}="
            )


def _encode(task: AbstractTask, texts: ProbeTexts, probed: ProbedModel) -> list[Encoding]:
    sources = [(example.source, example.lang) for example in texts.examples]
    found = encode(task, sources, probed.model.tokenizer)
    empty = sum(not (encoding.offsets[:, 1] > encoding.offsets[:, 0]).any() for encoding in found)
    if empty:
        raise CodeftError(
            f"{probed.name}: nothing is left of {empty:,} of {len(found):,} texts once they are cut to "
            f"task.max_source_length={task.max_source_length} sub-tokens: raise it"
        )
    cut = sum(encoding.truncated for encoding in found)
    log.info("%s: %d texts, %d cut to %d sub-tokens", probed.name, len(found), cut, task.max_source_length)
    return found


def _labels(
    chosen: Sequence[str], texts: ProbeTexts, encodings: Sequence[Sequence[Encoding]], cfg: DictConfig
) -> _Labels:
    leaves = None
    if LEXICAL in chosen:
        leaves = choose_leaves(texts, encodings, per_text=cfg.leaves, seed=cfg.seed)
    return _Labels(
        leaves=leaves,
        trees=traversals(texts) if SYNTACTIC in chosen else None,
        problems=problems(texts) if SEMANTIC in chosen else None,
        complexity=complexity_classes(texts) if STRUCTURAL in chosen else None,
    )


def _device_of(probed: ProbedModel) -> torch.device:
    return next(probed.model.parameters()).device


def _read(
    probed: ProbedModel, task: AbstractTask, encodings: Sequence[Encoding], labels: _Labels, number: int
) -> _States:
    """Run a model over the texts once, and over their trees' sequences once."""
    ids = [encoding.input_ids for encoding in encodings]
    leaves = trees = None
    if labels.leaves is None:
        texts = pooled_states(probed.model, ids, description=f"{probed.name}: texts")
    else:
        texts, leaves = pooled_and_chosen_states(
            probed.model, ids, labels.leaves.positions[number], description=f"{probed.name}: texts"
        )
    if labels.trees is not None:
        sequences = encode(task, [(sequence, "") for sequence in labels.trees[0]], probed.model.tokenizer)
        trees = pooled_states(
            probed.model, [e.input_ids for e in sequences], description=f"{probed.name}: trees"
        )
    return _States(texts, leaves, trees)


def _probe(
    name: str,
    states: _States,
    labels: _Labels,
    texts: ProbeTexts,
    recipe: Recipe,
    *,
    device: torch.device,
) -> list[ProbeResult]:
    rows = {split: texts.rows(split) for split in SPLITS}
    own, others = states.texts, None
    if name == LEXICAL:
        assert labels.leaves is not None and states.leaves is not None
        rows = {split: labels.leaves.rows(part) for split, part in rows.items()}
        own, wanted = states.leaves, labels.leaves.types
    elif name == SYNTACTIC:
        assert labels.trees is not None
        others, wanted = states.trees, labels.trees[1]
    else:
        found = labels.problems if name == SEMANTIC else labels.complexity
        assert found is not None
        wanted = found
    num_layers, _, width = own.shape
    layers = [*range(num_layers), None]
    probes: AbstractProbes
    if name in (LEXICAL, STRUCTURAL):
        num_classes = len(TOKEN_TYPES if name == LEXICAL else COMPLEXITY_CLASSES)
        counts = np.bincount(wanted[rows["train"]], minlength=num_classes).tolist()
        probes = ClassProbes(layers, num_layers=num_layers, width=width, counts=counts, recipe=recipe)
    else:
        two_sided = name == SYNTACTIC
        probes = MatchProbes(layers, num_layers=num_layers, width=width, two_sided=two_sided, recipe=recipe)
    first = standardised([own[:, rows[split]] for split in SPLITS], device=device)
    second = [None] * len(SPLITS)
    if others is not None:
        second = standardised([others[:, rows[split]] for split in SPLITS], device=device)  # type: ignore[assignment]
    parts = {
        split: ProbeRows(a, torch.from_numpy(wanted[rows[split]]).to(device), b)
        for split, a, b in zip(SPLITS, first, second, strict=True)
    }
    try:
        return train_probes(probes.to(device), **parts)
    except CodeftError as error:
        raise CodeftError(f"the {name} probe: {error}") from None


def _describe_model(probed: ProbedModel) -> dict[str, Any]:
    return {
        "name": probed.name,
        "weights": probed.config["weights"],
        "layers": len(probed.model.blocks()) + 1,
        "params": probed.model.num_parameters()[0],
    }


def _describe_probe(
    name: str, found: Mapping[str, Mapping[str, list[ProbeResult]]], labels: _Labels, texts: ProbeTexts
) -> dict[str, Any]:
    rows, wanted = {split: texts.rows(split) for split in SPLITS}, labels.complexity
    if name == LEXICAL:
        assert labels.leaves is not None
        rows = {split: labels.leaves.rows(part) for split, part in rows.items()}
        wanted = labels.leaves.types
    elif name == SYNTACTIC:
        assert labels.trees is not None
        wanted = labels.trees[1]
    elif name == SEMANTIC:
        wanted = labels.problems
    assert wanted is not None
    by_split = {split: wanted[part] for split, part in rows.items()}
    described: dict[str, Any] = {
        "signature": SIGNATURES[name],
        "baseline": _baseline(name, by_split),
        "rows": {split: len(part) for split, part in by_split.items()},
    }
    if name == LEXICAL:
        described["shares"] = type_shares(by_split["test"])
    elif name == STRUCTURAL:
        counts = np.bincount(by_split["test"], minlength=len(COMPLEXITY_CLASSES)) / len(by_split["test"])
        described["shares"] = dict(zip(COMPLEXITY_CLASSES, counts.tolist(), strict=True))
    else:
        described["different"] = {split: len(set(part.tolist())) for split, part in by_split.items()}
    described["models"] = {}
    for model, results in found.items():
        *single, mix = [asdict(result) for result in results[name]]
        for layer in single:
            layer.pop("weights")
        mix.pop("layer")
        described["models"][model] = {"mix": mix, "layers": single}
    return described


def _baseline(name: str, labels: Mapping[str, np.ndarray]) -> float:
    """Return the test score of the training rows' most frequent class, or of a ranking by chance."""
    test = labels["test"]
    if name in (LEXICAL, STRUCTURAL):
        return 100 * float((test == np.bincount(labels["train"]).argmax()).mean())
    if name == SYNTACTIC:
        num_candidates = len(set(test.tolist()))
        return float(np.mean(1 / np.arange(1, num_candidates + 1)))
    vectors = torch.randn(len(test), 64, generator=torch.Generator().manual_seed(0))
    return map_at_r_of_labels(torch.nn.functional.normalize(vectors), labels=torch.from_numpy(test))
