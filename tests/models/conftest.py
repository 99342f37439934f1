"""Small random checkpoints, as transformers saves them."""

from __future__ import annotations

import copy
import json
import shutil

import pytest
import torch
from ast_t5_reference import DIMENSIONS, make_weights
from safetensors.torch import save_file
from transformers import (
    PLBartConfig,
    PLBartForConditionalGeneration,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
    T5Config,
    T5ForConditionalGeneration,
)

from codeft.data.collate import pad
from codeft.models.bart import BartModel
from codeft.models.encoder import EncoderModel
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.prefix_lm import TOKENS, PrefixLMModel
from codeft.models.tokenizer import train_tokenizer
from codeft.tasks.encoding import encode_targets

SNIPPET = "def area(width, height):\n    if width:\n        return width * height\n    return None\n"
TEXTS = [SNIPPET.replace("area", f"area_{i}") for i in range(50)]
FAMILIES = {
    "t5": EncoderDecoderModel,
    "roberta": EncoderModel,
    "unixcoder": PrefixLMModel,
    "plbart": BartModel,
    "ast_t5": BartModel,
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Networks this small are slower on many threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory):
    """A T5 of 3 + 2 layers whose attention isn't uniform."""
    folder = tmp_path_factory.mktemp("t5")
    train_tokenizer(iter(TEXTS), vocab_size=420).save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=420, d_model=32, d_kv=8, d_ff=64, num_heads=4, num_layers=3, num_decoder_layers=2
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def roberta_folder(tmp_path_factory):
    """A RoBERTa of 3 layers and 64 positions, and a tokenizer with RoBERTa's special tokens."""
    folder = tmp_path_factory.mktemp("roberta")
    vocab, merges = roberta_vocabulary("<mask>")
    RobertaTokenizer(vocab=vocab, merges=merges).save_pretrained(folder)
    save_roberta(folder, vocab_size=len(vocab))
    return folder


@pytest.fixture(scope="session")
def unixcoder_folder(tmp_path_factory):
    """A UniXcoder of 3 layers and 64 positions, its files as published."""
    folder = tmp_path_factory.mktemp("unixcoder")
    vocab, merges = roberta_vocabulary("<mask>", *TOKENS)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>"}
    special = {
        f"{name}_token": {"content": token, "normalized": True, "lstrip": name == "mask"}
        for name, token in (names | {"mask": "<mask>"}).items()
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False, "errors": "replace"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    save_roberta(folder, vocab_size=len(vocab), type_vocab_size=10)
    return folder


def roberta_vocabulary(*further):
    """RoBERTa's special tokens, learned pieces and further tokens; and the merges."""
    trained = train_tokenizer(iter(TEXTS), vocab_size=420)
    pieces = [piece for piece, _ in sorted(trained.get_vocab().items(), key=lambda item: item[1])][3:-100]
    vocab = {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces, *further])}
    merges = [tuple(pair) for pair in json.loads(trained.backend_tokenizer.to_str())["model"]["merges"]]
    return vocab, merges


def save_roberta(folder, *, vocab_size, type_vocab_size=1):
    """A random RoBERTa whose attention isn't uniform."""
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=66,
        type_vocab_size=type_vocab_size,
        initializer_range=0.3,
    )
    RobertaModel(config, add_pooling_layer=True).save_pretrained(folder)


@pytest.fixture(scope="session")
def plbart_folder(tmp_path_factory, plbart_tokenizer):
    """A PLBART of 3 + 2 layers and 64 positions, with a sentencepiece model as it is published."""
    folder = tmp_path_factory.mktemp("plbart")
    shutil.copy(plbart_tokenizer / "sentencepiece.bpe.model", folder)
    torch.manual_seed(0)
    config = PLBartConfig(
        vocab_size=305,
        d_model=32,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=64,
        init_std=0.3,
    )
    PLBartForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def ast_t5_folder(tmp_path_factory, roberta_folder):
    """An AST-T5 of 3 + 2 layers under the published names, in half precision; with a RoBERTa's tokenizer."""
    folder = tmp_path_factory.mktemp("ast_t5")
    shutil.copytree(roberta_folder, folder, dirs_exist_ok=True)
    weights = {name: value.half() for name, value in make_weights(seed=0).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(DIMENSIONS))
    return folder


@pytest.fixture(scope="session")
def families():
    """Each family's class, by name."""
    return FAMILIES


@pytest.fixture(scope="session", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="session")
def folder(family, request):
    return request.getfixturevalue(f"{family}_folder")


@pytest.fixture(scope="session")
def _built(family, folder):
    torch.manual_seed(1)
    extra = {"roberta": {"num_decoder_layers": 2}}.get(family, {})
    return FAMILIES[family](weights=str(folder), **extra).eval()


@pytest.fixture
def model(_built):
    """A model of each family in eval mode, to be changed at will."""
    return copy.deepcopy(_built)


@pytest.fixture
def batch(model):
    """Three examples of different lengths."""
    sources = model.tokenizer(
        ["return width", "def area(width):\n    return width", "x"], padding=True, return_tensors="pt"
    )
    targets = encode_targets(["area", "the width", "if x"], model.tokenizer, max_length=20)
    return {
        "input_ids": sources["input_ids"],
        "attention_mask": sources["attention_mask"],
        "labels": pad([target.ids for target in targets], value=-100),
    }


@pytest.fixture
def held(model):
    """What labels begin with and nobody predicts."""
    [empty] = encode_targets([""], model.tokenizer, max_length=20)
    return empty.ids[:-1].tolist()
