"""A trainer for callbacks that ask it for its devices alone."""

from __future__ import annotations

import pytorch_lightning as pl

ONE_DEVICE = pl.Trainer(
    accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_checkpointing=False
)
