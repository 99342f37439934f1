"""Hidden states of all layers against transformers' own, on tiny random networks of each family."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    PLBartModel,
    RobertaModel,
    T5EncoderModel,
)

from codeft import hidden_states
from codeft.data.collate import pad
from codeft.hidden_states import (
    evaluating,
    pooled_and_chosen_states,
    pooled_states,
    read_layers,
)
from codeft.models.bart import BartModel
from codeft.models.causal import CausalModel
from codeft.models.encoder import EncoderModel
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.prefix_lm import PrefixLMModel
from codeft.models.tokenizer import train_tokenizer
from codeft.types import CodeftError

SNIPPETS = [f"def area_{i}(width, height):\n    return width * height\n" for i in range(50)]
SOURCES = ["return width", "def area(width):\n    return width", "x", "if width:\n    return None"]


@pytest.fixture(scope="module")
def causal_folder(tmp_path_factory):
    """A GPT-2 of 3 layers."""
    folder = tmp_path_factory.mktemp("gpt2")
    train_tokenizer(iter(SNIPPETS), vocab_size=420).save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=420, n_embd=32, n_layer=3, n_head=4, n_positions=64, initializer_range=0.3,
        bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def encode(model):
    return [np.array(row) for row in model.tokenizer(SOURCES)["input_ids"]]


def make_batch(model):
    ids = encode(model)
    mask = pad([np.ones(len(row), dtype=np.int64) for row in ids], value=0)
    return {"input_ids": pad(ids, value=model.tokenizer.pad_token_id), "attention_mask": mask}


def check(found, expected, mask, *, final=None):
    """Compare all layers; `final` is the norm that transformers applies to the last one."""
    assert len(found) == len(expected) == 4
    if final is not None:
        found = [*found[:-1], final(found[-1])]
    real = mask.bool()
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own[real], other[real], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_roberta_s_layers_are_transformers_own(roberta_folder):
    model = EncoderModel(weights=str(roberta_folder), num_decoder_layers=2).eval()
    batch = make_batch(model)
    reference = RobertaModel.from_pretrained(roberta_folder).eval()
    check(
        read_layers(model, batch),
        reference(**batch, output_hidden_states=True).hidden_states,
        batch["attention_mask"],
    )


@torch.no_grad()
@pytest.mark.parametrize("mode", ["encoder-only", "encoder-decoder"])
def test_unixcoder_s_layers_are_transformers_own(unixcoder_folder, mode):
    """A source that sees itself whole is read alike in both modes."""
    output = "embedding" if mode == "encoder-only" else "text"
    model = PrefixLMModel(weights=str(unixcoder_folder), mode=mode, output=output).eval()
    batch = make_batch(model)
    reference = RobertaModel.from_pretrained(unixcoder_folder).eval()
    check(
        read_layers(model, batch),
        reference(**batch, output_hidden_states=True).hidden_states,
        batch["attention_mask"],
    )


@torch.no_grad()
def test_t5_s_layers_are_transformers_own_before_the_last_norm(t5_folder):
    model = EncoderDecoderModel(weights=str(t5_folder)).eval()
    batch = make_batch(model)
    reference = T5EncoderModel.from_pretrained(t5_folder).eval()
    check(
        read_layers(model, batch),
        reference(**batch, output_hidden_states=True).hidden_states,
        batch["attention_mask"],
        final=reference.encoder.final_layer_norm,
    )


@torch.no_grad()
def test_bart_s_layers_are_transformers_own(plbart_folder):
    model = BartModel(weights=str(plbart_folder)).eval()
    batch = make_batch(model)
    encoder = PLBartModel.from_pretrained(plbart_folder).eval().encoder
    check(
        read_layers(model, batch),
        encoder(**batch, output_hidden_states=True).hidden_states,
        batch["attention_mask"],
    )


@torch.no_grad()
def test_a_causal_model_s_layers_are_transformers_own_before_the_last_norm(causal_folder):
    model = CausalModel(weights=str(causal_folder)).eval()
    batch = make_batch(model)
    reference = AutoModelForCausalLM.from_pretrained(causal_folder).eval()
    check(
        read_layers(model, batch),
        reference(**batch, output_hidden_states=True).hidden_states,
        batch["attention_mask"],
        final=reference.transformer.ln_f,
    )


def test_pooled_states_are_those_of_each_text_alone(model):
    """Of every family: neither neighbours nor padding count, and the model stays as it was."""
    model.train()
    ids = encode(model)
    found = pooled_states(model, ids, batch_size=3)
    assert found.shape[:2] == (len(model.blocks()) + 1, len(SOURCES)) and found.dtype == np.float32
    assert model.training and all(module.training for module in model.modules())
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in model.blocks())
    with evaluating(model):
        for row, text in enumerate(ids):
            one = {"input_ids": torch.tensor([text.tolist()]), "attention_mask": torch.ones(1, len(text))}
            one["attention_mask"] = one["attention_mask"].long()
            alone = [states[0].mean(dim=0).numpy() for states in read_layers(model, one)]
            np.testing.assert_allclose(found[:, row], alone, atol=2e-5, rtol=1e-4)


def test_reference_pooling_reads_the_padding(model):
    ids = encode(model)
    found = pooled_states(model, ids, pooling="reference", pad_to=40)
    batch = make_batch(model)
    missing = 40 - batch["input_ids"].shape[1]
    pad_id = model.tokenizer.pad_token_id
    batch["input_ids"] = torch.nn.functional.pad(batch["input_ids"], (0, missing), value=pad_id)
    batch["attention_mask"] = torch.nn.functional.pad(batch["attention_mask"], (0, missing))
    with evaluating(model):
        expected = [states.mean(dim=1).numpy() for states in read_layers(model, batch)]
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)
    assert not np.allclose(found, pooled_states(model, ids, pad_to=40), atol=1e-3)


def test_states_of_chosen_sub_tokens(model, tmp_path, monkeypatch):
    """Also where they are spilled to a file, given or temporary."""
    ids = encode(model)
    positions = [np.arange(len(text))[::-1][:k] for text, k in zip(ids, (1, 3, 0, 2), strict=True)]
    found = pooled_and_chosen_states(model, ids, positions, batch_size=2)[1]
    assert found.shape[1] == 6
    batch = make_batch(model)
    with evaluating(model):
        layers = [states.numpy() for states in read_layers(model, batch)]
    expected = [[layer[row, at] for row in range(4) for at in positions[row]] for layer in layers]
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)
    monkeypatch.setattr(hidden_states, "_IN_MEMORY", 0)
    for folder in (None, tmp_path):
        spilled = pooled_and_chosen_states(model, ids, positions, batch_size=2, folder=folder)[1]
        assert isinstance(spilled, np.memmap)
        np.testing.assert_array_equal(spilled, found)
    assert np.load(tmp_path / "states.npy").shape == found.shape


def test_pooled_and_chosen_states_come_from_one_pass(model, monkeypatch):
    ids = encode(model)
    positions = [np.arange(len(text))[:k] for text, k in zip(ids, (0, 3, 1, 2), strict=True)]
    expected = pooled_states(model, ids, batch_size=2)
    passes = []
    visit = hidden_states.visit_layers
    monkeypatch.setattr(
        hidden_states, "visit_layers", lambda *args: (passes.append(len(args[1]["input_ids"])), visit(*args))
    )
    pooled, _ = pooled_and_chosen_states(model, ids, positions, batch_size=2)
    assert sum(passes) == len(ids)
    np.testing.assert_array_equal(pooled, expected)


def test_a_head_for_pairs_reads_any_number_of_texts(unixcoder_folder):
    model = PrefixLMModel(weights=str(unixcoder_folder), mode="encoder-only", output="label", num_texts=2)
    assert pooled_states(model, encode(model)[:3], batch_size=1).shape[:2] == (4, 3)


def test_what_can_t_be_read(model):
    with pytest.raises(CodeftError, match="got none"):
        pooled_states(model, [])
    with pytest.raises(CodeftError, match="pooling=mean or reference, got 'max'"):
        pooled_states(model, encode(model), pooling="max")
    with pytest.raises(CodeftError, match="sub-tokens to look at"):
        pooled_and_chosen_states(model, encode(model), [np.array([], dtype=int)] * len(SOURCES))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere files can't be reserved")
def test_room_is_reserved(tmp_path, monkeypatch):
    """Two maps may each have room and together none; one that finds none later ends the program."""
    monkeypatch.setattr(hidden_states, "_IN_MEMORY", 0)
    found = hidden_states._allocate((2, 300, 700), folder=tmp_path, name="states.npy")
    assert (tmp_path / "states.npy").stat().st_blocks * 512 >= found.nbytes


def test_a_disk_without_room(model, tmp_path, monkeypatch):
    monkeypatch.setattr(hidden_states, "_IN_MEMORY", 0)
    monkeypatch.setattr(hidden_states.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(CodeftError, match="TMPDIR"):
        pooled_states(model, encode(model))
    with pytest.raises(CodeftError, match="name another folder"):
        pooled_states(model, encode(model), folder=tmp_path)
