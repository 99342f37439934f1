"""Is a sweep's run better than its baseline on these rows? From stored predictions to paired bootstraps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeft.analysis.sweeps import SEED, Cell, common_seeds, find_baseline
from codeft.metrics.bootstrap import Difference, RowStatistics, paired_bootstrap_of_seeds
from codeft.progress import track
from codeft.run_folder import RunFolder
from codeft.split_reads import TEST
from codeft.stored.base import Scored
from codeft.stored.tasks import score_own_predictions
from codeft.types import CodeftError

FOLDER = "folder"
"""Key under which a run's metrics carry where its files lie."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One cell against its baseline.

    Attributes:
        baseline: That.
        differences: By score; empty where they can't be tested.
        reason: Why not.
    """

    baseline: Cell
    differences: Mapping[str, Difference] = field(default_factory=dict)
    reason: str = ""


def compare_cells(
    cells: Sequence[Cell], *, by: str | None, asked: str | None, names: Sequence[str], split: str
) -> dict[int, Comparison]:
    """Test every cell that has a baseline, by its position.

    Args:
        cells: All.
        by: The key on the x axis.
        asked: See `find_baseline`.
        names: The scores to compare.
        split: Whose predictions.
    """
    pairs = [(i, find_baseline(cell, cells, by=by, asked=asked)) for i, cell in enumerate(cells)]
    known: dict[Path, Scored | CodeftError] = {}
    found = {}
    for i, baseline in track(pairs, description="comparing", quiet_below=2):
        if baseline is None:
            continue
        try:
            differences = _compare(baseline, cells[i], names=names, split=split, known=known)
            found[i] = Comparison(baseline, differences)
        except CodeftError as error:
            found[i] = Comparison(baseline, reason=str(error))
    return found


def _compare(
    baseline: Cell,
    cell: Cell,
    *,
    names: Sequence[str],
    split: str,
    known: dict[Path, Scored | CodeftError],
) -> dict[str, Difference]:
    own, other = ({run.get(SEED): run for run in each.runs} for each in (baseline, cell))
    seeds = common_seeds(baseline, cell)
    if not seeds:
        raise CodeftError("no seed is in both")
    scored = [[_score(runs[seed], split, known) for seed in seeds] for runs in (own, other)]
    references = scored[0][0].references
    if any(each.references != references for runs in scored for each in runs):
        raise CodeftError("the runs weren't scored on the same rows")
    found = paired_bootstrap_of_seeds(*([_statistics(each, names) for each in runs] for runs in scored))
    if not found:
        raise CodeftError("no score of these predictions can be resampled")
    return found


def _statistics(scored: Scored, names: Sequence[str]) -> dict[str, RowStatistics]:
    return {
        name: score.statistics
        for name, score in scored.scores.items()
        if name in names and score.statistics is not None
    }


def _score(metrics: Mapping[str, Any], split: str, known: dict[Path, Scored | CodeftError]) -> Scored:
    """Return what a run's stored predictions amount to; each file is read once, and fails once."""
    path = RunFolder(Path(metrics[FOLDER])).predictions_of(split)
    if path not in known:
        try:
            known[path] = score_own_predictions(
                path,
                task=str(metrics.get("task")),
                threshold=metrics.get("threshold") if split == TEST else None,
            )
        except CodeftError as error:
            known[path] = error
    found = known[path]
    if isinstance(found, CodeftError):
        raise found
    return found
