"""Dropout by 16 random bits an element."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from codeft.models.dropout import LEVELS, FastDropout, drop, use_fast_dropout


@given(
    shape=st.lists(st.integers(0, 5), max_size=4),
    probability=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
)
def test_elements_are_zero_or_scaled(shape, probability, dtype):
    x = torch.full(shape, 3.0, dtype=dtype)
    dropped = drop(x, probability=probability)
    assert dropped.shape == x.shape and dropped.dtype == dtype
    share = round(probability * LEVELS) / LEVELS
    scale = torch.tensor(1 / (1 - share) if share < 1 else 0.0, dtype=dtype)
    assert all(value in (0, 3.0 * scale) for value in dropped.flatten())


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5, 0.9])
def test_share_is_the_probability_and_neighbours_are_independent(probability):
    num = 400_000
    zero = (drop(torch.ones(num), probability=probability) == 0).double()
    deviation = math.sqrt(probability * (1 - probability) / num)
    assert abs(zero.mean().item() - probability) < 5 * deviation
    for distance in (1, 2, 3, 4, 8):  # four neighbours come from one draw
        both = (zero[distance:] * zero[:-distance]).mean().item()
        deviation = math.sqrt(probability**2 * (1 - probability**2) / num)
        assert abs(both - probability**2) < 6 * deviation + 1e-6


def test_seed_decides():
    x = torch.ones(3, 5)
    torch.manual_seed(1)
    first, second = drop(x, probability=0.5), drop(x, probability=0.5)
    torch.manual_seed(1)
    assert torch.equal(drop(x, probability=0.5), first)
    assert not torch.equal(first, second)


def test_gradient_passes_where_elements_stayed():
    x = torch.randn(7, 3, requires_grad=True)
    dropped = drop(x, probability=0.25)
    dropped.sum().backward()
    expected = torch.where(dropped == 0, 0.0, 4 / 3)
    torch.testing.assert_close(x.grad, expected)


def test_module_drops_in_training_only():
    module, x = FastDropout(0.5), torch.ones(100)
    assert 0 < (module(x) == 0).sum() < 100
    module.eval()
    assert module(x) is x


def test_every_dropout_of_a_network_is_replaced():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3), nn.Sequential(nn.Dropout(0.2)))
    use_fast_dropout(network)
    found = [module.p for module in network.modules() if isinstance(module, FastDropout)]
    assert found == [0.3, 0.2]
