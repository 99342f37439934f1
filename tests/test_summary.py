"""What a run prints at its end, in consoles of several widths."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from codeft.metrics import TEXT_SCORERS
from codeft.summary import best_validation, predictions_table, scores_table

SIGNATURE = TEXT_SCORERS["smoothed_bleu"].signature
METRICS = {
    "task": "summarization", "model": "mini", "method": "telly", "k": 0, "alpha": None,
    "test": {"smoothed_bleu": 10.236}, "test_loss": 4.354, "signatures": {"smoothed_bleu": SIGNATURE},
    "best": {"epoch": 3, "step": 60, "val_smoothed_bleu": 11.239, "val_rows": 1200},
    "training": {"epochs": 5, "steps": 100, "stopped_early": False},
}  # fmt: skip


def printed(width: int, make) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(make(console))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_scores_fit_and_signatures_break_at_bars(width):
    lines = printed(width, lambda console: scores_table(METRICS, width=console.width))
    assert lines[0].split() == ["summarization", "mini", "telly", "k=0"]
    assert max(map(len, lines)) <= width
    cells = [line.split("│")[3].strip() for line in lines if line.startswith("│")]
    assert [cell[-1] for cell in cells[:-2]] == ["|"] * (len(cells) - 2)
    assert "".join(cells[:-1]) == SIGNATURE
    assert any("loss" in line and "4.35" in line for line in lines)


def test_the_best_validation_is_told_with_its_rows():
    assert best_validation(METRICS) == "val_smoothed_bleu 11.24 in epoch 3 of 5, on 1,200 rows"


def test_a_prediction_stands_below_its_source_in_the_console_s_whole_width():
    line = "return self.load_file(config, options, encoding=None)  # [bold]"
    row = {"source": f"def f():\n    {line}", "reference": None, "prediction": "Load."}
    lines = printed(84, lambda console: predictions_table([row]))
    assert any(line in printed_line for printed_line in lines)
    assert [words[1] for words in map(str.split, lines) if len(words) > 3][:1] == ["source"]
