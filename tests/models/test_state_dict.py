"""Weights as scripts save them, laid over networks; random ones under the names of published files."""

from __future__ import annotations

import copy
import logging
import shutil

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
    T5ForConditionalGeneration,
)

from codeft.models import state_dict
from codeft.models.causal import CausalModel
from codeft.models.encoder import EncoderModel
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.prefix_lm import PrefixLMModel
from codeft.types import CodeftError


class Wrapped(nn.Module):
    """A script's own module around a network and further parts."""

    def __init__(self, encoder, **parts):
        super().__init__()
        self.encoder = encoder
        for name, part in parts.items():
            setattr(self, name, part)


@pytest.fixture
def config(roberta_folder):
    return RobertaConfig.from_pretrained(roberta_folder)


@pytest.fixture
def encoder(config):
    torch.manual_seed(7)
    return RobertaModel(config)


def head(width, num_texts=1, num_labels=2):
    parts = {"dense": nn.Linear(num_texts * width, width), "out_proj": nn.Linear(width, num_labels)}
    return nn.ModuleDict(parts)


def save(tmp_path, state, name="model.bin"):
    path = tmp_path / name
    torch.save(state, path)
    return path


def same(module, other):
    own, others = module.state_dict(), other.state_dict()
    return all(torch.equal(own[name], others[name]) for name in own)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder.", "roberta.", "model.network.encoder."])
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_an_encoder_in_any_wrapping(encoder, roberta_folder, tmp_path, prefix, key):
    state = {f"{prefix}{name}": tensor for name, tensor in encoder.state_dict().items()}
    path = save(tmp_path, state if key is None else {"epoch": 3, key: state})
    model = EncoderModel(weights=str(roberta_folder), checkpoint=str(path), output="embedding")
    assert same(model.network, encoder)


def test_codexglues_defect_detection(config, roberta_folder, tmp_path, caplog):
    """One output through a sigmoid, as two through a softmax."""
    config.num_labels = 1
    network = RobertaForSequenceClassification(config).eval()
    path = save(tmp_path, Wrapped(network).state_dict())
    caplog.set_level(logging.INFO)
    model = EncoderModel(weights=str(roberta_folder), checkpoint=str(path), output="label").eval()
    count = len([name for name in network.state_dict() if name.startswith("roberta.")])
    assert f"taken from {path}, tensors: encoder {count}, head 4 (its 1 output became 2)" in caplog.text
    batch = dict(model.tokenizer(["return width", "x"], padding=True, return_tensors="pt"))
    expected = network(**batch).logits[:, 0].sigmoid()
    torch.testing.assert_close(model(batch).logits.softmax(-1)[:, 1], expected)
    assert not warnings(caplog)


@pytest.mark.parametrize("inner", [False, True])
def test_codexglues_clone_detection(config, encoder, roberta_folder, tmp_path, caplog, inner):
    pairs = head(config.hidden_size, num_texts=2)
    network = RobertaForSequenceClassification(config) if inner else encoder
    path = save(tmp_path, Wrapped(network, classifier=pairs).state_dict())
    model = EncoderModel(weights=str(roberta_folder), checkpoint=str(path), output="label", num_texts=2)
    assert same(model.head, pairs)
    assert same(model.blocks()[0], (network.roberta if inner else network).encoder.layer[0])
    told = warnings(caplog)
    assert len(told) == inner and all("not used: encoder.classifier.*" in text for text in told)


def test_a_head_of_another_size_is_left_out_and_told(config, encoder, roberta_folder, tmp_path, caplog):
    path = save(tmp_path, Wrapped(encoder, classifier=head(config.hidden_size, num_texts=2)).state_dict())
    caplog.set_level(logging.INFO)
    EncoderModel(weights=str(roberta_folder), checkpoint=str(path), output="label")
    assert "not used: classifier.*" in caplog.text
    assert "new, so random: head.*" in caplog.text


def test_label_order_swaps_the_columns(config, encoder, roberta_folder, tmp_path):
    labels = head(config.hidden_size)
    path = save(tmp_path, Wrapped(encoder, classifier=labels).state_dict())
    given = {"weights": str(roberta_folder), "checkpoint": str(path)}
    plain = EncoderModel(**given, output="label")
    swapped = EncoderModel(**given, output="label", label_order=[1, 0])
    assert torch.equal(swapped.head.out_proj.weight, plain.head.out_proj.weight.flip(0))
    assert torch.equal(swapped.head.out_proj.bias, labels["out_proj"].bias.flip(0))
    with pytest.raises(CodeftError, match=r"label_order must be \[0, 1\] or \[1, 0\], not \[1, 1\]"):
        EncoderModel(**given, output="label", label_order=[1, 1])
    with pytest.raises(CodeftError, match="label_order is for tasks with labels, and this one asks for text"):
        EncoderModel(weights="/no/such/model", label_order=[1, 0])
    with pytest.raises(
        CodeftError, match="label_order says what the columns of a loaded head mean, but none"
    ):
        EncoderModel(weights=str(roberta_folder), output="label", label_order=[1, 0])


def test_transformers_own_classifier_brings_its_head(config, roberta_folder, tmp_path, caplog):
    network = RobertaForSequenceClassification(config)
    network.save_pretrained(tmp_path)
    for file in roberta_folder.glob("*token*"):
        shutil.copy(file, tmp_path)
    model = EncoderModel(weights=str(tmp_path), output="label")
    assert same(model.head, network.classifier) and not warnings(caplog)


def test_codexglues_decoder_has_no_place_in_robertas(config, encoder, roberta_folder, tmp_path, caplog):
    layer = nn.TransformerDecoderLayer(config.hidden_size, 4, dim_feedforward=64)
    wrapped = Wrapped(
        encoder,
        decoder=nn.TransformerDecoder(layer, 2),
        dense=nn.Linear(config.hidden_size, config.hidden_size),
        lm_head=nn.Linear(config.hidden_size, config.vocab_size, bias=False),
    )
    wrapped.register_buffer("bias", torch.ones(8, 8).tril())
    path = save(tmp_path, wrapped.state_dict())
    caplog.set_level(logging.INFO)
    given = {"weights": str(roberta_folder), "checkpoint": str(path), "num_decoder_layers": 2}
    model = EncoderModel(**given, decoder="roberta")
    assert same(model.network.encoder, encoder)
    [told] = warnings(caplog)
    assert told.endswith("not used: decoder.*; dense.*; lm_head.weight")
    assert "new, so random: network.decoder.*" in caplog.text


@pytest.mark.parametrize("output", ["text", "embedding"])
def test_unixcoders_one_stack_in_two_roles(unixcoder_folder, tmp_path, caplog, output):
    """What stands in the file under several names is told under none."""
    stack = RobertaModel(RobertaConfig.from_pretrained(unixcoder_folder))
    lm_head = nn.Linear(stack.config.hidden_size, stack.config.vocab_size, bias=False)
    lm_head.weight = stack.embeddings.word_embeddings.weight
    wrapped = Wrapped(stack, decoder=stack, lm_head=lm_head, dense=nn.Linear(4, 4))
    wrapped.register_buffer("bias", torch.ones(8, 8, dtype=torch.uint8).tril()[None])  # their causal mask
    path = save(tmp_path, wrapped.state_dict())
    model = PrefixLMModel(weights=str(unixcoder_folder), checkpoint=str(path), output=output)
    assert same(model.network.roberta if output == "text" else model.network, stack)
    [told] = warnings(caplog)
    assert told.endswith("not used: dense.*")
    plain = EncoderModel(weights=str(unixcoder_folder), checkpoint=str(path), output="embedding")
    assert same(plain.network, stack)


def test_a_square_bias_that_is_no_mask_is_told(encoder, roberta_folder, tmp_path, caplog):
    path = save(tmp_path, {**encoder.state_dict(), "extra.bias": torch.ones(8, 8)})
    EncoderModel(weights=str(roberta_folder), checkpoint=str(path), output="embedding")
    assert "not used: extra.bias" in caplog.text


def test_a_decoder_only_model(tmp_path, roberta_folder, caplog):
    sizes = {"vocab_size": 400, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}
    config = GPT2Config(**sizes, bos_token_id=0, eos_token_id=2)
    network = GPT2LMHeadModel(config)
    path = save(tmp_path, {f"module.{name}": tensor for name, tensor in network.state_dict().items()})
    caplog.clear()
    model = CausalModel(
        weights=str(path), architecture={"model_type": "gpt2", **sizes}, tokenizer=str(roberta_folder)
    )
    assert same(model.network, network) and not warnings(caplog)


@pytest.mark.parametrize("prefix", ["", "module.", "encoder."])
def test_a_t5(t5_folder, tmp_path, caplog, prefix):
    """CodeT5's scripts save transformers' names; around a classifier, they stand behind `encoder`."""
    torch.manual_seed(9)
    network = T5ForConditionalGeneration(T5ForConditionalGeneration.from_pretrained(t5_folder).config)
    state = {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}
    path = save(tmp_path, state)
    model = EncoderDecoderModel(weights=str(t5_folder), checkpoint=str(path))
    assert same(model.network, network) and not warnings(caplog)


def test_codet5s_classifier_reads_other_vectors(t5_folder, tmp_path, caplog):
    network = T5ForConditionalGeneration.from_pretrained(t5_folder)
    path = save(tmp_path, Wrapped(network, classifier=head(32, num_texts=2)).state_dict())
    caplog.set_level(logging.INFO)
    model = EncoderDecoderModel(weights=str(t5_folder), checkpoint=str(path), output="label", num_texts=2)
    [told] = warnings(caplog)
    assert told.endswith("not used: classifier.*; encoder.decoder.*")
    assert "new, so random: head.*" in caplog.text
    assert same(model.network.encoder.block[0], network.encoder.block[0])


@pytest.mark.parametrize("output", ["text", "label"])
def test_a_runs_own_weights_go_back_to_where_they_were(model, folder, tmp_path, caplog, output):
    model_class = type(model)
    torch.manual_seed(3)
    model = model_class(weights=str(folder), output=output)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    path = save(tmp_path, {"state_dict": state, "epoch": 2}, "best.ckpt")
    again = model_class(weights=str(folder), output=output, checkpoint=str(path))
    assert same(again, model) and not warnings(caplog)


def test_a_tied_weight_that_was_untied_is_told(t5_folder, tmp_path, caplog):
    model = EncoderDecoderModel(weights=str(t5_folder))
    model.untie_output()
    with torch.no_grad():
        model.network.lm_head.weight.add_(1.0)
    path = save(tmp_path, model.state_dict())
    again = EncoderDecoderModel(weights=str(t5_folder), checkpoint=str(path))
    assert torch.equal(again.network.lm_head.weight, model.network.shared.weight)
    assert any("not used: network.lm_head.weight" in text for text in warnings(caplog))


def test_weights_alone_take_the_architecture(encoder, config, roberta_folder, tmp_path, caplog):
    """A script's model.bin: the network is the YAML's, all of it from the file or named."""
    save(tmp_path, Wrapped(encoder).state_dict())
    dimensions = {
        key: getattr(config, key)
        for key in (
            "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
            "max_position_embeddings", "type_vocab_size",
        )
    }  # fmt: skip
    caplog.set_level(logging.INFO)
    for weights in (tmp_path, tmp_path / "model.bin"):
        model = EncoderModel(
            weights=str(weights), architecture=dimensions, tokenizer=str(roberta_folder), output="embedding"
        )
        encoder.pooler = None
        assert same(model.network, encoder)
        assert "not used: encoder.pooler.*" in caplog.text
        assert "so random" not in caplog.text
    with pytest.raises(CodeftError, match=r"come without their tokenizer: give it by model.tokenizer="):
        EncoderModel(weights=str(tmp_path), architecture=dimensions)
    with pytest.raises(CodeftError, match="two checkpoints"):
        EncoderModel(weights=str(tmp_path), checkpoint=str(tmp_path / "model.bin"))
    with pytest.raises(CodeftError, match=r"of another size than the network: .* is \(\d+, 32\), not"):
        EncoderModel(
            weights=str(tmp_path),
            architecture={**dimensions, "hidden_size": 16},
            tokenizer=str(roberta_folder),
        )
    dimensions["num_hidden_layers"] = 5
    caplog.clear()
    EncoderModel(weights=str(tmp_path), architecture=dimensions, tokenizer=str(roberta_folder))
    assert any(
        "so random" in text and "network.encoder.encoder.layer.{3,4}.*" in text for text in warnings(caplog)
    )


def test_what_lies_beside_the_file_is_used(encoder, roberta_folder, tmp_path):
    for file in roberta_folder.glob("*token*"):
        shutil.copy(file, tmp_path)
    path = save(tmp_path, Wrapped(encoder).state_dict())
    architecture = {"vocab_size": encoder.config.vocab_size, "hidden_size": 32, "num_hidden_layers": 3}
    architecture |= {"num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 66}
    architecture |= {"type_vocab_size": 1}
    model = EncoderModel(weights=str(path), architecture=architecture, output="embedding")
    assert same(model.blocks()[2], encoder.encoder.layer[2])
    encoder.config.save_pretrained(tmp_path)
    for weights in (path, tmp_path):
        assert same(EncoderModel(weights=str(weights), output="embedding").network, encoder)


def test_a_wrapped_network_in_a_models_folder(encoder, roberta_folder, tmp_path):
    folder = shutil.copytree(roberta_folder, tmp_path / "copied")
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    assert same(EncoderModel(weights=str(folder), output="embedding").network, encoder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("how", ["folder", "checkpoint"])
def test_half_precision_trains_in_float32(encoder, roberta_folder, tmp_path, dtype, how):
    half = copy.deepcopy(encoder).to(dtype)
    if how == "folder":
        folder = shutil.copytree(roberta_folder, tmp_path / "copied")
        half.save_pretrained(folder)
        model = EncoderModel(weights=str(folder), output="embedding")
    else:
        path = save(tmp_path, half.state_dict())
        model = EncoderModel(weights=str(roberta_folder), checkpoint=str(path), output="embedding")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert same(model.network, half.float())


@pytest.mark.parametrize("published", ["codebert-base", "codebert-base-mlm", "graphcodebert-base"])
def test_published_files(config, encoder, roberta_folder, tmp_path, caplog, published):
    """A torch file of a bare RobertaModel, or of one with its masked language model's head."""
    folder = shutil.copytree(roberta_folder, tmp_path / published)
    (folder / "model.safetensors").unlink()
    network = encoder if published != "codebert-base-mlm" else RobertaForMaskedLM(config)
    state = dict(network.state_dict())
    if published == "codebert-base":  # older files hold this buffer
        state["embeddings.position_ids"] = torch.arange(66)[None]
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    model = EncoderModel(weights=str(folder), output="embedding")
    bare = encoder if published != "codebert-base-mlm" else network.roberta
    assert same(model.blocks()[1], bare.encoder.layer[1]) and not warnings(caplog)
    assert (model.network.pooler is None) == (published == "codebert-base-mlm")


def test_a_checkpoint_of_something_else_lists_its_groups(roberta_folder, tmp_path):
    path = save(tmp_path, {"conv.0.weight": torch.ones(2), "conv.1.weight": torch.ones(2)})
    with pytest.raises(CodeftError, match="none of the encoder's weights: it has ") as caught:
        EncoderModel(weights=str(roberta_folder), checkpoint=str(path))
    found, _, expected = str(caught.value).partition("; expected ")
    assert found.endswith("it has conv.{0,1}.weight")
    first, *_, last = expected.split("; ")
    assert first == "encoder.layer.{0,1,2}.attention.output.LayerNorm.bias" and last == "and 13 more"
    path = save(tmp_path, {f"layer_{i}.weight": torch.ones(2) for i in range(20)})
    with pytest.raises(CodeftError, match=r"it has layer_0\.weight; .*; and 12 more; expected"):
        EncoderModel(weights=str(roberta_folder), checkpoint=str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "got an object of type list"),
        ({}, "got a mapping with nothing in it"),
        ({"epoch": 3, "args": "x"}, "got a mapping with epoch, args"),
        (Wrapped(nn.Linear(1, 1)), r"holds more than tensors.*save the state dict alone"),
    ],
)
def test_files_that_hold_no_state_dict(tmp_path, content, message):
    with pytest.raises(CodeftError, match=message):
        state_dict.read_state_dict(save(tmp_path, content))


def test_places_without_weights(tmp_path, t5_folder):
    with pytest.raises(CodeftError, match="there are no weights at"):
        state_dict.find_weights(tmp_path / "nowhere.bin")
    with pytest.raises(CodeftError, match="no weights in"):
        state_dict.find_weights(tmp_path)
    with pytest.raises(CodeftError, match=r"expected weights \(.safetensors"):
        state_dict.find_weights(t5_folder / "config.json")
    (tmp_path / "broken.bin").write_bytes(b"PK\x03\x04 broken")
    (tmp_path / "broken.safetensors").write_bytes(b"\x10" * 20)
    for name in ("broken.bin", "broken.safetensors"):
        with pytest.raises(CodeftError, match="can't read the weights"):
            state_dict.read_state_dict(tmp_path / name)
    for name in ("model.bin", "pytorch_model.bin"):
        (tmp_path / name).touch()
    with pytest.raises(CodeftError, match=r"several weights \(model.bin, pytorch_model.bin\): give the file"):
        state_dict.find_weights(tmp_path)


def test_shards_are_one_state_dict(tmp_path):
    for i in (1, 2):
        save_file(
            {f"layer.{i}": torch.full((2,), float(i))}, tmp_path / f"model-0000{i}-of-00002.safetensors"
        )
    assert sorted(state_dict.read_state_dict(tmp_path)) == ["layer.1", "layer.2"]


def test_no_checkpoint_is_told_before_anything_is_loaded(roberta_folder, monkeypatch):
    monkeypatch.setattr("codeft.models.loading.load_tokenizer", lambda _: pytest.fail("loaded"))
    with pytest.raises(CodeftError, match="there are no weights at"):
        EncoderModel(weights=str(roberta_folder), checkpoint="/no/such/model.bin")


@pytest.mark.parametrize("name", ["codebert_devign", "graphcodebert_devign", "graphcodebert_clone"])
def test_compressors_models(shared_data, caplog, name):
    """Every tensor has its place, but for a head of GraphCodeBERT's that its script never trained."""
    models = shared_data / "models"
    base = models / ("tiny_codebert_devign_hf" if "devign" in name else "tiny_codebert_bcb_hf")
    caplog.set_level(logging.INFO)
    given = {"weights": str(base), "checkpoint": str(models / f"compressor_{name}_3mb"), "output": "label"}
    num_texts = 2 if "clone" in name else 1
    model = EncoderModel(**given, num_texts=num_texts).eval()
    swapped = EncoderModel(**given, num_texts=num_texts, label_order=[1, 0]).eval()
    published = state_dict.read_state_dict(models / f"compressor_{name}_3mb")
    outer = "" if "clone" in name else "encoder."
    assert torch.equal(model.head.dense.weight, published[f"{outer}classifier.dense.weight"])
    expected = published["encoder.roberta.encoder.layer.11.output.dense.weight"]
    assert torch.equal(model.blocks()[11].output.dense.weight, expected)
    batch = dict(model.tokenizer(["int f() { return 1; }", "x"], padding=True, return_tensors="pt"))
    torch.testing.assert_close(model(batch).logits, swapped(batch).logits.flip(-1))
    told = {text.partition("used: ")[2] for text in warnings(caplog)}
    assert told == ({"encoder.classifier.*"} if "clone" in name else set()) and "random" not in caplog.text


@pytest.mark.parametrize("name", ["bcb", "devign"])
def test_tiny_codeberts_are_encoders(shared_data, caplog, name):
    caplog.set_level(logging.INFO)
    model = EncoderModel(weights=str(shared_data / "models" / f"tiny_codebert_{name}_hf"), output="embedding")
    assert len(model.blocks()) == 12 and not caplog.records


@pytest.mark.parametrize(
    "content", [b"0.", b".", b"hA.", b"\x80\x02.", b"PK\x03\x04" + b"x" * 40, b"\x00" * 64]
)
def test_a_file_that_is_no_checkpoint_is_told_in_a_line(tmp_path, content):
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(CodeftError, match=r"model.bin"):
        state_dict.read_state_dict(path)


@pytest.mark.parametrize(
    "tensor",
    [torch.tensor([1.0, float("nan")]), torch.eye(2).to_sparse(), torch.ones(2, dtype=torch.complex64)],
)
def test_tensors_that_are_no_weights_are_refused(tmp_path, tensor):
    torch.save({"odd.weight": tensor}, tmp_path / "model.bin")
    with pytest.raises(CodeftError, match=r"odd.weight"):
        state_dict.read_state_dict(tmp_path / "model.bin")
