"""UniXcoder's three modes: framing, masks, decoding, loading."""

from __future__ import annotations

import copy
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModel, RobertaModel

from codeft.data.collate import Collator, Item, pad
from codeft.models import attention
from codeft.models.loading import RANDOM
from codeft.models.prefix_lm import PrefixLMModel
from codeft.models.prefix_network import PrefixLanguageModel
from codeft.tasks.code_search import CodeSearchTask
from codeft.tasks.completion import CompletionTask
from codeft.tasks.encoding import encode_targets
from codeft.tasks.summarization import SummarizationTask
from codeft.types import CodeftError, Example

SOURCES = ["def area(width):\n    return width", "x", "if width:\n    return"]
TARGETS = ["the width", "x", "None if width"]
MODES = ["encoder-decoder", "decoder-only"]


@pytest.fixture(scope="module")
def built(unixcoder_folder):
    models = {}
    for mode in (*MODES, "encoder-only"):
        output = "embedding" if mode == "encoder-only" else "text"
        models[mode] = PrefixLMModel(weights=str(unixcoder_folder), mode=mode, output=output).eval()
    return models


@pytest.fixture
def model(built, mode):
    return copy.deepcopy(built[mode])


def make_batch(model, sources=SOURCES, targets=TARGETS):
    ids = model.tokenizer(sources)["input_ids"]
    mask = pad([np.ones(len(row), dtype=np.int64) for row in ids], value=0)
    labels = [target.ids for target in encode_targets(targets, model.tokenizer, max_length=20)]
    return {
        "input_ids": pad([np.array(row) for row in ids], value=model.tokenizer.pad_token_id),
        "attention_mask": mask,
        "labels": pad(labels, value=-100),
    }


def spell(model, ids):
    return model.tokenizer.convert_ids_to_tokens(ids)


# Framing:


@pytest.mark.parametrize(
    ("settings", "begin", "end"),
    [
        ({"output": "embedding"}, ["<s>", "<encoder-only>", "</s>"], ["</s>"]),
        ({"output": "label"}, ["<s>", "<encoder-only>", "</s>"], ["</s>"]),
        ({}, ["<s>", "<encoder-decoder>", "</s>", "<mask0>"], ["</s>"]),
        ({"mask_at": "end"}, ["<s>", "<encoder-decoder>", "</s>"], ["<mask0>", "</s>"]),
        ({"mode": "decoder-only"}, ["<s>", "<decoder-only>", "</s>"], []),
    ],
)
def test_sources_are_framed_as_published(unixcoder_folder, settings, begin, end):
    model = PrefixLMModel(weights=str(unixcoder_folder), **settings)
    tokens = spell(model, model.tokenizer("return x")["input_ids"])
    bare = spell(model, model.tokenizer("return x", add_special_tokens=False)["input_ids"])
    assert tokens == [*begin, *bare, *end]
    [target] = encode_targets(["return x"], model.tokenizer, max_length=20)
    assert spell(model, target.ids) == [*bare, "</s>"]


def test_special_tokens_have_no_offsets_and_leaves_are_found(built):
    task, source = SummarizationTask(max_source_length=30), SOURCES[0]
    tokenizer = built["encoder-decoder"].tokenizer
    [encoding] = task.encode([Example("a", source, "the area", "python")], tokenizer)
    assert encoding.offsets[:4].tolist() == encoding.offsets[[-1] * 4].tolist() == [[-1, -1]] * 4
    spans = encoding.offsets[4:-1]
    assert "".join(source[a:b] for a, b in spans) == source
    [cut] = SummarizationTask(max_source_length=9).encode([Example("a", source, "x", "python")], tokenizer)
    assert cut.truncated and spell(built["encoder-decoder"], cut.input_ids)[-1] == "</s>"
    assert len(cut.input_ids) == 9 and np.array_equal(cut.offsets[4:-1], spans[:4])


def test_a_long_context_keeps_its_end_and_its_frame(built):
    model, task = built["decoder-only"], CompletionTask(max_source_length=8, max_target_length=5)
    [encoding] = task.encode([Example("a", SOURCES[0], "width * height", "python")], model.tokenizer)
    tokens = spell(model, encoding.input_ids)
    assert len(tokens) == 8 and tokens[:3] == ["<s>", "<decoder-only>", "</s>"]
    spans = encoding.offsets[3:]
    assert SOURCES[0].endswith("".join(SOURCES[0][a:b] for a, b in spans))
    assert len(encoding.labels) <= 5 and encoding.labels[-1] == model.tokenizer.eos_token_id


def test_text_that_reads_like_a_mode_is_text_and_a_mode_vanishes_from_answers(built):
    model = built["encoder-decoder"]
    ids = model.tokenizer("<mask0> <encoder-only>", add_special_tokens=False)["input_ids"]
    vocabulary = model.tokenizer.get_vocab()
    assert not {vocabulary["<mask0>"], vocabulary["<encoder-only>"]} & set(ids)
    answer = [vocabulary["<mask0>"], *model.tokenizer("x", add_special_tokens=False)["input_ids"]]
    assert model.tokenizer.decode(answer, skip_special_tokens=True) == "x"


def test_the_real_vocabulary_with_the_modes_added(shared_data, tmp_path):
    vocab = json.loads((shared_data / "tokenizers/roberta_codebert/vocab.json").read_text())
    merges = shared_data / "tokenizers/roberta_codebert/merges.txt"
    tokens = ("<mask0>", "<encoder-only>", "<decoder-only>", "<encoder-decoder>")
    ids = dict(zip(tokens, range(len(vocab), len(vocab) + 4), strict=True))
    (tmp_path / "vocab.json").write_text(json.dumps(vocab | ids))
    shutil.copy(merges, tmp_path)
    (tmp_path / "merges.txt").chmod(0o644)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}')
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = PrefixLMModel(weights=RANDOM, tokenizer=str(tmp_path), architecture=sizes | {"vocab_size": 51416})
    found = model.tokenizer("return x")["input_ids"]
    assert found == [0, ids["<encoder-decoder>"], 2, ids["<mask0>"], 30921, 3023, 2]
    assert len(model.tokenizer) == len(vocab) + 4


def test_a_tokenizer_of_another_family_is_an_error(roberta_folder):
    with pytest.raises(CodeftError, match=r"lacks UniXcoder's <decoder-only>, .*<mask0>: give UniXcoder's"):
        PrefixLMModel(weights=str(roberta_folder))


def test_random_weights_give_any_tokenizer_the_modes(t5_folder):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = PrefixLMModel(
        weights=RANDOM, tokenizer=str(t5_folder), architecture=sizes | {"vocab_size": 424}
    ).eval()
    assert spell(model, model.tokenizer("")["input_ids"]) == ["<encoder-decoder>", "</s>", "<mask0>", "</s>"]
    batch = make_batch(model)
    assert model(batch).logits.shape == (*batch["labels"].shape, 424)
    assert model.generate(batch, max_length=3, num_beams=2).shape[0] == 3
    with pytest.raises(
        CodeftError, match=r"go up to 423, but the embeddings of the random weights have 423.*vocab_size=424"
    ):
        PrefixLMModel(weights=RANDOM, tokenizer=str(t5_folder), architecture=sizes | {"vocab_size": 423})


# Modes:


@pytest.mark.parametrize(
    ("output", "mode"),
    [
        ("text", "encoder-only"),
        ("label", "decoder-only"),
        ("embedding", "encoder-decoder"),
        ("text", "encoder_decoder"),
    ],
)
def test_a_mode_that_cannot_give_the_output_is_an_error(unixcoder_folder, output, mode):
    with pytest.raises(CodeftError, match=rf"asks for a \w+: model.mode must be auto or .*, not '{mode}'"):
        PrefixLMModel(weights=str(unixcoder_folder), output=output, mode=mode)


def test_an_unknown_place_of_the_blank_is_an_error(unixcoder_folder):
    with pytest.raises(CodeftError, match=r"model\.mask_at must be start or end, not 'middle'"):
        PrefixLMModel(weights=str(unixcoder_folder), mask_at="middle")


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES)
def test_logits_are_those_of_transformers_stack_one_example_at_a_time(model, mode, unixcoder_folder):
    stack = RobertaModel.from_pretrained(unixcoder_folder, is_decoder=True).eval()
    batch = make_batch(model)
    logits = model(batch).logits
    for i, (ids, mask, labels) in enumerate(
        zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True)
    ):
        source, labels = ids[mask.bool()], labels[labels != -100]
        start = [model.tokenizer.convert_tokens_to_ids("<mask0>")] if mode == "encoder-decoder" else []
        tokens = torch.cat([source, torch.tensor(start).long(), labels[:-1]])[None]
        length = len(source) if mode == "encoder-decoder" else 0
        seen = torch.ones(tokens.shape[1], tokens.shape[1]).tril()
        seen[:length, :length] = 1
        added = torch.zeros_like(seen).masked_fill(seen == 0, torch.finfo(torch.float32).min)
        hidden = stack(tokens, attention_mask=added[None, None]).last_hidden_state[0, -len(labels) :]
        expected = hidden @ stack.embeddings.word_embeddings.weight.T
        torch.testing.assert_close(logits[i, : len(labels)], expected, atol=1e-4, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES)
def test_attention_is_that_of_the_source_alone(model, mode):
    """Whether a target follows changes nothing; a decoder's rows see only what is before."""
    batch = make_batch(model)
    length = batch["input_ids"].shape[1]
    model.record_attention(1)
    output = model(batch)
    attention = output.attention
    assert attention.shape == (3, 4, length, length)
    assert output.attention_is_causal == (mode == "decoder-only")
    alone = model({key: batch[key] for key in ("input_ids", "attention_mask")})
    assert alone.logits is None
    torch.testing.assert_close(alone.attention, attention, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(attention.sum(-1), torch.ones(3, 4, length))
    ahead = attention[0].triu(1)
    assert (ahead == 0).all() if mode == "decoder-only" else (ahead > 0).any()


def test_trees_are_aligned_with_the_attention(unixcoder_folder):
    """The leaves of a batch stand where its attention has their sub-tokens."""
    from codeft.data.tree_feature import TreeFeature

    model = PrefixLMModel(weights=str(unixcoder_folder)).eval()
    example = Example("a", SOURCES[0], "the area", "python")
    [encoding] = SummarizationTask(max_source_length=30).encode([example], model.tokenizer)
    feature = TreeFeature()
    item = Item(0, encoding, [{"tree": feature.compute(example, encoding)}])
    batch = Collator(model.tokenizer.pad_token_id, {"tree": feature})([item])
    model.record_attention(0)
    attention = model(batch).attention
    leaf = batch["tree_leaf"]
    assert attention.shape[-1] == leaf.shape[1] == len(encoding.input_ids)
    assert leaf[0, :4].eq(-1).all() and leaf[0, -1] == -1 and (leaf[0, 4:-1] >= 0).any()


@pytest.mark.parametrize("mode", MODES)
def test_source_and_target_share_the_positions(model, mode):
    assert model.shares_positions and model.max_source_length == 64
    ids = torch.full((1, 40), 5)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, :24]}
    assert model(batch).logits.shape[1] == 24
    with pytest.raises(CodeftError, match=r"has 64 positions, a source came with 40 .* a target with 2[56]"):
        model({**batch, "labels": ids[:, :26]})
    with pytest.raises(CodeftError, match=r"has 64 positions, a source came with 40 .* a target with 25"):
        model.generate(batch, max_length=25, num_beams=1)


def padded(batch, model, *, source, target=0):
    """The same batch with further columns of padding."""
    wider = {
        "input_ids": functional.pad(batch["input_ids"], (0, source), value=model.tokenizer.pad_token_id),
        "attention_mask": functional.pad(batch["attention_mask"], (0, source)),
    }
    return wider | {"labels": functional.pad(batch["labels"], (0, target), value=-100)}


@pytest.mark.parametrize("mode", MODES)
def test_padding_takes_no_positions(model, mode):
    batch = make_batch(model)
    wider = padded(batch, model, source=60, target=60)
    expected, logits = model(batch).logits, model(wider).logits[:, : batch["labels"].shape[1]]
    real = batch["labels"] >= 0
    torch.testing.assert_close(logits[real], expected[real], atol=1e-5, rtol=1e-5)
    written = model.generate(wider, max_length=10, num_beams=2)
    assert torch.equal(written, model.generate(batch, max_length=10, num_beams=2))
    # Rows that fit each for itself, though the longest source and the longest target wouldn't together.
    ids = torch.full((2, 50), 5)
    mask, labels = torch.ones_like(ids), torch.full((2, 30), 6)
    mask[1, 20:], labels[0, 8:] = 0, -100
    ids = ids.masked_fill(mask == 0, model.tokenizer.pad_token_id)
    assert model({"input_ids": ids, "attention_mask": mask, "labels": labels}).logits.isfinite().all()
    with pytest.raises(CodeftError, match=r"a source came with 50 sub-tokens and a target with (29|30)"):
        model({"input_ids": ids, "attention_mask": mask, "labels": labels.flip(0)})


def test_an_encoder_has_all_positions_for_the_source(built):
    model = built["encoder-only"]
    assert not model.shares_positions
    ids = torch.full((1, 65), 5)
    with pytest.raises(CodeftError, match=r"has 64 positions, a source came with 65 sub-tokens: lower"):
        model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    batch = model.tokenizer(["x"], return_tensors="pt")
    wider = padded({**batch, "labels": batch["input_ids"]}, model, source=80)
    torch.testing.assert_close(model(wider).embedding, model(batch).embedding, atol=1e-5, rtol=1e-5)


def test_lengths_are_checked_before_training(built):
    from codeft.build import check_lengths

    fits = SummarizationTask(max_source_length=40, max_target_length=24)
    check_lengths(fits, built["encoder-decoder"])
    check_lengths(CodeSearchTask(max_source_length=64), built["encoder-only"])
    with pytest.raises(CodeftError, match=r"share the model's 64 positions; .* make 65: lower one"):
        check_lengths(SummarizationTask(max_source_length=41, max_target_length=24), built["decoder-only"])


# Decoding:


def log_probabilities(model, source, written):
    """Of what follows, by the forward of training: no cache, one example, no padding."""
    labels = torch.tensor([[*written, 0]])
    batch = {"input_ids": source, "attention_mask": torch.ones_like(source), "labels": labels}
    return model(batch).logits[0, -1].log_softmax(-1)


def search(model, source, *, max_length, num_beams):
    """Beam search, slow and plain: the best by mean log-probability, done when `num_beams` have ended."""
    end = model.tokenizer.eos_token_id
    beams, ended = [(0.0, [])], []
    for step in range(1, max_length + 1):
        grown = [
            (score + float(p), [*written, token])
            for score, written in beams
            for token, p in enumerate(log_probabilities(model, source, written))
        ]
        grown = sorted(grown, key=lambda beam: -beam[0])[: 2 * num_beams]
        ended += [(score / step, written) for score, written in grown[:num_beams] if written[-1] == end]
        beams = [beam for beam in grown if beam[1][-1] != end][:num_beams]
        if len(ended) >= num_beams:
            break
    if len(ended) < num_beams:
        ended += [(score / max_length, written) for score, written in beams]
    return max(ended)[1]


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("num_beams", [1, 3])
def test_decoding_is_a_search_over_the_uncached_forward(model, mode, num_beams):
    bias = torch.zeros(model.vocab_size)
    bias[model.tokenizer.eos_token_id] = 3.0  # so that hypotheses end
    model.network.lm_head.register_forward_hook(lambda _, __, logits: logits + bias)
    batch = make_batch(model)
    together = model.generate(batch, max_length=6, num_beams=num_beams)
    ends, lengths = 0, set()
    for row, ids, mask in zip(together, batch["input_ids"], batch["attention_mask"], strict=True):
        expected = search(model, ids[None, mask.bool()], max_length=6, num_beams=num_beams)
        assert row[: len(expected)].tolist() == expected
        assert row[len(expected) :].eq(model.tokenizer.pad_token_id).all()
        ends += expected[-1] == model.tokenizer.eos_token_id
        lengths.add(len(expected))
    assert ends and lengths != {1}


@pytest.mark.parametrize("mode", MODES)
def test_batched_equals_one_at_a_time(model, mode):
    batch = make_batch(model)
    for num_beams in (1, 4):
        together = model.generate(batch, max_length=6, num_beams=num_beams)
        for row, ids, mask in zip(together, batch["input_ids"], batch["attention_mask"], strict=True):
            one = {"input_ids": ids[None, mask.bool()], "attention_mask": mask[None, mask.bool()]}
            alone = model.generate(one, max_length=6, num_beams=num_beams)[0]
            assert torch.equal(row[: len(alone)], alone)


@pytest.mark.parametrize("mode", MODES)
def test_a_prompt_is_read_once_and_each_step_reads_one_column(model, mode):
    shapes = []
    model.blocks()[0].register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape[:2])))
    batch = make_batch(model)
    model.generate(batch, max_length=4, num_beams=3)
    length = batch["input_ids"].shape[1] - (mode == "decoder-only")
    assert shapes[0] == (3, length) and set(shapes[1:]) == {(9, 1)}


@pytest.mark.parametrize("mode", MODES)
def test_every_trained_parameter_gets_a_gradient(model, mode):
    model.train()
    model(make_batch(model)).logits.square().sum().backward()
    assert [name for name, p in model.trainable_parameters() if p.grad is None] == []
    pooler = model.network.roberta.pooler
    assert all(p.grad.eq(0).all() for p in pooler.parameters())
    pooler.requires_grad_(False)
    model.zero_grad()
    model(make_batch(model)).logits.square().sum().backward()
    assert all(p.grad is None for p in pooler.parameters())


@pytest.mark.parametrize("mode", MODES)
def test_training_on_a_cpu_attends_compactly_and_equals_sdpa(mode, unixcoder_folder, monkeypatch):
    calls, written_out = [], attention.compact_attention
    monkeypatch.setattr(
        attention,
        "compact_attention",
        lambda *args, **kwargs: calls.append(1) or written_out(*args, **kwargs),
    )
    model = PrefixLMModel(weights=str(unixcoder_folder), mode=mode, dropout=1e-9)  # drops nothing
    twin = copy.deepcopy(model)
    for block in twin.blocks():
        block.attention.self.is_causal = True  # as transformers has it: SDPA
    batch = make_batch(model)
    for each in (model, twin):
        each(batch).logits.square().mean().backward()
        assert len(calls) == 3
    found, expected = ({name: p.grad for name, p in each.named_parameters()} for each in (model, twin))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_bfloat16(model, mode):
    model.train()
    model.record_attention(1)
    batch = make_batch(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
        assert model.generate(batch, max_length=3, num_beams=2).shape[0] == 3
    torch.testing.assert_close(output.attention.sum(-1), torch.ones(output.attention.shape[:-1]))
    (output.logits.float().square().mean() + output.attention.square().mean()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


# Loading and saving:


@pytest.mark.parametrize("output", ["text", "embedding"])
def test_the_stack_is_the_checkpoint(unixcoder_folder, output, caplog):
    caplog.set_level(logging.INFO)
    model = PrefixLMModel(weights=str(unixcoder_folder), output=output)
    stack = model.network.roberta if output == "text" else model.network
    assert stack.state_dict().keys() == load_file(unixcoder_folder / "model.safetensors").keys()
    for name, value in load_file(unixcoder_folder / "model.safetensors").items():
        assert torch.equal(stack.state_dict()[name], value)
    assert not caplog.records
    assert model.num_parameters()[0] == sum(p.numel() for p in stack.parameters())


@pytest.mark.parametrize("output", ["text", "embedding"])
@pytest.mark.parametrize("named", [False, True])
def test_a_torch_file_with_and_without_the_stacks_name(unixcoder_folder, tmp_path, output, named):
    state = load_file(unixcoder_folder / "model.safetensors")
    if named:
        state = {f"roberta.{name}": value for name, value in state.items()}
    for file in unixcoder_folder.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, tmp_path)
    torch.save(state, tmp_path / "pytorch_model.bin")
    model, expected = (
        PrefixLMModel(weights=str(folder), output=output) for folder in (tmp_path, unixcoder_folder)
    )
    found = expected.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in model.state_dict().items())


def test_what_is_missing_is_named(unixcoder_folder, tmp_path, caplog):
    stack = RobertaModel.from_pretrained(unixcoder_folder, add_pooling_layer=False)
    state = {name: value for name, value in stack.state_dict().items() if "layer.1.output" not in name}
    shutil.copytree(unixcoder_folder, tmp_path, dirs_exist_ok=True)
    stack.save_pretrained(tmp_path, state_dict=state)
    caplog.clear()
    model = PrefixLMModel(weights=str(tmp_path))
    assert "so random: network.roberta.encoder.layer.{1}.output.*" in caplog.text
    assert "pooler" not in caplog.text and model.network.roberta.pooler is None
    assert len(model.embeddings()) == 1 and model.architecture["pooler"] is False


def test_another_architectures_weights_are_refused(unixcoder_folder, tmp_path):
    shutil.copytree(unixcoder_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    others = {f"transformer.h.{i}.weight": torch.zeros(10_000) for i in range(8)}
    torch.save(others, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        CodeftError, match=r"none of the encoder's weights: it has .*expected roberta.encoder.layer"
    ):
        PrefixLMModel(weights=str(tmp_path))


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES)
def test_saved_and_loaded(model, mode, tmp_path):
    model.save(tmp_path)
    batch = make_batch(model)
    again = PrefixLMModel(weights=str(tmp_path), mode=mode).eval()
    assert torch.equal(again(batch).logits, model(batch).logits)
    assert again.architecture == model.architecture
    assert again.tokenizer(SOURCES)["input_ids"] == model.tokenizer(SOURCES)["input_ids"]
    theirs = AutoModel.from_pretrained(tmp_path)
    assert torch.equal(theirs.pooler.dense.weight, model.network.roberta.pooler.dense.weight)
    encoder = PrefixLMModel(weights=str(tmp_path), output="embedding").eval()
    assert encoder.architecture == {**model.architecture, "is_decoder": False}
    assert spell(encoder, encoder.tokenizer("")["input_ids"])[1] == "<encoder-only>"


@torch.no_grad()
@pytest.mark.parametrize("mode", ["encoder-decoder"])
def test_an_untied_output_is_saved_and_loaded(model, tmp_path):
    model.untie_output()
    model.network.lm_head.weight.mul_(2.0)
    model.save(tmp_path)
    again = PrefixLMModel(weights=str(tmp_path)).eval()
    batch = make_batch(model)
    assert torch.equal(again(batch).logits, model(batch).logits)
    assert isinstance(again.network, PrefixLanguageModel)
    assert again.num_parameters()[0] == model.num_parameters()[0]


@torch.no_grad()
@pytest.mark.parametrize("mode", [*MODES, "encoder-only"])
def test_rebuilt_from_its_architecture_and_a_saved_tokenizer(model, mode, tmp_path):
    """As a run is resumed: random weights, the run's own tokenizer, the checkpoint's state."""
    model.tokenizer.save_pretrained(tmp_path)
    again = PrefixLMModel(
        weights=RANDOM,
        architecture=model.architecture,
        tokenizer=str(tmp_path),
        mode=mode,
        output=model.output,
    )
    again.load_state_dict(model.state_dict())
    batch = make_batch(model)
    found, expected = again.eval()(batch), model(batch)
    assert again.architecture == model.architecture
    assert again.tokenizer(SOURCES)["input_ids"] == model.tokenizer(SOURCES)["input_ids"]
    if mode == "encoder-only":
        assert torch.equal(found.embedding, expected.embedding)
    else:
        assert torch.equal(found.logits, expected.logits)


def test_dropout_overrides_the_checkpoint(unixcoder_folder):
    model = PrefixLMModel(weights=str(unixcoder_folder), dropout=0.37)
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.37}
