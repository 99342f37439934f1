"""A sweep as one object: its runs in order, tested, and what is published beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from codeft.analysis.sweeps import Cell, choose_key, make_cells
from codeft.published import PublishedRun, is_published_size, published_runs
from codeft.run_floors import floor_of
from codeft.run_folder import RunFolder
from codeft.split_reads import TEST, count_reads
from codeft.sweep_folder import DONE, SweptJob, read_sweep
from codeft.sweep_tests import FOLDER, Comparison, compare_cells
from codeft.types import CodeftError


@dataclass(frozen=True, slots=True)
class SweepReport:
    """All that a sweep's tables and pictures show.

    Attributes:
        title: Task and model.
        by: The key on the x axis; None where nothing but the seed varies.
        cells: The finished runs, line by line.
        comparisons: Of cells with their baselines, by position.
        split: What the scores and comparisons are of: "valid"; "test" of a sweep from before runs kept
            their validation scores.
        scores: The names shown, the one that picks checkpoints first.
        test_scores: The names shown of test scores, beside those of validation, where a test was read.
        test_reads: Of each run's folder, how often its test split was read.
        signatures: Of the scores.
        published: What is reported for the same model and task.
        others: Jobs that aren't finished.
        baseline: The value of `by` that others are compared with, where the user typed one.
        untested: Why no run is compared with another, where that was to be; else empty.
    """

    title: str
    by: str | None
    cells: Sequence[Cell]
    comparisons: Mapping[int, Comparison]
    split: str
    scores: Sequence[str]
    test_scores: Sequence[str]
    test_reads: Mapping[str, int]
    signatures: Mapping[str, str]
    published: Sequence[PublishedRun]
    others: Sequence[SweptJob]
    baseline: str | None = None
    untested: str = ""


def gather(cfg: DictConfig) -> SweepReport:
    """Read a sweep, order it, and test it.

    Args:
        cfg: See `report_on`.

    Raises:
        CodeftError: See `report_on`.
    """
    jobs = read_sweep(Path(str(cfg.run)).expanduser())
    done = [job for job in jobs if job.status == DONE]
    if not done:
        told = "; ".join(dict.fromkeys(f"{job.status}: {job.error}".rstrip(": ") for job in jobs))
        raise CodeftError(f"no job of {str(cfg.run)!r} is finished: {told}")
    typed = list(dict.fromkeys(key for job in jobs for key in _typed(job)))
    by = choose_key(list(done[0].values), asked=_text(cfg.by), typed=typed)
    pairs = []
    for job in done:
        values = dict(job.values)
        if by is not None and by not in values:  # the same in all jobs, and asked for
            values[by] = next(
                w.partition("=")[2] for w in job.overrides if w.lstrip("+").startswith(f"{by}=")
            )
        pairs.append((values, {**job.metrics, FOLDER: str(job.folder)}))
    cells = make_cells(pairs, by=by)
    asked = _text(cfg.baseline)
    _check_baseline(cells, by=by, asked=asked)
    first = done[0].metrics
    signatures = {name: s for job in done for name, s in job.metrics.get("signatures", {}).items()}
    runs = [job.metrics for job in done]
    split = "valid" if any(run.get("valid") for run in runs) else TEST
    scores = choose_scores(runs, asked=cfg.scores, split=split)
    tested = list(dict.fromkeys(name for run in runs for name in run.get(TEST, {})))
    comparisons = compare_cells(cells, by=by, asked=asked, names=scores, split=split) if cfg.bootstrap else {}
    alike = {(m.get("task"), m.get("model"), m.get("lang")) for _, m in pairs}
    published = []
    if len(alike) == 1 and is_published_size(str(first.get("model")), _architecture(done[0])):
        [(task, model, lang)] = alike
        published = published_runs(task=task, model=model, lang=lang)
        published = [run for run in published if by == "k" or run.method == "full"]
    shown = {name: {str(job.metrics.get(name)) for job in done} for name in ("task", "model", "lang")}
    parts = [values.pop() for values in shown.values() if len(values) == 1 and values != {"None"}]
    title = " ".join([*parts, f"by {by}" if by else f"({first.get('method')})"])
    others = [job for job in jobs if job.status != DONE]
    return SweepReport(
        title=title,
        by=by,
        cells=cells,
        comparisons=comparisons,
        split=split,
        scores=scores,
        test_scores=[name for name in scores if name in tested] if split != TEST else [],
        test_reads={
            str(job.folder): count_reads(RunFolder(job.folder), split=TEST, metrics=job.metrics)
            for job in done
        },
        signatures=signatures,
        published=published,
        others=others,
        baseline=asked,
        untested=_why_untested(cells, by=by) if cfg.bootstrap and not comparisons else "",
    )


def _check_baseline(cells: Sequence[Cell], *, by: str | None, asked: str | None) -> None:
    values = list(dict.fromkeys(str(cell.x) for cell in cells))
    if asked is not None and by is not None and asked not in values:
        raise CodeftError(
            f"no finished run has {by}={asked}, which baseline= names; there are: {', '.join(values)}"
        )


def _why_untested(cells: Sequence[Cell], *, by: str | None) -> str:
    """Say which baseline isn't there; nothing where none is usual, or there is but one run."""
    usual = {"k": "base", "alpha": "0", "method": "full"}.get(by or "")
    if usual is None or len(cells) < 2:
        return ""
    return f"no differences: no run has {by}={usual} to compare with; baseline= names another value"


def _architecture(job: SweptJob) -> object:
    """Return a job's `model.architecture`; None where its config can't be read."""
    try:
        return yaml.safe_load(RunFolder(job.folder).config.read_text(encoding="utf-8"))["model"][
            "architecture"
        ]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError):
        return None


def _typed(job: SweptJob) -> dict[str, str]:
    pairs = [word.lstrip("+").partition("=") for word in job.overrides]
    return {key: value for key, _, value in pairs}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def choose_scores(runs: Sequence[Mapping[str, Any]], *, asked: Any, split: str) -> list[str]:
    """Return the scores to show: what was asked for, or all, the one that picks checkpoints first.

    Raises:
        CodeftError: No run has a score that was asked for.
    """
    there = list(dict.fromkeys(name for run in runs for name in run.get(split, {})))
    if asked is not None:
        names = [asked] if isinstance(asked, str) else [str(name) for name in asked]
        missing = [name for name in names if name not in there]
        if missing or not names:
            raise CodeftError(f"no run has the score {', '.join(missing)!r}; there are: {', '.join(there)}")
        return names
    monitors = [key.removeprefix("val_") for run in runs for key in run.get("best", {}) if key != "val_rows"]
    return sorted(there, key=lambda name: name not in monitors)


def trainable(run: Mapping[str, Any]) -> float | None:
    """Return how many parameters a run trained."""
    return run.get("params", {}).get("trainable")


def epoch_seconds(run: Mapping[str, Any]) -> float | None:
    """Return a run's seconds an epoch, validation left out."""
    return run.get("time", {}).get("epoch_s")


def seconds_to_best(run: Mapping[str, Any]) -> float | None:
    """Return the seconds that a run trained until its best validation score, validations left out.

    Where frozen layers were computed beforehand, or K was chosen, that time counts, too.
    """
    seconds, epoch = epoch_seconds(run), run.get("best", {}).get("epoch")
    if seconds is None or epoch is None:
        return None
    beforehand = (run["time"].get("cache_s"), run.get("k_choice", {}).get("seconds"))
    return seconds * epoch + sum(spent or 0.0 for spent in beforehand)


def score_reader(name: str, *, split: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Return what reads a score of a run; None where the run hasn't it.

    Of validation, a run from before they were kept has the score that picked its checkpoint.
    """

    def read(run: Mapping[str, Any]) -> float | None:
        if split in run or split == TEST:
            return run.get(split, {}).get(name)
        return run.get("best", {}).get(f"val_{name}")

    return read


def floor_reader(name: str, *, split: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Return what reads the highest floor of a run's score; None where none is known."""
    return lambda run: floor_of(run, name, split=split)


READERS = {"trainable": trainable, "epoch_s": epoch_seconds, "to_best_s": seconds_to_best}
