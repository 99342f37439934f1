"""What a tokenizer doesn't know is counted and named."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from codeft.data.unknown_tokens import UnknownTokens, unknown_id, warnings_of
from codeft.tasks.code_search import CodeSearchTask
from codeft.tasks.summarization import SummarizationTask
from codeft.types import Example


def character_tokenizer(*, fused: bool = False) -> PreTrainedTokenizerFast:
    """Knows lower-case letters, digits and blanks, each a sub-token."""
    vocab = {
        token: i
        for i, token in enumerate(["<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz0123456789▁"])
    }
    tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", fuse_unk=fused))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocab["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Knows two words; a word that it doesn't know is unknown as a whole."""
    tokenizer = Tokenizer(
        models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "int": 3, "x": 4}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def described(examples, tokenizer, task):
    unknown = UnknownTokens(task=task, tokenizer=tokenizer)
    for example in examples:  # in parts, as data is encoded
        unknown.add([example], task.encode([example], tokenizer))
    return unknown.describe()


EXAMPLES = [
    Example("1", "a{}", "ab", "java"),  # ▁ a { } and ▁ a b
    Example("2", "{{{", "A b", "java"),  # ▁ { { { and ▁ A ▁ b
    Example("3", "abc", "ab", "go"),
]


def test_sources_and_targets_are_counted_apart_and_by_language():
    found = described(EXAMPLES, character_tokenizer(), SummarizationTask())
    assert found["source"]["share"] == 5 / 12 and found["target"]["share"] == 1 / 10
    assert found["source"]["languages"] == {"java": 5 / 8, "go": 0}
    assert found["target"]["languages"] == {"java": 1 / 7, "go": 0}
    assert found["source"]["characters"] == {"{": 4, "}": 1}
    assert found["target"]["characters"] == {"A": 1}
    reading, writing = warnings_of(found)
    assert "41.7% of the sources'" in reading and "62.5% in java" in reading and "'{' '}'" in reading
    assert "can't read" in reading and "in go" not in reading and "can't write" in writing


def test_what_is_unknown_in_one_piece_is_taken_apart():
    found = described(EXAMPLES, character_tokenizer(fused=True), SummarizationTask())
    assert set(found["source"]["characters"]) == {"{", "}"}
    words = described([Example("1", "int y = x", "x", "c")], word_tokenizer(), SummarizationTask())
    assert set(words["source"]["characters"]) == {"y", "="}


def test_queries_are_counted_as_such():
    example = Example("1", "ab", "{", "go", {"code_id": "1"}, (Example("1#query", "{"),))
    found = described([example], character_tokenizer(), CodeSearchTask())
    assert (found["source"]["share"], found["query"]["share"]) == (0, 1 / 2)
    assert "of the queries'" in next(warnings_of(found))


def test_what_is_cut_off_isnt_counted():
    found = described(
        [Example("1", "aaaa{{{{", "a", "go")], character_tokenizer(), SummarizationTask(max_source_length=5)
    )
    assert found["source"]["share"] == 0


def test_a_tokenizer_of_bytes_knows_everything(tiny_tokenizer):
    from codeft.models.loading import load_tokenizer

    tokenizer = load_tokenizer(tiny_tokenizer)
    found = described([Example("1", "{ä文\n", "ß", "go")], tokenizer, SummarizationTask())
    assert found["source"]["share"] == found["target"]["share"] == 0 and not list(warnings_of(found))


def test_a_sub_token_that_ends_texts_is_not_unknown():
    tokenizer = character_tokenizer()
    assert unknown_id(tokenizer) == 2
    tokenizer.eos_token = "<unk>"  # as in GPT-2's
    assert unknown_id(tokenizer) is None
    assert described(EXAMPLES, tokenizer, SummarizationTask())["source"]["share"] == 0


def test_a_small_share_is_no_warning():
    assert not list(warnings_of({"source": {"share": 0.001, "languages": {}, "characters": {}}}))
    assert list(warnings_of({"source": {"share": 0.0011, "languages": {}, "characters": {}}}))


@pytest.fixture
def poor_tokenizer(tmp_path):
    character_tokenizer().save_pretrained(tmp_path / "poor")
    return tmp_path / "poor"


def test_prepare_and_train_tell_it(command, tiny, tiny_data, poor_tokenizer, tmp_path, capsys):
    command(
        "prepare", f"data.dir={tiny_data}", f"model.tokenizer={poor_tokenizer}", f"hydra.run.dir={tmp_path}/p"
    )
    said = capsys.readouterr().out
    assert "unknown in sources" in said and "unknown in targets" in said and "'_'" in said
    train = json.loads((tmp_path / "p/statistics.json").read_text())["splits"]["train"]["unknown_tokens"]
    assert train["source"]["share"] > 0.1 < train["source"]["languages"]["python"]
    assert {"_", "("} <= train["source"]["characters"].keys()
    words = [word for word in tiny if not word.startswith("model.tokenizer=")]
    command(
        "train", *words, f"model.tokenizer={poor_tokenizer}", "dry_run=true", f"hydra.run.dir={tmp_path}/t"
    )
    assert "of the sources' sub-tokens are unknown to the tokenizer" in capsys.readouterr().err
