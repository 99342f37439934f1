"""Which rows of a data set a run trains, validates and tests on, where that isn't as published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from codeft.data.sources import SPLITS
from codeft.types import CodeftError

_LONGEST = 40
"""Characters: rows are counted in less."""

_PART = re.compile(rf"({'|'.join(SPLITS)})(?:\[([0-9]*):([0-9]*)\])?")


@dataclass(frozen=True, slots=True)
class SplitPart:
    """Consecutive rows of a published split.

    Attributes:
        split: "train", "valid" or "test".
        start: The first row, from 0.
        stop: The row behind the last; None for the split's end.
    """

    split: str
    start: int = 0
    stop: int | None = None

    def overlaps(self, other: SplitPart) -> bool:
        """Return whether both may hold the same row."""
        before = self.stop is not None and self.stop <= other.start
        behind = other.stop is not None and other.stop <= self.start
        return self.split == other.split and not before and not behind


def parse_part(text: str, *, key: str) -> SplitPart:
    """Read what stands for a split: a split's name, and perhaps which of its rows.

    Args:
        text: Such as "valid", "valid[500:]" or "valid[:500]".
        key: What was typed before it, for the error.

    Raises:
        CodeftError: It is something else, or holds no row.

    >>> parse_part("valid[500:]", key="data.splits.train")
    SplitPart(split='valid', start=500, stop=None)
    """
    found = _PART.fullmatch(text)
    if found is None or len(text) > _LONGEST:
        raise CodeftError(
            f"{key} must be one of {', '.join(SPLITS)}, perhaps with rows as in valid[500:], "
            f"not {text[:_LONGEST]!r}"
        )
    split, start, stop = found.groups()
    part = SplitPart(split, int(start or 0), int(stop) if stop else None)
    if part.stop is not None and part.stop <= part.start:
        raise CodeftError(f"{key}={text} holds no row")
    return part


def parse_splits(splits: Mapping[str, str]) -> dict[str, SplitPart]:
    """Read what stands for each split; what isn't named stands for itself.

    Args:
        splits: By "train", "valid" and "test", each as `parse_part` takes it.

    Raises:
        CodeftError: Another split is named, a part can't be read, or two share rows.

    >>> parse_splits({"train": "valid[2:]", "valid": "valid[:2]"})["valid"]
    SplitPart(split='valid', start=0, stop=2)
    """
    for name, text in splits.items():
        if name not in SPLITS or not isinstance(text, str):
            raise CodeftError(f"data.splits takes a text for {', '.join(SPLITS)}, not {text!r} for {name!r}")
    parts = {name: parse_part(splits.get(name, name), key=f"data.splits.{name}") for name in SPLITS}
    for i, name in enumerate(SPLITS):
        for other in SPLITS[i + 1 :]:
            if parts[name].overlaps(parts[other]):
                split = parts[name].split
                raise CodeftError(
                    f"data.splits.{name} and data.splits.{other} share rows of {split}: cut it in two, such "
                    f"as {split}[500:] and {split}[:500]"
                )
    return parts
