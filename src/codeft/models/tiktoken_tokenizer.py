"""AST-T5's tokenizer: GPT-4's vocabulary under fairseq's ids, as a fast tokenizer."""

from __future__ import annotations

import base64
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from codeft.types import CodeftError

FILE, COUNTS = "cl100k_base.tiktoken", "dict.txt"
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
NUM_OWN_SPECIAL = 5
"""GPT-4's own special tokens keep their place behind its vocabulary; no text becomes one."""
NUM_SENTINELS = 1000
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How GPT-4's tokenizer cuts a text into words."""


def load_tiktoken(folder: Path) -> PreTrainedTokenizerFast:
    """Make a fast tokenizer of GPT-4's vocabulary, with AST-T5's ids and special tokens.

    Source: AST-T5 (arXiv 2401.03003) and its release. `<s>`, `<pad>`, `</s>`, `<unk>` are followed by the
    vocabulary in its order, then by the sentinels `<sen000>` to `<sen999>`. Texts end with `</s>`.

    Args:
        folder: Has `cl100k_base.tiktoken`: in each line a token in base64 and its rank. The release downloads
            that file when it is used. If the release's `dict.txt` is there, its lines are counted: behind as
            many tokens the sentinels begin.

    Raises:
        CodeftError: The file isn't of that kind.
    """
    file = folder / FILE
    letters = _letters()
    try:
        lines = file.read_text(encoding="ascii").split("\n")
        pairs = [line.split() for line in lines if line]
        tokens = {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs}
    except (OSError, ValueError) as error:
        raise CodeftError(f"{file} is no vocabulary of tiktoken's: {error}") from error
    if sorted(tokens.values()) != list(range(len(tokens))) or not {bytes([i]) for i in range(256)} <= set(
        tokens
    ):
        raise CodeftError(
            f"{file} is no whole vocabulary: expected ranks from 0 on, and all bytes among them"
        )
    ranks = {"".join(letters[byte] for byte in token): rank for token, rank in tokens.items()}
    vocab = {token: i for i, token in enumerate(SPECIAL)}
    vocab |= {token: len(SPECIAL) + rank for token, rank in ranks.items()}
    sentinels = [f"<sen{i:03d}>" for i in range(NUM_SENTINELS)]
    first = len(SPECIAL) + _count(folder, default=len(ranks) + NUM_OWN_SPECIAL)
    if first < len(vocab):
        raise CodeftError(f"{folder / COUNTS} counts fewer tokens than {FILE}: one of them isn't AST-T5's")
    vocab |= {token: first + i for i, token in enumerate(sentinels)}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=_merges(ranks), ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocab["</s>"])]
    )
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in sentinels])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=sentinels,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )


def _count(folder: Path, *, default: int) -> int:
    file = folder / COUNTS
    try:
        return len(file.read_bytes().splitlines()) if file.is_file() else default
    except OSError as error:
        raise CodeftError(f"can't read {file}: {error}") from error


def _letters() -> list[str]:
    """Return the printable character that byte-level BPE writes for each byte."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


def _merges(ranks: dict[str, int]) -> list[tuple[str, str]]:
    """Return every way to join two tokens to a third, in the order of the third's rank."""
    found = [
        (rank, token[:cut], token[cut:])
        for token, rank in ranks.items()
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    ]
    return [(left, right) for _, left, right in sorted(found, key=lambda entry: entry[0])]
