"""What `evaluate predictions=…` does: every metric of stored predictions, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from codeft.error_text import nearest
from codeft.metrics.bootstrap import Difference, bootstrap_signature, paired_bootstrap
from codeft.run_floors import compare_with_floors
from codeft.run_folder import RunFolder
from codeft.split_reads import note_read
from codeft.stored.base import AbstractStoredPredictions, Files, Scored
from codeft.stored.tasks import ANY_TEXTS, STORED_TASKS
from codeft.stored.texts import StoredTexts
from codeft.summary import commit, print_floors, print_outputs, scores_table, shown_score, versions
from codeft.tasks.languages import asked_language
from codeft.types import CodeftError

_NO_CONSTANT = (
    "what one text for all rows would score isn't known: it is chosen on training and validation rows, and "
    "stands in a run's own metrics.json"
)


def score_files(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Score stored predictions by every metric of their task; compare two files of them.

    Args:
        cfg: The verb's config: `predictions` (a file, or "[A,B]"), and perhaps `references`, `sources`,
            `lang`, `extra_metrics`, `threshold` and a chosen
            task.
        run_dir: Where `metrics.json` goes.

    Returns:
        What `metrics.json` holds: the files, `rows`, `empty_predictions`, `test` and `signatures` by metric,
        `floors` (the naive copy, one label for all, chance) and what is `below_floor`, versions and commit.
        With two files also the second's scores, `test_b`, and the `bootstrap` of their difference by metric.

    Raises:
        CodeftError: A file can't be read, the files differ in their rows, or the task has no scores of
            stored predictions.
    """
    task = cfg.choices.task
    layouts = _layouts(task)
    for name in cfg.lang.split("-") if cfg.lang else ():
        asked_language(name)  # says which scores there are none of
    predictions = split_paths(cfg.predictions)
    references, sources = (Path(cfg[key]) if cfg[key] else None for key in ("references", "sources"))
    layout = next(layout for layout in layouts if layout.fits(predictions[0]))
    further = extra_metrics(cfg.extra_metrics, layout=layout, task=task)
    threshold = tuned_threshold(cfg.threshold, layout=layout, task=task)
    scored = [
        layout.score(Files(path, references, sources, cfg.lang, further, threshold)) for path in predictions
    ]
    first = scored[0]
    for path, each in zip(predictions, scored, strict=True):
        _note(path, each, command=list(cfg.get("command") or []))
    metrics = {
        "task": task,
        "predictions": str(predictions[0]) if len(predictions) == 1 else [str(path) for path in predictions],
        "references": None if references is None else str(references),
        "sources": None if sources is None else str(sources),
        "lang": cfg.lang,
        "rows": len(first.references),
        "empty_predictions": first.num_empty,
        "test": {name: score.value for name, score in first.scores.items()},
        "signatures": {name: score.signature for name, score in first.scores.items()},
        "versions": versions(),
        "commit": commit(),
    }
    metrics |= compare_with_floors(metrics, {"test": first.floors})
    differences: dict[str, Difference] = {}
    if len(scored) == 2:
        differences = compare_systems(first, scored[1], paths=predictions)
        metrics |= {
            "empty_predictions_b": scored[1].num_empty,
            "test_b": {name: score.value for name, score in scored[1].scores.items()},
            "bootstrap": {name: asdict(difference) for name, difference in differences.items()},
            "bootstrap_signature": bootstrap_signature(),
        }
    RunFolder(run_dir).write_metrics(metrics)
    _print(metrics, differences, run_dir=run_dir, has_texts=isinstance(layout, StoredTexts))
    return metrics


def _note(path: Path, scored: Scored, *, command: Sequence[str]) -> None:
    """Note in a run's ledger that its predictions of a split were scored; of other files there is none."""
    folder = RunFolder(path.absolute().parent)
    for split in ("test", "valid"):
        if path.name == folder.predictions_of(split).name and folder.config.is_file():
            scores = {name: score.value for name, score in scored.scores.items()}
            note_read(folder, split=split, command=command, rows=len(scored.references), scores=scores)


def split_paths(predictions: object) -> list[Path]:
    """Return the one or two files that `predictions=` names; a name may hold any character.

    Args:
        predictions: A path, "[A,B]", or a list.

    Raises:
        CodeftError: There are more than two, or no comma parts the text into two files.

    >>> split_paths("[a.txt, b.txt]")
    [PosixPath('a.txt'), PosixPath('b.txt')]
    """
    if not isinstance(predictions, str):
        paths = [Path(str(path)) for path in predictions] if isinstance(predictions, Sequence) else []
        if len(paths) in (1, 2):
            return paths
        raise CodeftError(f"expected predictions=<file> or predictions=[A,B], got {predictions!r}")
    if not (predictions.startswith("[") and predictions.endswith("]")) or Path(predictions).exists():
        return [Path(predictions)]
    words = predictions[1:-1].split(",")
    ways = [(",".join(words[:i]), ",".join(words[i:])) for i in range(1, len(words))]
    parted = [[Path(path.strip(" '\"")) for path in way] for way in ways]
    there = [paths for paths in parted if all(path.is_file() for path in paths)]
    if there or len(parted) == 1:
        return (there or parted)[0]
    raise CodeftError(f"expected two files in predictions=[A,B], got {predictions}: give one or two")


def extra_metrics(
    asked: str | Sequence[str], *, layout: AbstractStoredPredictions, task: str | None
) -> list[str]:
    """Return the names that `extra_metrics=` holds, one or a list.

    Raises:
        CodeftError: One isn't among those that the layout has.
    """
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in layout.extra_names:
            there = f"there are {', '.join(layout.extra_names)}" if layout.extra_names else "there are none"
            raise CodeftError(f"task={task} has no extra metric {name!r}: {there}")
    return names


def tuned_threshold(
    value: float | None, *, layout: AbstractStoredPredictions, task: str | None
) -> float | None:
    """Return what `threshold=` holds.

    Raises:
        CodeftError: It isn't a number from 0 to 1, or there are no labels to cut.
    """
    if value is None:
        return None
    if not layout.takes_threshold:
        raise CodeftError(f"threshold= goes with labels; task={task} has none in such a file")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise CodeftError(f"expected threshold=<a number from 0 to 1>, got {value!r}")
    return float(value)


def compare_systems(first: Scored, second: Scored, *, paths: Sequence[Path]) -> dict[str, Difference]:
    """Return the paired bootstrap of two files of predictions for the same rows, by metric.

    Raises:
        CodeftError: They weren't compared with the same references.
    """
    pairs = enumerate(zip_longest(first.references, second.references), start=1)
    parting = next((row for row, (own, other) in pairs if own != other), None)
    if parting is not None:
        raise CodeftError(
            f"expected two files of predictions for the same references, but those of {paths[0]} and "
            f"{paths[1]} part at row {parting}"
        )
    by_row = [
        {name: score.statistics for name, score in scored.scores.items() if score.statistics is not None}
        for scored in (first, second)
    ]
    return paired_bootstrap(*by_row)


def _layouts(task: str | None) -> Sequence[AbstractStoredPredictions]:
    if task is None:
        return ANY_TEXTS
    if task not in STORED_TASKS:
        raise CodeftError(
            f"task={task} has no scores of stored predictions{nearest(task, STORED_TASKS)} "
            f"There are: {', '.join(STORED_TASKS)}"
        )
    return STORED_TASKS[task]


def _print(
    metrics: Mapping[str, Any], differences: Mapping[str, Difference], *, run_dir: Path, has_texts: bool
) -> None:
    console = Console()
    console.print(scores_table(metrics, width=console.width))
    print_floors(console, metrics, split="test")
    if has_texts:
        console.print(_NO_CONSTANT)
    if differences:
        console.print(_differences_table(metrics, differences))
        console.print(metrics["bootstrap_signature"])
    console.print(f"rows  {metrics['rows']:,}, {metrics['empty_predictions']:,} predictions empty")
    print_outputs(console, run_dir)


def _differences_table(metrics: Mapping[str, Any], differences: Mapping[str, Difference]) -> Table:
    table = Table(title="the second file against the first", title_justify="left")
    for column in ("score", "first", "second", "difference", "95% interval", "p"):
        table.add_column(column, justify="left" if column == "score" else "right")
    for name, found in differences.items():
        signature = metrics["signatures"][name]
        own, other, difference, low, high = (
            shown_score(value, signature)
            for value in (
                metrics["test"][name], metrics["test_b"][name], found.difference, found.low, found.high
            )
        )  # fmt: skip
        table.add_row(name, own, other, difference, f"{low} to {high}", f"{found.p:.4f}")
    return table
