"""What pre-training asks of rows: parts in their shares, pieces in their lengths, all to be put back."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from codeft.losses.contrastive import contrastive_loss
from codeft.models.loading import load_tokenizer
from codeft.objectives.sentinels import put_back
from codeft.tasks.pretraining import PARTS, PretrainingTask
from codeft.types import CodeftError, Example, ModelOutput

TEXT = "def find_apple(apple):\n    apple_0 = apple.get(1)\n    return apple_0\n"
ROW = {"text": '"Doc."\n' + TEXT, "code": TEXT, "docstring": "Find the apple.", "language": "py"}


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer):
    return load_tokenizer(tiny_tokenizer)


@pytest.fixture(scope="module")
def sentinels(tokenizer):
    return tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(100)])


def read(task, row=ROW):
    return task.read(row, where="a:1", input="code", labelled=True)


def pieces(task, example, tokenizer, seed=0):
    return task.pieces([example], tokenizer, rngs=[np.random.default_rng(seed)])[0]


@pytest.mark.parametrize("share", [0.01, 0.15, 0.5, 0.9])
@pytest.mark.parametrize("part", ["spans", "subtrees"])
def test_hidden_parts_can_be_put_back_and_are_others_each_time(tokenizer, sentinels, share, part):
    task = PretrainingTask(parts={part: 1}, mask_share=share, layout="t5", max_target_length=200)
    example = Example("a", TEXT, None, "python")
    seen = set()
    for seed in range(20):
        (piece,) = pieces(task, example, tokenizer, seed)
        assert piece.input_ids[-1] == piece.labels[-1] == tokenizer.eos_token_id
        ids = put_back(piece.input_ids[:-1].tolist(), piece.labels.tolist(), sentinels=sentinels)
        assert ids == tokenizer(TEXT)["input_ids"][:-1]
        seen.add(tuple(piece.input_ids.tolist()))
    assert len(seen) > 10 or share == 0.01


def test_documentation_is_written_out_of_the_code_without_it(tokenizer):
    task = PretrainingTask(parts={"docstring": 1})
    example = read(task)
    assert (example.source, example.lang) == ('"Doc."\n' + TEXT, "python")
    (piece,) = pieces(task, example, tokenizer)
    assert tokenizer.decode(piece.input_ids, skip_special_tokens=True) == TEXT
    assert tokenizer.decode(piece.labels, skip_special_tokens=True) == "Find the apple."
    assert piece.others == ()


def test_a_body_is_written_out_of_documentation_and_head(tokenizer, sentinels):
    task = PretrainingTask(parts={"body": 1})
    (piece,) = pieces(task, read(task), tokenizer)
    source = tokenizer.decode([token for token in piece.input_ids if token not in sentinels])
    body = tokenizer.decode([token for token in piece.labels if token not in sentinels])
    assert source.removesuffix("</s>").rstrip() == "Find the apple.\ndef find_apple(apple):"
    assert body.strip() == "apple_0 = apple.get(1)\n    return apple_0"


def test_pairs_bring_their_query_along_and_find_each_other(tokenizer):
    task = PretrainingTask(parts={"pairs": 1}, contrast=0.5, temperature=0.1)
    (piece,) = pieces(task, read(task), tokenizer)
    (query,) = piece.others
    assert tokenizer.decode(query.input_ids, skip_special_tokens=True) == "Find the apple."
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(6, 8, generator=generator)
    logits = torch.randn(3, 4, 9, generator=generator)
    labels = torch.randint(9, (3, 4), generator=generator)
    keys = torch.tensor([[1, 7], [2, 7], [3, 9]])  # the first two ask the same
    batch = {"input_ids": torch.zeros(6, 5), "labels": labels, "keys": keys}
    plain = task.loss(ModelOutput(logits=logits), {"input_ids": torch.zeros(3, 5), "labels": labels})
    both = task.loss(ModelOutput(logits=logits, embedding=vectors), batch)
    right = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    expected = plain + 0.5 * contrastive_loss(vectors[3:], vectors[:3], temperature=0.1, right=right)
    first, second = piece.keys.tolist()
    assert first != second
    torch.testing.assert_close(both, expected)


def test_parts_have_their_shares_of_all_examples_as_far_as_functions_are_documented():
    wished = {"subtrees": 0.3, "spans": 0.2, "docstring": 0.25, "body": 0.15, "pairs": 0.1}
    documented, plain = Example("a", "x", None, "go", {"code": "x", "docstring": "y"}), Example("b", "x")
    rng = np.random.default_rng(0)
    for share, expected in {
        0.8: wished,
        0.25: {"subtrees": 0.45, "spans": 0.3, "docstring": 0.125, "body": 0.075, "pairs": 0.05},
    }.items():
        task = PretrainingTask(parts=wished)
        task.documented_share = share
        rows = [documented if rng.random() < share else plain for _ in range(20_000)]
        drawn = Counter(task.draw_part(row, rng) for row in rows)
        for part in PARTS:
            assert abs(drawn[part] / 20_000 - expected[part]) < 0.012, (share, part)


def test_a_row_without_documentation_has_spans_where_only_documented_parts_are_asked_for():
    task = PretrainingTask(parts={"docstring": 1})
    assert task.draw_part(Example("b", "x"), np.random.default_rng(0)) == "spans"


def test_the_documented_share_counts_pieces_of_long_texts():
    task = PretrainingTask(parts={"spans": 1}, max_source_length=102)
    rows = [Example("a", "x", None, "go", {"code": "x", "docstring": "y"}), Example("b", "x" * 960)]
    task.measure(rows)
    assert task.documented_share == 1 / 4  # the long text is about three pieces of 100 sub-tokens


@pytest.mark.parametrize("segmentation", ["ast", "greedy"])
def test_a_long_text_is_cut_and_nothing_is_lost(tokenizer, sentinels, segmentation):
    text = "".join(f"def f{i}(x):\n    return x * {i}\n\n\n" for i in range(30))
    task = PretrainingTask(parts={"subtrees": 1}, max_source_length=32, segmentation=segmentation)
    found = pieces(task, Example("a", text, None, "python"), tokenizer)
    ids = []
    for piece in found:
        assert len(piece.input_ids) <= 32
        ids += put_back(piece.input_ids[:-1].tolist(), piece.labels.tolist(), sentinels=sentinels)
    assert tokenizer.decode(ids) == text
    starts = [tokenizer.decode(piece.input_ids[:1]) for piece in found]
    assert task.counts["subtrees"] == len(found) > 10 and starts


def test_prose_has_spans_and_some_hide_nothing(tokenizer, sentinels):
    text = "It finds the apple that was asked for, and returns it to whom it may concern. " * 6
    task = PretrainingTask(
        parts={"subtrees": 1},
        layout="t5",
        mask_share=0.3,
        mean_span_length=2,
        max_source_length=999,
        max_target_length=999,
    )
    example = read(task, {"text": text, "language": ""})
    assert example.lang == ""
    empty = 0
    for seed in range(20):
        (piece,) = pieces(task, example, tokenizer, seed)
        ids = put_back(piece.input_ids[:-1].tolist(), piece.labels.tolist(), sentinels=sentinels)
        assert tokenizer.decode(ids) == text
        target = piece.labels.tolist()
        empty += sum(a in sentinels and b in (*sentinels, 1) for a, b in itertools.pairwise(target))
    assert empty > 5


def test_validation_is_the_same_each_time_and_one_piece_a_row(tokenizer):
    task = PretrainingTask(parts=dict.fromkeys(PARTS, 1), max_source_length=24)
    rows = [Example(str(i), TEXT * (i + 1), None, "python") for i in range(5)] + [read(task)]
    first, second = task.encode(rows, tokenizer), task.encode(rows[::-1], tokenizer)[::-1]
    assert [e.input_ids.tolist() for e in first] == [e.input_ids.tolist() for e in second]
    assert all(e.labels is not None and not e.others for e in first) and not task.counts


@pytest.mark.parametrize("layout", ["t5", "ast_t5"])
def test_a_text_of_nothing_trains_nothing_and_is_validated(tokenizer, sentinels, layout):
    task = PretrainingTask(parts={"subtrees": 1}, layout=layout)
    empty = Example("a", "", None, "python")
    assert pieces(task, empty, tokenizer) == []
    (encoding,) = task.encode([empty], tokenizer)
    assert encoding.input_ids.tolist() == [1]
    assert encoding.labels.tolist() == ([1] if layout == "t5" else sentinels[:1] * 2)


def test_pairs_ask_nothing_of_other_devices(monkeypatch):
    """The others' batch may hold no pairs; waiting for theirs would never end."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: pytest.fail("asked for others"))
    labels = torch.ones(2, 3, dtype=torch.long)
    output = ModelOutput(logits=torch.zeros(2, 3, 9), embedding=torch.eye(4))
    batch = {"input_ids": torch.zeros(4, 5), "labels": labels, "keys": torch.tensor([[1, 7], [2, 8]])}
    assert torch.isfinite(PretrainingTask(parts={"pairs": 1}).loss(output, batch))


def test_lone_surrogates_are_read_as_unknown_characters(tokenizer):
    task = PretrainingTask(parts={"spans": 1})
    (piece,) = pieces(task, Example("a", "x = '\ud800'", None, "python"), tokenizer)
    assert len(piece.input_ids) > 1


def test_a_cut_target_has_no_end(tokenizer):
    task = PretrainingTask(parts={"spans": 1}, layout="t5", max_target_length=4)
    (piece,) = pieces(task, Example("a", TEXT * 3, None, "python"), tokenizer)
    assert piece.truncated and len(piece.labels) == 4 and piece.labels[-1] != tokenizer.eos_token_id


def test_what_was_cut_is_counted(tokenizer):
    task = PretrainingTask(parts={"docstring": 1}, max_source_length=8)
    assert [piece.truncated for piece in pieces(task, read(task), tokenizer)] == [True]


def test_a_tokenizer_without_sentinels_is_an_error():
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "x": 2}, unk_token="<unk>"))
    plain = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")
    with pytest.raises(CodeftError, match="needs a tokenizer with 100 sentinels"):
        PretrainingTask(parts={"spans": 1}).encode([Example("a", "x", None)], plain)


BAD = {
    "parts": {"parts": {"words": 1}},
    "all parts 0": {"parts": {"spans": 0}},
    "mask_share": {"mask_share": 1.0},
    "mean_span_length": {"mean_span_length": 0.5},
    "obfuscation": {"obfuscation": 2},
    "segmentation": {"segmentation": "words"},
    "layout": {"layout": "bart"},
    "temperature": {"temperature": 0},
}


@pytest.mark.parametrize(("key", "values"), BAD.items(), ids=BAD)
def test_values_out_of_range_are_refused(key, values):
    with pytest.raises(CodeftError, match=key.rpartition(" ")[0].removeprefix("all ") or key):
        PretrainingTask(**{"parts": {"spans": 1}, **values})
