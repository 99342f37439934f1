"""Files by which a folder holds a tokenizer."""

from __future__ import annotations

from pathlib import Path

WHOLE = ("tokenizer.json", "*.model", "*.tiktoken", "*vocab.txt")
"""Each alone is a tokenizer."""

PAIR = ("*vocab.json", "*merges.txt")
"""A byte-level vocabulary and its merges are one together."""


def has_tokenizer(folder: Path) -> bool:
    """Return whether a tokenizer lies in a folder; whether it can be read is another question."""
    return all(_has_file(folder, pattern) for pattern in PAIR) or any(
        _has_file(folder, pattern) for pattern in WHOLE
    )


def _has_file(folder: Path, pattern: str) -> bool:
    return any(path.is_file() for path in folder.glob(pattern))  # a link may lead nowhere
