"""Draws a validation score over the epochs of several runs into one picture.

Usage: python recipes/figures/learning_curves.py OUT.png SCORE LABEL=RUN [LABEL=RUN …]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

from codeft.pretraining import loss_curve
from codeft.run_folder import RunFolder


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
    points = loss_curve(RunFolder(run), name, by="epoch")
    if not points:
        raise SystemExit(f"{run} logged no {name}")
    return [epoch + 1 for epoch, _ in points], [value for _, value in points]


if __name__ == "__main__":
    main()
