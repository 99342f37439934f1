"""How much a model has read."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from codeft.types import IGNORED_LABEL, Batch


class TokenCountCallback(pl.Callback):
    """Counts the source and target sub-tokens that this rank trained on, padding left out."""

    def __init__(self) -> None:
        self.source_tokens = 0
        self.target_tokens = 0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count a batch."""
        self.source_tokens += int(batch["attention_mask"].sum())
        self.target_tokens += int((batch["labels"] != IGNORED_LABEL).sum())

    def state_dict(self) -> dict[str, Any]:
        """Return the counts so far."""
        return {"source_tokens": self.source_tokens, "target_tokens": self.target_tokens}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's counts."""
        self.source_tokens = state_dict["source_tokens"]
        self.target_tokens = state_dict["target_tokens"]
