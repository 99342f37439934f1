"""A sweep's picture: parameters, times and scores over what varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.analysis.sweeps import Cell, find_baseline, value_order
from codeft.plots import PUBLISHED, new_figure, save_figure, style
from codeft.published import PublishedRun
from codeft.sweep_report import READERS, SweepReport, score_reader

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 3
_MOST_SCORES = 3
"""Panels of scores; the tables have all."""

_LABELS = {"trainable": "trainable parameters, M", "epoch_s": "an epoch", "to_best_s": "to the best epoch"}


def draw_sweep(report: SweepReport, folder: Path, *, name: str) -> None:
    """Draw a panel each for parameters, times and the first scores; a line for each line of the sweep.

    Times are shares of the baseline's where there are published ones, which another machine took.

    Args:
        report: What to draw.
        folder: Where to.
        name: Of the files.
    """
    xs = _positions(report)
    panels = [*READERS, *report.scores[:_MOST_SCORES]]
    figure, axes = new_figure(columns=_COLUMNS, rows=-(-len(panels) // _COLUMNS))
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
    """Return where each value stands: evenly, in order, with the published values of K among them."""
    values = {cell.x for cell in report.cells}
    if report.by == "k":
        values |= {_published_x(run) for run in report.published}
    return {value: i for i, value in enumerate(sorted(values, key=value_order))}


def _published_x(run: PublishedRun) -> str:
    return "base" if run.k is None else str(run.k)


def _draw_panel(axes: Axes, panel: str, report: SweepReport, xs: Mapping[str, int]) -> None:
    is_time = panel in ("epoch_s", "to_best_s")
    relative = is_time and any(_published(run, panel) is not None for run in report.published)
    for i, line in enumerate(dict.fromkeys(cell.line for cell in report.cells)):
        cells = [cell for cell in report.cells if cell.line == line]
        _draw_line(axes, cells, panel, report, xs, relative=relative, number=i)
    if report.by == "k":
        _draw_published(axes, panel, report.published, xs, relative=relative)
    elif panel in report.scores:
        for run in report.published[:1]:
            if panel in run.scores:
                label = f"published, {run.method} ({run.data})"
                axes.axhline(run.scores[panel], label=label, **{**PUBLISHED, "marker": ""})
    unit = "time {}, share of the baseline's" if relative else "time {}, s"
    label = unit.format(_LABELS[panel]) if is_time else _LABELS.get(panel, panel)
    axes.set(xlabel=(report.by or "").rpartition(".")[2], ylabel=label)
    axes.set_xticks(list(xs.values()), [_tick(value) for value in xs])
    axes.set_xlim(-0.5, len(xs) - 0.5)
    if panel in READERS:
        axes.set_ylim(bottom=0)
    else:
        axes.margins(y=0.15)


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
    reader = READERS.get(panel) or score_reader(panel)
    places, means, deviations = [], [], []
    for cell in cells:
        found = cell.spread(reader)
        scale = 1e-6 if panel == "trainable" else 1.0
        if relative:
            base = find_baseline(cell, report.cells, by=report.by, asked=report.baseline) or cell
            whole = base.spread(reader)
            scale = 1 / whole.mean if whole is not None and whole.mean else float("nan")
        if found is None:
            continue
        places.append(xs[cell.x])
        means.append(found.mean * scale)
        deviations.append((found.deviation or 0.0) * scale)
    axes.plot(places, means, label=label, **style(number))
    if any(deviations):
        axes.errorbar(
            places,
            means,
            yerr=deviations,
            fmt="none",
            ecolor=style(number)["color"],
            capsize=2.5,
            linewidth=1,
        )


def _published(run: PublishedRun, panel: str) -> float | None:
    known = {"trainable": run.trainable, "epoch_s": run.epoch_s, "to_best_s": run.to_best_s}
    return known[panel] if panel in known else run.scores.get(panel)


def _draw_published(
    axes: Axes, panel: str, runs: Sequence[PublishedRun], xs: Mapping[str, int], *, relative: bool
) -> None:
    points: list[tuple[int, Any]] = [
        (xs[_published_x(run)], value) for run in runs if (value := _published(run, panel)) is not None
    ]
    if not points:
        return
    scale = 1e-6 if panel == "trainable" else 1.0
    if relative:
        base = next((value for x, value in points if x == xs["base"]), None)
        if base is None:
            return
        scale = 1 / base
    places, values = zip(*sorted(points), strict=True)
    label = f"published ({runs[0].data})"
    axes.plot(places, [value * scale for value in values], label=label, **PUBLISHED)
