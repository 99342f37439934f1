"""GraphCodeBERT's input, worked by hand, and what it changes in a model."""

from __future__ import annotations

import itertools

import pytest
import torch

from codeft.data.collate import Collator, Item
from codeft.data.data_flow_feature import DataFlowFeature
from codeft.data.datamodule import compute_features
from codeft.data.sources import CodeXGLUEReader
from codeft.models.data_flow import append_variables
from codeft.models.encoder import EncoderModel
from codeft.tasks.clone_detection import ClonePairsTask
from codeft.types import Encoding, Example

TARGETS = ["the sum", "x"]


@pytest.fixture(params=["text", "label", "embedding"])
def output(request):
    return request.param


@pytest.fixture
def build(roberta_folder):
    def of(output="text"):
        torch.manual_seed(5)
        return EncoderModel(weights=str(roberta_folder), num_decoder_layers=1, output=output).eval()

    return of


def make_batch(model, sources, *, flow=True, length=None):
    """A batch of Python sources with their data flow."""
    feature, items = DataFlowFeature(), []
    for i, source in enumerate(sources):
        found = model.tokenizer(source, return_offsets_mapping=True)
        special = model.tokenizer.get_special_tokens_mask(found["input_ids"], already_has_special_tokens=True)
        offsets = torch.tensor(found["offset_mapping"], dtype=torch.int32).reshape(-1, 2)
        offsets[torch.tensor(special).bool()] = -1
        labels = torch.tensor(model.tokenizer(TARGETS[i % 2])["input_ids"]).numpy()
        encoding = Encoding(torch.tensor(found["input_ids"]).numpy(), offsets.numpy(), labels)
        arrays = feature.compute(Example(str(i), source, lang="python"), encoding)
        items.append(Item(i, encoding, [{"flow": arrays}]))
    pad_to = None if length is None else (length, 10)
    return Collator(model.tokenizer.pad_token_id, {"flow": feature} if flow else {}, pad_to)(items)


def test_positions_embeddings_and_mask_by_hand():
    """`<s> a = b + c </s>` and one sub-token of padding; nodes a, b and one of padding; a comes from b.

    b has two sub-tokens here, 3 and 4, so that its node begins as their mean.
    """
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0]])
    batch = {
        "attention_mask": mask,
        "flow_start": torch.tensor([[1, 3, -1]]),
        "flow_end": torch.tensor([[2, 5, -1]]),
        "flow_target": torch.tensor([[0, -1]]),
        "flow_source": torch.tensor([[1, -1]]),
    }
    embedded = torch.tensor([[[0.0], [1.0], [2.0], [3.0], [5.0], [6.0], [7.0]]])
    special = torch.tensor([[True, False, False, False, False, True, False]])
    flow = append_variables(embedded, batch, special=special, pad_id=1)
    assert flow.position_ids.tolist() == [[2, 3, 4, 5, 6, 7, 1, 0, 0, 1]]
    assert flow.embeddings[0, 7:, 0].tolist() == [1.0, 4.0, 0.0]
    assert flow.real.tolist() == [[1, 1, 1, 1, 1, 1, 0, 1, 1, 0]]
    seen = ["".join(str(int(at == 0)) for at in row) for row in flow.attention_mask[0, 0]]
    assert seen == [
        "1111110110",  # <s> sees all
        "1111110100",  # a sees its node
        "1111110000",
        "1111110010",  # b's two sub-tokens see its node
        "1111110010",
        "1111110110",  # </s> sees all
        "1000000000",  # padding: something, or its softmax would be no number
        "0100000010",  # a's node: its sub-token, and the node of b
        "0001100000",  # b's node: its sub-tokens, not itself
        "1000000000",
    ]
    assert flow.attention_mask.shape == (1, 1, 10, 10) and flow.attention_mask.dtype == torch.float32


def result(model, batch):
    output = model(batch)
    return output.logits if output.embedding is None else output.embedding


@torch.no_grad()
def test_off_equals_plain(build, output):
    """Without the keys in the batch, and with a graph that has no nodes, the model is what it was."""
    model = build(output)
    plain = make_batch(model, ["return None", "1"], flow=False)
    assert "flow_start" not in plain
    empty = make_batch(model, ["return None", "1"])
    assert empty["flow_start"].lt(0).all()
    torch.testing.assert_close(result(model, empty), result(model, plain), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_variables_count(build, output):
    model = build(output)
    sources = ["def f(width):\n    height = width\n    return height", "x = y + x"]
    with_flow, plain = make_batch(model, sources), make_batch(model, sources, flow=False)
    assert not torch.allclose(result(model, with_flow), result(model, plain), atol=1e-3)


@torch.no_grad()
def test_neither_padding_nor_batch_mates_count(build, output):
    model = build(output)
    sources = ["def f(width):\n    height = width\n    return height", "x = y + x", "1"]
    whole = make_batch(model, sources, length=50)
    together = result(model, whole)
    for i, source in enumerate(sources):
        alone = make_batch(model, [source]) | {"labels": whole["labels"][i : i + 1]}
        torch.testing.assert_close(result(model, alone), together[i : i + 1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_decoding_follows_forward(build):
    model = build()
    batch = make_batch(model, ["def f(width):\n    height = width\n    return height", "x = y + x"])
    held = model.tokenizer("")["input_ids"][:-1]
    for num_beams in (1, 3):
        ids = model.generate(batch, max_length=6, num_beams=num_beams)
        assert ids.shape[0] == 2
    ids = model.generate(batch, max_length=6, num_beams=1)
    labels = torch.cat([torch.tensor(held).expand(2, len(held)), ids], dim=1).long()
    predicted = model({**batch, "labels": labels}).logits.argmax(-1)[:, len(held) :]
    over = (ids == model.tokenizer.eos_token_id).cumsum(1) - (ids == model.tokenizer.eos_token_id).long() > 0
    assert torch.equal(predicted[~over], ids[~over])


@pytest.mark.parametrize("training", [False, True])
def test_attention_is_restricted_to_the_source(build, output, training):
    """As SAT takes it; the explicit layer sees what the others do."""
    model = build(output).train(training)
    batch = make_batch(model, ["def f(width):\n    height = width\n    return height", "x = y + x"])
    expected = result(model.eval(), batch)
    model.train(training).record_attention(0)
    attention = model(batch).attention
    length = batch["input_ids"].shape[1]
    assert attention.shape[-2:] == (length, length)
    assert attention.sum(-1).max() < 1 + 1e-5
    torch.testing.assert_close(result(model.eval(), batch), expected, atol=1e-5, rtol=1e-4)
    special = batch["input_ids"] == model.tokenizer.bos_token_id
    rows = attention.mean(1).sum(-1)
    assert (rows[special] < 1).all()  # <s> looks at variables, too


def test_gradients_are_finite_everywhere(build, output):
    model = build(output).train()
    batch = make_batch(model, ["def f(width):\n    height = width\n    return height", "1"], length=45)
    with torch.autocast("cpu", torch.bfloat16):
        found = result(model, batch)
    found.float().clamp_min(-100).square().sum().backward()
    trained = {name: p.grad for name, p in model.trainable_parameters()}
    assert all(grad is not None and grad.isfinite().all() for grad in trained.values())


@pytest.mark.slow
@torch.no_grad()
def test_a_real_model_that_learned_with_data_flow_is_better_with_it(shared_data):
    """Compressor's GraphCodeBERT on pairs of BigCloneBench; of the first 1,000, 92.4 % against 89.9 %."""
    models = shared_data / "models"
    model = EncoderModel(
        weights=str(models / "tiny_codebert_bcb_hf"),
        checkpoint=str(models / "compressor_graphcodebert_clone_3mb"),
        output="label",
        num_texts=2,
    ).eval()
    reader, task = CodeXGLUEReader(dir=shared_data / "clone" / "bigclonebench"), ClonePairsTask()
    rows = itertools.islice(reader.rows("test", task="clone_detection", lang=None), 64)
    pairs = [task.read(row.fields, where=row.where, input="code", labelled=True) for row in rows]
    feature, losses = DataFlowFeature(max_nodes=128), {}
    for features in ({}, {"flow": feature}):
        collate, found = Collator(model.tokenizer.pad_token_id, features), []
        for start in range(0, len(pairs), 16):
            part = pairs[start : start + 16]
            encoded = zip(part, task.encode(part, model.tokenizer), strict=True)
            batch = collate(
                [Item(i, e, compute_features(features, pair, e)) for i, (pair, e) in enumerate(encoded)]
            )
            found.append(task.loss(model(batch), batch))
        losses[len(features)] = torch.stack(found).mean()
    assert losses[1] < losses[0]
