"""A written tokenizer reads texts in plain transformers as codeft's does, and in codeft again."""

from __future__ import annotations

import copy
import json

import pytest
from transformers import PreTrainedTokenizerFast

from codeft.models.causal import CausalModel
from codeft.models.exported_tokenizer import PROBES, write_tokenizer
from codeft.models.loading import load_tokenizer
from codeft.tasks.encoding import encode_texts
from codeft.types import CodeftError

TEXTS = [*PROBES, "def area(width):\n\n    return <mask0> * width  # <encoder-only>\n" * 3]


@pytest.mark.parametrize("side", ["left", "right"])
def test_transformers_cuts_and_splits_as_codeft_does(model, side, tmp_path):
    write_tokenizer(model.tokenizer, tmp_path, max_length=12, side=side)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    expected = encode_texts(TEXTS, model.tokenizer, max_length=12, side=side)
    found = again(TEXTS, truncation=True)["input_ids"]
    assert found == [text.ids.tolist() for text in expected]
    assert any(text.truncated for text in expected)
    told = (tmp_path / "tokenizer_config.json").read_text(encoding="utf-8")
    assert "local" not in told and str(tmp_path) not in told


def test_codeft_reads_it_again(model, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))  # whose class would be taken
    write_tokenizer(model.tokenizer, tmp_path, max_length=12, side="right")
    again = load_tokenizer(tmp_path)
    assert [again(text)["input_ids"] for text in TEXTS] == [
        model.tokenizer(text)["input_ids"] for text in TEXTS
    ]
    for name in ("pad_token_id", "eos_token_id", "bos_token_id"):
        assert getattr(again, name) == getattr(model.tokenizer, name)
    assert again.model_max_length == model.tokenizer.model_max_length


def test_the_model_s_own_stays_as_it_was(model, tmp_path):
    before = model.tokenizer("x" * 50, truncation=True, max_length=5)["input_ids"]
    write_tokenizer(model.tokenizer, tmp_path, max_length=3, side="left")
    assert model.tokenizer("x" * 50, truncation=True, max_length=5)["input_ids"] == before


def test_one_that_reads_otherwise_is_refused(model, tmp_path, monkeypatch):
    other = copy.deepcopy(model.tokenizer)
    other.backend_tokenizer.post_processor = None
    monkeypatch.setattr(PreTrainedTokenizerFast, "from_pretrained", lambda folder, **settings: other)
    with pytest.raises(CodeftError, match="otherwise, and that is codeft's fault"):
        write_tokenizer(model.tokenizer, tmp_path, max_length=12, side="right")


def test_a_family_s_own_class_is_not_asked(t5_folder, tmp_path):
    """Qwen2's would split blanks in its own way."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    architecture = {"model_type": "qwen2", "vocab_size": 420, **sizes}
    model = CausalModel(weights="random", architecture=architecture, tokenizer=str(t5_folder))
    model.save(tmp_path)
    assert load_tokenizer(tmp_path)("a:\n    b")["input_ids"] == model.tokenizer("a:\n    b")["input_ids"]
