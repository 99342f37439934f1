"""Early stopping that stays stopped."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping


class ResumableEarlyStopping(EarlyStopping):
    """Lightning's early stopping; a run that it had stopped doesn't train on when it is resumed."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once where the checkpoint was written after the last patience."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True
