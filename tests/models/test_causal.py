"""Decoder-only models against transformers' own forward and generate, on tiny random weights."""

from __future__ import annotations

import copy
import json
import shutil

import pytest
import torch
from tokenizers import processors
from torch.nn import functional
from transformers import AutoModelForCausalLM, GenerationConfig

from codeft.models.causal import CausalModel, join_target
from codeft.models.causal_families import FAMILIES
from codeft.models.loading import load_tokenizer
from codeft.models.tokenizer import train_tokenizer
from codeft.tasks.completion import CompletionTask
from codeft.types import CodeftError

SNIPPET = "def area(width, height):\n    if width:\n        return width * height\n    return None\n"
TEXTS = [SNIPPET.replace("area", f"area_{i}") for i in range(50)]
VOCAB = 420
GROUPED = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 1,
}
DIMENSIONS = {
    "gpt2": {
        "vocab_size": VOCAB,
        "n_embd": 32,
        "n_layer": 3,
        "n_head": 4,
        "n_positions": 64,
        "initializer_range": 0.3,
        "bos_token_id": None,
        "eos_token_id": 1,
    },
    "llama": {
        **GROUPED,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 1e5, "factor": 4.0},
        "head_dim": 8,
    },
    "mistral": {**GROUPED, "sliding_window": None, "head_dim": 8},
    "qwen2": {
        **GROUPED,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "tie_word_embeddings": True,
    },
    "qwen3": {**GROUPED, "head_dim": 16},
    "starcoder2": {
        **GROUPED,
        "attention_dropout": 0.1,
        "residual_dropout": 0.1,
        "embedding_dropout": 0.1,
        "sliding_window": 10,
    },
}
TIED = {"gpt2", "qwen2", "starcoder2"}


def build(folder, model_type, **changes):
    """Save a tiny random checkpoint."""
    family = FAMILIES[model_type].network
    torch.manual_seed(0)
    config = family.config_class(**copy.deepcopy(DIMENSIONS[model_type] | changes))
    family(config).save_pretrained(folder)
    train_tokenizer(iter(TEXTS), vocab_size=VOCAB).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: build(tmp_path_factory.mktemp(name), name) for name in DIMENSIONS}


@pytest.fixture(scope="module", params=DIMENSIONS)
def model_type(request):
    return request.param


@pytest.fixture(scope="module")
def folder(folders, model_type):
    return folders[model_type]


@pytest.fixture(scope="module")
def _built(folder):
    return CausalModel(weights=str(folder)).eval()


@pytest.fixture
def model(_built):
    return copy.deepcopy(_built)


@pytest.fixture(scope="module")
def eager(folder):
    """transformers' own model, with eager attention."""
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


def rows_of(batch, i):
    """The i-th source and target without padding."""
    source = batch["input_ids"][i][batch["attention_mask"][i].bool()]
    target = batch["labels"][i]
    return source, target[target >= 0]


def encode(tokenizer, sources, targets):
    sources = tokenizer(sources, padding=True, return_tensors="pt")
    labels = tokenizer(targets, padding=True, return_tensors="pt")
    return {
        "input_ids": sources["input_ids"],
        "attention_mask": sources["attention_mask"],
        "labels": labels["input_ids"].masked_fill(labels["attention_mask"] == 0, -100),
    }


@pytest.fixture
def batch(model):
    """Three examples of different lengths; the longest source has the shortest target."""
    return encode(
        model.tokenizer,
        ["return width", "def area(width):\n    return width", "x"],
        ["the width", "if", "area area_1 None"],
    )


# Training is transformers' own on the ids one after the other:


@torch.no_grad()
def test_loss_and_logits_are_those_of_the_concatenated_ids(model, batch, eager):
    logits = model(batch).logits
    assert logits.shape == (*batch["labels"].shape, VOCAB)
    losses, count = torch.zeros(()), 0
    for i in range(3):
        source, target = rows_of(batch, i)
        ids = torch.cat([source, target])[None]
        labels = ids.clone()
        labels[:, : len(source)] = -100
        expected = eager(input_ids=ids, labels=labels)
        torch.testing.assert_close(
            logits[i, : len(target)], expected.logits[0, len(source) - 1 : -1], atol=1e-5, rtol=1e-5
        )
        losses, count = losses + expected.loss * len(target), count + len(target)
    loss = functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=-100)
    torch.testing.assert_close(loss, losses / count, atol=1e-5, rtol=0)


def test_gradients_are_those_of_the_concatenated_ids(model, batch, folder):
    """Every parameter's, in training mode without dropout."""
    model = CausalModel(weights=str(folder), dropout=0.0)
    logits = model(batch).logits
    functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=-100).backward()
    eager = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    count = int((batch["labels"] >= 0).sum())
    for i in range(3):
        source, target = rows_of(batch, i)
        ids = torch.cat([source, target])[None]
        labels = ids.clone()
        labels[:, : len(source)] = -100
        (eager(input_ids=ids, labels=labels).loss * len(target) / count).backward()
    expected = {name: parameter.grad for name, parameter in eager.named_parameters()}
    found = {name: parameter.grad for name, parameter in model.network.named_parameters()}
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_padding_further_changes_nothing(model, batch):
    wider = {
        "input_ids": functional.pad(batch["input_ids"], (0, 9), value=3),
        "attention_mask": functional.pad(batch["attention_mask"], (0, 9)),
        "labels": functional.pad(batch["labels"], (0, 4), value=-100),
    }
    logits = model(wider).logits[:, : batch["labels"].shape[1]]
    real = batch["labels"] >= 0
    torch.testing.assert_close(logits[real], model(batch).logits[real], atol=1e-6, rtol=1e-6)


def test_forward_leaves_the_batch_alone(model, batch):
    before = {key: value.clone() for key, value in batch.items()}
    model(batch)
    assert all(torch.equal(batch[key], before[key]) for key in before)


def test_every_trainable_parameter_gets_a_gradient(model, batch):
    model.train()
    model(batch).logits.square().sum().backward()
    assert [name for name, p in model.trainable_parameters() if p.grad is None] == []


def test_without_labels_only_the_source_is_read(model, batch):
    model.record_attention(0)
    output = model({key: batch[key] for key in ("input_ids", "attention_mask")})
    assert output.logits is None
    assert output.attention.shape == (3, 4, *[batch["input_ids"].shape[1]] * 2)


def test_a_target_follows_its_source_at_once():
    ids, mask = torch.tensor([[5, 0, 0], [6, 7, 1]]), torch.tensor([[1, 0, 0], [1, 1, 1]])
    joined, predictors = join_target(ids, mask, torch.tensor([[8, 9, 1], [9, 1, -100]]), pad_id=0)
    assert joined.tolist() == [[5, 8, 9, 1, 0], [6, 7, 1, 9, 1]]
    assert predictors.tolist()[0] == [0, 1, 2] and predictors.tolist()[1][:2] == [2, 3]


# Decoding:


@pytest.mark.parametrize("num_beams", [1, 3])
def test_decodes_like_transformers_one_example_at_a_time(model, batch, eager, num_beams):
    together = model.generate(batch, max_length=9, num_beams=num_beams)
    config = GenerationConfig(
        max_new_tokens=9,
        num_beams=num_beams,
        early_stopping=num_beams > 1,
        eos_token_id=1,
        pad_token_id=0,
    )
    for i in range(3):
        source, _ = rows_of(batch, i)
        expected = eager.generate(
            source[None], attention_mask=torch.ones(1, len(source)), generation_config=config
        )
        expected = expected[0, len(source) :]
        assert torch.equal(together[i, : len(expected)], expected)
        assert together[i, len(expected) :].eq(0).all()


@pytest.mark.parametrize("num_beams", [1, 3])
def test_an_empty_source_is_its_end_token_alone(model, eager, num_beams):
    batch = encode(model.tokenizer, ["", ""], ["x", "x"])
    ids = model.generate(batch, max_length=5, num_beams=num_beams)
    config = GenerationConfig(max_new_tokens=5, num_beams=num_beams, eos_token_id=1, pad_token_id=0)
    config.early_stopping = num_beams > 1
    end = torch.tensor([[1]])
    expected = eager.generate(end, attention_mask=torch.ones_like(end), generation_config=config)[:, 1:]
    assert torch.equal(ids, expected.expand(2, -1))


@torch.no_grad()
def test_greedy_search_with_cache_follows_forward(model, batch):
    ids = model.generate(batch, max_length=8, num_beams=1)
    predicted = model({**batch, "labels": ids}).logits.argmax(-1)
    ended = (ids == 1).cumsum(1) - (ids == 1).long() > 0
    assert torch.equal(predicted[~ended], ids[~ended])


def test_a_source_is_read_once_not_once_a_beam(model, batch):
    sizes = []
    model.blocks()[0].register_forward_hook(
        lambda module, args, output: sizes.append(tuple(output.shape[:2]))
    )
    model.generate(batch, max_length=4, num_beams=5)
    length = batch["input_ids"].shape[1]
    assert sizes[:2] == [(3, length - 1), (15, 1)]
    assert all(size == (15, 1) for size in sizes[1:])


def test_settings_of_the_checkpoint_dont_change_the_search(folders, tmp_path):
    folder = shutil.copytree(folders["qwen2"], tmp_path / "model")
    settings = {"repetition_penalty": 9.0, "do_sample": True, "top_k": 3, "eos_token_id": [5, 6]}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    plain, changed = (CausalModel(weights=str(f)).eval() for f in (folders["qwen2"], folder))
    batch = encode(plain.tokenizer, ["def area(width)", "x"], ["x", "x"])
    found, expected = (m.generate(batch, max_length=8, num_beams=2) for m in (changed, plain))
    assert torch.equal(found, expected)


# Attention:


@pytest.mark.parametrize("layer", [0, 2])
@torch.no_grad()
def test_recorded_attention_equals_a_fully_eager_model(model, batch, eager, layer):
    plain = model(batch).logits
    model.record_attention(layer)
    output = model(batch)
    assert output.attention_is_causal and output.attention.dtype == torch.float32
    length = batch["input_ids"].shape[1]
    assert output.attention.shape == (3, 4, length, length)
    assert output.attention.triu(1).eq(0).all()
    for i in range(3):
        source, target = rows_of(batch, i)
        expected = eager(input_ids=torch.cat([source, target])[None], output_attentions=True)
        size = len(source)
        found = output.attention[i]
        torch.testing.assert_close(
            found[:, :size, :size], expected.attentions[layer][0, :, :size, :size], atol=2e-6, rtol=0
        )
        torch.testing.assert_close(found[:, :size].sum(-1), torch.ones(4, size))
        assert found[:, size:].eq(0).all() and found[:, :, size:].eq(0).all()
    torch.testing.assert_close(output.logits, plain, atol=5e-5, rtol=1e-5)


def test_recorded_attention_has_a_gradient_where_sources_end_before_the_padding(model, batch):
    model.train()
    model.record_attention(1)
    ids = functional.pad(batch["input_ids"], (0, 30))
    output = model(
        {**batch, "input_ids": ids, "attention_mask": functional.pad(batch["attention_mask"], (0, 30))}
    )
    assert output.attention.shape[-1] == ids.shape[1]
    output.attention.square().sum().backward()
    touched = [
        any(p.grad is not None and p.grad.any() for p in block.parameters()) for block in model.blocks()
    ]
    assert touched == [True, True, False]


def test_attention_is_off_during_generate(model, batch):
    plain = model.generate(batch, max_length=4, num_beams=2)
    model.record_attention(1)
    assert torch.equal(model.generate(batch, max_length=4, num_beams=2), plain)
    assert model(batch).attention is not None


def test_trains_in_bfloat16(model, batch):
    model.train()
    model.record_attention(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
    assert output.attention.dtype == torch.float32
    (output.logits.float().square().mean() + output.attention.square().mean()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


# Freezing and untying:


def test_parts_are_disjoint_and_hold_all_but_norm_and_output(model, model_type):
    parts = [
        {id(p) for module in group for p in module.parameters()}
        for group in (model.embeddings(), model.blocks())
    ]
    assert not parts[0] & parts[1]
    rest = [name for name, p in model.named_parameters() if id(p) not in parts[0] | parts[1]]
    assert all("norm" in name or "ln_f" in name or "lm_head" in name for name in rest)
    assert any("lm_head" in name for name in rest) == (model_type not in TIED)
    assert len(model.blocks()) == 3 and model.decoder_blocks() == []


def test_untying_frees_the_output_and_changes_nothing_else(model, batch, model_type):
    before = model(batch).logits
    for module in model.embeddings():
        module.requires_grad_(False)
    head = model.network.get_output_embeddings()
    assert head.weight.requires_grad == (model_type not in TIED)
    total, _ = model.num_parameters()
    model.untie_output()
    model.untie_output()
    assert head.weight.requires_grad
    assert model.num_parameters()[0] == total + (VOCAB * 32 if model_type in TIED else 0)
    torch.testing.assert_close(model(batch).logits, before, atol=0, rtol=0)


def test_frozen_embeddings_have_no_dropout(folders):
    for name, probability in (("gpt2", 0.1), ("starcoder2", 0.1)):
        model = CausalModel(weights=str(folders[name]))
        batch = encode(model.tokenizer, ["def area(width)"], ["x"])
        entering = []
        model.blocks()[0].register_forward_pre_hook(
            lambda module, args, kwargs, to=entering: to.append((*args, *kwargs.values())[0]),
            with_kwargs=True,
        )
        for _ in range(2):
            model(batch)
        for module in model.embeddings():
            module.eval()
        for _ in range(2):
            model(batch)
        assert not torch.equal(*entering[:2]) and torch.equal(*entering[2:])
        dropouts = [m.p for m in model.embeddings() if isinstance(m, torch.nn.Dropout)]
        assert dropouts == [probability]


def test_an_untied_model_saved_is_the_same_loaded(model, batch, tmp_path):
    model.untie_output()
    with torch.no_grad():
        model.network.get_output_embeddings().weight.add_(1.0)
    model.save(tmp_path)
    torch.testing.assert_close(
        CausalModel(weights=str(tmp_path)).eval()(batch).logits, model(batch).logits, atol=0, rtol=0
    )


# Building and loading:


def test_is_built_again_from_its_architecture(model, batch, folder):
    plain = json.loads(json.dumps(model.architecture))  # as a run's config stores it
    again = CausalModel(weights="random", architecture=plain, tokenizer=str(folder))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(batch).logits, model(batch).logits)
    assert again.architecture == model.architecture
    assert plain == json.loads(json.dumps(model.architecture))


def test_begins_in_training_mode_and_dropout_overrides_the_checkpoint(folder):
    model = CausalModel(weights=str(folder), dropout=0.37)
    assert all(module.training for module in model.modules())
    config = model.network.config
    assert {getattr(config, key) for key in FAMILIES[config.model_type].dropouts} == {0.37}
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} <= {0.37}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_checkpoints_train_in_float32(folders, tmp_path, dtype):
    model = CausalModel(weights=str(folders["qwen2"]))
    model.save(tmp_path, dtype=dtype)
    again = CausalModel(weights=str(tmp_path))
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert again.architecture == model.architecture


@pytest.mark.parametrize("output", ["label", "embedding"])
def test_a_task_for_an_encoder_is_refused_before_anything_is_loaded(output):
    with pytest.raises(CodeftError, match=f"no encoder, and this task asks for an? {output}: take"):
        CausalModel(weights="/nowhere", output=output)


def test_an_unknown_family_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(CodeftError, match=r"out of gpt2, llama, .*starcoder2; .*config.json has 't5'"):
        CausalModel(weights=str(tmp_path))
    with pytest.raises(CodeftError, match=r"out of gpt2.*; model.architecture has none"):
        CausalModel(weights="random", architecture={"hidden_size": 8})


def test_source_and_target_share_the_positions(folders):
    model = CausalModel(weights=str(folders["gpt2"]))
    assert model.max_source_length == 64 and model.shares_positions
    batch = {"input_ids": torch.full((1, 60), 9), "attention_mask": torch.ones(1, 60, dtype=torch.long)}
    with pytest.raises(CodeftError, match="64 positions for source and target together, and 65 were asked"):
        model.generate(batch, max_length=5, num_beams=1)
    with pytest.raises(CodeftError, match="64 positions for source and target together, and 65 were asked"):
        model({**batch, "labels": torch.full((1, 5), 9)})
    model({**batch, "labels": torch.full((1, 4), 9)})


# Tokenizers:


def reframed(folder, tmp_path, *, adds_start, **special):
    """A copy of a checkpoint whose tokenizer has other special tokens and adds none, or only its start."""
    folder = shutil.copytree(folder, tmp_path / "model")
    tokenizer = load_tokenizer(folder)
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if adds_start:
        start = special["bos_token"]
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, tokenizer.convert_tokens_to_ids(start))]
        )
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **special})
    )
    return folder


@pytest.mark.parametrize("adds_start", [False, True])
@pytest.mark.parametrize("start", ["<unk>", "</s>"])
def test_a_start_token_stands_before_the_source_alone(folders, tmp_path, start, adds_start):
    """`</s>` is both start and end in StarCoder2's tokenizer, which has no padding token either."""
    folder = reframed(
        folders["starcoder2"], tmp_path, adds_start=adds_start, bos_token=start, eos_token="</s>"
    )
    model = CausalModel(weights=str(folder)).eval()
    tokenizer = model.tokenizer
    assert tokenizer.pad_token == "</s>"
    batch = encode(tokenizer, ["def area(width)", "x"], ["the width", "if"])
    start_id = tokenizer.convert_tokens_to_ids(start)
    assert batch["labels"][:, 0].eq(start_id).all() and batch["labels"][0, -1] == 1
    eager = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        output, losses = model(batch), []
        logits = output.logits
        for i in range(2):
            source, target = rows_of(batch, i)
            expected = eager(input_ids=torch.cat([source, target[1:]])[None]).logits[0, len(source) - 1 : -1]
            torch.testing.assert_close(logits[i, 1 : len(target)], expected, atol=1e-5, rtol=1e-5)
            losses.append(functional.cross_entropy(expected, target[1:], reduction="none"))
    torch.testing.assert_close(CompletionTask().loss(output, batch), torch.cat(losses).mean())
    ids = model.generate(batch, max_length=5, num_beams=2)
    assert (ids[:, 0] != start_id).all() or start_id == 1
    model.save(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert again("x")["input_ids"] == tokenizer("x")["input_ids"] == [start_id, *again("x")["input_ids"][1:]]


def test_an_end_token_that_pads_is_learned(folders, tmp_path):
    folder = shutil.copytree(folders["llama"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": 1}))
    model = CausalModel(weights=str(folder))
    model(encode(model.tokenizer, ["x"], ["x"])).logits.sum().backward()
    assert model.network.get_input_embeddings().weight.grad[1].any()


def test_a_vocabulary_in_two_files_is_read(folders, tmp_path):
    """CodeGPT's layout: GPT-2's files, RoBERTa's special tokens."""
    trained = train_tokenizer(iter(TEXTS), vocab_size=VOCAB)
    model = json.loads(trained.backend_tokenizer.to_str())["model"]
    pieces = [piece for piece, _ in sorted(model["vocab"].items(), key=lambda item: item[1])][3:]
    vocab = {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<|UNKNOWN|>", *pieces])}
    folder = shutil.copytree(folders["gpt2"], tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in model["merges"])
    )
    special = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<|UNKNOWN|>", "sep": "<EOL>"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({f"{name}_token": token for name, token in special.items()})
    )
    tokenizer = load_tokenizer(folder, pad_with_end=True)
    ids = tokenizer("def area(width):\n    return  width\n")["input_ids"]
    assert (ids[0], ids[-1], tokenizer.pad_token_id) == (0, 2, 1)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "def area(width):\n    return  width\n"
