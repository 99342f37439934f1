from __future__ import annotations

import json
import logging
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import RobertaModel, T5ForConditionalGeneration

from codeft.models.encoder import EncoderModel
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.networks import build_network, load_network
from codeft.models.placement import group_names
from codeft.models.state_dict import read_state_dict
from codeft.types import CodeftError


@pytest.fixture
def copied(t5_folder, tmp_path):
    return shutil.copytree(t5_folder, tmp_path / "copied")


def load_t5(folder):
    return load_network(T5ForConditionalGeneration, folder, overrides={}, essential="encoder.block.")


def rewrite(folder, change):
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def test_loads_every_weight_quietly(t5_folder, caplog, capfd):
    caplog.set_level(logging.INFO)
    network, missing = load_t5(t5_folder)
    expected = load_file(t5_folder / "model.safetensors")
    state = network.state_dict()
    assert not missing
    assert all(torch.equal(state[key], value) for key, value in expected.items())
    assert not caplog.records and capfd.readouterr() == ("", "")
    assert network.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(copied, dtype):
    rewrite(copied, lambda state: {key: value.to(dtype) for key, value in state.items()})
    network, _ = load_t5(copied)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    stored = load_file(copied / "model.safetensors")["shared.weight"]
    assert torch.equal(network.shared.weight, stored.float())


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"])
@pytest.mark.parametrize("prefix", ["", "mine."])
def test_a_byte_a_number_becomes_float32(copied, name, prefix):
    dtype = getattr(torch, name)
    rewrite(copied, lambda state: {prefix + key: value.to(dtype) for key, value in state.items()})
    network, missing = load_t5(copied)
    stored = load_file(copied / "model.safetensors")[f"{prefix}shared.weight"]
    assert not missing and network.shared.weight.dtype == torch.float32
    assert torch.equal(network.shared.weight, stored.float())


def test_what_cannot_become_float32_is_refused_by_its_type(copied):
    packed = torch.zeros(4, 4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    rewrite(copied, lambda state: {"packed": packed})
    with pytest.raises(CodeftError, match=r"is of type torch.float4_e2m1fn_x2, which can't become float32"):
        read_state_dict(copied)


def test_torch_file(copied):
    state = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    torch.save(state, copied / "pytorch_model.bin")
    network, missing = load_t5(copied)
    assert not missing and torch.equal(network.shared.weight, state["shared.weight"])


def test_torch_file_never_runs_code(copied, tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    state = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    torch.save(state | {"shared.weight": Payload()}, copied / "pytorch_model.bin", pickle_module=pickle)
    with pytest.raises(CodeftError, match="can't load the weights"):
        load_t5(copied)
    assert not (tmp_path / "ran").exists()


def test_no_config_is_an_error(tmp_path):
    with pytest.raises(CodeftError, match="is not a model folder, it has no config"):
        load_t5(tmp_path)


def test_no_weights_is_an_error(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(CodeftError, match="can't load the weights"):
        load_t5(copied)


@pytest.mark.parametrize("size", [0, 5, 2000])
def test_damaged_weights_are_an_error(copied, size):
    file = copied / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CodeftError, match="can't load the weights"):
        load_t5(copied)


def test_damaged_torch_file_is_an_error(copied):
    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(CodeftError, match="can't load the weights"):
        load_t5(copied)


@pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "t5", "d_model": "wide"}'])
def test_damaged_config_is_an_error(copied, text):
    (copied / "config.json").write_text(text)
    with pytest.raises(CodeftError, match=r"can't read .*config\.json|config\.json: d_model must be"):
        load_t5(copied)


def test_another_family_is_an_error(t5_folder, roberta_folder):
    with pytest.raises(CodeftError, match="of type 'roberta', expected 't5': choose the model="):
        EncoderDecoderModel(weights=str(roberta_folder))
    with pytest.raises(CodeftError, match="of type 't5', expected 'roberta'"):
        EncoderModel(weights=str(t5_folder))


def test_shapes_that_contradict_the_config_are_an_error(copied):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"d_ff": 48}))
    with pytest.raises(CodeftError, match="can't load the weights"):
        load_t5(copied)


def test_without_the_encoder_is_an_error_that_lists_groups(copied):
    rewrite(copied, lambda state: {key.replace("encoder.b", "encoder.c"): p for key, p in state.items()})
    with pytest.raises(CodeftError, match="none of the encoder's weights") as caught:
        load_t5(copied)
    message = str(caught.value)
    assert "expected encoder.block.{0,1,2}.layer.0.SelfAttention.k.weight" in message
    assert "it has encoder.clock.{0,1,2}.layer.0.SelfAttention.k.weight" in message


def test_missing_parameters_are_named_in_the_log(copied, caplog):
    gone = "decoder.block.1.layer.2.DenseReluDense.wi.weight"
    rewrite(copied, lambda state: {key: value for key, value in state.items() if key != gone})
    model = EncoderDecoderModel(weights=str(copied))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "decoder.block.{1}.layer.2.DenseReluDense.wi.weight" in caplog.text
    assert model.network.decoder.block[1].layer[2].DenseReluDense.wi.weight.std() > 0


def test_a_masked_language_models_prefix_is_read(roberta_folder, tmp_path):
    folder = shutil.copytree(roberta_folder, tmp_path / "prefixed")
    original = load_file(folder / "model.safetensors")
    rewrite(
        folder, lambda state: {f"roberta.{k}": v for k, v in state.items()} | {"lm_head.bias": torch.zeros(3)}
    )
    network, missing = load_network(RobertaModel, folder, overrides={}, essential="encoder.layer.")
    assert not missing
    assert all(torch.equal(network.state_dict()[key], value) for key, value in original.items())


def test_overrides_replace_the_checkpoints_config(t5_folder):
    network, _ = load_network(
        T5ForConditionalGeneration, t5_folder, overrides={"dropout_rate": 0.0}, essential="encoder.block."
    )
    assert network.encoder.dropout.p == 0.0


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"layers": 3}, "has layers, which RobertaConfig doesn't know; it knows"),
        ({"hidden_size": 30, "num_attention_heads": 4}, "describes no roberta"),
        ({"hidden_size": "wide"}, "model.architecture: hidden_size must be a whole number"),
    ],
)
def test_impossible_architecture_is_an_error(architecture, message):
    with pytest.raises(CodeftError, match=message):
        build_network(RobertaModel, architecture)


def test_group_names_sorts_and_keeps_single_names():
    names = ["a.10.w", "a.2.w", "b", "a.2.x.7.y", "layer12.w"]
    assert group_names(names) == ["a.{2,10}.w", "a.{2}.x.7.y", "b", "layer12.w"]
    assert group_names([]) == []


@pytest.mark.parametrize("asked", [{"quant_method": "gptq", "bits": 4}, {"quant_method": "torchao"}, "x", {}])
def test_quantized_weights_are_refused(copied, asked):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"quantization_config": asked}))
    with pytest.raises(CodeftError, match="asks for quantized weights, which codeft doesn't load"):
        load_t5(copied)


def test_a_package_that_is_not_there_is_an_error(copied, monkeypatch):
    def needs_more(*_, **__):
        raise ImportError("requires optimum")

    monkeypatch.setattr(T5ForConditionalGeneration, "from_pretrained", needs_more)
    with pytest.raises(CodeftError, match=r"can't load the weights in .*: requires optimum"):
        load_t5(copied)
