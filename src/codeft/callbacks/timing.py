"""How long the parts of a run take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl


class TimingCallback(pl.Callback):
    """Times the training part of each epoch, validations, the whole fit and the test, in seconds.

    An epoch's clock runs from its start to a validation or to the writing of a checkpoint, and again from the
    next batch on: it counts the batches and their making, but for that of the first one after a pause. A
    resumed run's times go on where the checkpoint's ended; the epoch that was cut counts whole.

    Args:
        clock: Returns seconds from any fixed point.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.epochs: list[float] = []
        self.validations: list[float] = []
        self._clock = clock
        self._fit_before = 0.0
        self._epoch_before = 0.0
        self._fit_start: float | None = None
        self._epoch_start: float | None = None
        self._validation_start: float | None = None
        self._test_start = 0.0
        self._test: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the fit, and of an epoch that goes on in its middle."""
        self._fit_start = self._epoch_start = self._clock()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of an epoch."""
        self._epoch_before, self._epoch_start = 0.0, self._clock()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Let the epoch's clock go on where it was stopped."""
        if self._epoch_start is None:
            self._epoch_start = self._clock()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the epoch's clock and start the validation's."""
        self._pause_epoch()
        self._validation_start = self._clock()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock of a validation; the best checkpoint is written after it."""
        if self._validation_start is None or trainer.sanity_checking:
            return
        self.validations.append(self._clock() - self._validation_start)
        self._validation_start = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Stop the epoch's clock: what was gathered is written now."""
        self._pause_epoch()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the epoch's training seconds."""
        self.epochs.append(self._epoch_seconds())
        self._epoch_before, self._epoch_start = 0.0, None

    def _pause_epoch(self) -> None:
        self._epoch_before, self._epoch_start = self._epoch_seconds(), None

    def _epoch_seconds(self) -> float:
        return self._epoch_before + (0.0 if self._epoch_start is None else self._clock() - self._epoch_start)

    def _fit_seconds(self) -> float:
        return self._fit_before + (0.0 if self._fit_start is None else self._clock() - self._fit_start)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock of the fit."""
        self._fit_before, self._fit_start = self._fit_seconds(), None

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the test."""
        self._test_start = self._clock()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock of the test."""
        self._test = self._clock() - self._test_start

    def state_dict(self) -> dict[str, Any]:
        """Return the times so far."""
        return {
            "epochs": list(self.epochs),
            "validations": list(self.validations),
            "fit": self._fit_seconds(),
            "epoch": self._epoch_seconds(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's times."""
        self.epochs = list(state_dict["epochs"])
        self.validations = list(state_dict["validations"])
        self._fit_before, self._epoch_before = state_dict["fit"], state_dict["epoch"]

    def summary(self) -> dict[str, float | None]:
        """Return the times as `metrics.json` holds them.

        `epoch_s` is the median of epochs 2 to n, or the only epoch's; `val_s` the median validation's;
        `fit_s` all of training and validation, without the test.
        """
        later = self.epochs[1:] or self.epochs
        return {
            "epoch_s": statistics.median(later) if later else None,
            "first_epoch_s": self.epochs[0] if self.epochs else None,
            "val_s": statistics.median(self.validations) if self.validations else None,
            "fit_s": self._fit_seconds(),
            "test_s": self._test,
        }
