"""AST-T5's network: BART's, with a bias for relative positions in each of the encoder's layers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import PLBartConfig, PLBartForConditionalGeneration
from transformers.models.plbart.modeling_plbart import PLBartAttention

from codeft.types import CodeftError

PUBLISHED_TYPE = "fairseq_t5"
"""The `model_type` of the published checkpoint, whose own code isn't run."""

MAX_POSITIONS = 1024
"""Of the published network, whatever its config says."""

_ATTENTIONS = {"SelfAttention": "self_attn", "EncDecAttention": "encoder_attn"}
_INSIDE = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}
_PARTS = {
    "DenseReluDense.wi": "fc1",
    "DenseReluDense.wo": "fc2",
    "SelfAttention.relative_attention_bias": "self_attn.relative_bias.table",
    **{f"{a}.{i}": f"{_ATTENTIONS[a]}.{_INSIDE[i]}" for a in _ATTENTIONS for i in _INSIDE},
}
_NORMS = {
    "encoder": ("self_attn_layer_norm", "final_layer_norm"),
    "decoder": ("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"),
}
_OUTSIDE = {
    "embed_tokens": "embed_tokens",
    "pos_embed": "embed_positions",
    "first_layer_norm": "layernorm_embedding",
}


@strict
class RelativeBartConfig(PLBartConfig):
    """PLBART's, and two dimensions.

    Attributes:
        relative_attention_num_buckets: Distances that are told apart, in both directions.
        relative_attention_max_distance: From here on all distances are one.
    """

    model_type = "relative_bart"
    relative_attention_num_buckets: int = 128
    relative_attention_max_distance: int = 128


class RelativeBias(nn.Module):
    """What the distance between two sub-tokens adds to their score, for each head.

    Source: AST-T5 (arXiv 2401.03003); the buckets are those of its release. They are not T5's: logarithms
    are rounded up, and distance 0 lies in the middle of the table.

    Args:
        num_buckets: Rows of the table.
        max_distance: See `RelativeBartConfig`.
        num_heads: H.
    """

    def __init__(self, *, num_buckets: int, max_distance: int, num_heads: int) -> None:
        super().__init__()
        self.num_buckets, self.max_distance = num_buckets, max_distance
        self.table = nn.Embedding(num_buckets, num_heads)

    def forward(self, length: int) -> Tensor:
        """Return [1, H, length, length]: rows are queries, columns keys."""
        distances = torch.arange(1 - length, length, device=self.table.weight.device)
        rows = bucket(distances, num_buckets=self.num_buckets, max_distance=self.max_distance)
        biases = self.table(rows).T  # [H, 2 * length - 1], from the farthest on the left
        # Each query sees a window of them; the first one sees nothing to its left.
        return biases.unfold(-1, length, 1).flip(1).unsqueeze(0)


def bucket(distances: Tensor, *, num_buckets: int, max_distance: int) -> Tensor:
    """Return the row of the table for each distance.

    Args:
        distances: int64, the key's position less the query's, of any shape.
        num_buckets: Rows of the table, at least 4.
        max_distance: From here on all distances are one.

    >>> bucket(torch.tensor([-200, -1, 0, 1, 5, 200]), num_buckets=32, max_distance=128).tolist()
    [0, 14, 15, 16, 20, 30]
    """
    one_side = num_buckets // 2
    exact = one_side // 2
    far = distances.abs()
    # From `exact` on, rows are as many as remain, in equal steps of the logarithm.
    steps = torch.log(far.float() / exact) / math.log((max_distance - 1) / exact) * (one_side - 1 - exact)
    coarse = (exact + steps.clamp_min(0).ceil().long()).clamp_max(one_side - 1)
    return torch.where(far < exact, far, coarse) * distances.sign() + one_side - 1


class RelativeAttention(PLBartAttention):
    """The encoder's self-attention with a bias of its own."""

    def __init__(self, config: RelativeBartConfig, *, layer: int) -> None:
        super().__init__(
            embed_dim=config.d_model,
            num_heads=config.encoder_attention_heads,
            dropout=config.attention_dropout,
            config=config,
            layer_idx=layer,
        )
        self.relative_bias = RelativeBias(
            num_buckets=config.relative_attention_num_buckets,
            max_distance=config.relative_attention_max_distance,
            num_heads=config.encoder_attention_heads,
        )

    def forward(  # type: ignore[override]  # transformers passes the rest by keyword
        self, hidden_states: Tensor, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Attend with the bias; see transformers' `PLBartAttention`."""
        assert self.config is not None and self.config._attn_implementation != "eager", "that has no bias"
        kwargs["position_bias"] = self.relative_bias(hidden_states.shape[1])
        return super().forward(hidden_states, **kwargs)


class RelativeBart(PLBartForConditionalGeneration):
    """AST-T5's encoder-decoder.

    Source: AST-T5 (arXiv 2401.03003) and its release: norms behind the residual sums, with a mean and a
    bias, learned positions, biases everywhere, scaled scores, ReLU: BART's network, in spite of its name.
    """

    config_class = RelativeBartConfig

    def __init__(self, config: RelativeBartConfig) -> None:
        super().__init__(config)
        for i, layer in enumerate(self.model.encoder.layers):
            layer.self_attn = RelativeAttention(config, layer=i)
        self.post_init()


def translate_name(published: str) -> str:
    """Return what a parameter of the published checkpoint is called here; an unknown one keeps its name.

    >>> translate_name("decoder.block.3.layer.1.EncDecAttention.q.bias")
    'model.decoder.layers.3.encoder_attn.q_proj.bias'
    """
    if published == "shared.weight":
        return "model.shared.weight"
    match = re.fullmatch(r"(encoder|decoder)\.(?:block\.(\d+)\.layer\.(\d)\.)?(.+)\.(weight|bias)", published)
    if match is None:
        return published
    side, block, place, part, kind = match.groups()
    if block is None:
        here = _OUTSIDE.get(part)
    elif part == "layer_norm":
        here = dict(enumerate(_NORMS[side])).get(int(place))
    else:
        here = _PARTS.get(part)
    if here is None:
        return published
    inner = "" if block is None else f"layers.{block}."
    return f"model.{side}.{inner}{here}.{kind}"


def translate_config(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the published checkpoint's config in this network's words.

    Raises:
        CodeftError: It describes a variant that was never published.
    """
    names = {
        "vocab_size": "vocab_size",
        "d_model": "d_model",
        "encoder_layers": "num_layers",
        "decoder_layers": "num_decoder_layers",
        "encoder_ffn_dim": "d_ff",
        "decoder_ffn_dim": "d_ff",
        "encoder_attention_heads": "num_heads",
        "decoder_attention_heads": "num_heads",
        "dropout": "dropout_rate",
        "attention_dropout": "dropout_rate",
        "activation_dropout": "dropout_rate",
        "relative_attention_num_buckets": "relative_attention_num_buckets",
        "relative_attention_max_distance": "relative_attention_max_distance",
        "pad_token_id": "pad_token_id",
        "eos_token_id": "eos_token_id",
    }
    missing = sorted({name for name in names.values() if name not in raw})
    if missing:
        raise CodeftError(f"the AST-T5 checkpoint's config.json doesn't say {', '.join(missing)}")
    fixed = {"feed_forward_proj": "relu", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}
    for name, value in fixed.items():
        if raw.get(name, value) != value:
            raise CodeftError(f"the AST-T5 checkpoint has {name}={raw[name]}, expected {value}")
    for name in ("num_heads", "d_model", "d_kv"):
        if not isinstance(raw.get(name, 1), int) or raw.get(name, 1) < 1:
            raise CodeftError(f"the AST-T5 checkpoint's {name} must be a whole number, not {raw[name]!r}")
    if raw["num_heads"] * raw.get("d_kv", 64) != raw["d_model"]:
        raise CodeftError("the AST-T5 checkpoint's heads don't add up to d_model")
    return {here: raw[published] for here, published in names.items()} | {
        "model_type": RelativeBartConfig.model_type,
        "activation_function": "relu",
        "scale_embedding": False,
        "max_position_embeddings": MAX_POSITIONS,
    }
