"""What tests of resumed runs share: how a run meets its end, and what it must end with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

import codeft.fitting

SETTINGS = [
    "trainer.max_epochs=3",
    "trainer.accumulate_grad_batches=2",
    "trainer.val_check_interval=0.5",
    "data.batch_size=3",  # 8 batches, 4 optimizer steps an epoch
    "checkpoint.every_n_steps=1",
    "patience=null",
]


class Killed(BaseException):
    """Stands for `kill -9`: nothing of the run's own is told of it."""


class KillCallback(pl.Callback):
    """Kills, or signals, when a hook runs for the n-th time."""

    def __init__(self, hook: str, nth: int, act: Callable[[], None]) -> None:
        self.hook, self.left, self.act = hook, nth, act
        setattr(self, hook, self._count)

    def _count(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self.act()


def kill() -> None:
    raise Killed


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def assert_same_end(folder: Path, reference: Path) -> None:
    """Weights, optimizer, schedule, random states, scores and the best checkpoint are equal, bit for bit."""
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = load(folder / "checkpoints" / name), load(reference / "checkpoints" / name)
        assert ours["state_dict"].keys() == theirs["state_dict"].keys()
        for key, value in theirs["state_dict"].items():
            assert torch.equal(ours["state_dict"][key], value), (name, key)
        assert ours["global_step"] == theirs["global_step"]
        assert ours["epoch"] == theirs["epoch"]
    ours, theirs = load(folder / "checkpoints/last.ckpt"), load(reference / "checkpoints/last.ckpt")
    torch.testing.assert_close(ours["optimizer_states"], theirs["optimizer_states"], rtol=0, atol=0)
    assert ours["lr_schedulers"] == theirs["lr_schedulers"]
    states = [c["callbacks"]["RandomStateCallback"] for c in (ours, theirs)]
    assert states[0]["torch"] == states[1]["torch"]
    metrics = [json.loads((path / "metrics.json").read_text()) for path in (folder, reference)]
    for key in ("test", "best", "training"):
        assert metrics[0][key] == metrics[1][key]
    rows = [(path / "predictions.jsonl").read_text() for path in (folder, reference)]
    assert rows[0] == rows[1]


def interrupt(monkeypatch: pytest.MonkeyPatch, hook: str, nth: int, act: Callable[[], None] = kill) -> None:
    """Have the next run meet its end at a hook."""
    real = codeft.fitting.run_callbacks

    def with_kill(*arguments: Any) -> list[pl.Callback]:
        monkeypatch.setattr(codeft.fitting, "run_callbacks", real)  # only this run
        return [*real(*arguments), KillCallback(hook, nth, act)]

    monkeypatch.setattr(codeft.fitting, "run_callbacks", with_kill)
