"""A model written for transformers computes there what it computes here, and comes back whole."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn import functional

from codeft.models.bart import BartModel
from codeft.models.causal import CausalModel
from codeft.models.encoder import EncoderModel
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.exported import load_exported, read_again, write_exported
from codeft.models.generation import shift_right
from codeft.models.heads import pool
from codeft.models.prefix_lm import BLANK, PrefixLMModel
from codeft.models.snippets import usage_of
from codeft.types import CodeftError

CLASSES = {
    ("t5", "text", 1): "T5ForConditionalGeneration",
    ("t5", "embedding", 1): "T5EncoderModel",
    ("t5", "label", 1): "T5EncoderModel",
    ("t5", "label", 2): "T5EncoderModel",
    ("roberta", "text", 1): "EncoderDecoderModel",
    ("roberta", "embedding", 1): "RobertaModel",
    ("roberta", "label", 1): "RobertaForSequenceClassification",
    ("roberta", "label", 2): "RobertaModel",
    ("plbart", "text", 1): "PLBartForConditionalGeneration",
    ("unixcoder", "text", 1): "PrefixLanguageModel",
    ("unixcoder", "embedding", 1): "RobertaModel",
    ("unixcoder", "label", 1): "RobertaModel",
    ("unixcoder", "label", 2): "RobertaModel",
}
KINDS = [("text", 1), ("embedding", 1), ("label", 1), ("label", 2)]


@pytest.fixture(params=KINDS, ids=str)
def kind(request):
    return request.param


@pytest.fixture
def build(family, folder, kind):
    """Return a model of the kind whose weights, biases too, are away from their beginnings."""

    def of(seed: int, *, untied: bool = False):
        classes = {"t5": EncoderDecoderModel, "roberta": EncoderModel, "unixcoder": PrefixLMModel,
                   "plbart": BartModel}  # fmt: skip
        if (family, *kind) not in CLASSES:
            pytest.skip("transformers has no class for it")
        torch.manual_seed(seed)
        model = classes[family](weights=str(folder), output=kind[0], num_texts=kind[1]).eval()
        if untied:
            model.untie_output()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        return model

    return of


def inputs_of(batch, kind):
    names = ["input_ids", "attention_mask"] + (["labels"] if kind[0] == "text" else [])
    inputs = {name: batch[name] for name in names}
    return {name: torch.cat([ids, ids.flip(0)]) for name, ids in inputs.items()} if kind[1] > 1 else inputs


def plain_class(exported):
    """The class by its name: transformers', or the one that the snippet brings."""
    name = type(exported.network).__name__
    names: dict = {}
    if exported.usage is not None:
        exec(exported.usage.partition("INPUTS")[0], names)
    return names.get(name) or getattr(transformers, name)


@torch.no_grad()
def plain_outputs(network, head, family, kind, inputs, start_id):
    """What plain transformers and torch compute, told from the architecture's definition."""
    plain = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    if (family, kind[0]) == ("unixcoder", "text"):
        length = plain["input_ids"].shape[1]
        written = shift_right(inputs["labels"], start_id=start_id, pad_id=network.config.pad_token_id)
        real = functional.pad((inputs["labels"][:, :-1] >= 0).long(), (1, 0), value=1)
        ids = torch.cat([plain["input_ids"], written], dim=1)
        mask = torch.cat([plain["attention_mask"], real], dim=1)
        return network(ids, mask, prefix_length=length).logits[:, length:]
    if kind[0] == "text":
        decoder_ids = shift_right(inputs["labels"], start_id=start_id, pad_id=network.config.pad_token_id)
        decoder_ids = decoder_ids[:, 1:] if family == "roberta" else decoder_ids
        return network(**plain, decoder_input_ids=decoder_ids).logits
    if head is None and kind[0] == "label":
        return network(**plain).logits
    pooling = "first" if (family, kind[0]) == ("roberta", "label") else "mean"
    vectors = pool(network(**plain).last_hidden_state, plain["attention_mask"], pooling=pooling)
    if head is None:
        return vectors
    vectors = torch.cat(vectors.chunk(kind[1]), dim=1)
    hidden = functional.linear(vectors, head["dense.weight"], head["dense.bias"]).tanh()
    return functional.linear(hidden, head["out_proj.weight"], head["out_proj.bias"])


@pytest.mark.parametrize("untied", [False, True])
@torch.no_grad()
def test_transformers_computes_the_same(build, family, kind, untied, batch, tmp_path):
    if untied and kind[0] != "text":
        pytest.skip("there is no output layer")
    model, inputs = build(3, untied=untied), inputs_of(batch, kind)
    exported = model.exported()
    assert type(exported.network).__name__ == CLASSES[family, *kind]
    assert exported.untied == untied
    write_exported(exported, tmp_path)
    network = plain_class(exported).from_pretrained(tmp_path).eval()
    head = load_file(tmp_path / "head.safetensors") if exported.head is not None else None
    start_id = network.generation_config.decoder_start_token_id if kind[0] == "text" else None
    if family == "unixcoder":
        start_id = model.tokenizer.convert_tokens_to_ids(BLANK)
    found = plain_outputs(network, head, family, kind, inputs, start_id)
    output = model(inputs)
    expected = output.embedding if kind[0] == "embedding" else output.logits
    if kind[0] == "text" and family == "roberta":
        expected = expected[:, 1:]  # <s> is given
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for parameter in exported.network.parameters():
        assert parameter.device.type == "cpu"
    read_again(exported, tmp_path)


@torch.no_grad()
def test_t5_reads_labels_as_transformers_does(build, family, kind, batch, tmp_path):
    if kind[0] != "text" or family != "t5":
        pytest.skip("RoBERTa's labels begin with the start token, which transformers would double")
    model = build(3)
    write_exported(model.exported(), tmp_path)
    network = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    inputs = inputs_of(batch, kind)
    torch.testing.assert_close(network(**inputs).logits, model(inputs).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("untied", [False, True])
def test_another_model_takes_what_was_written(build, kind, untied, batch, tmp_path):
    if untied and kind[0] != "text":
        pytest.skip("there is no output layer")
    model, other = build(3, untied=untied), build(4, untied=untied)
    write_exported(model.exported(), tmp_path)
    load_exported(other.exported(), tmp_path)
    unread = {name for name in model.state_dict() if "pooler" in name}
    for name, weight in model.state_dict().items():
        assert name in unread or torch.equal(weight, other.state_dict()[name]), name
    if kind[0] == "text":
        shared = len({p.data_ptr() for p in other.parameters()})
        assert shared == len({p.data_ptr() for p in model.parameters()})


def test_generation_brings_its_settings(build, family, kind, batch, tmp_path):
    if kind[0] != "text" or family == "unixcoder":
        pytest.skip("there is no decoder of its own")
    model = build(3)
    exported = model.exported()
    exported.network.generation_config.update(max_new_tokens=6, num_beams=3, early_stopping=True)
    write_exported(exported, tmp_path)
    network = type(exported.network).from_pretrained(tmp_path).eval()
    plain = {name: batch[name] for name in ("input_ids", "attention_mask")}
    found = network.generate(**plain)[:, 1:]
    assert torch.equal(found, model.generate(batch, max_length=6, num_beams=3))


def test_what_doesn_t_fit_is_told(build, family, kind, tmp_path):
    model = build(3)
    write_exported(model.exported(), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if "layer_norm.weight" in name or "LayerNorm.weight" in name)

    def store(**changes):
        kept = {key: changes.get(key, weight) for key, weight in weights.items()}
        save_file({k: w for k, w in kept.items() if w is not None}, tmp_path / "model.safetensors",
                  metadata={"format": "pt"})  # fmt: skip

    store(**{name: None})
    with pytest.raises(CodeftError, match="lacks weights of a fine-tuned"):
        load_exported(build(4).exported(), tmp_path)
    with pytest.raises(CodeftError, match="doesn't read what was written"):
        read_again(model.exported(), tmp_path)
    store(**{name: weights[name] * torch.nan})
    with pytest.raises(CodeftError, match="no numbers"):
        load_exported(build(4).exported(), tmp_path)
    store(**{name: weights[name] + 0.5})
    with pytest.raises(CodeftError, match="computes otherwise"):
        read_again(model.exported(), tmp_path)
    if model.exported().head is not None:
        store()
        (tmp_path / "head.safetensors").write_bytes(b"x" * 20)
        with pytest.raises(CodeftError, match="weights of the head"):
            load_exported(build(4).exported(), tmp_path)
        (tmp_path / "head.safetensors").unlink()
        with pytest.raises(CodeftError, match=r"has no head for this task, there is no head\.safetensors"):
            load_exported(build(4).exported(), tmp_path)
    elif any(key.startswith("classifier.") for key in weights):
        store(**{key: None for key in weights if key.startswith("classifier.")})
        with pytest.raises(CodeftError, match=r"has no head for this task, it lacks classifier\.dense"):
            load_exported(build(4).exported(), tmp_path)
    if (family, kind[0]) == ("roberta", "text"):
        table = "decoder.roberta.embeddings.LayerNorm.weight"
        store(**{table: weights[table] + 1})
        with pytest.raises(CodeftError, match="apart that are one"):
            load_exported(build(4).exported(), tmp_path)


def test_a_classifier_has_no_parameters_of_its_own(build, family, kind):
    model = build(3)
    own = {p.data_ptr() for p in model.parameters()}
    assert {p.data_ptr() for p in model.exported().network.parameters()} <= own


def test_a_snippet_is_python(build, kind):
    for queries in (False, True):
        usage = usage_of(build(3).exported(), num_texts=kind[1], has_queries=queries)
        usage = usage.replace("INPUTS\n", "folder, texts = '', ['']\n").replace("MARKS", "(None, None)")
        compile(usage, "usage", "exec")
        assert json.dumps(usage)


CAUSAL = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "qwen2": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
              "intermediate_size": 64, "max_position_embeddings": 64},
    "llama": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
              "max_position_embeddings": 64, "tie_word_embeddings": False},
}  # fmt: skip


@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("model_type", CAUSAL)
@torch.no_grad()
def test_a_decoder_only_model_computes_the_same(model_type, untied, t5_folder, tmp_path):
    def build(seed: int) -> CausalModel:
        torch.manual_seed(seed)
        architecture = {"model_type": model_type, "vocab_size": 420, **CAUSAL[model_type]}
        model = CausalModel(weights="random", architecture=architecture, tokenizer=str(t5_folder)).eval()
        if untied:
            model.untie_output()
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        return model

    model, other = build(0), build(1)
    exported = model.exported()
    assert exported.untied == (untied or model_type != "gpt2")  # as their configs are
    write_exported(exported, tmp_path)
    network = getattr(transformers, type(exported.network).__name__).from_pretrained(tmp_path).eval()
    read_again(exported, tmp_path)
    ids, labels = torch.randint(3, 300, (2, 9)), torch.randint(3, 300, (2, 4))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    found = network(torch.cat([ids, labels], dim=1)).logits[:, 8:12]
    torch.testing.assert_close(found, model(batch).logits, atol=1e-5, rtol=1e-5)
    load_exported(other.exported(), tmp_path)
    torch.testing.assert_close(other(batch).logits, model(batch).logits, atol=0, rtol=0)


def test_what_transformers_has_no_class_for_is_refused(plbart_folder, ast_t5_folder):
    for folder, output, told in (
        (plbart_folder, "label", "PLBART's labels"),
        (ast_t5_folder, "text", "AST-T5"),
    ):
        with pytest.raises(CodeftError, match=f"no class for {told}"):
            BartModel(weights=str(folder), output=output).exported()


@pytest.mark.parametrize("output", ["embedding", "label"])
@torch.no_grad()
def test_a_projection_stands_beside_the_encoder(output, t5_folder, tmp_path):
    def build(seed: int) -> EncoderDecoderModel:
        torch.manual_seed(seed)
        sizes = {"vocab_size": 420, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_heads": 4, "num_layers": 2}
        settings = {"architecture": {**sizes, "embed_dim": 8}, "tokenizer": str(t5_folder), "output": output}
        return EncoderDecoderModel(weights="random", **settings).eval()

    model, other = build(0), build(1)
    write_exported(model.exported(), tmp_path)
    read_again(model.exported(), tmp_path)
    load_exported(other.exported(), tmp_path)
    ids = torch.randint(3, 300, (2, 9))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    expected, found = model(batch), other(batch)
    value = expected.logits if output == "label" else expected.embedding
    torch.testing.assert_close(found.logits if output == "label" else found.embedding, value, atol=0, rtol=0)
    if output == "embedding":
        hidden = transformers.T5EncoderModel.from_pretrained(tmp_path).eval()(**batch).last_hidden_state
        head = load_file(tmp_path / "head.safetensors")
        vectors = functional.normalize(hidden[:, 0] @ head["weight"].T + head["bias"], dim=-1)
        torch.testing.assert_close(vectors, value, atol=1e-5, rtol=1e-5)
