"""SAT: attention is compared with the syntax tree while the model learns its task."""

from __future__ import annotations

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import nn

from codeft.losses.structure import StructureLossTerm
from codeft.models.base import PREFIX, AbstractCodeModel
from codeft.module import FineTuneModule
from codeft.types import CodeftError

AUTO = "auto"


class SATStructureLossCallback(pl.Callback):
    """Adds alpha times the structure loss of one encoder layer's attention to the training loss.

    The source's tree comes with the batch: `data.features.tree` must be
    `codeft.data.tree_feature.TreeFeature`, as `method=sat` sets it. Validation, test and generation run as
    without the method.

    Source: SAT (arXiv 2404.07471), section 3; `codeft.losses.structure.StructureLoss` names the deviations.

    Args:
        alpha: Weight of the structure loss, at least 0.
        layer: The taught encoder layer, 0 the lowest; "auto" for the lowest whose attention can move,
            which is 0 unless another method freezes it.
        reference: Reproduce the loss of the authors' code, and take attention after dropout as it does.
        learning_rate: Of the loss's two learned scalars; None for the run's.
        blur: Final length scale of the Sinkhorn divergence.
        multi_head_loss: 1 to teach all heads of the layer, 0 for head 0 alone.

    Raises:
        CodeftError: `alpha` is missing or below 0; or, when training starts, the model has no encoder, no
            encoder layer whose attention can move, or `layer` is none of those.
    """

    def __init__(
        self,
        *,
        alpha: float | None,
        layer: int | str = AUTO,
        reference: bool = False,
        learning_rate: float | None = None,
        blur: float = 0.05,
        multi_head_loss: Literal[0, 1] = 1,
    ) -> None:
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 <= alpha < float("inf"):
            raise CodeftError(
                f"method=sat needs alpha, the weight of the structure loss, at least 0; got {alpha!r}. "
                "For instance alpha=0.1"
            )
        self.alpha = float(alpha)
        self.layer = layer
        self.reference = reference
        self.learning_rate = learning_rate
        self.blur = blur
        self.multi_head_loss: Literal[0, 1] = multi_head_loss
        self._model: AbstractCodeModel  # set with the layer when training starts
        self._taught: int

    def check_model(self, model: AbstractCodeModel) -> None:
        """Raise what the first step would raise, as far as the model tells.

        Raises:
            CodeftError: The model's attention can't be recorded.
        """
        if model.blocks():
            model.record_attention(0)
            model.record_attention(None)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Add the term at every stage: a checkpoint holds its two scalars."""
        assert isinstance(pl_module, FineTuneModule)
        if StructureLossTerm.name not in pl_module.loss_terms:
            pl_module.loss_terms[StructureLossTerm.name] = StructureLossTerm(
                weight=self.alpha,
                reference=self.reference,
                blur=self.blur,
                multi_head_loss=self.multi_head_loss,
                learning_rate=self.learning_rate,
            )

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the layer now that every method has frozen what it freezes."""
        assert isinstance(pl_module, FineTuneModule)
        data = getattr(trainer, "datamodule", None)  # none where a user's own loader feeds the trainer
        if self.reference and data is not None and not data.pad_to_max:
            raise CodeftError(
                "the reference structure loss counts padding: it is the authors' only where every batch is "
                "padded to the task's maximum lengths: take method=sat_reference, or set data.pad_to_max=true"
            )
        self._model = pl_module.model
        self._taught = choose_layer(self._model, self.layer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Record attention for this step only, so that what runs between steps keeps its speed."""
        self._model.record_attention(self._taught, after_dropout=self.reference)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop recording."""
        self._model.record_attention(None)


def choose_layer(model: AbstractCodeModel, layer: int | str) -> int:
    """Return the encoder layer that the structure loss teaches.

    Args:
        model: With the parameters frozen that are to be frozen.
        layer: A layer, 0 the lowest, or "auto" for the lowest whose attention can move.

    Raises:
        CodeftError: There is no such layer, or nothing in it trains that its attention depends on.
    """
    blocks = model.blocks()
    if not blocks:
        raise CodeftError("method=sat teaches an encoder's attention, and this model has no encoder layers")
    lowest = next((index for index in range(len(blocks)) if _can_learn(model, index)), None)
    if lowest is None and any(map(_trains, blocks)):
        raise CodeftError(
            "nothing that trains in the encoder layers moves their attention: the structure loss would have "
            "nothing to teach; have adapters on queries or keys too (callbacks.adapter.config.target_modules)"
        )
    if lowest is None and _has_trained_prefix(model):
        raise CodeftError(
            "a prefix in the decoder doesn't move the encoder's attention, nor does one before a single "
            "layer move its own: the structure loss would have nothing to teach; leave method=sat or "
            "method=prefix away"
        )
    if lowest is None:
        raise CodeftError(
            f"all {len(blocks)} encoder layers are frozen: the structure loss would have nothing to teach; "
            f"lower k to at most {len(blocks) - 1}, or leave method=sat away"
        )
    if layer == AUTO:
        return lowest
    if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < len(blocks):
        raise CodeftError(
            f"callbacks.structure_loss.layer must be auto or from 0 to {len(blocks) - 1}, got {layer!r}"
        )
    if not _can_learn(model, layer):
        raise CodeftError(
            f"encoder layer {layer} is frozen, so the structure loss would have nothing to teach there; "
            f"the lowest trainable layer is {lowest}: set callbacks.structure_loss.layer=auto"
        )
    return layer


def _can_learn(model: AbstractCodeModel, layer: int) -> bool:
    """Return whether something trains in a layer that its own attention depends on.

    Where only a part of it trains, as with adapters, attention on a short text tells by its gradients. A
    learned prefix moves the attention between sub-tokens by what layers below read of it: in its own layer
    it takes the same share of each of them.
    """
    parameters = list(model.blocks()[layer].parameters())
    trained = [p for p in parameters if p.requires_grad]
    if not trained:
        return layer > 0 and _has_trained_prefix(model, before_encoder=True)
    if len(trained) == len(parameters):
        return True
    device = trained[0].device
    ids = torch.full((2, 2), model.tokenizer.eos_token_id, device=device)  # labels may be about two texts
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
        model.record_attention(layer)
        attention = model({"input_ids": ids, "attention_mask": torch.ones_like(ids)}).attention
        model.record_attention(None)
        if attention is None or not attention.requires_grad:
            return False
        gradients = torch.autograd.grad(attention.sum(), trained, allow_unused=True)
    return any(gradient is not None for gradient in gradients)


def _has_trained_prefix(model: AbstractCodeModel, *, before_encoder: bool = False) -> bool:
    prefix, site = dict(model.named_children()).get(PREFIX), model.prefix_site()
    if prefix is None or site is None or not _trains(prefix):
        return False
    return not (before_encoder and site.is_encoder_decoder)


def _trains(block: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in block.parameters())
