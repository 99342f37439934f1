"""A sweep's picture: parameters, times and scores over what varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codeft.analysis.sweeps import Cell, value_order
from codeft.plots import FLOOR, PUBLISHED, new_figure, save_figure, style
from codeft.published import PublishedRun
from codeft.split_reads import TEST
from codeft.sweep_report import READERS, SweepReport, floor_reader, score_reader

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AUTO = "auto"

_MOST_SCORES = 3
"""Panels of scores; the tables have all."""

_LABELS = {
    "trainable": "trainable parameters, M",
    "epoch_s": "time an epoch",
    "to_best_s": "time to the best epoch",
}


def draw_sweep(report: SweepReport, folder: Path, *, name: str) -> None:
    """Draw a panel each for parameters, times and the first scores; a line for each line of the sweep.

    Times are multiples of the baseline's where there are published ones, which another machine took. A score
    that is 0 everywhere is left out.

    Args:
        report: What to draw.
        folder: Where to.
        name: Of the files.
    """
    xs = _positions(report)
    scores = [
        name
        for name in report.scores
        if any(score_reader(name, split=report.split)(run) for c in report.cells for run in c.runs)
    ]
    panels = [*READERS, *scores[:_MOST_SCORES]]
    columns = 2 if len(panels) == 4 else 3
    figure, axes = new_figure(columns=columns, rows=-(-len(panels) // columns))
    for each, panel in zip(axes, panels, strict=False):
        _draw_panel(each, panel, report, xs)
    for each in axes[len(panels) :]:
        each.remove()
    labels = [each.get_legend_handles_labels() for each in axes[: len(panels)]]
    handles = {label: handle for pair in labels for handle, label in zip(*pair, strict=True)}
    if len(handles) > 1:
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(report.title)
    save_figure(figure, folder, name)


def _positions(report: SweepReport) -> dict[str, int]:
    """Return where each value stands: evenly, in order, with the published values of K among them.

    Runs that weren't given one stand nowhere: they are a level line.
    """
    values = {cell.x for cell in report.cells if cell.x}
    if report.by == "k":
        values |= {_published_x(run) for run in report.published}
    return {value: i for i, value in enumerate(sorted(values, key=value_order))} or {"": 0}


def _published_x(run: PublishedRun) -> str:
    return "base" if run.k is None else str(run.k)


def _draw_panel(axes: Axes, panel: str, report: SweepReport, xs: Mapping[str, int]) -> None:
    is_time = panel in ("epoch_s", "to_best_s")
    relative = is_time and _has_published_times(report, panel)
    for i, line in enumerate(dict.fromkeys(cell.line for cell in report.cells)):
        cells = [cell for cell in report.cells if cell.line == line]
        _draw_line(axes, cells, panel, report, xs, relative=relative, number=i)
    if report.by == "k" and (relative or not is_time):
        _draw_published(axes, panel, report, xs, relative=relative)
    elif panel in report.scores:
        for run in report.published[:1]:
            if panel in run.scores:
                label = f"published, {run.method}{_of_test(report, panel)} ({run.data})"
                axes.axhline(run.scores[panel], label=label, **{**PUBLISHED, "marker": ""})
    floors = {
        floor.mean for cell in report.cells if (floor := cell.spread(floor_reader(panel, split=report.split)))
    }
    if len(floors) == 1:
        axes.axhline(floors.pop(), label="floor, no model", **FLOOR)
    rows = "validation" if report.split == "valid" else "test"
    label = _LABELS.get(panel, f"{panel}, {rows}")
    unit = (", baseline = 1" if relative else ", s") if is_time else ""
    axes.set_title(f"{label}{unit}", loc="left", size="medium")
    axes.set_xlabel((report.by or "").rpartition(".")[2])
    axes.set_xticks(list(xs.values()), [_tick(value) for value in xs])
    axes.set_xlim(-0.5, len(xs) - 0.5)
    if panel in READERS:
        axes.set_ylim(bottom=0)
    else:
        axes.margins(y=0.15)


def _has_published_times(report: SweepReport, panel: str) -> bool:
    """Return whether published times can stand beside the sweep's: both as multiples of their baseline's."""
    if report.by != "k" or report.baseline not in (None, "base"):
        return False
    lines = {cell.line for cell in report.cells}
    own = all(any(c.line == line and c.x == "base" for c in report.cells) for line in lines)
    return own and any(run.k is None and _published(run, panel) is not None for run in report.published)


def _tick(value: str) -> str:
    return value if len(value) <= 12 else f"{value[:11]}…"


def _draw_line(
    axes: Axes,
    cells: Sequence[Cell],
    panel: str,
    report: SweepReport,
    xs: Mapping[str, int],
    *,
    relative: bool,
    number: int,
) -> None:
    label = " ".join(f"{key}={value}" for key, value in cells[0].line) or "this sweep"
    reader = READERS.get(panel) or score_reader(panel, split=report.split)
    points = []
    for cell in cells:
        found = cell.spread(reader)
        scale = 1e-6 if panel == "trainable" else 1.0
        if relative:
            whole = next(other for other in cells if other.x == "base").spread(reader)
            scale = 1 / whole.mean if whole is not None and whole.mean else float("nan")
        if found is not None and cell.x in xs:
            points.append((xs[cell.x], found.mean * scale, (found.deviation or 0.0) * scale))
        elif found is not None:
            axes.axhline(found.mean * scale, label=label, linewidth=1.2, color=style(number)["color"])
    if not points:
        return
    places, means, deviations = zip(*points, strict=True)
    gaps = [i for i, place in enumerate(places) if place == xs.get(_AUTO)]  # it has no place among numbers
    axes.plot(
        np.insert(places, gaps, places[-1]), np.insert(means, gaps, np.nan), label=label, **style(number)
    )
    if any(deviations):
        line = {"ecolor": style(number)["color"], "capsize": 2.5, "linewidth": 1}
        axes.errorbar(places, means, yerr=deviations, fmt="none", **line)


def _of_test(report: SweepReport, panel: str) -> str:
    """Return what a published score's label says beside validation scores; times have no split."""
    return ", test rows" if panel not in READERS and report.split != TEST else ""


def _published(run: PublishedRun, panel: str) -> float | None:
    known = {"trainable": run.trainable, "epoch_s": run.epoch_s, "to_best_s": run.to_best_s}
    return known[panel] if panel in known else run.scores.get(panel)


def _draw_published(
    axes: Axes, panel: str, report: SweepReport, xs: Mapping[str, int], *, relative: bool
) -> None:
    runs = report.published
    points = [(xs[_published_x(run)], value) for run in runs if (value := _published(run, panel)) is not None]
    if not points:
        return
    places, values = zip(*sorted(points), strict=True)
    scale = 1e-6 if panel == "trainable" else 1.0
    if relative:  # base is there, and comes first
        scale = 1 / values[0]
    label = f"published{_of_test(report, panel)} ({runs[0].data})"
    axes.plot(places, [value * scale for value in values], label=label, **PUBLISHED)
