from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from codeft.models import attention
from codeft.models.attention import AttentionRecorder, explicit_attention
from codeft.models.relative_bart import RelativeBart
from codeft.types import CodeftError


def eager_reference(model, batch):
    """Logits and every encoder layer's weights of the same network with eager attention everywhere."""
    if isinstance(model.network, RelativeBart):
        pytest.skip("transformers' eager attention of this family has no bias; see test_ast_t5.py")
    twin = copy.deepcopy(model)
    for module in twin.network.modules():  # the RoBERTa pair's modules don't share one config
        if hasattr(module, "config"):
            module.config._attn_implementation = "eager"
    attentions = []
    for module in twin._recorder._modules:
        module.register_forward_hook(lambda _, __, output: attentions.append(output[-1]))
    logits, length = twin(batch).logits, batch["input_ids"].shape[1]
    return logits, [weights[:, :, :length, :length] for weights in attentions]


@pytest.mark.parametrize("layer", [0, 1, 2])
@torch.no_grad()
def test_equals_a_fully_eager_model(model, batch, layer):
    logits, attentions = eager_reference(model, batch)
    model.record_attention(layer)
    output = model(batch)
    assert output.attention.dtype == torch.float32
    torch.testing.assert_close(output.attention, attentions[layer], atol=1e-5, rtol=0)
    torch.testing.assert_close(output.logits, logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_doesnt_change_the_logits(model, batch):
    plain = model(batch)
    model.record_attention(1)
    torch.testing.assert_close(model(batch).logits, plain.logits, atol=1e-5, rtol=0)
    model.record_attention(None)
    again = model(batch)
    assert plain.attention is None and again.attention is None
    torch.testing.assert_close(again.logits, plain.logits, atol=0, rtol=0)


@torch.no_grad()
def test_layers_differ_and_can_be_switched(model, batch):
    model.record_attention(0)
    first = model(batch).attention
    model.record_attention(2)
    assert not torch.allclose(model(batch).attention, first, atol=1e-3)
    model.record_attention(0)
    torch.testing.assert_close(model(batch).attention, first, atol=0, rtol=0)


@torch.no_grad()
def test_padded_columns_get_nothing_and_rows_sum_to_one(model, batch):
    model.train()
    model.record_attention(1)
    attention = model(batch).attention  # [B, H, S, S]
    real = batch["attention_mask"][:, None, :, None] == 1
    hidden = real & (batch["attention_mask"] == 0)[:, None, None, :].expand_as(attention)
    assert hidden.any() and attention[hidden].eq(0).all()
    torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))


@torch.no_grad()
def test_after_dropout_is_what_multiplies_the_values(model, batch):
    model.train()
    model.record_attention(1, after_dropout=True)
    dropped = model(batch).attention
    model.record_attention(1)
    kept = model(batch).attention
    assert (dropped.sum(-1) - 1).abs().max() > 0.01
    assert ((dropped == 0) & (kept > 0.01)).any()
    model.eval()
    torch.testing.assert_close(model(batch).attention.sum(-1), torch.ones(dropped.shape[:-1]))


def test_gradient_reaches_the_layer_and_what_is_below(model, batch):
    model.record_attention(1)
    output = model(batch)
    (output.attention**2).sum().backward()
    for block, expected in zip(model.blocks(), [True, True, False], strict=True):
        touched = [p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters()]
        assert any(touched) == expected


def test_off_during_generate_and_on_after_it(model, batch, monkeypatch):
    model.record_attention(1)
    plain = model.generate(batch, max_length=4, num_beams=2)

    def refuse(*args, **kwargs):
        raise AssertionError("recorded attention ran")

    monkeypatch.setattr("torch.Tensor.softmax", refuse)
    assert torch.equal(model.generate(batch, max_length=4, num_beams=2), plain)
    with pytest.raises(AssertionError, match="recorded attention ran"):
        model(batch)


@torch.no_grad()
def test_a_copy_of_the_model_records_for_itself(model, batch):
    model.record_attention(1)
    twin = copy.deepcopy(model)
    model.record_attention(None)
    assert model(batch).attention is None
    assert twin(batch).attention is not None


@pytest.mark.parametrize("layer", [-1, 3])
def test_unknown_layer_is_an_error(model, layer):
    with pytest.raises(CodeftError, match=f"layers 0 to 2, got layer {layer}"):
        model.record_attention(layer)


@pytest.mark.parametrize("bias", [None, torch.randn(1, 2, 3, 3)])
@pytest.mark.parametrize("additive", [False, True])
def test_function_equals_sdpa(bias, additive):
    query, key, value = torch.randn(3, 2, 2, 3, 4).unbind()
    mask = torch.tensor([[True, True, False], [True, True, True]])[:, None, None, :]
    added = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    expected = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=added if bias is None else added + bias, scale=0.3
    )
    output, weights = explicit_attention(
        nn.Identity(), query, key, value, added if additive else mask, scaling=0.3, position_bias=bias
    )
    torch.testing.assert_close(output.transpose(1, 2), expected)
    torch.testing.assert_close(weights @ value, expected)


def test_weights_are_float32_in_half_precision():
    query, key, value = torch.randn(3, 1, 2, 3, 4).bfloat16().unbind()
    output, weights = explicit_attention(nn.Identity(), query, key, value, None)
    assert output.dtype == torch.bfloat16 and weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 3))


def test_weights_are_handed_over_once():
    class Module(nn.Module):
        config = SimpleNamespace(_attn_implementation="sdpa")

        def forward(self):
            return None, torch.eye(2) * (self.config._attn_implementation == "codeft_recorded")

    module = Module()
    recorder = AttentionRecorder([module])
    recorder.record(0)
    module()
    assert torch.equal(recorder.take(), torch.eye(2))
    assert recorder.take() is None
    with recorder.paused():
        module()
        assert module.config._attn_implementation == "sdpa"
    assert recorder.take() is None


@torch.no_grad()
def test_equals_a_fully_eager_model_without_padding(model, batch):
    alone = {"input_ids": batch["input_ids"][1:2], "attention_mask": batch["attention_mask"][1:2]}
    assert alone["attention_mask"].all()
    alone["labels"] = alone["input_ids"][:, :4]
    logits, attentions = eager_reference(model, alone)
    model.record_attention(1)
    output = model(alone)
    torch.testing.assert_close(output.attention, attentions[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(output.logits, logits, atol=1e-5, rtol=0)


def test_trains_in_bfloat16(model, batch):
    model.train()
    model.record_attention(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
    assert output.attention.dtype == torch.float32
    torch.testing.assert_close(output.attention.sum(-1), torch.ones(output.attention.shape[:-1]))
    (output.logits.float().square().mean() + output.attention.square().mean()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def loss_and_gradients(model, batch, *, implementation):
    """The loss's value and every parameter's gradient."""
    twin = copy.deepcopy(model)
    for module in twin.network.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = implementation
    loss = twin(batch).logits.logsumexp(-1).square().mean()
    loss.backward()
    return loss, {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}


def test_training_equals_sdpa(model, batch):
    model.eval()  # no dropout
    loss, gradients = loss_and_gradients(model, batch, implementation=attention.ATTENTION)
    expected_loss, expected = loss_and_gradients(model, batch, implementation="sdpa")
    torch.testing.assert_close(loss, expected_loss)
    assert gradients.keys() == expected.keys()
    torch.testing.assert_close(gradients, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("dropout", "trained", "causal", "explicit"),
    [
        (0.0, False, False, False),
        (0.1, False, False, True),
        (0.0, True, False, True),
        (0.1, True, True, False),
    ],
)
def test_written_out_only_where_sdpa_is_not_fused(dropout, trained, causal, explicit, monkeypatch):
    calls = []
    written_out = attention.compact_attention
    monkeypatch.setattr(
        attention,
        "compact_attention",
        lambda *args, **kwargs: calls.append(1) or written_out(*args, **kwargs),
    )
    query, key, value = torch.randn(3, 2, 2, 3, 4).unbind()
    module = nn.Identity()
    module.is_causal = causal
    bias = torch.randn(1, 2, 3, 3, requires_grad=trained)
    _, weights = attention.attend(module, query, key, value, None, dropout, position_bias=bias)
    assert weights is None
    assert len(calls) == explicit
