"""A sweep's tables: for the eye, as CSV, and as plain values."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from codeft.analysis.sweeps import SEED, Cell, Spread, common_seeds
from codeft.grids import Grid
from codeft.metrics.bootstrap import bootstrap_signature
from codeft.run_floors import DESCRIPTIONS, highest_floor
from codeft.split_reads import TEST, times_read
from codeft.summary import commit, shown_score, versions
from codeft.sweep_folder import SweptJob
from codeft.sweep_report import (
    READERS,
    SweepReport,
    epoch_seconds,
    floor_reader,
    score_reader,
    seconds_to_best,
    trainable,
)
from codeft.sweep_tests import FOLDER

RESOURCES = {"trainable": "trainable, M", "epoch_s": "epoch, s", "to_best_s": "to best, s"}


def make_grids(report: SweepReport, *, tested: int | None = None) -> list[Grid]:
    """Return the tables: the runs, what is published, the differences, and the jobs that aren't finished.

    Args:
        report: What they say.
        tested: Of how many scores the differences are shown; None for all.
    """
    signatures, keys = report.signatures, [key for key, _ in report.cells[0].line]
    lead = [*keys, *([report.by] if report.by else [])]
    first, *further = report.scores
    floors = [cell.spread(floor_reader(first, split=report.split)) for cell in report.cells]
    has_floors = any(floor is not None for floor in floors)
    of_test = [f"test_{name}" for name in report.test_scores]
    beside = ["floor"] if has_floors else []
    columns = [*lead, "runs", *RESOURCES.values(), first, *beside, *further, *of_test]
    rows = [
        [
            *_lead(cell, report.by),
            str(len(cell.runs)),
            _shown(cell.spread(trainable), "{:.2f}", scale=1e-6),
            _shown_seconds(cell.spread(epoch_seconds)),
            _shown_seconds(cell.spread(seconds_to_best)),
            _shown_score(cell.spread(score_reader(first, split=report.split)), signatures.get(first, "")),
            *([_shown_score(floor, signatures.get(first, ""))] if has_floors else []),
            *(
                _shown_score(cell.spread(score_reader(name, split=split)), signatures.get(name, ""))
                for split, names in ((report.split, further), (TEST, report.test_scores))
                for name in names
            ),
        ]
        for cell, floor in zip(report.cells, floors, strict=True)
    ]
    several = any(len(cell.runs) > 1 for cell in report.cells)
    notes = [_of_rows(report)]
    notes += ["mean ± standard deviation over runs that differ in their seeds"] if several else []
    notes += [
        f"{' '.join(_lead(cell, report.by)) or 'auto'}: K is {', '.join(map(str, chosen))}"
        for cell in report.cells
        if (chosen := [run["k_choice"].get("k") for run in cell.runs if "k_choice" in run])
    ]
    notes += _floor_notes(report, first, floors)
    notes += [report.untested] if report.untested else []
    grids = [Grid(report.title, columns, rows, num_left=len(lead), notes=notes)]
    if report.published:
        grids.append(_published_grid(report))
    if report.comparisons:
        grids.append(_differences_grid(report, lead, names=report.scores[:tested]))
    if report.others:
        rows = [[_values(job), job.status, job.error] for job in report.others]
        grids.append(Grid("jobs that aren't finished", ["job", "status", "error"], rows, num_left=3))
    return grids


def _floor_notes(report: SweepReport, name: str, floors: Sequence[Spread | None]) -> list[str]:
    """Return what a score's floors are, and which cells are no better."""
    runs = [run for cell in report.cells for run in cell.runs]
    highest = [(run, highest_floor(run.get("floors", {}).get(report.split, {}), name)) for run in runs]
    said = [
        repr(run["constants"][floor[0]])
        if floor[0] in run.get("constants", {})
        else DESCRIPTIONS.get(floor[0], floor[0])
        for run, floor in highest
        if floor is not None
    ]
    notes = [f"floor of {name}, without a model: {'; '.join(dict.fromkeys(said))}"] if said else []
    means = [
        (cell, cell.spread(score_reader(name, split=report.split)), floor)
        for cell, floor in zip(report.cells, floors, strict=True)
    ]
    below = [
        " ".join([*(v for _, v in cell.line if v), *([f"{report.by}={cell.x}"] if report.by else [])])
        or "the run"
        for cell, own, floor in means
        if own is not None and floor is not None and own.mean <= floor.mean
    ]
    return notes + ([f"no better than the floor: {', '.join(below)}"] if below else [])


def _of_rows(report: SweepReport) -> str:
    """Say which rows the scores are of, and how often the runs' test split was read."""
    rows = "validation" if report.split == "valid" else "test"
    reads = list(report.test_reads.values())
    total = times_read(sum(reads))
    often = f"{total} by {sum(map(bool, reads))} of {len(reads)} runs" if any(reads) else total
    return f"scores of {rows} rows; {often}"


def _values(job: SweptJob) -> str:
    return " ".join(f"{key}={value}" for key, value in job.values.items() if value) or job.folder.name


def _lead(cell: Cell, by: str | None) -> list[str]:
    return [*(value for _, value in cell.line), *([cell.x] if by else [])]


def _shown(value: Spread | None, form: str, *, scale: float = 1.0) -> str:
    if value is None:
        return ""
    mean = form.format(value.mean * scale)
    return mean if not value.deviation else f"{mean} ± {form.format(value.deviation * scale)}"


def _shown_seconds(value: Spread | None) -> str:
    return _shown(value, "{:.0f}" if value is not None and value.mean >= 100 else "{:.1f}")


def _shown_score(value: Spread | None, signature: str) -> str:
    if value is None:
        return ""
    mean = shown_score(value.mean, signature)
    return mean if value.deviation is None else f"{mean} ± {shown_score(value.deviation, signature)}"


def _published_grid(report: SweepReport) -> Grid:
    names = [name for name in report.scores if any(name in run.scores for run in report.published)]
    rows = [
        [
            run.method if run.k is None else f"{run.method} k={run.k}",
            run.data,
            "" if run.trainable is None else f"{run.trainable / 1e6:.2f}",
            "" if run.epoch_s is None else f"{run.epoch_s:.0f}",
            ""
            if run.epoch_s is None or not run.epochs_to_best
            else f"{run.epoch_s * run.epochs_to_best:.0f}",
            *(f"{run.scores[name]:g}" if name in run.scores else "" for name in names),
        ]
        for run in report.published
    ]
    notes = ["scores of test rows"] if report.split != TEST else []
    notes += list(dict.fromkeys(run.source for run in report.published))
    notes += list(dict.fromkeys(run.note for run in report.published if run.note))
    return Grid("published", ["method", "data", *RESOURCES.values(), *names], rows, num_left=2, notes=notes)


def _only_seeds(cell: Cell, baseline: Cell) -> str:
    """Return which seeds two cells are compared by, in words; nothing where these are all."""
    own, other = ({run.get(SEED) for run in each.runs} for each in (cell, baseline))
    return "" if own == other else f"seed {', '.join(map(str, common_seeds(cell, baseline)))}"


def _differences_grid(report: SweepReport, lead: Sequence[str], *, names: Sequence[str]) -> Grid:
    alone = names[0] if len(names) == 1 else None
    rows, reasons = [], []
    for i, comparison in report.comparisons.items():
        own = _lead(report.cells[i], report.by)
        told = " ".join(filter(None, _lead(comparison.baseline, report.by)))
        if comparison.reason:
            reasons.append(f"{' '.join(filter(None, own))} wasn't tested against {told}: {comparison.reason}")
        elif seeds := _only_seeds(report.cells[i], comparison.baseline):
            reasons.append(f"{' '.join(filter(None, own))} against {told}: only of {seeds}, which both have")
        for name in names:
            if name not in comparison.differences:
                continue
            found, signature = comparison.differences[name], report.signatures.get(name, "")
            change, low, high = (
                shown_score(value, signature) for value in (found.difference, found.low, found.high)
            )
            score = [] if alone else [name]
            rows.append([*own, told, *score, change, f"{low} to {high}", f"{found.p:.4f}"])
    columns = [*lead, "against", *([] if alone else ["score"]), "difference", "95% interval", "p"]
    notes = [bootstrap_signature(of_seeds=True), *reasons] if rows else reasons
    title = f"differences in {alone}" if alone else "differences"
    return Grid(title, columns, rows, num_left=len(columns) - 3, notes=notes)


def as_csv(report: SweepReport) -> str:
    """Return a row for each cell and each published run, numbers in full."""
    rows: list[dict[str, Any]] = []
    for i, cell in enumerate(report.cells):
        row: dict[str, Any] = {"origin": "sweep", "split": report.split, **dict(cell.line), "x": cell.x}
        row["runs"] = len(cell.runs)
        readers = {
            **READERS,
            **{name: score_reader(name, split=report.split) for name in report.scores},
            **{f"test_{name}": score_reader(name, split=TEST) for name in report.test_scores},
        }
        floors = {name: cell.spread(floor_reader(name, split=report.split)) for name in report.scores}
        for name, reader in readers.items():
            found = cell.spread(reader)
            row |= {} if found is None else {name: found.mean, f"{name}_sd": found.deviation}
            comparison = report.comparisons.get(i)
            if comparison is not None and name in comparison.differences:
                tested = asdict(comparison.differences[name])
                row |= {f"{name}_{key}": value for key, value in tested.items()}
        row |= {f"{name}_floor": floor.mean for name, floor in floors.items() if floor is not None}
        rows.append(row)
    for run in report.published:
        k = {"x": "base" if run.k is None else run.k} if report.by == "k" else {}
        times = {"trainable": run.trainable, "epoch_s": run.epoch_s, "to_best_s": run.to_best_s}
        own = {name: value for name, value in run.scores.items() if name in report.scores}
        rows.append({"origin": f"{run.source} ({run.data})", "split": TEST, **k, **times, **own})
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writerow({name: report.by if name == "x" and report.by else name for name in names})
    writer.writerows(rows)
    return text.getvalue()


def describe(report: SweepReport) -> dict[str, Any]:
    """Return what `report.json` holds, but for how it was made."""
    cells = []
    for i, cell in enumerate(report.cells):
        found = {name: cell.spread(reader) for name, reader in READERS.items()}
        scores = {name: cell.spread(score_reader(name, split=report.split)) for name in report.scores}
        tested = {name: cell.spread(score_reader(name, split=TEST)) for name in report.test_scores}
        floors = {name: cell.spread(floor_reader(name, split=report.split)) for name in report.scores}
        comparison = report.comparisons.get(i)
        cells.append(
            {
                "x": cell.x,
                "line": dict(cell.line),
                "folders": [run[FOLDER] for run in cell.runs],
                **{name: None if value is None else asdict(value) for name, value in found.items()},
                "scores": {name: None if value is None else asdict(value) for name, value in scores.items()},
                "floors": {name: None if value is None else value.mean for name, value in floors.items()},
                "test_scores": {
                    name: None if value is None else asdict(value) for name, value in tested.items()
                },
                "baseline": None if comparison is None else comparison.baseline.x,
                "differences": {}
                if comparison is None
                else {name: asdict(d) for name, d in comparison.differences.items()},
                "not_tested": comparison.reason if comparison is not None else "",
            }
        )
    return {
        "title": report.title,
        "by": report.by,
        "split": report.split,
        "test_reads": dict(report.test_reads),
        "cells": cells,
        "signatures": {name: report.signatures.get(name) for name in report.scores},
        "bootstrap_signature": bootstrap_signature(of_seeds=True) if report.comparisons else None,
        "published": [asdict(run) for run in report.published],
        "jobs": [
            {"job": _values(job), "folder": str(job.folder), "status": job.status, "error": job.error}
            for job in report.others
        ],
        "versions": versions(),
        "commit": commit(),
    }
