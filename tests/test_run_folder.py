"""How a run's files are written: whole or not at all."""

from __future__ import annotations

import os

import pytest

from codeft.run_folder import write_text


@pytest.mark.parametrize("fault", ["text", "rename"])
def test_a_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch, fault):
    path = tmp_path / "metrics.json"
    write_text(path, "old")
    if fault == "rename":

        def refuse(*paths):
            raise OSError("no room")

        monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises((OSError, UnicodeEncodeError)):
        write_text(path, "new" if fault == "rename" else "half of it \ud800")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
    monkeypatch.undo()
    write_text(path, "new")
    assert path.read_text() == "new"
