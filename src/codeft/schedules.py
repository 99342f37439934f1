"""Learning-rate schedules."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from codeft.types import CodeftError


def linear_with_warmup(optimizer: Optimizer, *, num_training_steps: int, warmup: float) -> LambdaLR:
    """Raise the learning rate linearly from 0, then lower it linearly to 0.

    Args:
        optimizer: Its learning rates are the highest ones reached.
        num_training_steps: Optimizer steps of the whole run.
        warmup: Steps of the rise; below 1, their share of `num_training_steps`.

    Raises:
        CodeftError: `warmup` is negative or no finite number.
    """
    if not 0 <= warmup < float("inf"):
        raise CodeftError(f"scheduler.warmup must be a finite number of at least 0, not {warmup}")
    rise = warmup * num_training_steps if warmup < 1 else min(warmup, num_training_steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        return max(0.0, (num_training_steps - step) / max(1.0, num_training_steps - rise))

    return LambdaLR(optimizer, factor)


def constant_with_decay(
    optimizer: Optimizer, *, num_training_steps: int, warmup: float, decay: float
) -> LambdaLR:
    """Raise the learning rate linearly from 0, keep it, and lower it linearly to 0 at the end.

    The steps before the decay don't depend on how long the run is to be. So one long run without decay (its
    trunk) can be ended at any time: a copy of it goes on for the steps of a decay.

    Source: the schedule is known as trapezoidal or warmup-stable-decay (Hu et al. 2024, arXiv 2404.06395).

    Args:
        optimizer: Its learning rates are the highest ones reached.
        num_training_steps: Optimizer steps of the whole run.
        warmup: Steps of the rise; below 1, their share of `num_training_steps`.
        decay: Steps of the fall; below 1, their share of `num_training_steps`.

    Raises:
        CodeftError: `warmup` or `decay` is negative or no finite number.
    """
    for key, value in (("warmup", warmup), ("decay", decay)):
        if not 0 <= value < float("inf"):
            raise CodeftError(f"scheduler.{key} must be a finite number of at least 0, not {value}")
    rise = warmup * num_training_steps if warmup < 1 else warmup
    fall = decay * num_training_steps if decay < 1 else min(decay, num_training_steps)

    def factor(step: int) -> float:
        rising = min(1.0, (step + 1) / (rise + 1))
        falling = min(1.0, max(0.0, (num_training_steps - step) / fall)) if fall else 1.0
        return rising * falling

    return LambdaLR(optimizer, factor)
