"""What the progress bar says."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar


class RunProgressBar(RichProgressBar):
    """Lightning's Rich bar with the loss of the last step and the last validation's score."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, int | str | float]:  # type: ignore[override]
        """Return what stands at the bar's end."""
        shown: dict[str, Any] = {}
        for name, value in super().get_metrics(trainer, pl_module).items():
            if name in ("train/loss_step", "train/loss"):
                shown["loss"] = value
            elif name.startswith("val/"):
                shown[name] = value
        return shown

    @property
    def total_train_batches(self) -> int | float:
        """Return an epoch's batches; what Lightning returns shrinks with each resume of `max_steps`."""
        return self.trainer.num_training_batches

    def _get_train_description(self, current_epoch: int) -> str:
        """Return Lightning's "Epoch 0/2", without the last epoch where the run is counted in steps."""
        text = super()._get_train_description(current_epoch)
        return text.replace("/-2", "  ")
