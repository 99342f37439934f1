"""Compact attention against autograd on the same written out."""

from __future__ import annotations

import pytest
import torch

from codeft.models import compact_attention as module
from codeft.models.compact_attention import attention_weights, compact_attention
from codeft.models.dropout import keep_mask

MASKS = {
    "none": None,
    "boolean": torch.tensor([[True, True, False], [True, True, True]])[:, None, None, :],
    "additive": torch.tensor([[0.0, 0.0, -1e9], [0.0, 0.0, 0.0]], dtype=torch.float64)[:, None, None, :],
}


def inputs(dtype=torch.float64):
    torch.manual_seed(0)
    tensors = [torch.randn(2, 2, 3, 4, dtype=dtype, requires_grad=True) for _ in range(3)]
    return tensors, torch.randn(1, 2, 3, 3, dtype=dtype, requires_grad=True)


def written_out(query, key, value, *, mask=None, bias=None, dropout=0.0):
    """The same by plain operations, with the same draws."""
    weights = attention_weights(query, key, mask=mask, bias=bias)
    kept, scale = keep_mask(weights.shape, probability=dropout)
    return (weights if kept is None else weights * kept * scale) @ value


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_equals_autograd(mask, biased, dropout):
    (query, key, value), bias = inputs()
    leaves = [query, key, value, *([bias] if biased else [])]
    results = []
    for function in (compact_attention, written_out):
        torch.manual_seed(1)
        output = function(query, key, value, mask=MASKS[mask], bias=bias if biased else None, dropout=dropout)
        results.append((output, torch.autograd.grad(output.square().sum(), leaves)))
    torch.testing.assert_close(results[0], results[1])


def test_gradient_equals_finite_differences(monkeypatch):
    (query, key, value), bias = inputs()
    drawn = keep_mask(torch.Size((2, 2, 3, 3)), probability=0.3)
    monkeypatch.setattr(module, "keep_mask", lambda shape, *, probability: drawn)

    def attend(query, key, value, bias):
        return compact_attention(query, key, value, mask=MASKS["boolean"], bias=bias, dropout=0.3)

    assert torch.autograd.gradcheck(attend, (query, key, value, bias))


def test_half_precision_is_near_to_float32():
    (query, key, value), bias = inputs(torch.float32)
    expected = compact_attention(query, key, value, bias=bias)
    halves = [tensor.detach().bfloat16().requires_grad_() for tensor in (query, key, value)]
    output = compact_attention(*halves, bias=bias)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, atol=0.05, rtol=0.05)
    gradients = torch.autograd.grad(output.float().square().sum(), [*halves, bias])
    wanted = torch.autograd.grad(expected.square().sum(), [query, key, value, bias])
    assert gradients[-1].dtype == torch.float32
    for gradient, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient.float(), want, atol=0.2, rtol=0.1)


def test_keeps_less_than_autograd():
    def kept_bytes(function):
        query, key, value = (torch.randn(2, 4, 64, 16, requires_grad=True) for _ in range(3))
        tables = {}

        def note(tensor):
            if tensor.shape[-2:] == (64, 64):
                tables[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            output = function(query, key, value, dropout=0.1)
        assert output.requires_grad
        return sum(tables.values())

    assert kept_bytes(compact_attention) < 0.6 * kept_bytes(written_out)
