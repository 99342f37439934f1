"""What `report` does: a sweep's jobs as tables, numbers and pictures, beside what is published."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from codeft.grids import as_latex, as_markdown, as_rich
from codeft.run_folder import check_writable, write_text
from codeft.summary import print_outputs
from codeft.sweep_plots import draw_sweep
from codeft.sweep_report import SweepReport, gather
from codeft.sweep_tables import as_csv, describe, make_grids
from codeft.types import CodeftError

NAME = "report"


def report_on(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Write a sweep's tables and pictures, and print the tables.

    Args:
        cfg: The verb's config: `run`, `by`, `baseline`, `scores`, `bootstrap`.
        run_dir: Where `report.md`, `.csv`, `.tex`, `.json`, `.png` and `.svg` go.

    Returns:
        What `report.json` holds: `cells` with their values, `published`, and the `jobs` that aren't finished.

    Raises:
        CodeftError: The folder is no sweep's, nothing of it is finished, or a key isn't its.
    """
    if not cfg.run:
        raise CodeftError("report needs run=<a sweep's folder>")
    if not isinstance(cfg.bootstrap, bool):
        raise CodeftError(f"bootstrap must be true or false, not {cfg.bootstrap!r}")
    check_writable(run_dir, advice="set hydra.run.dir=")
    report = gather(cfg)
    grids = make_grids(report)
    texts = [as_markdown(grid, heading="##" if i else "#") for i, grid in enumerate(grids)]
    write_text(run_dir / f"{NAME}.md", "\n".join(texts))
    write_text(run_dir / f"{NAME}.tex", "\n".join(map(as_latex, grids)))
    write_text(run_dir / f"{NAME}.csv", as_csv(report))
    result = describe(report) | {"run": str(cfg.run), "command": list(cfg.command)}
    write_text(run_dir / f"{NAME}.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    draw_sweep(report, run_dir, name=NAME)
    console = Console()
    for grid in make_grids(fitted(report, width=console.width), tested=1):
        console.print(as_rich(grid), "")
    print_outputs(console, run_dir)
    return result


def fitted(report: SweepReport, *, width: int) -> SweepReport:
    """Return a report with as many of its scores as fit on the terminal; the files have all.

    Args:
        report: With all of them.
        width: Of the console, in characters.
    """
    unlimited, scores = Console(width=10_000), list(report.scores)
    tested = list(report.test_scores)
    while len(scores) > 1 and unlimited.measure(as_rich(make_grids(report)[0])).maximum > width:
        scores.pop()
        tested = [name for name in tested if name in scores]
        report = replace(report, scores=scores, test_scores=tested)
    return report
