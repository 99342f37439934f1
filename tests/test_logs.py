"""Log lines on the console."""

from __future__ import annotations

import io
import logging
import sys

from codeft.logs import ConsoleHandler


def test_lines_go_where_standard_error_leads_at_the_time(monkeypatch):
    handler = ConsoleHandler()
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # as a progress bar does
    handler.emit(logging.makeLogRecord({"msg": "epoch %d", "args": (1,)}))
    assert sys.stderr.getvalue() == "epoch 1\n"


def test_a_run_logs_by_it(command, tmp_path, monkeypatch):
    import codeft.train

    seen = []
    monkeypatch.setattr(codeft.train, "train", lambda cfg, folder: seen.extend(logging.getLogger().handlers))
    command("train", f"hydra.run.dir={tmp_path}")
    assert any(isinstance(handler, ConsoleHandler) for handler in seen)
