"""PLBART's sentencepiece model as a fast tokenizer, which gives offsets and needs no sentencepiece."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from codeft.types import CodeftError

FILE = "sentencepiece.bpe.model"
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"
BASE = ("__java__", "__python__", "__en_XX__")
MULTI = (*BASE, "__javascript__", "__php__", "__ruby__", "__go__")
LANGUAGES = {"base": BASE, "multi": MULTI}
"""transformers' names for PLBART's two vocabularies, and their language tokens."""

NORMAL, BPE = 1, 2
"""sentencepiece's numbers for an ordinary piece and for byte-pair encoding."""

BLANK = "▁"


def load_sentencepiece(folder: Path) -> PreTrainedTokenizerFast:
    """Make a fast tokenizer of the sentencepiece model in a folder, with PLBART's ids and special tokens.

    Source: PLBART (arXiv 2103.06333). The ids are fairseq's: `<s>`, `<pad>`, `</s>`, `<unk>`, the pieces,
    the language tokens, and `<mask>` where the vocabulary is the base model's. Texts end with `</s>`; a
    language's token stands behind it, and whoever encodes puts it there.

    Deviation: sentencepiece normalises sequences of characters, this tokenizer one user-perceived character
    at a time. A combining mark behind a character that NFKC changes (a full-width letter with an accent),
    and Hangul in single jamo, are read otherwise.

    Args:
        folder: Has `sentencepiece.bpe.model`; `language_codes` in a `tokenizer_config.json` tells "base" (the
            default) from "multi".

    Raises:
        CodeftError: The file is no sentencepiece model by BPE, or the languages aren't known.
    """
    model: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    try:
        model.ParseFromString((folder / FILE).read_bytes())
    except DecodeError as error:
        raise CodeftError(f"{folder / FILE} is no sentencepiece model: {error}") from error
    spec = model.normalizer_spec
    settings = (spec.add_dummy_prefix, spec.remove_extra_whitespaces, spec.escape_whitespaces)
    if model.trainer_spec.model_type != BPE or not all(settings) or not spec.precompiled_charsmap:
        raise CodeftError(f"{folder / FILE} isn't of PLBART's kind: byte-pair encoding, white space tidied")
    languages = _languages(folder)
    vocab = {token: i for i, token in enumerate(SPECIAL)}
    # sentencepiece's own three special pieces come first, fairseq's are four.
    ranks = {piece.piece: -piece.score for piece in model.pieces if piece.type == NORMAL}
    vocab |= {piece.piece: i + 1 for i, piece in enumerate(model.pieces) if piece.type == NORMAL}
    extra = (*languages, MASK) if languages == BASE else languages
    vocab |= {token: len(model.pieces) + 1 + i for i, token in enumerate(extra)}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=_merges(ranks), unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(spec.precompiled_charsmap),
            normalizers.Replace(Regex("^ +| +$"), ""),  # Strip would take U+0085 too, which has ids
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme="always")
    backend.decoder = decoders.Metaspace(replacement=BLANK, prepend_scheme="always")
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocab["</s>"])]
    )
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in extra])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token=MASK if MASK in extra else None,
        extra_special_tokens=list(languages),
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )


def _languages(folder: Path) -> tuple[str, ...]:
    file = folder / "tokenizer_config.json"
    try:
        codes = json.loads(file.read_text(encoding="utf-8")).get("language_codes") if file.is_file() else None
    except (OSError, ValueError, AttributeError) as error:
        raise CodeftError(f"can't read {file}: {error}") from error
    if (codes or "base") not in LANGUAGES:
        raise CodeftError(f'{file}: expected "language_codes" to be {" or ".join(LANGUAGES)}, got {codes!r}')
    return LANGUAGES[codes or "base"]


def _merges(ranks: dict[str, float]) -> list[tuple[str, str]]:
    """Return every way to join two pieces to a third, in the order of the third's rank.

    >>> _merges({"ab": 0.0, "a": 1.0, "b": 2.0})
    [('a', 'b')]
    """
    found = [
        (rank, piece[:cut], piece[cut:])
        for piece, rank in ranks.items()
        for cut in range(1, len(piece))
        if piece[:cut] in ranks and piece[cut:] in ranks
    ]
    return [(left, right) for _, left, right in sorted(found, key=lambda entry: entry[0])]
