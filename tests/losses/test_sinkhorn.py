from __future__ import annotations

import pytest
import torch
from geomloss import SamplesLoss
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codeft.losses.sinkhorn import shared_sinkhorn_divergence, sinkhorn_divergence
from codeft.types import CodeftError

GEOMLOSS = SamplesLoss("sinkhorn", p=2, blur=0.05, scaling=0.5, backend="tensorized")


def one_at_a_time(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([GEOMLOSS(p[None], q[None]) for p, q in zip(x, y, strict=True)])


def attention_like(*shape: int, seed: int = 0) -> Tensor:
    return (3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))).softmax(dim=-1)


CLOUDS = {
    "uniform": lambda draw: (draw(4, 7, 3), draw(4, 9, 3)),
    "attention": lambda draw: (attention_like(3, 40, 40), attention_like(3, 40, 40, seed=1)),
    "one point each": lambda draw: (draw(3, 1, 5), draw(3, 1, 5)),
    "one against many": lambda draw: (draw(3, 1, 5), draw(3, 12, 5)),
    "closer than blur": lambda draw: (draw(3, 6, 2) / 100, draw(3, 5, 2) / 100),
    "each of its own diameter": lambda draw: (
        draw(4, 6, 2) * torch.tensor([0.1, 1.0, 2.0, 4.0])[:, None, None],
        draw(4, 8, 2),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clouds", CLOUDS)
def test_value_and_gradient_are_geomloss_s(clouds: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = CLOUDS[clouds](lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64))
    x, y = x.to(dtype).requires_grad_(), y.to(dtype).requires_grad_()
    ours, theirs = sinkhorn_divergence(x, y), one_at_a_time(x, y)
    assert ours.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float32 else 1e-7
    torch.testing.assert_close(ours, theirs.to(dtype), rtol=tolerance, atol=1e-7)
    weights = torch.arange(1, len(x) + 1)  # a wrong factor of one example's gradient shows
    ours = torch.autograd.grad((ours * weights).sum(), (x, y))
    theirs = torch.autograd.grad((theirs * weights).sum(), (x, y))
    for mine, reference in zip(ours, theirs, strict=True):
        assert (mine - reference).norm() <= 1e-7 + tolerance * reference.norm()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_equal_clouds_are_0_apart_and_pull_nowhere(scale: float) -> None:
    x = (scale * attention_like(2, 20, 20)).requires_grad_()
    divergence = sinkhorn_divergence(x, x.detach())
    assert divergence.abs().max() < 1e-6 * max(1.0, scale**2)
    divergence.sum().backward()
    assert x.grad.norm() < 1e-4 * max(1.0, scale)


def test_masks_are_cropping() -> None:
    x, y = attention_like(3, 12, 12), attention_like(3, 15, 12, seed=1)
    x_lengths, y_lengths = (12, 7, 1), (3, 15, 8)
    x_mask = torch.arange(12) < torch.tensor(x_lengths)[:, None]
    y_mask = torch.arange(15) < torch.tensor(y_lengths)[:, None]
    x[~x_mask] = float("nan")  # what is padded isn't looked at
    x.requires_grad_()
    masked = sinkhorn_divergence(x, y, x_mask=x_mask, y_mask=y_mask)
    cropped = torch.cat(
        [GEOMLOSS(x[i : i + 1, :n].contiguous(), y[i : i + 1, :m].contiguous()) for i, (n, m) in
         enumerate(zip(x_lengths, y_lengths, strict=True))]
    )  # fmt: skip
    torch.testing.assert_close(masked, cropped, rtol=1e-4, atol=1e-6)
    (grad_masked,) = torch.autograd.grad(masked.sum(), x)
    (grad_cropped,) = torch.autograd.grad(cropped.sum(), x)
    torch.testing.assert_close(grad_masked, grad_cropped, rtol=1e-3, atol=1e-6)
    assert (grad_masked[~x_mask] == 0).all()


@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 4),
    num_x=st.integers(1, 9),
    num_y=st.integers(1, 9),
    dim=st.integers(1, 4),
    log_scale=st.floats(-2, 1.5),
    seed=st.integers(0, 2**16),
)
def test_any_shape_agrees_and_ignores_batch_mates(
    batch: int, num_x: int, num_y: int, dim: int, log_scale: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = 10**log_scale * torch.rand(batch, num_x, dim, generator=generator, dtype=torch.float64)
    y = torch.rand(batch, num_y, dim, generator=generator, dtype=torch.float64)
    together = sinkhorn_divergence(x, y)
    alone = torch.cat([sinkhorn_divergence(p[None], q[None]) for p, q in zip(x, y, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(together, one_at_a_time(x, y).double(), rtol=1e-6, atol=1e-8)


def test_shared_cloud_is_geomloss_on_an_example_s_heads() -> None:
    x = attention_like(3, 4, 10, 10).double().requires_grad_()  # BHND
    y = (attention_like(3, 10, 10, seed=1).double() * 5).requires_grad_()
    shared = shared_sinkhorn_divergence(x, y)
    reference = torch.stack([GEOMLOSS(p, q.expand_as(p).contiguous()) for p, q in zip(x, y, strict=True)])
    torch.testing.assert_close(shared, reference.double(), rtol=1e-4, atol=1e-7)
    upstream = torch.rand(3, 4).double()
    for mine, theirs in zip(
        torch.autograd.grad((shared * upstream).sum(), (x, y)),
        torch.autograd.grad((reference * upstream).sum(), (x, y)),
        strict=True,
    ):
        assert (mine - theirs).norm() <= 1e-4 * theirs.norm()


def test_given_diameter_is_geomloss_s() -> None:
    x, y = attention_like(3, 10, 10), attention_like(3, 10, 10, seed=1)
    reference = SamplesLoss("sinkhorn", p=2, blur=0.1, scaling=0.7, diameter=4.0, backend="tensorized")
    ours = sinkhorn_divergence(x, y, blur=0.1, scaling=0.7, diameter=4.0)
    torch.testing.assert_close(ours, reference(x, y), rtol=1e-4, atol=1e-7)


def test_far_points_underflow_no_exponential() -> None:
    x = torch.tensor([[[0.0], [300.0]]], dtype=torch.float64)
    y = torch.tensor([[[500.0], [900.0]]], dtype=torch.float64)
    expected = (500**2 + 600**2) / 4
    torch.testing.assert_close(sinkhorn_divergence(x, y, diameter=0.1).item(), expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_what_is_not_finite_stays_with_its_example(value: float) -> None:
    x, y = attention_like(2, 6, 6), attention_like(2, 6, 6, seed=1)
    expected = sinkhorn_divergence(x, y)[1]
    x[0, 2, 3] = value
    divergence = sinkhorn_divergence(x, y)
    assert not divergence[0].isfinite()
    torch.testing.assert_close(divergence[1], expected, rtol=1e-5, atol=1e-8)


def test_empty_cloud_is_nan_and_empty_batch_is_empty() -> None:
    x = torch.rand(2, 3, 2)
    mask = torch.tensor([[False, False, False], [True, True, True]])
    divergence = sinkhorn_divergence(x, x, x_mask=mask)
    assert divergence[0].isnan() and divergence[1].isfinite()
    assert sinkhorn_divergence(torch.rand(0, 3, 2), torch.rand(0, 3, 2)).shape == (0,)


def test_float32_under_autocast() -> None:
    x, y = attention_like(2, 20, 20), attention_like(2, 20, 20, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = sinkhorn_divergence(x, y)
    torch.testing.assert_close(inside, sinkhorn_divergence(x, y))
    assert sinkhorn_divergence(x.bfloat16(), y.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("setting", [{"blur": 0.0}, {"scaling": 1.0}, {"scaling": 0.0}])
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(CodeftError, match="blur > 0"):
        sinkhorn_divergence(torch.rand(1, 2, 2), torch.rand(1, 2, 2), **setting)


@pytest.mark.parametrize("far", [2e3, 2e4])
def test_the_gradient_stays_one_where_clouds_are_wide(far):
    """As trees of generated code are: rounding of cost / eps makes whole numbers of an exponent."""
    generator = torch.Generator().manual_seed(0)
    attention = torch.randn(1, 2, 60, 60, generator=generator).softmax(dim=-1)
    distances = far * (1 - torch.eye(60))[None]
    clouds = attention, -0.0033 * distances + 0.045
    grads = {}
    for dtype in (torch.float32, torch.float64):
        x, y = (each.to(dtype, copy=True).requires_grad_() for each in clouds)
        shared_sinkhorn_divergence(x, y).mean().backward()
        grads[dtype] = x.grad.double(), y.grad.double()
    for own, exact in zip(*grads.values(), strict=True):
        assert (own - exact).norm() < 0.01 * exact.norm()
