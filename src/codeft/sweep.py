"""What a sweep says at its end: its jobs side by side."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from codeft.run_floors import floor_of
from codeft.run_folder import write_text
from codeft.summary import print_outputs, run_title, shown_score
from codeft.types import CodeftError

FILE = "comparison.csv"
_FLOOR = "_floor"


@dataclass(slots=True)
class Job:
    """One job of a sweep.

    Attributes:
        overrides: All that was typed for it, as key=value.
        folder: Where its files lie.
        metrics: What it returned; None where it didn't come to its end.
        error: Why it failed; None where it didn't.
    """

    overrides: Sequence[str]
    folder: Path
    metrics: Mapping[str, Any] | None = None
    error: CodeftError | None = None

    @property
    def status(self) -> str:
        """Return done, failed, or stopped."""
        return "done" if self.metrics is not None else "stopped" if self.error is None else "failed"


def report_sweep(jobs: Sequence[Job], folder: Path) -> None:
    """Print a table with a row for each job, the best on validation rows first, and write `comparison.csv`.

    Args:
        jobs: In their order.
        folder: The sweep's.
    """
    rows = compare_jobs(jobs)
    order = by_validation(jobs)
    jobs, rows = [jobs[i] for i in order], [rows[i] for i in order]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / FILE, text.getvalue())
    console = Console()
    console.print(comparison_table(jobs, rows, width=console.width))
    print_outputs(console, folder)


def compare_jobs(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Return a row for each job: what differs from the others, what it came to, and its folder's name."""
    return [
        {
            "job": number,
            **values,
            "status": job.status,
            **_facts(job.metrics or {}),
            "folder": job.folder.name,
        }
        | ({} if job.error is None else {"error": str(job.error)})
        for number, (job, values) in enumerate(zip(jobs, differing_overrides(jobs), strict=True))
    ]


def by_validation(jobs: Sequence[Job]) -> list[int]:
    """Return the jobs' positions, the best validation score first and those without one last.

    The score is the one that picks checkpoints. Where jobs differ in it, they stay in their order.
    """
    kinds = {(name, (job.metrics or {}).get("mode", "max")) for job in jobs if (name := _monitor(job))}
    if len(kinds) != 1:
        return list(range(len(jobs)))
    [(_, mode)] = kinds
    worst = -math.inf if mode == "max" else math.inf

    def key(i: int) -> float:
        value = validation_score(jobs[i])
        return worst if value is None or math.isnan(value) else value

    return sorted(range(len(jobs)), key=key, reverse=mode == "max")


def validation_score(job: Job) -> float | None:
    """Return the score that picked a job's checkpoint; None where the job has none."""
    name = _monitor(job)
    return None if name is None else (job.metrics or {})["best"][name]


def _monitor(job: Job) -> str | None:
    """Return that score's name, as the job's metrics have it."""
    best = (job.metrics or {}).get("best", {})
    return next((name for name in best if name.startswith("val_") and name != "val_rows"), None)


def differing_overrides(jobs: Sequence[Job]) -> list[dict[str, str]]:
    """Return each job's overrides that not all jobs share, by key.

    >>> differing_overrides([Job([f"k={k}", "seed=1"], Path(f"{k}")) for k in (0, 3)])
    [{'k': '0'}, {'k': '3'}]
    """
    typed = []
    for job in jobs:
        pairs = [override.partition("=") for override in job.overrides]
        typed.append({key.lstrip("+"): value for key, _, value in pairs})
    keys = dict.fromkeys(key for values in typed for key in values)
    differing = [key for key in keys if len({values.get(key) for values in typed}) > 1]
    return [{key: values.get(key, "") for key in differing} for values in typed]


def _facts(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what jobs are compared by, as far as a job's metrics have it: validation, then test scores."""
    best, valid = metrics.get("best", {}), metrics.get("valid", {})
    first = next(iter(valid), "")
    floor = floor_of(metrics, first, split="valid")
    facts = {
        "chosen_k": metrics.get("k_choice", {}).get("k"),
        "trainable": metrics.get("params", {}).get("trainable"),
        "epoch_s": metrics.get("time", {}).get("epoch_s"),
        "estimated_epoch_s": metrics.get("dry_run", {}).get("estimated_epoch_s"),
        "best_epoch": best.get("epoch"),
        **{key: value for key, value in best.items() if key.startswith("val_") and key != "val_rows"},
        **({} if floor is None else {f"val_{first}{_FLOOR}": floor}),
        **{f"val_{name}": value for name, value in valid.items()},
        **{f"test_{name}": value for name, value in metrics.get("test", {}).items()},
    }
    return {name: value for name, value in facts.items() if value is not None}


def comparison_table(jobs: Sequence[Job], rows: Sequence[Mapping[str, Any]], *, width: int) -> Table:
    """Return the rows as a table, with as many of the scores as fit.

    Args:
        jobs: The jobs.
        rows: As `compare_jobs` returns them.
        width: Of the console, in characters.
    """
    left_out = {"job", "folder", "error", "best_epoch"}
    if all(job.status == "done" for job in jobs):
        left_out.add("status")
    names = [
        "folder",
        *(name for name in dict.fromkeys(n for row in rows for n in row) if name not in left_out),
    ]
    signed = {name for job in jobs for name in (job.metrics or {}).get("signatures", {})}
    scores = {name for name in names if _plain(name) in signed}
    table, unlimited = _table(jobs, rows, names), Console(width=10_000)
    while unlimited.measure(table).maximum > width and len(scores & set(names)) > 1:
        names.remove([name for name in names if name in scores][-1])
        table = _table(jobs, rows, names)
        table.caption = f"further scores are in {FILE}"
    return table


def _table(jobs: Sequence[Job], rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    metrics = [job.metrics for job in jobs if job.metrics]
    titles = {run_title({key: m.get(key) for key in ("task", "model", "method")}) for m in metrics}
    title = f"{titles.pop() if len(titles) == 1 else 'sweep'}: {len(jobs)} jobs"
    signatures = {name: signature for m in metrics for name, signature in m.get("signatures", {}).items()}
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in names:
        numbers = all(isinstance(row[name], int | float) for row in rows if name in row)
        heading = name.replace("_", "_\n")  # narrow, so that many columns fit
        table.add_column(heading, justify="right" if numbers else "left", overflow="fold")
    for job, row in zip(jobs, rows, strict=True):
        cells = (_shown(name, row.get(name, ""), signatures) for name in names)
        table.add_row(*cells, style=None if job.status == "done" else "red")
    return table


def _shown(name: str, value: object, signatures: Mapping[str, str]) -> str:
    if name == "trainable" and isinstance(value, int):
        return f"{value / 1e6:.2f} M"
    if isinstance(value, float):
        return shown_score(value, signatures.get(_plain(name), ""))
    return str(value)


def _plain(name: str) -> str:
    """Return a score's name without its split.

    >>> _plain("val_exact_match"), _plain("test_exact_match"), _plain("val_mrr_floor"), _plain("epoch_s")
    ('exact_match', 'exact_match', 'mrr', 'epoch_s')
    """
    return name.removeprefix("val_").removeprefix("test_").removesuffix(_FLOOR)
