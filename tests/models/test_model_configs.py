"""Every YAML under conf/model describes the model that it names."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf
from transformers import PLBartForConditionalGeneration, RobertaModel, T5ForConditionalGeneration

from codeft.models.causal_families import FAMILIES
from codeft.models.networks import build_network
from codeft.models.projected_t5 import ProjectedT5
from codeft.models.relative_bart import RelativeBart

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "model"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
ENCODERS = {"codebert", "graphcodebert", "roberta"}
PREFIX_LMS = {"unixcoder", "unixcoder_nine"}
NETWORKS = {
    **dict.fromkeys(ENCODERS | PREFIX_LMS, RobertaModel),
    **dict.fromkeys(("plbart_base", "plbart_large"), PLBartForConditionalGeneration),
    "ast_t5_base": RelativeBart,
    "codet5p_110m_embedding": ProjectedT5,
}
VECTORS_ONLY = {"codet5p_110m_embedding"}
SIZES = {
    "codet5_small": 60_492_288,
    "codet5_base": 222_882_048,
    "codet5": 222_882_048,
    "codet5p_220m": 222_882_048,
    "codet5p_770m": 737_639_424,
    "codebert": 124_645_632,
    "graphcodebert": 124_645_632,
    "roberta": 124_645_632,
    "unixcoder": 125_929_728,
    "unixcoder_nine": 125_929_728,
    "codet5p_110m_embedding": 109_806_208,
    "ast_t5_base": 277_844_736,
    "plbart_base": 139_220_736,
    "plbart_large": 406_025_216,
    "mini": 3_936_512,
    "new": 8_067_456,
    "qwen2_5_coder_0_5b": 494_032_768,
    "qwen2_5_coder_1_5b": 1_543_714_304,
    "starcoder2_3b": 3_030_371_328,
    "deepseek_coder_1_3b": 1_346_471_936,
    "codegpt_java": 125_778_432,
    "codegpt_py": 124_243_200,
}
SMALL_STACK = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL_CAUSAL = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 4},
    "qwen2": SMALL_STACK,
    "starcoder2": SMALL_STACK,
    "llama": {**SMALL_STACK, "num_key_value_heads": 4},
}
SMALL_T5 = {"d_model": 16, "d_kv": 4, "num_heads": 4, "d_ff": 16, "num_layers": 2, "num_decoder_layers": 1}
SMALL_BART = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
}
SMALL_ROBERTA = {"hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 16, "num_hidden_layers": 2}


def load(name):
    with initialize_config_dir(str(FOLDER.parent), version_base="1.3"):
        return compose(config_name=f"model/{name}").model


def test_every_config_has_a_known_size():
    assert set(NAMES) == set(SIZES)


@pytest.mark.parametrize("name", NAMES)
def test_architecture_has_the_published_number_of_parameters(name):
    architecture = OmegaConf.to_container(load(name).architecture)
    assert architecture.pop("pooler", True)
    network_class = NETWORKS.get(name, T5ForConditionalGeneration)
    if "model_type" in architecture:
        network_class = FAMILIES[architecture.pop("model_type")].network
    with torch.device("meta"):
        network = build_network(network_class, architecture)
    network.tie_weights()
    assert sum(p.numel() for p in network.parameters()) == SIZES[name]


@pytest.mark.parametrize("name", NAMES)
def test_instantiates_with_random_weights(name, t5_folder):
    config = load(name)
    family = config["_target_"].rpartition(".")[2]
    small = {"EncoderModel": SMALL_ROBERTA, "PrefixLMModel": SMALL_ROBERTA, "BartModel": SMALL_BART}.get(
        family, SMALL_T5
    )
    if "model_type" in config.architecture:
        small = SMALL_CAUSAL[config.architecture.model_type]
    small = {key: value for key, value in small.items() if key in config.architecture}
    config = OmegaConf.merge(
        config,
        {"weights": "random", "tokenizer": str(t5_folder), "architecture": {**small, "vocab_size": 424}},
    )
    gives_text = name not in VECTORS_ONLY
    model = instantiate(config, output="text" if gives_text else "embedding", _convert_="all").eval()
    batch = dict(model.tokenizer(["x = 1", "y"], padding=True, return_tensors="pt"))
    output = model(batch | {"labels": batch["input_ids"]})
    if gives_text:
        assert output.logits.shape == (*batch["input_ids"].shape, 424)
    else:
        assert output.embedding.shape == (2, config.architecture.embed_dim)
    assert len(model.blocks()) == 2


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_the_constructors(name):
    config = load(name)
    keys = inspect.signature(get_class(config._target_).__init__).parameters.keys()
    assert {"_target_", "weights", "tokenizer", "dropout", "revision", "architecture"} <= set(config)
    assert set(config) - {"_target_"} <= keys - {"self", "output", "num_texts"}
