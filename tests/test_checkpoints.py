"""Checkpoints are written whole or not at all."""

from __future__ import annotations

import resource
from typing import Any

import pytest
import torch

from codeft.checkpoints import AtomicCheckpointIO, check_checkpoint, load_weights
from codeft.types import CodeftError
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


def test_a_full_disk_is_told_and_leaves_the_older_one(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.ones(3)}}, path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(CodeftError, match=r"can't write .*last\.ckpt: .*the one before stays"):
            AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.zeros(30_000)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert torch.equal(check_checkpoint(path)["state_dict"]["w"], torch.ones(3))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    module = torch.nn.Linear(2, 2)
    weights = {**module.state_dict(), "bias": torch.tensor([1.0, value])}
    AtomicCheckpointIO().save_checkpoint({"state_dict": weights}, tmp_path / "best.ckpt")
    with pytest.raises(CodeftError, match=r"no numbers, in 1 weights \(bias"):
        load_weights(module, tmp_path / "best.ckpt")


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.zeros(10_000)}}, path)
    content = bytearray(path.read_bytes())
    content[20_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CodeftError, match=r"last\.ckpt is damaged"):
        check_checkpoint(path)
