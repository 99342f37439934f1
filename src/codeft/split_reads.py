"""How often a run's splits were scored: a ledger in its folder, a line each time."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codeft.run_folder import RunFolder
from codeft.types import CodeftError

TEST = "test"
"""The split that is to be read once."""

log = logging.getLogger(__name__)


def note_read(
    folder: RunFolder, *, split: str, command: Sequence[str], rows: int, scores: Mapping[str, float]
) -> None:
    """Add a line to a run's ledger, whole even where several processes add theirs at once.

    A folder that can't be written is no obstacle: the log says that the reading isn't noted.

    Args:
        folder: The run's.
        split: What was scored.
        command: The command lines that led there.
        rows: How many were scored.
        scores: What came of it.
    """
    read = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "split": split,
        "rows": rows,
        "scores": dict(scores),
    }
    try:
        with _held(folder.split_reads) as file:
            line = json.dumps(read, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            os.write(file, (b"" if _ends_whole(file) else b"\n") + line)
            os.fsync(file)
    except OSError as error:
        log.warning("%s can't be written (%s): this reading isn't noted", folder.split_reads, error.strerror)


@contextmanager
def _held(path: Path) -> Iterator[int]:
    """Open a file to add to, and keep others from adding at the same time."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _ends_whole(file: int) -> bool:
    """Return whether a file is empty or ends with a line's end: a process may have been killed in a line."""
    size = os.fstat(file).st_size
    return size == 0 or os.pread(file, 1, size - 1) == b"\n"


def read_ledger(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the readings that a run's ledger holds; a damaged line counts as a reading of the test split.

    Raises:
        CodeftError: The file is there and can't be read.
    """
    try:
        lines = folder.split_reads.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CodeftError(f"can't read {folder.split_reads}: {error.strerror}") from None
    return [_parse(line) for line in lines if line.strip()]


def _parse(line: bytes) -> dict[str, Any]:
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        read = None
    return read if isinstance(read, dict) else {"split": TEST}


def count_reads(folder: RunFolder, *, split: str, metrics: Mapping[str, Any]) -> int:
    """Return how often a run's split was scored, as far as is known.

    Args:
        folder: The run's.
        split: The split.
        metrics: The run's; a run from before there were ledgers has scores of the test split and no line
            of its own, whatever `evaluate` noted since.
    """
    noted = [read for read in read_ledger(folder) if read.get("split") == split]
    its_own = not metrics.get(split) or any(not _scored_again(read) for read in noted)
    return len(noted) + (not its_own)


def _scored_again(read: Mapping[str, Any]) -> bool:
    """Return whether a line was added by `evaluate`, and not by the run at its end."""
    command = read.get("command")
    return isinstance(command, list) and bool(command) and str(command[-1]).startswith("codeft evaluate")


def times_read(count: int, *, split: str = TEST) -> str:
    """Say how often a split was read.

    >>> times_read(0), times_read(1), times_read(3)
    ('test not read', 'test read once', 'test read 3 times')
    """
    often = {0: f"{split} not read", 1: f"{split} read once"}
    return often.get(count, f"{split} read {count} times")
