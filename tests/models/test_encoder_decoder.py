from __future__ import annotations

import copy
import warnings

import pytest
import torch
from transformers import T5ForConditionalGeneration

from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.generation import shift_right
from codeft.types import CodeftError

VOCAB, WIDTH = 420, 32
DIMENSIONS = {
    "vocab_size": 600,
    "d_model": 16,
    "d_kv": 4,
    "num_heads": 4,
    "num_layers": 2,
    "num_decoder_layers": 1,
}


def one(batch, i):
    """The i-th example alone, without its padding."""
    length = int(batch["attention_mask"][i].sum())
    return {key: batch[key][i : i + 1, :length] for key in ("input_ids", "attention_mask")}


# Every family:


def test_generate_batched_equals_one_at_a_time(model, batch):
    for num_beams in (1, 4):
        together = model.generate(batch, max_length=7, num_beams=num_beams)
        pad = model.tokenizer.pad_token_id
        for i in range(3):
            alone = model.generate(one(batch, i), max_length=7, num_beams=num_beams)[0]
            row = together[i, : len(alone)]
            assert torch.equal(row, alone), (num_beams, i)
            assert together[i, len(alone) :].eq(pad).all()


@torch.no_grad()
def test_greedy_search_with_cache_follows_forward(model, batch, held):
    """Each generated id is the argmax of `forward` given its predecessors, so that training fits decoding."""
    ids = model.generate(batch, max_length=8, num_beams=1)
    labels = torch.cat([torch.tensor(held).expand(3, len(held)), ids], dim=1).long()
    predicted = model({**batch, "labels": labels}).logits.argmax(-1)[:, len(held) :]
    ended = (ids == model.tokenizer.eos_token_id).cumsum(1) - (ids == model.tokenizer.eos_token_id).long() > 0
    assert torch.equal(predicted[~ended], ids[~ended])


@torch.no_grad()
def test_beams_find_what_is_at_least_as_likely_as_greedy(model, batch, held):
    def mean_log_probability(row):
        row = row[row != model.tokenizer.pad_token_id]
        labels = torch.cat([torch.tensor(held), row]).long()[None]
        logits = model({**one(batch, 1), "labels": labels}).logits.log_softmax(-1)
        return logits[0, torch.arange(labels.shape[1]), labels[0]][len(held) :].mean()

    greedy, beams = (model.generate(one(batch, 1), max_length=6, num_beams=n)[0] for n in (1, 20))
    assert mean_log_probability(beams) >= mean_log_probability(greedy) - 1e-6


def test_generate_is_silent_and_makes_no_gradient(model, batch, caplog, recwarn):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ids = model.generate(batch, max_length=5, num_beams=3)
    assert ids.shape[0] == 3 and ids.shape[1] <= 5 and not ids.requires_grad
    assert not caplog.records
    assert all(isinstance(text, str) for text in model.tokenizer.batch_decode(ids, skip_special_tokens=True))


def test_the_source_is_read_once_not_once_a_beam(model, batch):
    shapes = []
    model.blocks()[0].register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape[:2])))
    model.generate(batch, max_length=6, num_beams=3)
    assert [shape for shape in shapes if shape[1] > 1] == [tuple(batch["input_ids"].shape)]


@torch.no_grad()
def test_padding_changes_nothing(model, batch):
    padded = model(batch).logits
    for i in range(3):
        labels = batch["labels"][i : i + 1]
        alone = model({**one(batch, i), "labels": labels[:, : int((labels != -100).sum())]}).logits
        torch.testing.assert_close(padded[i : i + 1, : alone.shape[1]], alone, atol=1e-5, rtol=1e-5)


def test_forward_leaves_the_batch_alone(model, batch):
    before = {key: value.clone() for key, value in batch.items()}
    output = model(batch)
    assert output.logits.shape == (*batch["labels"].shape, model.vocab_size)
    assert all(torch.equal(batch[key], before[key]) for key in before)


def test_without_labels_only_the_encoder_runs(model, batch):
    model.record_attention(0)
    output = model(one(batch, 0))
    assert output.logits is None and output.attention is not None


def test_state_dict_round_trip(model, batch):
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(batch).logits, model(batch).logits, atol=0, rtol=0)


def test_untied_state_dict_round_trip(model, batch):
    model.untie_output()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin(batch).logits, model(batch).logits, atol=0, rtol=0)


def test_untying_changes_no_output_and_frees_the_decoder(model, batch):
    before = model(batch).logits
    for module in model.embeddings():
        module.requires_grad_(False)
    assert not model.network.get_output_embeddings().weight.requires_grad
    model.untie_output()
    assert model.network.get_output_embeddings().weight.requires_grad
    torch.testing.assert_close(model(batch).logits, before, atol=1e-6, rtol=1e-6)
    model(batch).logits.sum().backward()
    assert all(p.grad is None for module in model.embeddings() for p in module.parameters())
    assert model.network.get_output_embeddings().weight.grad is not None


def test_every_trainable_parameter_gets_a_gradient(model, batch):
    model(batch).logits.square().sum().backward()
    assert [name for name, p in model.trainable_parameters() if p.grad is None] == []


def test_begins_in_training_mode(family, model, folder):
    assert all(module.training for module in type(model)(weights=str(folder)).modules())


def test_parts_are_disjoint(model):
    parts = [
        {id(p) for module in group for p in module.parameters()}
        for group in (model.embeddings(), model.blocks(), model.decoder_blocks())
    ]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert len(model.blocks()) == 3


# T5 alone:


@pytest.fixture
def t5(t5_folder):
    return EncoderDecoderModel(weights=str(t5_folder))


@torch.no_grad()
def test_equals_transformers_own_teacher_forcing(t5, t5_folder):
    t5.eval()
    reference = T5ForConditionalGeneration.from_pretrained(t5_folder)
    reference.config.decoder_start_token_id = 0
    ids = t5.tokenizer(["return width", "x"], padding=True, return_tensors="pt")
    labels = ids["input_ids"].masked_fill(ids["attention_mask"] == 0, -100)
    expected = reference(**ids, labels=labels)
    logits = t5({**ids, "labels": labels}).logits
    torch.testing.assert_close(logits, expected.logits)


def test_tied_weights_count_once(t5):
    unique = {id(p): p.numel() for p in t5.parameters()}
    total, trainable = t5.num_parameters()
    assert total == trainable == sum(unique.values())
    t5.untie_output()
    assert t5.num_parameters() == (total + 2 * VOCAB * WIDTH,) * 2


def test_freezing_the_embeddings_freezes_what_is_tied(t5):
    total, _ = t5.num_parameters()
    for module in t5.embeddings():
        module.requires_grad_(False)
    assert t5.num_parameters() == (total, total - VOCAB * WIDTH)
    t5.untie_output()
    assert t5.num_parameters()[1] == total + VOCAB * WIDTH


def test_relative_bias_sits_in_block_0(t5):
    with_bias = [any("relative" in n for n, _ in block.named_parameters()) for block in t5.blocks()]
    assert with_bias == [True, False, False]
    assert len(t5.decoder_blocks()) == 2


def test_dropout_overrides_the_checkpoint(t5_folder):
    model = EncoderDecoderModel(weights=str(t5_folder), dropout=0.37)
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.37}
    assert model.blocks()[0].layer[0].SelfAttention.dropout == 0.37


def test_random_weights_follow_the_seed_and_the_architecture(t5_folder):
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(
            EncoderDecoderModel(weights="random", architecture=DIMENSIONS, tokenizer=str(t5_folder))
        )
    first, same, other = (torch.cat([p.flatten() for p in m.parameters()]) for m in models)
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert models[0].vocab_size == 600 and len(models[0].tokenizer) == VOCAB
    assert len(models[0].blocks()) == 2 and len(models[0].decoder_blocks()) == 1


def test_a_step_lowers_the_loss(t5):
    ids = t5.tokenizer(["return width * height"], return_tensors="pt")
    batch = {**ids, "labels": ids["input_ids"]}
    t5.eval()
    optimizer = torch.optim.SGD(t5.parameters(), lr=0.01)

    def loss():
        logits = t5(batch).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())

    before = loss()
    before.backward()
    optimizer.step()
    assert loss() < before


def test_unknown_dimension_is_an_error(t5_folder):
    with pytest.raises(CodeftError, match=r"architecture has hidden_dims, which T5Config"):
        EncoderDecoderModel(weights="random", architecture={"hidden_dims": 3}, tokenizer=str(t5_folder))


def test_wrong_type_in_architecture_is_an_error(t5_folder):
    with pytest.raises(CodeftError, match=r"architecture: d_model must be a whole number .* not 'wide'"):
        EncoderDecoderModel(weights="random", architecture={"d_model": "wide"}, tokenizer=str(t5_folder))


def test_shift_right_pads_after_inner_gaps():
    labels = torch.tensor([[5, -100, 6, 1]])
    assert shift_right(labels, start_id=9, pad_id=3).tolist() == [[9, 5, 3, 6]]
