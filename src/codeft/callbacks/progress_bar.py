"""What the progress bar says."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar


class RunProgressBar(RichProgressBar):
    """Lightning's Rich bar: epochs counted from 1, the last step's loss; scores are in the log."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, int | str | float]:  # type: ignore[override]
        """Return what stands at the bar's end."""
        shown: dict[str, Any] = {}
        for name, value in super().get_metrics(trainer, pl_module).items():
            if name in ("train/loss_step", "train/loss"):
                shown["loss"] = value
        return shown

    @property
    def total_train_batches(self) -> int | float:
        """Return an epoch's batches; what Lightning returns shrinks with each resume of `max_steps`."""
        return self.trainer.num_training_batches

    def _get_train_description(self, current_epoch: int) -> str:
        """Return "Epoch 1/3", or "Epoch 1" where the run is counted in steps."""
        epochs = self.trainer.max_epochs
        return f"Epoch {current_epoch + 1}" + (f"/{epochs}" if epochs and epochs > 0 else "")
