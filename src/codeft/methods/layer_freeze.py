"""Telly-K: the bottom K layers stay as they were pre-trained."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytorch_lightning as pl
from torch import nn

from codeft.models.base import AbstractCodeModel
from codeft.module import FineTuneModule
from codeft.types import CodeftError

BASE, AUTO = "base", "auto"
"""What K may be beside a number."""


class LayerFreezeCallback(pl.Callback):
    """Freezes the embeddings and the bottom K encoder layers.

    K = 0 freezes the embeddings (and the pooler), K = k also the bottom k encoder layers, "base" nothing.
    A weight tied to the embeddings freezes with them. Frozen layers run in eval mode, so without dropout.

    Source: Shi et al. 2023 (arXiv 2304.05216), section 5. Its code leaves frozen layers' dropout on;
    `reference` does so too.

    Args:
        k: "base", or 0 to the number of encoder layers; "auto" until `codeft.k_choice` has chosen.
        decoder_k: Bottom decoder layers to freeze as well; 0 leaves the decoder trainable.
        untie_output: Give the output layer and the decoder's embeddings trainable copies of their own.
        reference: Keep frozen layers in training mode.
        auto_steps: Optimizer steps of each training by which "auto" is chosen.
        auto_tolerance: Standard errors that K's validation score may then be below the best.

    Raises:
        CodeftError: `k` or `decoder_k` is missing or outside its range (at
            `check_model` and `setup`).
    """

    def __init__(
        self,
        *,
        k: object,
        decoder_k: int = 0,
        untie_output: bool = False,
        reference: bool = False,
        auto_steps: int = 100,
        auto_tolerance: float = 2.0,
    ) -> None:
        self.k = k
        self.decoder_k = decoder_k
        self.untie_output = untie_output
        self.reference = reference
        self.auto_steps = auto_steps
        self.auto_tolerance = auto_tolerance
        self._untied = False

    def check_model(self, model: AbstractCodeModel) -> int | None:
        """Return K as a number, None for "base" and while it isn't chosen.

        Raises:
            CodeftError: `k` or another value is missing or outside this model's range.
        """
        if self.auto_steps < 1:
            raise CodeftError(f"auto_steps must be at least 1, not {self.auto_steps}")
        if not 0 <= self.auto_tolerance < math.inf:
            raise CodeftError(f"auto_tolerance must be a number of at least 0, not {self.auto_tolerance}")
        k = None if self.k == AUTO else check_k(self.k, num_layers=len(model.blocks()))
        decoder_layers = len(model.decoder_blocks())
        if not (isinstance(self.decoder_k, int) and 0 <= self.decoder_k <= decoder_layers):
            raise CodeftError(
                f"decoder_k must be a whole number from 0 to {decoder_layers} (this model's decoder layers), "
                f"not {self.decoder_k!r}"
            )
        return k

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Untie at every stage, for the checkpoint's sake; freeze for fit only."""
        assert isinstance(pl_module, FineTuneModule)
        model = pl_module.model
        self.k = trainer.strategy.broadcast(self.k)  # the first rank has chosen
        k = self.check_model(model)
        if self.untie_output and not self._untied:  # the copies that fit trained are also the test's
            model.untie_output()
            self._untied = True
        if stage != "fit":
            return
        if self.k == AUTO:  # or it would train all layers, and say nothing
            raise CodeftError(
                f"k=auto is chosen by codeft.train; here k must be base or a whole number from 0 to "
                f"{len(model.blocks())}"
            )
        frozen = list(model.decoder_blocks()[: self.decoder_k])
        if k is not None:
            frozen += [*model.embeddings(), *model.blocks()[:k]]
        for parameter in _parameters(frozen):
            parameter.requires_grad_(False)
        if not self.reference:
            for module in frozen:
                module.eval()


def check_k(k: object, *, num_layers: int) -> int | None:
    """Return K as a number, None for "base".

    Args:
        k: As the user typed it.
        num_layers: The encoder's layers.

    Raises:
        CodeftError: `k` is missing or outside base, 0 … `num_layers`.

    >>> check_k(6, num_layers=12), check_k("base", num_layers=12)
    (6, None)
    """
    expected = f"k must be base, auto or a whole number from 0 to {num_layers} (this model's encoder layers)"
    if k is None:
        raise CodeftError(f"method=telly needs k: {expected}; for instance k={num_layers // 2}")
    if k == BASE:
        return None
    if isinstance(k, bool) or not isinstance(k, int) or not 0 <= k <= num_layers:
        raise CodeftError(f"{expected}, not {k!r}")
    return k


def _parameters(modules: Iterable[nn.Module]) -> Iterable[nn.Parameter]:
    for module in modules:
        yield from module.parameters()
