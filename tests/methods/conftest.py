"""Tiny models of every family to put adapters into."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from codeft.models.bart import BartModel
from codeft.models.causal import CausalModel
from codeft.models.encoder import EncoderModel
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.prefix_lm import PrefixLMModel
from codeft.module import FineTuneModule
from codeft.tasks.summarization import SummarizationTask

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


def build(family: str, output: str, tokenizer: str, weights: str = "random"):
    values = {"weights": weights, "tokenizer": tokenizer, "output": output}
    if weights == "random":
        values["architecture"] = SIZES[family] | ({"model_type": family} if family in CAUSAL else {})
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


@pytest.fixture(params=SIZES)
def family(request, _one_thread):
    return request.param


@pytest.fixture
def make(family, tiny_tokenizer):
    """Return a module around a new model of 3 + 2 layers of either family, for an output."""

    def of(output: str = "text") -> FineTuneModule:
        if family in CAUSAL and output != "text":
            pytest.skip("a decoder-only model gives text alone")
        model = build(family, output, str(tiny_tokenizer))
        optimizer = partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5)
        task = SummarizationTask(max_source_length=48, max_target_length=8, num_beams=1)
        return FineTuneModule(model=model, task=task, optimizer=optimizer)

    return of


@pytest.fixture
def batch():
    torch.manual_seed(1)
    ids, labels = torch.randint(3, 290, (2, 12)), torch.randint(3, 290, (2, 6))
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "index": torch.arange(2)}
