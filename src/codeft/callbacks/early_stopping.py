"""Early stopping that stays stopped."""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping


class ResumableEarlyStopping(EarlyStopping):
    """Lightning's early stopping; a run that it had stopped doesn't train on when it is resumed.

    An epoch that ends before the first validation, cut by `max_steps`, is no error.

    Args:
        monitor: The validation score that decides, as it is logged.
        mode: "max" where more is better, else "min".
        patience: Validations without a better score.
    """

    def __init__(self, monitor: str, *, mode: str, patience: int) -> None:
        super().__init__(monitor, mode=mode, patience=patience, strict=False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once where the checkpoint was written after the last patience."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True
