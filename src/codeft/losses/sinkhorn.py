"""The debiased Sinkhorn divergence between clouds of points, batched and padded, with a cheap gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from codeft.types import CodeftError

_ENTRIES_A_GROUP = {"cpu": 2**18}
_ENTRIES_ON_DEVICE = 2**26
"""Entries of the cost matrices that are worked on at once: what stays in a CPU's cache, what fits a GPU."""


def sinkhorn_divergence(
    x: Tensor,
    y: Tensor,
    *,
    x_mask: Tensor | None = None,
    y_mask: Tensor | None = None,
    blur: float = 0.05,
    scaling: float = 0.5,
    diameter: float | Tensor | None = None,
) -> Tensor:
    """Measure how far two clouds of points lie apart, for each example of a batch.

    S(x, y) = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2, where OT is entropic optimal transport with cost
    |x_i - y_j|^2 / 2 at temperature blur^2, solved by symmetrised Sinkhorn rounds while the temperature is
    annealed down from the squared diameter. Equals GeomLoss's `SamplesLoss("sinkhorn", p=2)` called on one
    example at a time, so neither batch-mates nor padding change an example's value.

    Source: Feydy et al., "Interpolating between optimal transport and MMD using Sinkhorn divergences"
    (arXiv 1810.08278), eq. 3; annealing and order of the steps as in GeomLoss.

    Args:
        x: [B, N, D] points; computed in float32 at least, under autocast too.
        y: [B, M, D] points.
        x_mask: bool [B, N], True for a real point; None where all are. Real points weigh the same.
        y_mask: bool [B, M].
        blur: Final length scale, in the unit of the points, above 0.
        scaling: Factor of the length scale from one round to the next, in (0, 1).
        diameter: First length scale, one for all or [B]; by default the diagonal of the box around each
            example's two clouds.

    Returns:
        [B] divergences, 0 where the clouds are equal; NaN where a cloud is empty or not
        finite.

    Raises:
        CodeftError: `blur` or `scaling` lies outside its range.

    Example:
        >>> x = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
        >>> round(sinkhorn_divergence(x, x + 2.0).item(), 3)  # both points move by (2, 2): 8 / 2
        4.0
    """
    return shared_sinkhorn_divergence(
        x[:, None], y, x_mask=x_mask, y_mask=y_mask, blur=blur, scaling=scaling, diameter=diameter
    )[:, 0]


def shared_sinkhorn_divergence(
    x: Tensor,
    y: Tensor,
    *,
    x_mask: Tensor | None = None,
    y_mask: Tensor | None = None,
    blur: float = 0.05,
    scaling: float = 0.5,
    diameter: float | Tensor | None = None,
) -> Tensor:
    """Compare H clouds of an example with the one cloud that they share, whose own term is computed once.

    Equals GeomLoss called on one example at a time with its H pairs as the batch; so the default diameter
    spans all clouds of the example.

    Args:
        x: [B, H, N, D] points.
        y: [B, M, D] points.
        x_mask: bool [B, N], the same for all H clouds.
        y_mask: bool [B, M].
        blur: See `sinkhorn_divergence`, as for the others.
        scaling: Factor of the length scale from one round to the next.
        diameter: First length scale, one for all or [B].

    Returns:
        [B, H] divergences.

    Raises:
        CodeftError: `blur` or `scaling` lies outside its range.
    """
    if not blur > 0 or not 0 < scaling < 1:
        raise CodeftError(f"expected blur > 0 and 0 < scaling < 1, got blur={blur}, scaling={scaling}")
    with torch.autocast(x.device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
        x, a = _masked_cloud(x.to(dtype), x_mask)
        y, b = _masked_cloud(y.to(dtype)[:, None], y_mask)
        if diameter is None:
            diameter = _diameters(x, y, a, b)
        # The number of rounds is needed on the host anyway, and float64 isn't to be had on every device.
        diameter = torch.as_tensor(diameter, dtype=torch.float64, device="cpu").expand(len(x))
        temperatures, steps = _schedule(diameter, blur=blur, scaling=scaling)
        return _Divergence.apply(x, y, a, b, temperatures.to(x), steps.to(x))


def _masked_cloud(points: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Set padded points to 0 and return the uniform weights [B, 1, N] of the real ones."""
    if mask is None:
        batch, _, num, _ = points.shape
        return points, points.new_full((batch, 1, num), 1 / num)
    points = points.masked_fill(~mask[:, None, :, None], 0.0)
    return points, (mask / mask.sum(dim=1, keepdim=True)).to(points.dtype)[:, None]


@torch.no_grad()
def _diameters(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return the diagonal [B] of the box around each example's real points."""
    lows, highs = [], []
    for points, weights in ((x, a), (y, b)):
        padded = (weights == 0)[..., None]  # B1N1
        lows.append(points.masked_fill(padded, math.inf).amin(dim=(1, 2)))
        highs.append(points.masked_fill(padded, -math.inf).amax(dim=(1, 2)))
    return (torch.maximum(*highs) - torch.minimum(*lows)).norm(dim=-1)


def _schedule(diameter: Tensor, *, blur: float, scaling: float) -> tuple[Tensor, Tensor]:
    """Lay out each example's temperatures: diameter^2, then down by scaling^2 a round, at last blur^2.

    Returns:
        Temperatures [K, B], and how far to move in a round [K, B]: 0.5, or 0 once an example with a smaller
        diameter than others has finished.
    """
    # A cloud of one point has no diameter and needs no annealing; any temperature above 0 serves it.
    start = 2 * diameter.clamp_min(1e-3 * blur).log()  # of the temperature
    fall = 2 * math.log(scaling)
    num_falls = ((2 * math.log(blur) - start) / fall).ceil().nan_to_num(0, posinf=0).clamp_min(0)  # B
    num_rounds = int(num_falls.max()) + 2 if len(num_falls) else 1
    rounds = torch.arange(num_rounds)[:, None]  # K1
    annealed = (start + (rounds - 1).clamp_min(0) * fall).exp()
    temperatures = torch.where(rounds <= num_falls, annealed, blur**2)
    return temperatures, torch.where(rounds <= num_falls + 1, 0.5, 0.0)


class _Divergence(torch.autograd.Function):
    """The divergence, with the envelope theorem's gradient: potentials at the optimum count as constants."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, a: Tensor, b: Tensor, temperatures: Tensor, steps: Tensor
    ) -> Tensor:
        """Go group by group; x [B, H, N, D], y [B, 1, M, D], a [B, 1, N], b [B, 1, M] -> [B, H]."""
        values, grad_x = x.new_zeros(x.shape[:2]), torch.zeros_like(x)
        grad_y = x.new_zeros(*x.shape[:2], *y.shape[2:])
        num_entries = _ENTRIES_A_GROUP.get(x.device.type, _ENTRIES_ON_DEVICE)
        group_size = max(1, num_entries // max(1, x.shape[1] * x.shape[2] * y.shape[2]))
        for start in range(0, len(x), group_size):
            group = slice(start, start + group_size)
            n, m = _longest(a[group]), _longest(b[group])
            values[group], grad_x[group, :, :n], grad_y[group, :, :m] = _divergence(
                x[group, :, :n],
                y[group, :, :m],
                a[group, :, :n],
                b[group, :, :m],
                temperatures=temperatures[:, group],
                steps=steps[:, group],
            )
        ctx.save_for_backward(grad_x, grad_y)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Send the gradient [B, H] on to both clouds."""
        grad_x, grad_y = ctx.saved_tensors
        grad = grad[..., None, None]
        return grad * grad_x, (grad * grad_y).sum(dim=1, keepdim=True), None, None, None, None


def _longest(weights: Tensor) -> int:
    """Return the number of points [B, 1, N] up to the last real one, at least 1."""
    real = weights.ne(0).any(dim=0).flatten().nonzero()
    return int(real[-1]) + 1 if len(real) else 1


def _divergence(
    x: Tensor, y: Tensor, a: Tensor, b: Tensor, *, temperatures: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the divergences [B, H] and their gradients [B, H, N, D] and [B, H, M, D]."""
    f_xy, g_xy, pull_xy, pull_yx = _transport(x, y, a, b, temperatures, steps)
    f_xx, _, pull_xx, _ = _transport(x, x, a, a, temperatures, steps)
    g_yy, _, pull_yy, _ = _transport(y, y, b, b, temperatures, steps)
    values = (a * (f_xy - f_xx)).sum(dim=-1) + (b * (g_xy - g_yy)).sum(dim=-1)
    return values, a[..., None] * (pull_xx - pull_xy), b[..., None] * (pull_yy - pull_yx)


def _transport(
    x: Tensor, y: Tensor, a: Tensor, b: Tensor, temperatures: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Anneal one entropic transport problem.

    Returns:
        Potentials f [B, H, N] and g [B, H, M], and where the plan sends each point on average:
        from x into y [B, H, N, D], from y into x [B, H, M, D].
    """
    cost = _half_squared_distances(x, y)
    buffer = torch.empty_like(cost)  # one for all rounds: fresh memory costs more than the arithmetic
    f, g = cost.new_zeros(cost.shape[:-1]), cost.new_zeros(cost.shape[:-2] + cost.shape[-1:])
    f, g = _softmins(cost, f, g, a, b, temperatures[0, :, None, None], buffer)
    for eps, step in zip(temperatures[..., None, None], steps[..., None, None], strict=True):
        f_new, g_new = _softmins(cost, f, g, a, b, eps, buffer)
        f, g = torch.lerp(f, f_new, step), torch.lerp(g, g_new, step)
    eps = temperatures[-1, :, None, None]
    f_new, g_new = _softmins(cost, f, g, a, b, eps, buffer)
    pull_x = _average(_kernel(cost, f_new, g, eps, buffer).mul_(b[..., None, :]), y)
    pull_y = _average(_kernel(cost, f, g_new, eps, buffer).mul_(a[..., :, None]).mT, x)
    return f_new, g_new, pull_x, pull_y


def _average(plan: Tensor, points: Tensor) -> Tensor:
    """Return where a plan [B, H, N, M] sends each of N points, [B, H, N, D].

    Its rows sum to 1, but for what rounding does to cost / eps of clouds that lie far apart.
    """
    return (plan @ points).div_(plan.sum(dim=-1, keepdim=True))


def _half_squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return |x_i - y_j|^2 / 2 as [B, H, N, M]."""
    x_norms, y_norms = x.square().sum(dim=-1) / 2, y.square().sum(dim=-1) / 2
    return (x_norms[..., :, None] + y_norms[..., None, :]).sub_(x @ y.mT)


def _kernel(cost: Tensor, f: Tensor, g: Tensor, eps: Tensor, buffer: Tensor) -> Tensor:
    """Return exp((f_i + g_j - cost_ij) / eps), written to the buffer."""
    torch.add(f[..., :, None], g[..., None, :], out=buffer)
    # exp(-75) is nothing beside the sums that count, and subnormal numbers (from exp(-87)) slow a CPU down.
    # Only padded points, of weight 0, have entries so far above 1 that they would become infinite.
    return buffer.sub_(cost).div_(eps[..., None]).clamp_(-75.0, 75.0).exp_()


def _softmins(
    cost: Tensor, f: Tensor, g: Tensor, a: Tensor, b: Tensor, eps: Tensor, buffer: Tensor
) -> tuple[Tensor, Tensor]:
    """Update both potentials from each other's last values.

    f_i <- -eps log sum_j b_j exp((g_j - cost_ij) / eps), g_j likewise. Pulling the old f_i (g_j) out of the
    logarithm keeps the exponents near 0, and one exponential serves both directions.
    """
    kernel = _kernel(cost, f, g, eps, buffer)
    rows = (kernel @ b[..., None])[..., 0]  # BHN
    columns = (a[..., None, :] @ kernel)[..., 0, :]  # BHM
    # Sums so far from overflow and underflow have lost nothing; else again, shifted by the maximum.
    if all(bool(((sums > 1e-20) & (sums < 1e20)).all()) for sums in (rows, columns)):
        return f - eps * rows.log(), g - eps * columns.log()
    by_row = (g / eps + b.log())[..., None, :] - cost / eps[..., None]
    by_column = (f / eps + a.log())[..., :, None] - cost / eps[..., None]
    return -eps * by_row.logsumexp(dim=-1), -eps * by_column.logsumexp(dim=-2)
