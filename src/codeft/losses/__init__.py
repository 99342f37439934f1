"""What a training step may add to the task's loss: pure functions on tensors, and the terms made of them."""

from codeft.losses.sinkhorn import sinkhorn_divergence

__all__ = ["sinkhorn_divergence"]
