"""Dropout that is fast on a CPU too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LEVELS = 2**16
"""Probabilities on a CPU are multiples of 1 / LEVELS."""


def drop(x: Tensor, *, probability: float) -> Tensor:
    """Zero elements with a probability and scale the others so that the mean stays.

    torch draws a float for every element, one after the other; here 16 random bits decide, four elements from
    each draw. On another device than a CPU this is torch's own function.

    Args:
        x: Any shape.
        probability: From 0 to 1; on a CPU rounded to 1 / 65536.

    Returns:
        Shaped like `x`, of its dtype; drawn from torch's global generator.
    """
    if x.device.type != "cpu":
        return nn.functional.dropout(x, p=probability)
    kept, scale = keep_mask(x.shape, probability=probability)
    return x if kept is None else _Drop.apply(x, kept, scale)


class _Drop(torch.autograd.Function):
    """Keeps a byte an element for the backward pass, where autograd would keep a float."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return x * kept.to(x.dtype).mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        return grad * kept.to(grad.dtype).mul_(ctx.scale), None, None


def keep_mask(shape: torch.Size, *, probability: float) -> tuple[Tensor | None, float]:
    """Draw which elements stay.

    Args:
        shape: Of what is dropped from.
        probability: See `drop`.

    Returns:
        uint8 of that shape on the CPU, 1 for an element that stays, or None where all do; and the factor by
        which those that stay are scaled.
    """
    num_dropped = round(probability * LEVELS)
    if num_dropped == 0:
        return None, 1.0
    if num_dropped == LEVELS:
        return torch.zeros(shape, dtype=torch.uint8), 0.0
    numel = shape.numel()
    draws = torch.empty((numel + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    halves = draws.view(torch.int16)[:numel].view(shape)
    kept = (halves >= num_dropped - LEVELS // 2).view(torch.uint8)
    return kept, LEVELS / (LEVELS - num_dropped)


class FastDropout(nn.Dropout):
    """torch's module by `drop`."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop in training, else change nothing."""
        return drop(input, probability=self.p) if self.training and self.p else input


def use_fast_dropout(network: nn.Module) -> None:
    """Put `FastDropout` in the place of every `nn.Dropout` in a network."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, FastDropout(child.p))
