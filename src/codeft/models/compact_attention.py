"""Attention for training on a CPU that keeps little for its backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from codeft.models.dropout import keep_mask


def attention_weights(
    query: Tensor, key: Tensor, *, mask: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Return the softmax of the scores, computed in float32 at least.

    Args:
        query: [B, H, S, D], scaled.
        key: [B, H, S, D].
        mask: [B, 1, S or 1, S]; boolean (True may be seen) or additive; None hides nothing.
        bias: [1, H, S, S], added to the scores.

    Returns:
        [B, H, S, S]; a hidden column's weight is 0.
    """
    scores = query @ key.transpose(-1, -2)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    if mask is not None and mask.dtype == torch.bool:
        hidden = torch.zeros(mask.shape, dtype=scores.dtype, device=scores.device)
        mask = hidden.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    return (scores if mask is None else scores + mask).softmax(dim=-1)


def compact_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attend, keeping of each [S, S] table the weights in the values' type and a byte for what was dropped.

    Autograd would keep the weights in float32, the factors of the dropout and the product of both.

    Source: the backward pass is FlashAttention's (arXiv 2205.14135, appendix B), unblocked: over a row, the
    weights times their gradients sum to what the output times its gradient does.

    Args:
        query: [B, H, S, D], scaled.
        key: [B, H, S, D].
        value: [B, H, S, D].
        mask: See `attention_weights`; without gradient.
        bias: See `attention_weights`.
        dropout: Probability with which a weight is dropped.

    Returns:
        [B, H, S, D].
    """
    return _CompactAttention.apply(query, key, value, mask, bias, dropout)


class _CompactAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        bias: Tensor | None,
        dropout: float,
    ) -> Tensor:
        weights = attention_weights(query, key, mask=mask, bias=bias).to(value.dtype)
        kept, scale = keep_mask(weights.shape, probability=dropout)
        output = _dropped(weights, kept, scale) @ value
        ctx.save_for_backward(query, key, value, weights, kept, output)
        ctx.scale, ctx.bias_dtype = scale, None if bias is None else bias.dtype
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, kept, output = ctx.saved_tensors
        grad_value = _dropped(weights, kept, ctx.scale).transpose(-1, -2) @ grad
        row_sums = (grad * output).sum(-1, keepdim=True)  # [B, H, S, 1]
        grad_scores = _dropped(grad @ value.transpose(-1, -2), kept, ctx.scale)
        grad_scores = grad_scores.sub_(row_sums).mul_(weights)
        needs_bias = ctx.bias_dtype is not None and ctx.needs_input_grad[4]
        grad_bias = grad_scores.sum(0, keepdim=True, dtype=ctx.bias_dtype) if needs_bias else None
        grad_query, grad_key = grad_scores @ key, grad_scores.transpose(-1, -2) @ query
        return grad_query, grad_key, grad_value, None, grad_bias, None


def _dropped(table: Tensor, kept: Tensor | None, scale: float) -> Tensor:
    """Return the table after dropout; where nothing is dropped, the table itself."""
    return table if kept is None else (table * kept).mul_(scale)
