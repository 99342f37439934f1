"""One progress bar for everything outside the training loop that takes long."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def track(sequence: Sequence[T], *, description: str, quiet_below: int = 0) -> Iterator[T]:
    """Iterate with a progress bar on standard error; other ranks than the first stay silent.

    Args:
        sequence: What to iterate over.
        description: Says what takes long.
        quiet_below: Show nothing where the sequence is shorter.
    """
    if len(sequence) < quiet_below or os.environ.get("LOCAL_RANK", "0") != "0":
        yield from sequence
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(sequence, description=description, console=Console(stderr=True), transient=True)
