"""Draws, for several sweeps over K, the score by K above, and below what tells it beforehand.

Usage: python recipes/figures/telly_study.py OUT.png TITLE SWEEP SIMILARITY.json K_CHOICE.json,… TITLE SWEEP …
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from codeft.plots import COLORS, new_figure, style
from codeft.sweep_folder import read_sweep

PLACES = ["base", *map(str, range(13))]


def main() -> None:
    """Draw the picture that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("studies", nargs="+", help="for each: its title, its sweep's folder, and two files")
    arguments = parser.parse_args()
    studies = [arguments.studies[i : i + 4] for i in range(0, len(arguments.studies), 4)]
    figure, axes = new_figure(columns=len(studies), rows=2)
    for i, (title, sweep, similarity, choices) in enumerate(studies):
        chosen = [read(Path(choice)) for choice in choices.split(",")]
        draw_scores(axes[i], Path(sweep), chosen)
        axes[i].set_title(title)
        draw_evidence(axes[len(studies) + i], chosen, read(Path(similarity)))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=130)


def read(path: Path) -> Any:
    """Return what a file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def draw_scores(axes: Axes, sweep: Path, chosen: list[Any]) -> None:
    """Draw every run's test score, the means of each K, and the K that was chosen."""
    runs = [job.metrics for job in read_sweep(sweep) if job.metrics]
    score = next(name[4:] for name in runs[0]["best"] if name.startswith("val_") and name != "val_rows")
    values: dict[int, list[float]] = {}
    for run in runs:
        values.setdefault(PLACES.index(str(run["k"])), []).append(run["test"][score])
    for place, found in values.items():
        axes.plot([place] * len(found), found, ".", color="#999999", markersize=5)
    places = sorted(values)
    axes.plot(places, [statistics.fmean(values[place]) for place in places], **style(0), label="mean")
    mark(axes, chosen)
    axes.set(ylabel=f"{score}, test")
    name_places(axes)
    axes.legend(frameon=False, fontsize="small")


def draw_evidence(axes: Axes, chosen: list[Any], similarity: Any) -> None:
    """Draw the share of the gain that stays with K layers put back, and how alike a layer stayed."""
    for i, choice in enumerate(chosen):
        places = [PLACES.index(str(k)) for k in range(len(choice["kept"]))]
        label = "gain that stays with the lowest K layers put back" if i == 0 else None
        axes.plot(places, choice["kept"], **style(1), label=label)
    layers = [row["layer"] + 1 for row in similarity["layers"]]
    pearson = [row["pearson"] for row in similarity["layers"]]
    axes.plot(layers, pearson, **style(2), label="r of layer K, before and after the whole training")
    axes.axhline(1 - chosen[0]["tolerance"], color="#555555", linestyle="--", linewidth=1)
    mark(axes, chosen)
    axes.set(xlabel="K", ylabel="share, correlation", ylim=(0.5, 1.1))
    name_places(axes)
    axes.legend(frameon=False, fontsize="x-small", loc="lower left")


def mark(axes: Axes, chosen: list[Any]) -> None:
    """Draw where `k=auto` chose."""
    for i, place in enumerate(sorted({PLACES.index(str(choice["k"])) for choice in chosen})):
        label = "chosen by k=auto, a line a seed" if i == 0 else None
        axes.axvline(place, color=COLORS[3], linewidth=1.2, alpha=0.8, label=label)


def name_places(axes: Axes) -> None:
    """Write base, 0, 1, … below."""
    axes.set_xticks(range(len(PLACES)), PLACES, fontsize="small")
    axes.set_xlim(-0.6, len(PLACES) - 0.4)


if __name__ == "__main__":
    main()
