"""What tests of adapters share: tiny models of every family, adapters in them, and their training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig
from torch import Tensor

from codeft.methods.adapters import AdapterCallback
from codeft.models.bart import BartModel
from codeft.models.base import AbstractCodeModel
from codeft.models.causal import CausalModel, join_target
from codeft.models.encoder import EncoderModel
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.generation import IMPOSSIBLE, shift_right
from codeft.models.prefix_lm import PrefixLMModel
from codeft.module import FineTuneModule
from codeft.tasks.summarization import SummarizationTask
from codeft.types import Batch, Output

SIZES = {
    "t5": {
        "vocab_size": 400, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_heads": 4, "num_layers": 3,
        "num_decoder_layers": 2,
    },
    "roberta": {
        "vocab_size": 400, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 32,
        "num_hidden_layers": 3, "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 1, "initializer_range": 0.3, "pooler": True,
    },
    "unixcoder": {
        "vocab_size": 420, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 32,
        "num_hidden_layers": 3, "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 0,
        "initializer_range": 0.3, "pooler": True,
    },
    "plbart": {
        "vocab_size": 400, "d_model": 16, "encoder_layers": 3, "decoder_layers": 2,
        "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32, "max_position_embeddings": 64, "init_std": 0.3,
    },
    "gpt2": {
        "vocab_size": 400, "n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 64,
        "initializer_range": 0.3,
    },
    "starcoder2": {
        "vocab_size": 400, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "initializer_range": 0.3, "tie_word_embeddings": True, "sliding_window": None,
    },
}  # fmt: skip


CAUSAL = ("gpt2", "starcoder2")


def build_model(family: str, *, output: Output, tokenizer: Path) -> AbstractCodeModel:
    """Return a new model of 3 layers, and of 2 in its decoder if it has one."""
    if family in CAUSAL and output != "text":
        pytest.skip("a decoder-only model gives text alone")
    sizes = SIZES[family] | ({"model_type": family} if family in CAUSAL else {})
    values: Any = {"weights": "random", "tokenizer": str(tokenizer), "output": output, "architecture": sizes}
    torch.manual_seed(0)
    if family in CAUSAL:
        return CausalModel(**values)
    if family == "unixcoder":
        return PrefixLMModel(**values)
    if family == "plbart":
        return BartModel(**values)
    if family == "t5":
        return EncoderDecoderModel(**values)
    return EncoderModel(**values, num_decoder_layers=2)


def build_module(family: str, tokenizer: Path, output: Output = "text") -> FineTuneModule:
    """Return a module around a new model."""
    model = build_model(family, output=output, tokenizer=tokenizer)
    task = SummarizationTask(max_source_length=48, max_target_length=8, num_beams=1)
    return FineTuneModule(model=model, task=task)


def random_batch() -> Batch:
    """Return two examples, the second with padding."""
    torch.manual_seed(1)
    ids, labels = torch.randint(3, 290, (2, 12)), torch.randint(3, 290, (2, 6))
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "index": torch.arange(2)}


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
