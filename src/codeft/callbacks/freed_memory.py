"""Gives freed memory back to the system now and then."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from codeft.allocator import give_back_memory


class FreedMemoryCallback(pl.Callback):
    """Gives back what the allocator keeps, every so many steps and around validations.

    The step that follows pays for it with page faults; gaps that batches of many lengths leave do not grow.

    Args:
        every_n_steps: Training batches between two times, of one epoch or several.
    """

    def __init__(self, *, every_n_steps: int = 25) -> None:
        self.every_n_steps = every_n_steps
        self._num_batches = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Give back after every so many batches."""
        self._num_batches += 1  # not `batch_idx`: short epochs would never come so far
        if self._num_batches % self.every_n_steps == 0:
            give_back_memory()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give back what training kept."""
        give_back_memory()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give back what decoding kept."""
        give_back_memory()
