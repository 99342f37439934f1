"""PLBART's tokenizer: sentencepiece's own ids, transformers' ids, spans of characters."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import PLBartTokenizer

from codeft.models.loading import load_tokenizer
from codeft.syntax import align, parse
from codeft.types import CodeftError

TEXTS = [
    "def find_apple_3(apple):\n    apple_0 = apple.get(3)\n    return apple_0\n",
    "  int \t a=1;\r\n\r\n  // ﬁne “quotes” … ½ é日本🙂\u200b\n",
    "x",
    "",
    " \n ",
    "日本語",
    "a▁b",
    "</s> <pad> __java__ <mask>",
]


class Pair:
    """A sentencepiece model as the library runs it, and as codeft does."""

    def __init__(self, folder: Path) -> None:
        self.library = sentencepiece.SentencePieceProcessor(str(folder / "sentencepiece.bpe.model"))
        self.tokenizer = load_tokenizer(folder)

    def expected(self, text: str) -> list[int]:
        return [i + 1 if i else 3 for i in self.library.encode(text)]

    def found(self, text: str) -> list[int]:
        ids = self.tokenizer(text)["input_ids"]
        assert ids[-1] == 2
        return ids[:-1]


@pytest.fixture(scope="module")
def small(plbart_tokenizer):
    return Pair(plbart_tokenizer)


@pytest.fixture(scope="module")
def real(shared_data):
    return Pair(shared_data / "tokenizers" / "plbart")


def real_texts(shared_data: Path) -> list[str]:
    """Functions, whole files and summaries in several languages."""
    texts: list[str] = []
    for name in (
        "summarization/csn_ruby/test.jsonl",
        "summarization/csn_python_small/test.jsonl",
        "clone/bigclonebench/data.jsonl",
        "defect/devign/test.jsonl",
        "clone/poj104/test.jsonl",
        "completion/py150/dev.json",
        "search/cosqa/cosqa-retrieval-dev-500.json",
    ):
        path = shared_data / name
        if path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:400]
            for line in filter(None, lines):
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                texts += [value[:4000] for value in row.values() if isinstance(value, str)]
    assert len(texts) > 3000
    return texts


@pytest.mark.parametrize("text", TEXTS)
def test_ids_of_hard_texts(small, text):
    assert small.found(text) == small.expected(text)


def test_ids_of_real_code_are_sentencepieces(real, shared_data):
    texts = real_texts(shared_data)
    assert sum(not text.isascii() for text in texts) > 10
    found = real.tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert all(ids == real.expected(text) for ids, text in zip(found, texts, strict=True))


@pytest.mark.parametrize("codes", ["base", "multi"])
def test_vocabulary_and_marked_texts_are_transformers(shared_data, tmp_path, codes):
    shutil.copy(shared_data / "tokenizers" / "plbart" / "sentencepiece.bpe.model", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"language_codes": codes}))
    tokenizer = load_tokenizer(tmp_path)
    published = PLBartTokenizer(
        str(tmp_path / "sentencepiece.bpe.model"), language_codes=codes, src_lang="java", tgt_lang="en_XX"
    )
    vocabulary = published.get_vocab()
    if codes == "multi":
        vocabulary.pop("<mask>", None)  # transformers counts it past the embeddings' end
    assert tokenizer.get_vocab() == vocabulary
    java, english = (tokenizer.convert_tokens_to_ids(mark) for mark in ("__java__", "__en_XX__"))
    for text in ("public int a ( ) { return 1 ; }", "naïve  ﬁx\n\t日本", ""):
        ids = tokenizer(text)["input_ids"]
        assert [*ids, java] == published(text)["input_ids"]
        assert [*ids, english] == published(text_target=text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == published.decode(
            published(text)["input_ids"], skip_special_tokens=True
        )


@settings(deadline=None, max_examples=300)
@given(text=st.text())
def test_ids_of_any_text_without_combining_characters(small, text):
    assume(not any(unicodedata.combining(c) or "\u1100" <= c <= "\u11ff" for c in text))
    assert small.found(text) == small.expected(text)


def test_every_character_is_normalised_as_sentencepiece_does(real):
    wrong = [
        code
        for code in (*range(0xD800), *range(0xE000, 0x11000))
        if real.found(f"a{chr(code)}b") != real.expected(f"a{chr(code)}b")
    ]
    assert not wrong


@pytest.mark.parametrize("text", TEXTS)
def test_spans_hold_what_a_sub_token_says(real, text):
    """Up to the blank mark and NFKC; a blank mark alone before the text lies on its first character."""
    encoded = real.tokenizer(text, return_offsets_mapping=True)
    spans = encoded["offset_mapping"][:-1]
    assert spans == sorted(spans)
    for token, (start, end) in zip(encoded.tokens(), spans, strict=False):
        assert 0 <= start < end <= len(text)
        written = token.replace("▁", "")
        read = unicodedata.normalize("NFKC", text[start:end].replace("▁", " ").replace("\u200b", " "))
        assert written == "<unk>" or written in read
        if (start, end) != (0, 1) and len(read.strip()) == end - start:
            assert written == read.strip()


def test_spans_are_sentencepieces(real, shared_data):
    """Compared in characters, each without the white space that it begins with."""
    for text in real_texts(shared_data)[::20]:
        encoded = real.tokenizer(text, return_offsets_mapping=True)
        pieces = real.library.encode(text, return_type="proto").pieces
        octets = text.encode()
        for span, piece in zip(encoded["offset_mapping"][:-1], pieces, strict=True):
            theirs = octets[piece.begin : piece.end].decode()
            ours, theirs = (read.replace("\ufffd", " ").lstrip() for read in (text[slice(*span)], theirs))
            assert ours == theirs or not theirs


def test_saved_it_needs_no_sentencepiece(small, tmp_path):
    small.tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert not (tmp_path / "sentencepiece.bpe.model").exists()
    assert again.get_vocab() == small.tokenizer.get_vocab()
    assert again.extra_special_tokens == ["__java__", "__python__", "__en_XX__"]
    for text in TEXTS:
        assert again(text)["input_ids"] == small.tokenizer(text)["input_ids"]


def test_marks_in_source_are_plain_text(small):
    ids = small.tokenizer("x __java__ </s> <mask> y")["input_ids"]
    assert not set(ids[:-1]) & (set(small.tokenizer.all_special_ids) - {small.tokenizer.unk_token_id})


def test_what_is_no_sentencepiece_model_is_an_error(tmp_path, plbart_tokenizer):
    file = tmp_path / "sentencepiece.bpe.model"
    file.write_bytes(b"\xff\xff no model")
    with pytest.raises(CodeftError, match="is no sentencepiece model"):
        load_tokenizer(tmp_path)
    file.write_bytes(b"")
    with pytest.raises(CodeftError, match="isn't of PLBART's kind"):
        load_tokenizer(tmp_path)
    shutil.copy(plbart_tokenizer / file.name, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"language_codes": "all"}')
    with pytest.raises(CodeftError, match="expected \"language_codes\" to be base or multi, got 'all'"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(CodeftError, match="can't read"):
        load_tokenizer(tmp_path)


def test_a_unigram_model_is_an_error(tmp_path):
    with (tmp_path / "sentencepiece.bpe.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a b c d e f g"] * 20),
            model_writer=file,
            model_type="unigram",
            vocab_size=12,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    with pytest.raises(CodeftError, match="isn't of PLBART's kind"):
        load_tokenizer(tmp_path)


def test_sub_tokens_lie_on_the_leaves_that_they_spell(real):
    """As SAT needs them: over tabs, runs of blanks and characters of several bytes."""
    text = 'int  größe(String\t名) {\n    // ½ done\n    return 名.equals("日本 é") ? 1 : 0;\n}\n'
    tree = parse(text, "java")
    encoded = real.tokenizer(text, return_offsets_mapping=True)
    leaves = align(tree, np.array(encoded["offset_mapping"][:-1]))
    words = {text[i] for i in range(len(text)) if tree.owners[i] >= 0}
    assert {"ö", "名", "本"} <= words
    for token, (start, end), leaf in zip(encoded.tokens(), encoded["offset_mapping"], leaves, strict=False):
        own = "".join(text[i] for i in range(start, end) if tree.owners[i] == leaf)
        assert (leaf >= 0) == any(tree.owners[i] >= 0 for i in range(start, end))
        assert leaf < 0 or own.strip() in token or token == "<unk>"
    assert len(set(leaves[leaves >= 0])) > 15
