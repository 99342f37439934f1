"""Draws, for several sweeps over K, the score by K above, and below the short trainings that k=auto tried.

Usage: python recipes/figures/telly_study.py OUT.png TITLE SWEEP K_CHOICE.json,… TITLE SWEEP …
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
    parser.add_argument(
        "studies", nargs="+", help="for each: its title, its sweep's folder, and the choices in it"
    )
    arguments = parser.parse_args()
    studies = [arguments.studies[i : i + 3] for i in range(0, len(arguments.studies), 3)]
    figure, axes = new_figure(columns=len(studies), rows=2)
    for i, (title, sweep, choices) in enumerate(studies):
        chosen = [read(Path(choice)) for choice in choices.split(",")]
        draw_scores(axes[i], Path(sweep), chosen)
        axes[i].set_title(title)
        draw_trials(axes[len(studies) + i], chosen)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=130)


def read(path: Path) -> Any:
    """Return what a file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def draw_scores(axes: Axes, sweep: Path, chosen: list[Any]) -> None:
    """Draw every run's score, the means of each K, and the K that was chosen: of validation rows if kept."""
    runs = [job.metrics for job in read_sweep(sweep) if job.metrics]
    score = next(name[4:] for name in runs[0]["best"] if name.startswith("val_") and name != "val_rows")
    split = "valid" if all(run.get("valid") for run in runs) else "test"
    values: dict[int, list[float]] = {}
    for run in runs:
        values.setdefault(PLACES.index(str(run["k"])), []).append(run[split][score])
    for place, found in values.items():
        axes.plot([place] * len(found), found, ".", color="#999999", markersize=5)
    places = sorted(values)
    axes.plot(places, [statistics.fmean(values[place]) for place in places], **style(0), label="mean")
    mark(axes, chosen)
    axes.set(ylabel=f"{score}, {'validation' if split == 'valid' else 'test'}")
    name_places(axes)
    axes.legend(frameon=False, fontsize="small")


def draw_trials(axes: Axes, chosen: list[Any]) -> None:
    """Draw what the short trainings came to, a line a seed."""
    for i, choice in enumerate(chosen):
        places = [PLACES.index(str(trial["k"])) for trial in choice["trials"]]
        label = f"after {choice['steps']} steps, a line a seed" if i == 0 else None
        scores = [trial["score"] for trial in choice["trials"]]
        axes.plot(places, scores, **{**style(1), "alpha": 0.8}, label=label)
    mark(axes, chosen)
    axes.set(xlabel="K", ylabel=f"{chosen[0]['metric']}, validation")
    name_places(axes)
    axes.legend(frameon=False, fontsize="small")


def mark(axes: Axes, chosen: list[Any]) -> None:
    """Draw where `k=auto` chose."""
    for i, place in enumerate(sorted({PLACES.index(str(choice["k"])) for choice in chosen})):
        label = "chosen by k=auto" if i == 0 else None
        axes.axvline(place, color=COLORS[3], linewidth=1.2, alpha=0.8, label=label)


def name_places(axes: Axes) -> None:
    """Write base, 0, 1, … below."""
    axes.set_xticks(range(len(PLACES)), PLACES, fontsize="small")
    axes.set_xlim(-0.6, len(PLACES) - 0.4)


if __name__ == "__main__":
    main()
