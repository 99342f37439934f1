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
