"""The decoder on a RoBERTa encoder: of RoBERTa's own layers, or that of CodeXGLUE's scripts."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import RobertaConfig, RobertaForCausalLM, RobertaModel

from codeft.models.state_dict import StateDict
from codeft.types import CodeftError

AUTO, ROBERTA, CODEXGLUE = "auto", "roberta", "codexglue"
KINDS = (AUTO, ROBERTA, CODEXGLUE)

FEED_FORWARD = 2048
"""`nn.TransformerDecoderLayer`'s own width, which the scripts leave as it is."""
EPSILON = 1e-5
"""That of its norms."""

_LAYER = re.compile(r"(?P<outer>(?:.*\.)?)decoder\.layers\.(?P<number>\d+)\.(?P<rest>.+)")
_MARK = ".self_attn.in_proj_weight"
_OWN_LAYER = re.compile(r"(?:.*\.)?decoder\.roberta\.encoder\.layer\.(?P<number>\d+)\.")
_STACKED = {"self_attn.in_proj_": "attention.self.", "multihead_attn.in_proj_": "crossattention.self."}
_PARTS = {
    "self_attn.out_proj.": "attention.output.dense.",
    "norm1.": "attention.output.LayerNorm.",
    "multihead_attn.out_proj.": "crossattention.output.dense.",
    "norm2.": "crossattention.output.LayerNorm.",
    "linear1.": "intermediate.dense.",
    "linear2.": "output.dense.",
    "norm3.": "output.LayerNorm.",
}


class TanhHead(nn.Module):
    """The output layer of CodeXGLUE's scripts: a dense layer, tanh, and the tied scores without a bias.

    Args:
        dense: [D, D].
        decoder: [D, V]; transformers looks for the output layer under this name.
    """

    def __init__(self, dense: nn.Linear, decoder: nn.Linear) -> None:
        super().__init__()
        self.dense, self.decoder = dense, decoder

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the scores [B, T, V] of hidden states [B, T, D]."""
        return self.decoder(torch.tanh(self.dense(hidden)))


class CodexglueDecoder(RobertaForCausalLM):
    """RoBERTa's decoder with the layers and the output layer of CodeXGLUE's scripts.

    Source: the sequence-to-sequence set-up of CodeXGLUE (arXiv 2102.04664) as its scripts build it: PyTorch's
    `nn.TransformerDecoderLayer` (norms behind the sums, ReLU, dropout also between the two feed-forward
    layers) and `TanhHead`. Deviation: new weights are drawn as RoBERTa's are.

    Args:
        config: The encoder's, with `is_decoder` and `add_cross_attention`. Width, activation and norms become
            the scripts'; the dropout stays, which is 0.1 in the scripts as in the published encoders.
    """

    _tied_weights_keys = {  # noqa: RUF012
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight"
    }

    def __init__(self, config: RobertaConfig) -> None:
        config.intermediate_size, config.hidden_act, config.layer_norm_eps = FEED_FORWARD, "relu", EPSILON
        super().__init__(config)
        head: Any = self.lm_head
        head.decoder.register_parameter("bias", None)
        self.lm_head = TanhHead(head.dense, head.decoder)
        for layer in self.roberta.encoder.layer:
            dropout = nn.Dropout(config.hidden_dropout_prob)
            layer.intermediate.intermediate_act_fn = nn.Sequential(nn.ReLU(), dropout)


def add_decoder(encoder: RobertaModel, *, kind: str, num_layers: int) -> transformers.EncoderDecoderModel:
    """Return the encoder with a new decoder, which shares its embeddings.

    Args:
        encoder: Goes into the network as it is.
        kind: `ROBERTA` or `CODEXGLUE`.
        num_layers: At least 1.
    """
    config = copy.deepcopy(encoder.config)
    config.is_decoder = config.add_cross_attention = True
    config.num_hidden_layers = num_layers
    decoder: Any = CodexglueDecoder(config) if kind == CODEXGLUE else RobertaForCausalLM(config)
    decoder.roberta.embeddings = encoder.embeddings
    decoder.lm_head.decoder.weight = encoder.embeddings.word_embeddings.weight
    return transformers.EncoderDecoderModel(encoder=encoder, decoder=decoder)


@dataclass(frozen=True, slots=True)
class DecoderPlan:
    """Which decoder to build, and what to lay over it.

    Attributes:
        kind: `ROBERTA` or `CODEXGLUE`.
        state: The checkpoint's tensors, a script's decoder under the names that it has here.
        essential: Prefix of the decoder's parameters that the checkpoint has to fit; None where it may lack.
    """

    kind: str
    state: StateDict
    essential: str | None


def plan_decoder(
    asked: str, state: StateDict, *, stored: object, num_layers: int, source: str
) -> DecoderPlan:
    """Choose the kind of decoder, by what the checkpoint holds where the user leaves it open.

    Args:
        asked: As the user typed it; one of `KINDS`.
        state: The checkpoint's tensors; none where there is no checkpoint.
        stored: What a run's architecture says; None where it says nothing.
        num_layers: Those of the network's decoder.
        source: Names the checkpoint.

    Raises:
        CodeftError: There is no such kind, or a script's decoder has more or fewer layers.
    """
    for key, value in (("decoder", asked), ("architecture.decoder", stored or ROBERTA)):
        if value not in KINDS:
            raise CodeftError(f"model.{key} must be {', '.join(KINDS[:-1])} or {KINDS[-1]}, not {value!r}")
    found = find_kind(state)
    kind = next(kind for kind in (asked, found, stored, ROBERTA) if kind not in (None, AUTO))
    if found != CODEXGLUE or kind != CODEXGLUE:
        return DecoderPlan(str(kind), state, None)
    state = rename_scripts(state)
    layers = {match["number"] for name in state if (match := _OWN_LAYER.match(name))}
    if len(layers) != num_layers:
        raise CodeftError(
            f"the decoder in {source} has {len(layers)} layers, and model.num_decoder_layers={num_layers}: "
            f"set model.num_decoder_layers={len(layers)}, or model.decoder=roberta for a new decoder"
        )
    return DecoderPlan(CODEXGLUE, state, "roberta.encoder.layer.")


def find_kind(names: Iterable[str]) -> str | None:
    """Return of which kind the decoder is that a checkpoint holds, None where it holds none of the two.

    >>> find_kind(["module.decoder.layers.0.self_attn.in_proj_weight", "module.dense.weight"])
    'codexglue'
    >>> find_kind(["encoder.layer.0.attention.self.query.weight"]) is None
    True
    """
    names = list(names)
    if any(_LAYER.fullmatch(name) and name.endswith(_MARK) for name in names):
        return CODEXGLUE
    if not any(_OWN_LAYER.match(name) for name in names):
        return None
    return ROBERTA if any(name.endswith("decoder.lm_head.layer_norm.weight") for name in names) else CODEXGLUE


def rename_scripts(state: StateDict) -> StateDict:
    """Return a checkpoint of CodeXGLUE's scripts under the names that the decoder has here.

    PyTorch keeps query, key and value of an attention in one tensor, one below the other. The causal mask
    that the scripts save, `bias`, says nothing and is left out. Without a decoder of PyTorch's, nothing
    changes.

    Args:
        state: Its tensors, by the script's names; inside further modules or not.

    >>> state = {"decoder.layers.0.self_attn.in_proj_bias": torch.arange(6), "dense.bias": torch.ones(2)}
    >>> sorted(rename_scripts(state))[:2]
    ['decoder.lm_head.dense.bias', 'decoder.roberta.encoder.layer.0.attention.self.key.bias']
    """
    renamed: dict[str, Tensor] = {}
    layers = {name: match for name in state if (match := _LAYER.fullmatch(name))}
    outers = {match["outer"] for match in layers.values()}
    heads = {f"{outer}dense.": f"{outer}decoder.lm_head.dense." for outer in outers}
    heads |= {f"{outer}lm_head.": f"{outer}decoder.lm_head.decoder." for outer in outers}
    for name, tensor in state.items():
        if name in layers:
            renamed |= _rename_layer(layers[name], tensor)
        elif name not in {f"{outer}bias" for outer in outers}:
            renamed[_replace_start(name, heads)] = tensor
    return renamed


def _rename_layer(match: re.Match[str], tensor: Tensor) -> dict[str, Tensor]:
    layer, rest = f"{match['outer']}decoder.roberta.encoder.layer.{match['number']}.", match["rest"]
    for stacked, own in _STACKED.items():
        if rest.startswith(stacked) and len(tensor) % 3 == 0:
            kind = rest.removeprefix(stacked)
            names = (f"{layer}{own}{part}.{kind}" for part in ("query", "key", "value"))
            return dict(zip(names, tensor.chunk(3), strict=True))
    return {layer + _replace_start(rest, _PARTS): tensor}


def _replace_start(name: str, replacements: dict[str, str]) -> str:
    for start, replacement in replacements.items():
        if name.startswith(start):
            return replacement + name.removeprefix(start)
    return name
