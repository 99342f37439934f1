"""The fastest attention for every layer (SDPA, where it is fused), and the weights of one of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from codeft.models.compact_attention import attention_weights, compact_attention
from codeft.models.dropout import drop
from codeft.types import CodeftError

ATTENTION = "codeft"
"""transformers' name for `attend`: what every layer of a model uses."""
BEFORE_DROPOUT = "codeft_recorded"
AFTER_DROPOUT = "codeft_recorded_after_dropout"


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attend by SDPA; on a CPU, where that has no fused kernel for training, by `compact_attention`.

    SDPA's own fallback on a CPU for dropout and for a bias that is trained (T5's) is slower, and keeps more.

    Args:
        module: The attention module that calls.
        query: [B, H, S, D].
        key: [B, H, S, D]; or [B / n, H, S, D], where n neighbours share one (beams that read one source).
        value: As the key.
        attention_mask: See `explicit_attention`.
        dropout: Probability with which a weight is dropped; 0 outside training.
        scaling: Factor on the scores; None is 1 / sqrt(D).
        position_bias: See `explicit_attention`.
        **kwargs: What else transformers passes.

    Returns:
        The output [B, S, H, D], and None.
    """
    if len(query) > len(key):
        assert query.shape[2] == 1, "only single queries can share a key"
        folded = query.view(len(key), -1, *query.shape[1:]).squeeze(3).transpose(1, 2)
        output, _ = attend(
            module, folded, key, value, attention_mask, dropout, scaling, position_bias, **kwargs
        )
        return output.reshape(len(query), 1, *output.shape[2:]), None
    trained_bias = position_bias is not None and position_bias.requires_grad
    unfused = query.device.type == "cpu" and (dropout > 0 or trained_bias)
    # Where the mask may be left to a flag (`is_causal`), SDPA reads the flag.
    if unfused and not getattr(module, "is_causal", True):
        output = compact_attention(
            _scaled(query, scaling), key, value, mask=attention_mask, bias=position_bias, dropout=dropout
        )
        return output.transpose(1, 2).contiguous(), None
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout, scaling, position_bias=position_bias, **kwargs
    )


def explicit_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    after_dropout: bool = False,
    **kwargs: object,
) -> tuple[Tensor, Tensor]:
    """Attend as SDPA does and return the weights too; the softmax is computed in float32.

    The signature is transformers' attention interface; what else its models pass is not needed here.

    Args:
        module: The attention module that calls.
        query: [B, H, S, D].
        key: [B, H or fewer, S, D]; where they are fewer, neighbouring heads share one.
        value: [B, H or fewer, S, D].
        attention_mask: [B, 1, S or 1, S]; boolean (True may be seen) or additive; None hides nothing, in a
            causal module what comes later.
        dropout: Probability with which a weight is dropped; 0 outside training.
        scaling: Factor on the scores; None is 1 / sqrt(D).
        position_bias: [1, H, S, S], added to the scores (T5).
        after_dropout: Return the weights as dropout left them.
        **kwargs: Ignored.

    Returns:
        The output [B, S, H, D] and the weights [B, H, S, S] in float32; a hidden column's weight is 0.
    """
    num_shared = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, num_shared), repeat_kv(value, num_shared)
    if attention_mask is None and getattr(module, "is_causal", True):  # as SDPA reads it
        attention_mask = query.new_ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    weights = attention_weights(_scaled(query, scaling), key, mask=attention_mask, bias=position_bias)
    dropped = drop(weights, probability=dropout) if dropout else weights
    output = (dropped.to(value.dtype) @ value).transpose(1, 2).contiguous()
    return output, dropped if after_dropout else weights


def _scaled(query: Tensor, scaling: float | None) -> Tensor:
    scaling = query.size(-1) ** -0.5 if scaling is None else scaling
    return query if scaling == 1.0 else query * scaling


AttentionInterface.register(ATTENTION, attend)
AttentionInterface.register(BEFORE_DROPOUT, explicit_attention)
AttentionInterface.register(AFTER_DROPOUT, partial(explicit_attention, after_dropout=True))
for name in (ATTENTION, BEFORE_DROPOUT, AFTER_DROPOUT):
    AttentionMaskInterface.register(name, sdpa_mask)


def weights_of_text(weights: Tensor, *, renormalise: bool) -> Tensor:
    """Cut off the columns of keys that stand before the text's own: a learned prefix's.

    Args:
        weights: [B, H, S, P + S].
        renormalise: Scale what is left of a row to 1: how a sub-token attends to sub-tokens, given that it
            does. Without a prefix nothing changes.

    Returns:
        [B, H, S, S].

    >>> weights_of_text(torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.2, 0.6]]), renormalise=True).tolist()
    [[1.0, 0.0], [0.25, 0.75]]
    """
    length = weights.shape[-2]
    if weights.shape[-1] == length:
        return weights
    own = weights[..., -length:]
    if not renormalise:
        return own
    return own / own.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(own.dtype).tiny)


class AttentionRecorder:
    """Keeps the attention weights of at most one self-attention module of a stack, of the text to itself.

    The chosen module gets a copy of its config that names the recorded attention; its siblings share the
    original and so stay on `attend`. Nothing is kept between two forward passes: `take` hands over.
    """

    def __init__(self, modules: Sequence[Any]) -> None:
        """Watch nothing yet.

        Args:
            modules: The self-attention module of every layer, from the bottom up. Their output is a tuple
                that ends with the weights.
        """
        self._modules = modules
        self._recorded: int | None = None
        self._after_dropout = False
        self._shared_config: PretrainedConfig | None = None
        self._hook: torch.utils.hooks.RemovableHandle | None = None
        self._weights: Tensor | None = None

    def record(self, layer: int | None, *, after_dropout: bool = False) -> None:
        """Record this layer from now on, and no other; see `AbstractCodeModel.record_attention`."""
        if layer is not None and not 0 <= layer < len(self._modules):
            raise CodeftError(
                f"the encoder has layers 0 to {len(self._modules) - 1}, got layer {layer}: choose one of them"
            )
        self._stop()
        if layer is None:
            return
        module = self._modules[layer]
        self._recorded, self._shared_config, self._after_dropout = layer, module.config, after_dropout
        module.config = copy.copy(module.config)
        module.config._attn_implementation = AFTER_DROPOUT if after_dropout else BEFORE_DROPOUT
        self._hook = module.register_forward_hook(self._keep)

    def take(self) -> Tensor | None:
        """Return the weights of the last forward pass, once; None where nothing is recorded."""
        weights, self._weights = self._weights, None
        return None if weights is None else weights_of_text(weights, renormalise=not self._after_dropout)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Put the recorded layer back on `attend` for a while."""
        if self._recorded is None:
            yield
            return
        module, shared = self._modules[self._recorded], self._shared_config
        own = module.config
        module.config = shared
        try:
            yield
        finally:
            module.config = own
            self._weights = None

    def _keep(self, module: nn.Module, args: object, output: tuple[Tensor | None, ...]) -> None:
        self._weights = output[-1]

    def _stop(self) -> None:
        if self._recorded is not None and self._hook is not None:
            self._modules[self._recorded].config = self._shared_config
            self._hook.remove()
        self._recorded, self._shared_config, self._hook, self._weights = None, None, None, None
