"""Every task trains, tests and is scored again with the rows that come with codeft, without a network."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

FILES = (Path(__file__).parents[1] / "conf/task").glob("*.yaml")
TASKS = sorted({path.stem for path in FILES} - {"pretraining"})
LABELLED = ("clone_detection", "clone_detection_poj104", "code_search", "defect_detection")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every connection fail."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_runs_with_what_comes_with_codeft(task, command, tiny_model, tmp_path, offline):
    not_for_labels = ("task.max_target", "task.num_beams") if task in LABELLED else ()
    words = [word for word in tiny_model if not word.startswith(not_for_labels)]
    limits = ["data.train_limit=24", "data.val_limit=8", "data.test_limit=9", "data.batch_size=8"]
    if task == "clone_detection_poj104":  # few rows need not have two of a problem
        limits[1:3] = ["data.val_limit=60", "data.test_limit=60"]
    run = ["trainer.max_epochs=1", "logger=none", f"hydra.run.dir={tmp_path}/run"]
    command("train", f"task={task}", *words, *limits, *run)
    metrics = json.loads((tmp_path / "run/metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"]
    lines = (tmp_path / "run/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == (60 if task == "clone_detection_poj104" else 9)
    command("evaluate", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/again")
    again = json.loads((tmp_path / "again/metrics.json").read_text(encoding="utf-8"))
    assert again["reproduced"] is True
