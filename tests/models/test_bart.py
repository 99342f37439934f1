"""PLBART: transformers' own numbers, language tokens, positions."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn
from transformers import PLBartForConditionalGeneration

from codeft.models.bart import BartModel
from codeft.types import CodeftError

EOS, PYTHON, ENGLISH = 2, 302, 303


@pytest.fixture
def plbart(plbart_folder):
    return BartModel(weights=str(plbart_folder))


@pytest.fixture
def batch(plbart):
    """Sources and targets that end with their language's token."""
    sources = plbart.tokenizer(["return apple", "def find_door_1(door):"], padding=True, return_tensors="pt")
    rows = [plbart.tokenizer(text)["input_ids"] + [ENGLISH] for text in ("Find the", "door number 7.")]
    longest = max(map(len, rows))
    labels = torch.tensor([row + [-100] * (longest - len(row)) for row in rows])
    ids, mask = sources["input_ids"], sources["attention_mask"]
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": labels,
        "start_ids": torch.tensor([ENGLISH] * 2),
    }


@torch.no_grad()
def test_equals_transformers_own_teacher_forcing(plbart, plbart_folder, batch):
    plbart.eval()
    reference = PLBartForConditionalGeneration.from_pretrained(plbart_folder)
    expected = reference(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]
    )
    logits = plbart(batch).logits
    torch.testing.assert_close(logits, expected.logits, atol=2e-5, rtol=1e-5)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())
    torch.testing.assert_close(loss, expected.loss)


def test_generate_equals_transformers_own_and_begins_as_the_example_says(plbart, plbart_folder, batch):
    plbart.eval()
    reference = PLBartForConditionalGeneration.from_pretrained(plbart_folder).eval()
    batch["start_ids"] = torch.tensor([PYTHON, -1])
    found = plbart.generate(batch, max_length=9, num_beams=3)
    for i, start in enumerate((PYTHON, EOS)):
        real = batch["attention_mask"][i].bool()
        expected = reference.generate(
            batch["input_ids"][i][real][None],
            decoder_start_token_id=start,
            num_beams=3,
            max_new_tokens=9,
            early_stopping=True,
            forced_eos_token_id=None,
        )[0, 1:]
        assert torch.equal(found[i, : len(expected)], expected)
        assert found[i, len(expected) :].eq(1).all()


def test_without_a_language_the_decoder_begins_with_the_end(plbart, batch):
    seen = []
    plbart.network.model.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"][:, 0].tolist()), with_kwargs=True
    )
    plbart(batch)
    batch["start_ids"] = torch.tensor([PYTHON, -1])
    plbart(batch)
    del batch["start_ids"]
    plbart(batch)
    assert seen == [[ENGLISH, ENGLISH], [PYTHON, EOS], [EOS, EOS]]


def test_the_encoder_is_the_checkpoints_however_it_is_stored(plbart_folder, tmp_path):
    reference = PLBartForConditionalGeneration.from_pretrained(plbart_folder)
    shutil.copy(plbart_folder / "config.json", tmp_path)
    shutil.copy(plbart_folder / "sentencepiece.bpe.model", tmp_path)
    torch.save(reference.state_dict(), tmp_path / "pytorch_model.bin")
    bare = shutil.copytree(tmp_path, tmp_path / "bare")  # some copies were saved without the output layer
    torch.save(reference.model.state_dict(), bare / "pytorch_model.bin")
    for folder in (plbart_folder, tmp_path, bare):
        model = BartModel(weights=str(folder), output="embedding")
        expected = reference.model.encoder.state_dict()
        found = model.network.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_positions_limit_source_and_target(plbart):
    assert plbart.max_source_length == 64
    ids = torch.full((1, 64), 5)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    assert plbart(batch).logits.shape[:2] == (1, 64)
    longer = torch.full((1, 65), 5)
    with pytest.raises(CodeftError, match=r"64 positions, a source came with 65.*max_source_length"):
        plbart({**batch, "input_ids": longer, "attention_mask": torch.ones_like(longer)})
    with pytest.raises(CodeftError, match=r"a target came with 65.*max_target_length"):
        plbart({**batch, "labels": longer})
    with pytest.raises(CodeftError, match="a target came with 65"):
        plbart.generate(batch, max_length=65, num_beams=1)


def test_dropout_overrides_the_checkpoint(plbart_folder):
    model = BartModel(weights=str(plbart_folder), dropout=0.37)
    layer = model.blocks()[0]
    assert layer.dropout == layer.self_attn.dropout == 0.37
    assert model.embeddings()[2].dropout.p == 0.37


def test_the_dropout_of_frozen_embeddings_freezes_too(plbart, batch):
    def first_inputs():
        seen = []
        hook = plbart.blocks()[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        plbart(batch), plbart(batch)
        hook.remove()
        return seen

    assert not torch.equal(*first_inputs())
    for module in plbart.embeddings():
        module.eval()
    assert torch.equal(*first_inputs())


def test_freezing_the_embeddings_freezes_what_is_tied(plbart):
    total, _ = plbart.num_parameters()
    for module in plbart.embeddings():
        module.requires_grad_(False)
    encoders_own = 66 * 32 + 2 * 32
    assert plbart.num_parameters() == (total, total - 305 * 32 - encoders_own)
    plbart.untie_output()
    assert plbart.num_parameters()[1] == total - encoders_own + 305 * 32


def test_tokenizer_that_pads_otherwise_is_an_error(plbart_folder, t5_folder):
    with pytest.raises(CodeftError, match=r"ids go up to|pads with id"):
        BartModel(weights=str(plbart_folder), tokenizer=str(t5_folder))


def test_another_family_is_an_error(t5_folder):
    with pytest.raises(CodeftError, match="of type 't5', expected 'plbart'"):
        BartModel(weights=str(t5_folder))
