"""A finished run gives its scores again; stored predictions are scored without a model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def read_metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def test_a_run_gives_its_scores_again(command, finished_run, tmp_path, capsys):
    command("evaluate", f"run={finished_run}", f"hydra.run.dir={tmp_path}/again")
    again, stored = read_metrics(tmp_path / "again"), read_metrics(finished_run)
    assert again["test"] == pytest.approx(stored["test"], abs=1e-9)
    assert again["reproduced"] is True
    assert again["stored"] == stored["test"]
    for key in ("task", "method", "k", "alpha", "seed", "lang", "params", "signatures", "empty_predictions"):
        assert again[key] == stored[key], key
    name = "predictions.jsonl"
    assert (tmp_path / "again" / name).read_bytes() == (finished_run / name).read_bytes()
    assert "the same scores" in capsys.readouterr().out
