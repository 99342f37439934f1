from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from codeft.models.loading import load_tokenizer
from codeft.models.tokenizer import train_tokenizer
from codeft.types import CodeftError
from rows import function_rows

TEXTS = [
    f"def area_{i}(width, height):\n    if width:\n        return width * height\n    return None\n"
    for i in range(50)
]
VOCAB_SIZE = 420


@pytest.fixture(scope="module", params=["trained", "loaded", "loaded by class"])
def tokenizer(request, tmp_path_factory):
    trained = train_tokenizer(iter(TEXTS), vocab_size=VOCAB_SIZE)
    if request.param == "trained":
        return trained
    folder = tmp_path_factory.mktemp("tokenizer")
    trained.save_pretrained(folder)
    loader = AutoTokenizer if request.param == "loaded" else PreTrainedTokenizerFast
    return loader.from_pretrained(folder)


def test_ids_of_special_tokens(tokenizer):
    assert len(tokenizer) == VOCAB_SIZE
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    sentinels = tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(100)])
    assert sentinels == list(range(VOCAB_SIZE - 100, VOCAB_SIZE))
    assert sorted(tokenizer.get_vocab().values()) == list(range(VOCAB_SIZE))


@settings(deadline=None, max_examples=100)
@given(text=st.text())
def test_round_trip_of_any_text(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[:-1]) == text
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("text", ["a  ,  b", "x = ' .'\n\t\n  ", "naïve = '日本語' + \"🙂\"\n", " n't \r\n"])
def test_round_trip_of_layout(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


@settings(deadline=None, max_examples=100)
@given(text=st.text(alphabet=st.sampled_from("ab é日🙂\n\t</s>")))
def test_offsets_cover_every_character(tokenizer, text):
    encoded = tokenizer(text, return_offsets_mapping=True)
    spans = encoded["offset_mapping"][:-1]
    covered = [False] * len(text)
    for start, end in spans:
        assert 0 <= start < end <= len(text)
        covered[start:end] = [True] * (end - start)
    assert all(covered)
    assert spans == sorted(spans)


def test_pieces_of_one_character_share_its_span(tokenizer):
    encoded = tokenizer("x = '日'", return_offsets_mapping=True)
    assert [tuple(span) for span in encoded["offset_mapping"]].count((5, 6)) == 3


@pytest.mark.parametrize("literal", ["</s>", "<pad>", "<unk>", "<extra_id_7>"])
def test_special_tokens_in_source_are_plain_text(tokenizer, literal):
    text = f'END = "{literal}"\n'
    special = set(tokenizer.all_special_ids)
    for ids in (tokenizer(text)["input_ids"], tokenizer([text, text])["input_ids"][1]):
        assert [i for i in ids if i in special] == [tokenizer.eos_token_id]
        assert tokenizer.decode(ids[:-1]) == text


def test_indentation_is_one_token(tokenizer):
    tokens = tokenizer.tokenize("if width:\n        return width\n")
    assert tokens.count("Ċ" + "Ġ" * 7) == 1
    assert "Ġreturn" in tokens


def test_vocabulary_too_small_is_an_error():
    with pytest.raises(CodeftError, match="at least 359"):
        train_tokenizer(iter(TEXTS), vocab_size=300)


def test_too_little_text_is_an_error():
    with pytest.raises(CodeftError, match="of the 8192 ids"):
        train_tokenizer(iter(TEXTS), vocab_size=8192)


def test_digits_stand_alone_where_asked_for(tmp_path):
    texts = (row["code"] + row["docstring"] for row in function_rows(0, 40))
    made = train_tokenizer(texts, vocab_size=390, split_digits=True)
    made.save_pretrained(str(tmp_path))
    loaded = load_tokenizer(tmp_path)
    code = "x1 = 12345 # 007"
    pieces = [loaded.decode([token]) for token in loaded(code)["input_ids"][:-1]]
    assert "".join(pieces) == code
    assert all(sum(character.isdigit() for character in piece) < 2 for piece in pieces)
