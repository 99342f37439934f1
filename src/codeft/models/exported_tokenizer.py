"""A tokenizer as plain transformers reads it, splitting and cutting texts as codeft does."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from codeft.models.networks import quiet_transformers
from codeft.types import CodeftError

PROBES = (
    "def f(x):\n    return 'é</s>' + x  # 1,234\n",
    "x\t==\r\n\n  y <pad> <s> 日本",
    "Find  the\u00a0function.",
    "",
)
"""Texts that tokenizers like to read differently."""

_NOT_WRITTEN = ("is_local", "local_files_only", "name_or_path", "add_bos_token", "add_eos_token")
"""Keys that say where the tokenizer came from, or again what stands around texts, which its file says."""


def write_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path, *, max_length: int, side: str) -> None:
    """Write a tokenizer, and check that transformers reads it as it is.

    It is written as `PreTrainedTokenizerFast`: its file is all of it. The class of a model's family would
    split texts in its own way, and not put the tokens around them that codeft does.

    Args:
        tokenizer: A fast one.
        folder: Where to.
        max_length: Sub-tokens of a text at most; what is longer is cut where `truncation=True`.
        side: Where it is cut, "left" or "right".

    Raises:
        CodeftError: It splits texts otherwise than before.
        OSError: It can't be written.
    """
    copied = copy.deepcopy(tokenizer)
    copied.backend_tokenizer.no_truncation()  # set by the last encoding, and no part of it
    copied.backend_tokenizer.no_padding()
    try:
        copied.save_pretrained(str(folder))
    except Exception as error:  # the tokenizers library raises nothing more special
        raise OSError(None, f"the tokenizer can't be written: {error}") from error
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings = {name: value for name, value in settings.items() if name not in _NOT_WRITTEN}
    settings |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "split_special_tokens": True,
        "truncation_side": side,
        "clean_up_tokenization_spaces": False,
    }
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with quiet_transformers():
        again = PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    for text in PROBES:
        found, expected = again(text)["input_ids"], copied(text, split_special_tokens=True)["input_ids"]
        if found != expected or again.decode(found) != copied.decode(expected):
            raise CodeftError(f"the written tokenizer reads {text!r} otherwise, and that is codeft's fault")
