"""Checkpoints are written whole or not at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from codeft.checkpoints import AtomicCheckpointIO, check_checkpoint
from resuming import Killed


def test_a_kill_while_a_checkpoint_is_written_leaves_the_older_one(tmp_path, monkeypatch):
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.ones(3)}}, path)
    real = torch.save

    def save_half(checkpoint: Any, file: Any) -> None:
        real(checkpoint, file)
        file.truncate(100)
        raise Killed

    monkeypatch.setattr(torch, "save", save_half)
    with pytest.raises(Killed):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.zeros(3)}}, path)
    assert torch.equal(check_checkpoint(path)["state_dict"]["w"], torch.ones(3))
