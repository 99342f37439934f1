from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5ForConditionalGeneration,
)

from codeft.models.networks import build_network, load_network, make_config
from codeft.models.sizes import Room, check_sizes, measure
from codeft.types import CodeftError
from published_configs import PUBLISHED


@pytest.fixture
def copied(t5_folder, tmp_path):
    return shutil.copytree(t5_folder, tmp_path / "copied")


def set_config(folder, **values):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def load_t5(folder):
    return load_network(T5ForConditionalGeneration, folder, overrides={}, essential="encoder.block.")


def refused(load, *arguments):
    """The error's text: of one line, and not long."""
    with pytest.raises(CodeftError) as caught:
        load(*arguments)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 1000
    return text


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_layers": 10**9}, "num_layers=1000000000 can't be, for the weights have"),
        ({"num_hidden_layers": 10**9, "num_layers": None}, "num_layers"),
        ({"num_layers": 2000}, "num_layers=2000 can't be, for the weights have 55 tensors"),
        ({"vocab_size": 10**12}, "vocab_size=1000000000000 can't be, for the weights have"),
        ({"d_ff": 10**15}, "d_ff=1000000000000000 can't be"),
        ({"d_ff": 10**40}, "d_ff=a number of more than 30 digits"),
        ({"d_ff": 20_000}, "describes a network of"),
        ({"d_ff": 65}, "wi.weight is (64, 32), not (65, 32)"),
        ({"num_heads": 0}, "num_heads must be a whole number of at least 1, not 0"),
        ({"num_layers": 0}, "num_layers must be a whole number of at least 1, not 0"),
        ({"num_layers": "three"}, "num_layers must be a whole number of at least 1, not 'three'"),
        ({"num_layers": ["x"] * 1000}, "num_layers must be a whole number"),
        ({"d_kv": -1}, "d_kv must be a whole number of at least 1, not -1"),
        ({"d_model": True}, "d_model must be a whole number of at least 1, not True"),
        ({"relative_attention_num_buckets": 2}, "must be a whole number of at least 4, not 2"),
        ({"relative_attention_max_distance": 16}, "must be more than half of"),
        ({"decoder_start_token_id": "x"}, "decoder_start_token_id must be a token's id, not 'x'"),
        ({"decoder_start_token_id": 420}, "decoder_start_token_id=420 is no id of a vocabulary of 420"),
        ({"dtype": "evil"}, "evil"),
        ({"dtype": ["a"]}, "can't read"),
        ({"id2label": 5}, "can't read"),
        ({"layer_norm_epsilon": "small"}, "layer_norm_epsilon"),
        ({"dropout_rate": 7}, "between 0 and 1, but got 7"),
    ],
)
def test_impossible_values_are_refused_before_a_network_is_built(copied, values, said):
    set_config(copied, **values)
    text = refused(load_t5, copied)
    assert said in text and str(copied / "config.json") in text


@pytest.mark.parametrize("text", ["[" * 200_000, "{", "[]", '{"a":' * 50_000, "\x00", ""])
def test_what_is_no_json_is_refused(copied, text):
    (copied / "config.json").write_text(text)
    assert str(copied / "config.json") in refused(load_t5, copied)


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_are_measured_too(copied, legacy):
    state = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    file = copied / "pytorch_model.bin"
    torch.save(state, file, _use_new_zipfile_serialization=not legacy)
    assert measure([file]).num_tensors == (1000 if legacy else len(state))
    assert not load_t5(copied)[1]
    set_config(copied, num_layers=5000)
    assert "num_layers=5000 can't be, for the weights have" in refused(load_t5, copied)


def test_positions_that_have_no_weights_are_free(tmp_path):
    config = Qwen2Config(
        vocab_size=90, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=10**7, max_window_layers=0,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    assert not load_network(Qwen2ForCausalLM, tmp_path, overrides={}, essential="model.layers.")[1]


def test_positions_that_have_weights_are_not(tmp_path):
    config = GPT2Config(vocab_size=90, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    set_config(tmp_path, n_positions=10**7)
    said = refused(lambda: load_network(GPT2LMHeadModel, tmp_path, overrides={}, essential="transformer.h."))
    assert "n_positions=10000000 can't be" in said


@pytest.mark.parametrize(
    ("network_class", "values", "said"),
    [
        (T5ForConditionalGeneration, {"num_layers": 0}, "num_layers must be a whole number of at least 1"),
        (T5ForConditionalGeneration, {"num_heads": 0}, "num_heads must be a whole number"),
        (GPT2LMHeadModel, {"n_head": 0}, "n_head must be"),
        (GPT2LMHeadModel, {"n_head": 5}, "divisible"),
        (GPT2LMHeadModel, {"n_layer": "x"}, "n_layer must be"),
        (
            Qwen2ForCausalLM,
            {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 3},
            "num_attention_heads=4 must be a multiple of num_key_value_heads=3",
        ),
        (
            Qwen2ForCausalLM,
            {"hidden_size": 36, "num_attention_heads": 4, "num_key_value_heads": 4, "rope_parameters": None},
            "a head's width must be an even number, not 9",
        ),
    ],
)
def test_impossible_random_architectures_are_refused(network_class, values, said):
    text = refused(build_network, network_class, values)
    assert said in text and "model.architecture" in text


def test_defaults_and_what_is_no_size_pass():
    check_sizes(
        {"num_decoder_layers": None, "pad_token_id": 0, "dropout_rate": 0, "max_window_layers": 0},
        source="config.json",
    )


FURTHER = {
    "pruned_heads": {}, "no_rope_layers": [1, 1, 0], "num_kv_heads": [4, 4], "use_absolute_positions": True,
    "num_nextn_predict_layers": 0, "moe_layers": "4,5", "first_attention_heads": None, "mtp_head_dim": 0,
}  # fmt: skip
"""What configs say that is no size of the families here, though it reads like one."""


@pytest.mark.parametrize("further", [{}, FURTHER], ids=["as published", "with more"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_pass(monkeypatch, tmp_path, name, further):
    network_class, published = PUBLISHED[name]
    (tmp_path / "model.safetensors").touch()
    monkeypatch.setattr("codeft.models.networks.measure", lambda files: Room(2**40, 10_000))
    settings = make_config(network_class, {**published, **further}, folder=tmp_path, overrides={})
    assert settings.vocab_size == published["vocab_size"]


@pytest.mark.parametrize(
    ("name", "values"),
    [("plbart", {"decoder_layers": 0}), ("codet5", {"num_decoder_layers": 0})],
)
def test_a_decoder_may_have_no_layers(tmp_path, name, values):
    network_class, published = PUBLISHED[name]
    make_config(network_class, {**published, **values}, folder=tmp_path, overrides={})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("codebert", {"max_position_embeddings": 0}),
        ("codebert", {"num_hidden_layers": 0}),
        ("unixcoder", {"type_vocab_size": 0}),
        ("plbart", {"decoder_layers": -1}),
        ("plbart", {"encoder_ffn_dim": 0}),
        ("codegpt", {"n_head": True}),
        ("gpt2, old", {"n_inner": 0}),
        ("qwen2.5-coder", {"num_key_value_heads": 0}),
        ("deepseek-coder", {"head_dim": -64}),
    ],
)
def test_a_familys_own_sizes_are_checked(tmp_path, name, values):
    network_class, published = PUBLISHED[name]
    (key,) = values
    with pytest.raises(CodeftError, match=f"{key} must be a whole number of at least"):
        make_config(network_class, {**published, **values}, folder=tmp_path, overrides={})
