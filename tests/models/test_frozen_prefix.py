"""What starts at the first trainable layer equals what runs whole: outputs, gradients, decoded text."""

from __future__ import annotations

import pytest
import torch

from codeft.callbacks.prefix_cache import count_frozen
from codeft.models.causal import CausalModel
from codeft.models.frozen_prefix import FrozenPrefix
from codeft.prefix_states import MemoryStates

LAYERS = 3


@pytest.fixture(params=["text", "embedding", "label"])
def frozen(request, family, families, folder):
    """A model of each family for each output."""
    torch.manual_seed(1)
    extra = {"num_decoder_layers": 2} if family == "roberta" else {}
    if family == "ast_t5" and request.param != "text":
        pytest.skip("as PLBART")
    return families[family](weights=str(folder), output=request.param, **extra).eval()


def freeze(model, k):
    for module in [*model.embeddings(), *model.blocks()[:k]]:
        module.requires_grad_(False)
    assert count_frozen(model) == k


def keep(model, k):
    states = MemoryStates(dtype=torch.float32, limit=10**9)
    model.frozen_prefix = FrozenPrefix(model.blocks()[:k], pass_on=model.pass_on, states=states)
    return model.frozen_prefix


def loss_and_gradients(model, batch):
    model.zero_grad()
    output = model(batch)
    value = output.logits if output.logits is not None else output.embedding
    value = value[batch["labels"] >= 0] if "labels" in batch else value  # what padding gives is nobody's
    loss = value.float().square().mean()
    loss.backward()
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def without_labels(batch):
    return {name: value for name, value in batch.items() if name != "labels"}


@pytest.mark.parametrize("k", [1, 2, LAYERS])
def test_outputs_and_gradients_are_those_of_the_whole_model(frozen, batch, k):
    batch = batch if frozen.output == "text" else without_labels(batch)
    freeze(frozen, k)
    if not any(True for _ in frozen.trainable_parameters()):
        pytest.skip("nothing trains")
    expected = loss_and_gradients(frozen, batch)
    prefix = keep(frozen, k)
    for _ in range(2):  # computed, then found
        loss, gradients = loss_and_gradients(frozen, batch)
        torch.testing.assert_close(loss, expected[0], rtol=1e-5, atol=1e-7)
        assert gradients.keys() == expected[1].keys()
        torch.testing.assert_close(gradients, expected[1], rtol=1e-4, atol=1e-6)
    assert (prefix.num_computed, prefix.num_found) == (3, 3)
    assert prefix.seconds > 0


def test_frozen_blocks_dont_run_again(model, batch):
    freeze(model, 2)
    keep(model, 2)
    model(batch)
    calls = []
    for block in model.blocks()[:2]:
        for inner in block.children():
            inner.register_forward_hook(lambda *_: calls.append(1))
    model(batch)
    assert not calls


def test_text_is_decoded_as_by_the_whole_model(model, batch):
    expected = model.generate(without_labels(batch), max_length=6, num_beams=3)
    freeze(model, 2)
    keep(model, 2)
    for _ in range(2):
        assert torch.equal(model.generate(without_labels(batch), max_length=6, num_beams=3), expected)


def test_attention_is_recorded_above_the_frozen_layers(model, batch):
    freeze(model, 2)
    model.record_attention(2)
    mask = batch["attention_mask"].bool()
    real = mask[:, None, :, None] & mask[:, None, None, :]
    expected = model(batch).attention * real
    keep(model, 2)
    for _ in range(2):
        torch.testing.assert_close(model(batch).attention * real, expected)


def test_a_row_is_found_in_another_batch_with_other_padding(model, batch):
    freeze(model, 1)
    prefix = keep(model, 1)
    rows = without_labels(batch) if model.shares_positions else batch
    model(rows)
    length = int(rows["attention_mask"][2].sum())
    alone = {name: value[2:] for name, value in rows.items()}
    alone |= {name: alone[name][:, :length] for name in ("input_ids", "attention_mask")}
    if "labels" in alone:
        alone["labels"] = alone["labels"][:, : int((alone["labels"] >= 0).sum())]
    found = model(alone)
    assert prefix.num_found == 1
    model.frozen_prefix = None
    if found.logits is not None:
        torch.testing.assert_close(found.logits, model(alone).logits, rtol=1e-4, atol=1e-5)


def test_a_text_that_occurs_twice_in_a_batch_is_computed_once(model, batch):
    freeze(model, 1)
    prefix = keep(model, 1)
    twice = {name: torch.cat([value, value]) for name, value in batch.items()}
    expected = model(batch).logits
    assert prefix.num_computed == 3
    torch.testing.assert_close(model(twice).logits, torch.cat([expected, expected]))
    assert prefix.num_computed == 3


def test_where_nothing_can_be_kept_it_is_computed_each_time(model, batch):
    freeze(model, 1)
    real = batch["labels"] >= 0
    expected = model(batch).logits[real]
    states = MemoryStates(dtype=torch.float32, limit=0)
    model.frozen_prefix = FrozenPrefix(model.blocks()[:1], pass_on=model.pass_on, states=states)
    for _ in range(2):
        torch.testing.assert_close(model(batch).logits[real], expected)
    assert model.frozen_prefix.num_computed == 6


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "starcoder2", "qwen2"])
def test_decoder_only(model_type, tiny_tokenizer):
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    sizes = {**sizes, "num_key_value_heads": 2, "max_position_embeddings": 64}
    if model_type == "gpt2":
        sizes = {"n_layer": 3, "n_embd": 32, "n_head": 4, "n_positions": 64}
    model = CausalModel(weights="random", architecture={"model_type": model_type, "vocab_size": 400, **sizes},
                        tokenizer=str(tiny_tokenizer)).eval()  # fmt: skip
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 2, 0]])
    labels = torch.tensor([[11, 12, 2], [13, 2, -100]])
    batch = {"input_ids": ids, "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]), "labels": labels}
    freeze(model, 2)
    expected = loss_and_gradients(model, batch)
    keep(model, 2)
    for _ in range(2):
        loss, gradients = loss_and_gradients(model, batch)
        torch.testing.assert_close(loss, expected[0], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(gradients, expected[1], rtol=1e-4, atol=1e-6)


def test_nothing_counts_as_frozen_above_trainable_embeddings(model):
    for block in model.blocks():
        block.requires_grad_(False)
    assert count_frozen(model) == 0
