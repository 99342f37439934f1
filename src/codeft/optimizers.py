"""Optimizers that torch has the parts of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer

IS_MATRIX = "is_matrix"
"""Key of a parameter group: whether its parameters are matrices that multiply, and not tables or vectors."""


class MuonWithAdamW(Optimizer):
    """Muon for the layers' matrices, AdamW for everything else.

    From random weights this finds attention to the source in a fraction of AdamW's steps. Both parts are
    torch's. Source of Muon: Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon); its updates are
    scaled to AdamW's size as in Liu et al. 2025 (arXiv 2502.16982).

    Args:
        params: Parameter groups; those whose `is_matrix` is true are Muon's.
        lr: Of the matrices.
        embedding_lr: Of embeddings, biases and norms.
        momentum: Muon's.
        betas: AdamW's.
        eps: AdamW's.
        weight_decay: Of both, where a group doesn't say another.

    Raises:
        ValueError: A value is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Tensor | dict[str, Any]],
        *,
        lr: float,
        embedding_lr: float,
        momentum: float = 0.95,
        betas: Sequence[float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        groups = [group if isinstance(group, dict) else {"params": [group]} for group in params]
        matrices = [group for group in groups if group.get(IS_MATRIX)]
        others = [group for group in groups if not group.get(IS_MATRIX)]
        self._parts: list[Optimizer] = []
        if matrices:
            self._parts.append(
                Muon(
                    matrices,
                    lr=lr,
                    weight_decay=weight_decay,
                    momentum=momentum,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        if others:
            self._parts.append(
                AdamW(others, lr=embedding_lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay)
            )
        super().__init__(self._groups_of_parts(), {})

    def _groups_of_parts(self) -> list[dict[str, Any]]:
        """Return the parts' own group objects, so that a schedule reaches them."""
        return [group for part in self._parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step with both parts."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return both parts' states."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take both parts' states."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = self._groups_of_parts()
