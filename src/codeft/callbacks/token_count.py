"""How much a model has read in pre-training."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from codeft.data.streaming import StreamLoader
from codeft.types import IGNORED_LABEL, Batch


class TokenCountCallback(pl.Callback):
    """Counts the source and target sub-tokens that this rank trained on, padding left out.

    Attributes:
        source_tokens: In sources.
        target_tokens: In targets.
        examples: What a streamed task counted of the examples that it made, on this rank.
    """

    def __init__(self) -> None:
        self.source_tokens = 0
        self.target_tokens = 0
        self.examples: dict[str, int] = {}

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count a batch, and note what its loader counted."""
        loader: Any = trainer.train_dataloader
        if isinstance(loader, StreamLoader):
            self.examples = dict(loader.counts)
        self.source_tokens += int(batch["attention_mask"].sum())
        self.target_tokens += int((batch["labels"] != IGNORED_LABEL).sum())

    def state_dict(self) -> dict[str, Any]:
        """Return the counts so far."""
        counts = {"source_tokens": self.source_tokens, "target_tokens": self.target_tokens}
        return counts | {"examples": dict(self.examples)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's counts."""
        self.source_tokens = state_dict["source_tokens"]
        self.target_tokens = state_dict["target_tokens"]
        self.examples = dict(state_dict.get("examples", {}))
