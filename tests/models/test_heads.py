"""Labels and vectors read off an encoder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from codeft.models.heads import ClassificationHead, pool


@pytest.fixture
def build(model, folder):
    def of(**settings):
        torch.manual_seed(2)
        return type(model)(weights=str(folder), **settings).eval()

    return of


def test_pooling_leaves_padding_out():
    hidden = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [7.0], [9.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert pool(hidden, mask, pooling="mean").tolist() == [[2.0], [7.0]]
    assert pool(hidden, mask, pooling="first").tolist() == [[1.0], [5.0]]


def test_the_head_puts_a_pair_side_by_side():
    head = ClassificationHead(3, num_texts=2, num_labels=2).eval()
    firsts, seconds = torch.randn(4, 3), torch.randn(4, 3)
    expected = [
        head.out_proj(head.dense(torch.cat([first, second])).tanh())
        for first, second in zip(firsts, seconds, strict=True)
    ]
    torch.testing.assert_close(head(torch.cat([firsts, seconds])), torch.stack(expected))


def test_vectors_are_means_of_hidden_states(build, batch):
    model = build(output="embedding")
    encoder = getattr(model.network, "encoder", None) if hasattr(model.network, "shared") else model.network
    hidden = encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    found = model(batch).embedding
    for vector, states, mask in zip(found, hidden, batch["attention_mask"].bool(), strict=True):
        torch.testing.assert_close(vector, states[mask].mean(0), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_vector_depends_neither_on_padding_nor_on_its_batch(build, batch):
    model = build(output="embedding")
    together = model(batch).embedding
    for i, mask in enumerate(batch["attention_mask"].bool()):
        alone = {"input_ids": batch["input_ids"][i][None, mask], "attention_mask": mask[None, mask].long()}
        torch.testing.assert_close(model(alone).embedding[0], together[i], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("output", ["label", "embedding"])
def test_there_is_no_decoder_and_the_encoder_is_the_checkpoints(build, output):
    model, whole = build(output=output), build()
    assert not model.decoder_blocks() and len(model.blocks()) == len(whole.blocks()) == 3
    head = 0 if model.head is None else sum(p.numel() for p in model.head.parameters())
    decoder = {id(p): p.numel() for block in whole.decoder_blocks() for p in block.parameters()}
    assert model.num_parameters()[0] - head <= whole.num_parameters()[0] - sum(decoder.values())
    for own, theirs in zip(model.blocks(), whole.blocks(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(own.parameters(), theirs.parameters(), strict=True))
    assert (model.head is not None) == (output == "label")


def test_labels_of_pairs_train_head_and_encoder(build, batch):
    model = build(output="label", num_texts=2).train()
    num_rows = len(batch["input_ids"]) // 2 * 2
    pairs = {key: batch[key][:num_rows] for key in ("input_ids", "attention_mask")}
    logits = model(pairs).logits
    assert logits.shape == (num_rows // 2, 2)
    nn.functional.cross_entropy(logits, torch.zeros(num_rows // 2, dtype=torch.long)).backward()
    assert model.head.dense.weight.grad.abs().sum() > 0
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.blocks()[0].parameters())


def test_attention_is_recorded_without_a_decoder_too(build, batch):
    model = build(output="embedding")
    model.record_attention(1)
    output = model(batch)
    length = batch["input_ids"].shape[1]
    assert output.attention.shape[-2:] == (length, length)
