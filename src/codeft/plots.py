"""Pictures of results: one style, each as PNG and as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.types import CodeftError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito (2008): they stay apart for those who see fewer colours."""

MARKERS = ("o", "s", "^", "D", "v", "P")
PUBLISHED: dict[str, Any] = {
    "color": "#555555", "linestyle": "--", "marker": "x", "markersize": 5, "linewidth": 1.2,
}  # fmt: skip
"""How published numbers are drawn, in every picture."""

FLOOR: dict[str, Any] = {"color": "#555555", "linestyle": ":", "linewidth": 1.2}
"""How what needs no model is drawn."""


def new_figure(*, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return an empty picture and its axes, row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1 + 4.4 * columns, 0.4 + 3 * rows), layout="constrained")
    found = figure.subplots(rows, columns, squeeze=False)
    axes = [each for row in found for each in row]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(axis="y", color="#e5e5e5", linewidth=0.8)
        each.set_axisbelow(True)
    return figure, axes


def style(number: int) -> dict[str, Any]:
    """Return how a picture's line is drawn.

    >>> style(0)["marker"]
    'o'
    """
    color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
    return {"color": color, "marker": marker, "markersize": 4.5, "linewidth": 1.6}


def save_figure(figure: Figure, folder: Path, name: str) -> Sequence[Path]:
    """Write a picture as PNG and as SVG; equal pictures are equal files.

    Raises:
        CodeftError: It can't be written.
    """
    import matplotlib

    paths = [folder / f"{name}.{suffix}" for suffix in ("png", "svg")]
    try:
        with matplotlib.rc_context({"svg.hashsalt": "codeft"}):
            figure.savefig(paths[0], dpi=150)
            figure.savefig(paths[1], metadata={"Date": None})
    except OSError as error:
        raise CodeftError(f"can't write {error.filename!r}: {error.strerror}; set hydra.run.dir=") from error
    return paths
