"""A sweep's runs by what varied: in order, several seeds as one, each tested against a baseline."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codeft.types import CodeftError

SEED = "seed"
PREFERRED = ("k", "alpha", "data.train_fraction", "data.train_limit")
"""What goes on the x axis where several keys vary; the others make lines."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A value over several seeds.

    Attributes:
        mean: Of all.
        deviation: Of the sample (n - 1); None for a single one.
    """

    mean: float
    deviation: float | None = None


def spread(values: Sequence[float]) -> Spread | None:
    """Return mean and standard deviation; None of nothing.

    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, deviation=1.0)
    """
    if not values:
        return None
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True, slots=True)
class Cell:
    """The runs of one value on the x axis and one line.

    Attributes:
        x: The value, as typed; "" where none was.
        line: The further keys that vary, with their values.
        runs: Each one's `metrics.json`; they differ in their seeds.
    """

    x: str
    line: tuple[tuple[str, str], ...]
    runs: Sequence[Mapping[str, Any]]

    @property
    def method(self) -> str | None:
        """Return the runs' method."""
        return self.runs[0].get("method")

    def spread(self, read: Callable[[Mapping[str, Any]], float | None]) -> Spread | None:
        """Return a value of all runs that have it."""
        values = [read(run) for run in self.runs]
        return spread([value for value in values if value is not None])


def value_order(value: str) -> tuple[int, float, str]:
    """Return a key that sorts "base" first, then numbers, then what else was typed.

    >>> sorted(["10", "0.5", "auto", "2", "base", "1e-4"], key=value_order)
    ['base', '1e-4', '0.5', '2', '10', 'auto']
    """
    if value == "base":
        return (0, 0.0, value)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    return (2, 0.0, value) if math.isnan(number) else (1, number, value)


def choose_key(varying: Sequence[str], *, asked: str | None, typed: Sequence[str]) -> str | None:
    """Return the key on the x axis; None where nothing but the seed varies.

    Args:
        varying: The keys in which jobs differ.
        asked: What the user typed.
        typed: All keys that any job was given.

    Raises:
        CodeftError: No job was given what was asked for, or several keys vary and none is known to be meant.

    >>> choose_key(["seed", "lang", "k"], asked=None, typed=["seed", "lang", "k"])
    'k'
    """
    if asked is not None:
        if asked not in typed:
            raise CodeftError(f"by={asked}: the sweep's jobs weren't given it; they were: {', '.join(typed)}")
        return asked
    left = [key for key in varying if key != SEED]
    found = next((key for key in PREFERRED if key in left), left[0] if len(left) == 1 else None)
    if found is None and left:
        raise CodeftError(f"the sweep's jobs differ in {', '.join(left)}: say which goes on the x axis, by=")
    return found


def make_cells(jobs: Sequence[tuple[Mapping[str, str], Mapping[str, Any]]], *, by: str | None) -> list[Cell]:
    """Gather finished jobs into cells, line by line, each in the order of its values.

    Args:
        jobs: Of each, what varies and its `metrics.json`.
        by: The key on the x axis.
    """
    found: dict[tuple[tuple[tuple[str, str], ...], str], list[Mapping[str, Any]]] = {}
    for values, metrics in jobs:
        line = tuple((key, value) for key, value in values.items() if key not in (by, SEED))
        found.setdefault((line, values.get(by or "", "")), []).append(metrics)
    lines = list(dict.fromkeys(line for line, _ in found))
    order = sorted(found, key=lambda key: (lines.index(key[0]), value_order(key[1])))
    return [Cell(x, line, found[line, x]) for line, x in order]


def common_seeds(cell: Cell, other: Cell) -> list[Any]:
    """Return the seeds that both were run with, in the first's order."""
    seeds = {run.get(SEED) for run in other.runs}
    return [seed for seed in dict.fromkeys(run.get(SEED) for run in cell.runs) if seed in seeds]


def find_baseline(cell: Cell, cells: Sequence[Cell], *, by: str | None, asked: str | None) -> Cell | None:
    """Return the cell that another is compared with; None where there is none, or it is the baseline.

    That is the same line's `base` (of k) or 0 (of alpha); else the runs with method=full that share all else.

    Args:
        cell: The one.
        cells: All.
        by: The key on the x axis.
        asked: The value of it that is the baseline, where the user typed one.
    """
    if asked is not None:
        wanted = [asked]
    else:
        wanted = {"k": ["base"], "alpha": ["0", "0.0"], "method": ["full"]}.get(by or "", [])
    same_line = [other for other in cells if other.line == cell.line and other.x in wanted]
    if same_line or asked is not None:
        return next((other for other in same_line if other is not cell), None)
    if cell.method == "full":
        return None
    own = [pair for pair in cell.line if pair[0] != "method"]
    full = [
        other
        for other in cells
        if other.method == "full" and [pair for pair in other.line if pair[0] != "method"] == own
    ]
    same_x = [other for other in full if other.x == cell.x]
    return next(iter(same_x or (full if by in ("k", "alpha") else [])), None)
