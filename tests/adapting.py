"""What tests of adapters share: putting them into a tiny model, and training it."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftConfig
from torch import Tensor

from codeft.methods.adapters import AdapterCallback
from codeft.models.bart import BartModel
from codeft.models.base import AbstractCodeModel
from codeft.models.causal import join_target
from codeft.models.generation import IMPOSSIBLE, shift_right
from codeft.models.prefix_lm import PrefixLMModel
from codeft.module import FineTuneModule
from codeft.types import Batch


def adapt(module: FineTuneModule, config: PeftConfig, stage: str = "fit") -> None:
    """Set a method of adapters up."""
    AdapterCallback(config=config).setup(None, module, stage)


def answer(model: AbstractCodeModel, batch: Batch) -> Tensor:
    """Return logits, or vectors where the model gives those."""
    output = model(batch)
    return output.embedding if output.logits is None else output.logits


def plain_logits(network: Any, model: AbstractCodeModel, batch: Batch) -> Tensor:
    """Return what transformers' own network says of the labels that a model is asked for, and the model's."""
    ids, mask, labels = batch["input_ids"], batch["attention_mask"], batch["labels"]
    told = answer(model, batch)
    given = int((told[:, 0] == IMPOSSIBLE).any())  # a start token that is no prediction
    if isinstance(model, PrefixLMModel):  # its class is codeft's own
        own, model.network = model.network, network
        logits = answer(model, batch)[:, given:]
        model.network = own
    elif network.config.is_encoder_decoder:
        start = model._eos_id if isinstance(model, BartModel) else model._start_id
        decoder_ids = shift_right(labels, start_id=start, pad_id=0)[:, given:]
        logits = network(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder_ids).logits
    else:
        joined, predictors = join_target(ids, mask, labels[:, given:], pad_id=0)
        logits = network(input_ids=joined).logits
        logits = logits.gather(1, predictors[:, :, None].expand(-1, -1, logits.shape[2]))
    return torch.stack([logits, told[:, given:]])


def train(module: FineTuneModule, batch: Batch, steps: int = 3) -> set[str]:
    """Take steps and return the names of the parameters that moved."""
    torch.manual_seed(2)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimizer = torch.optim.AdamW(
        [p for p in module.model.parameters() if p.requires_grad], lr=0.05, weight_decay=0.5
    )
    for _ in range(steps):
        optimizer.zero_grad()
        answer(module.model, batch).square().mean().backward()
        optimizer.step()
    return {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}
