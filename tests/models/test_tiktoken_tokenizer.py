"""AST-T5's tokenizer against byte-pair encoding by ranks, as slow as it is plain."""

from __future__ import annotations

import base64
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.models.bart import BartModel
from codeft.models.loading import load_tokenizer
from codeft.types import CodeftError

PAIRS = [
    "re",
    "tu",
    "rn",
    "tur",
    "return",
    " return",
    "aa",
    "aaaa",
    "==",
    "====",
    "\n ",
    "  ",
    "    ",
    "日",
    "本",
]
RANKS = {bytes([i]): i for i in range(256)} | {text.encode(): 256 + i for i, text in enumerate(PAIRS)}
TEXTS = [
    "def f(x):\n    return x  # naïve 日本\n",
    "aaaaaaa ===== returns  \n\n  1234567 it's IT'S",
    "</s> <sen000> <pad>",
    "\t\r\n\x00🙂e\u0301",
    "",
]


def write(folder, ranks=RANKS):
    lines = [f"{base64.b64encode(token).decode()} {rank}" for token, rank in ranks.items()]
    (folder / "cl100k_base.tiktoken").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(write(tmp_path_factory.mktemp("tiktoken")))


def words(text):
    """Cut as GPT-4's tokenizer does, in the words of Python's own regular expressions."""
    letter, digit = r"[^\W\d_]", r"\d"
    pattern = (
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|(?:(?!{letter}|{digit})[^\r\n])?{letter}+|{digit}{{1,3}}"
        rf"| ?(?:(?!{letter}|{digit})\S)+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    return re.findall(pattern, text)


def encode(text):
    ids = []
    for word in words(text):
        parts = [bytes([byte]) for byte in word.encode()]
        while True:
            ranked = [(RANKS.get(a + b, 10**9), i) for i, (a, b) in enumerate(pairwise(parts))]
            if word.encode() in RANKS:
                parts = [word.encode()]
                break
            if not ranked or min(ranked)[0] == 10**9:
                break
            _, i = min(ranked)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids += [4 + RANKS[part] for part in parts]
    return [*ids, 2]


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_the_ranks_behind_four_special_tokens(tokenizer, text):
    assert tokenizer(text)["input_ids"] == encode(text)
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


@settings(deadline=None, max_examples=200)
@given(text=st.text(alphabet=st.sampled_from("returna= \n\t1'sé日(")))
def test_ids_of_any_text(tokenizer, text):
    assert tokenizer(text)["input_ids"] == encode(text)


def test_spans_cover_the_text(tokenizer):
    spans = tokenizer(TEXTS[0], return_offsets_mapping=True)["offset_mapping"][:-1]
    covered = {i for start, end in spans for i in range(start, end)}
    assert covered == set(range(len(TEXTS[0]))) and spans == sorted(spans)


def test_sentinels_stand_behind_all_tokens_that_are_counted(tokenizer, tmp_path):
    behind = 4 + len(RANKS) + 5
    assert tokenizer.convert_tokens_to_ids(["<sen000>", "<sen999>"]) == [behind, behind + 999]
    (write(tmp_path) / "dict.txt").write_text("word 1\n" * 300)
    assert load_tokenizer(tmp_path).convert_tokens_to_ids("<sen000>") == 304
    (tmp_path / "dict.txt").write_text("word 1\n" * 9)
    with pytest.raises(CodeftError, match=r"dict\.txt counts fewer tokens"):
        load_tokenizer(tmp_path)


def test_saved_it_is_read_again(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert all(again(text)["input_ids"] == encode(text) for text in TEXTS)
    assert (again.pad_token_id, again.eos_token_id) == (1, 2)


@pytest.mark.parametrize("text", ["no base64!\n", "IQ== x\n", "IQ== 1 2\n", "IQ== 7\n", "\x80"])
def test_another_file_is_an_error(tmp_path, text):
    (tmp_path / "cl100k_base.tiktoken").write_text(text, encoding="latin-1")
    with pytest.raises(CodeftError, match=r"is no vocabulary|is no whole vocabulary"):
        load_tokenizer(tmp_path)


def test_a_checkpoint_without_its_vocabulary_says_what_to_do(ast_t5_folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((ast_t5_folder / name).read_bytes())
    (tmp_path / "dict.txt").write_text("word 1\n")
    with pytest.raises(CodeftError, match=r"has no cl100k_base\.tiktoken: put that file"):
        BartModel(weights=str(tmp_path))
    BartModel(weights=str(tmp_path), tokenizer=str(ast_t5_folder))
