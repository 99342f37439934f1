"""A table of texts, as Markdown, as LaTeX and on the terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
    "-": "$-$", **{character: f"\\{character}" for character in "&%$#_{}"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        title: Above it.
        columns: Headings.
        rows: Cells, each as many as there are columns.
        num_left: Columns that stand on the left; the others hold numbers.
        notes: Below it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_left: int = 1
    notes: Sequence[str] = ()


def as_markdown(grid: Grid, *, heading: str = "##") -> str:
    r"""Return a table as Markdown.

    >>> print(as_markdown(Grid("runs", ["k", "mrr"], [["base", "0.72"], ["a|b", ""]])))
    ## runs
    <BLANKLINE>
    | k | mrr |
    | :-- | --: |
    | base | 0.72 |
    | a\|b |  |
    <BLANKLINE>
    """
    marks = [":--" if i < grid.num_left else "--:" for i in range(len(grid.columns))]
    lines = [
        "| " + " | ".join(_cell(text) for text in row) + " |" for row in (grid.columns, marks, *grid.rows)
    ]
    notes = [line for note in grid.notes for line in ("", _cell(note))]
    return "\n".join([f"{heading} {_cell(grid.title)}", "", *lines, *notes, ""])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def as_latex(grid: Grid) -> str:
    r"""Return a table as LaTeX, for the package booktabs.

    >>> print(as_latex(Grid("50% of rows", ["k", "r_at_1"], [["base", "0.72 ± 0.01"]])))
    % 50\% of rows
    \begin{tabular}{lr}
    \toprule
    k & r\_at\_1 \\
    \midrule
    base & 0.72 $\pm$ 0.01 \\
    \bottomrule
    \end{tabular}
    <BLANKLINE>
    """
    columns = "l" * grid.num_left + "r" * (len(grid.columns) - grid.num_left)
    head, *rows = (" & ".join(map(escape_latex, row)) + r" \\" for row in (grid.columns, *grid.rows))
    notes = [f"% {escape_latex(note)}" for note in grid.notes]
    begin = [
        f"% {escape_latex(grid.title)}",
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        r"\midrule",
    ]
    return "\n".join([*begin, *rows, r"\bottomrule", r"\end{tabular}", *notes, ""])


def escape_latex(text: str) -> str:
    r"""Return a text as LaTeX prints it, on one line; a number's sign is a minus.

    >>> print(escape_latex("a_b\n50% \\x -0.5"))
    a\_b 50\% \textbackslash{}x $-$0.5
    """
    return re.sub(r"[\\~^±&%$#_{}]|(?<!\S)-(?=\d)", lambda found: _LATEX[found[0]], " ".join(text.split()))


def as_rich(grid: Grid) -> Table:
    """Return a table for the terminal."""
    table = Table(
        title=Text(grid.title),  # methods are typed in brackets, which Rich takes for markup
        title_justify="left",
        box=box.SIMPLE_HEAD,
        caption=Text("\n".join(grid.notes)) if grid.notes else None,
        caption_justify="left",
    )
    for i, column in enumerate(grid.columns):
        heading = column.replace("_", "_\n").replace(", ", ",\n")  # narrow, so that many columns fit
        table.add_column(Text(heading), justify="left" if i < grid.num_left else "right", overflow="fold")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table
