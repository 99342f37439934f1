"""Schedules: a constant rate's end, and that what comes before it doesn't depend on when it ends."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf

from codeft.config import override_trainer
from codeft.schedules import constant_with_decay
from codeft.types import CodeftError


def rates(*, steps: int, decay: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = constant_with_decay(optimizer, num_training_steps=steps, warmup=3, decay=decay)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_a_constant_rate_rises_stays_and_falls_at_the_end():
    expected = [0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert rates(steps=10, decay=4) == pytest.approx([*expected[:6], 1, 0.75, 0.5, 0.25])
    assert rates(steps=1_000, decay=0)[:6] == rates(steps=10, decay=4)[:6]
    assert rates(steps=1_000, decay=0)[-1] == 1


def test_a_resumed_run_may_be_given_another_end_only_where_its_schedule_has_one():
    cfg = OmegaConf.create({"scheduler": {"decay": 0}, "trainer": {"max_steps": 9}})
    override_trainer(cfg, ["trainer.max_steps=12", "scheduler.decay=3"])
    assert (cfg.trainer.max_steps, cfg.scheduler.decay) == (12, 3)
    for scheduler, word in (({"warmup": 1}, "scheduler.decay=3"), ({"decay": 0}, "scheduler.warmup=3")):
        with pytest.raises(CodeftError, match=r"only trainer\.\* can be changed"):
            override_trainer(OmegaConf.create({"scheduler": scheduler}), [word])
