"""Dropout that is fast on a CPU too."""

from __future__ import annotations

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
    num_dropped = round(probability * LEVELS)
    if num_dropped in (0, LEVELS):
        return x if num_dropped == 0 else x * 0.0
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    halves = draws.view(torch.int16)[: x.numel()].view(x.shape)
    kept = (halves >= num_dropped - LEVELS // 2).view(torch.uint8).to(x.dtype)
    return x * kept.mul_(LEVELS / (LEVELS - num_dropped))


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
