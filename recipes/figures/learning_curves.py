"""Draws a validation score over the epochs of several runs into one picture.

Usage: python recipes/figures/learning_curves.py OUT.png SCORE LABEL=RUN [LABEL=RUN …]
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib.pyplot as plt


def main() -> None:
    """Draw the picture that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("score", help="as logged, without val/: smoothed_bleu")
    parser.add_argument("runs", nargs="+", metavar="LABEL=RUN")
    arguments = parser.parse_args()
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    highest = 0.0
    for text in arguments.runs:
        label, _, run = text.partition("=")
        epochs, values = validation_scores(Path(run), f"val/{arguments.score}")
        axes.plot(epochs, values, marker="o", label=label)
        highest = max(highest, *values)
        axes.annotate(
            f"{values[-1]:.1f}", (epochs[-1], values[-1]), xytext=(6, -3), textcoords="offset points"
        )
    axes.set(xlabel="epoch", ylabel=f"{arguments.score}, validation")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0, 1.05 * highest)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=150)


def validation_scores(run: Path, name: str) -> tuple[list[int], list[float]]:
    """Return epochs, counted from 1, and the scores logged at their ends."""
    points: dict[int, float] = {}
    for path in sorted(run.glob("csv/version_*/metrics.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            points.update(
                {int(row["epoch"]) + 1: float(row[name]) for row in csv.DictReader(file) if row.get(name)}
            )
    if not points:
        raise SystemExit(f"{run} logged no {name}")
    return sorted(points), [points[epoch] for epoch in sorted(points)]


if __name__ == "__main__":
    main()
