"""JSON Lines files: rows that know where they stand, and files that are whole or not there."""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeAlias, cast

from codeft.types import CodeftError

ROW_SUFFIXES = (".jsonl", ".jsonl.gz", ".json")
"""How the names of JSON Lines files end."""

MAX_LINE_BYTES = 100_000_000
"""Longer lines aren't read: a small compressed file can hold one that fills the memory."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_SKIPPED_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        where: `file:line`, for messages; lines count from 1.
        fields: The row's JSON object.
    """

    where: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """One row that couldn't be read.

    Attributes:
        where: `file:line`; lines count from 1.
        reason: What was expected and what came.
    """

    where: str
    reason: str

    @classmethod
    def because(cls, error: CodeftError, *, where: str) -> SkippedRow:
        """Return the row with what an error says of it; the place isn't said twice."""
        return cls(where, str(error).removeprefix(f"{where}: "))


SkippedRows: TypeAlias = list[SkippedRow]
"""The rows that a reading left out, in the file's order; kept for the log."""


def is_rows(path: Path) -> bool:
    """Return whether a file is read as JSON Lines, by its name."""
    return path.name.endswith(ROW_SUFFIXES)


def read_rows(
    path: Path | str,
    *,
    on_bad_row: str = "error",
    skipped: SkippedRows | None = None,
) -> Iterator[Row]:
    """Read a JSON Lines file row by row, never as a whole.

    Blank lines and a byte order mark are passed over. A lone surrogate, which JSON can spell but no encoder
    and no tokenizer takes, becomes U+FFFD.

    Args:
        path: A UTF-8 file; `.gz` is decompressed on the way.
        on_bad_row: What becomes of a row that isn't an object of strict JSON (NaN and Infinity aren't) in
            UTF-8, or is longer than `MAX_LINE_BYTES`: "error" ends the reading, "skip" leaves the row out. A
            file that is damaged as a whole always ends it.
        skipped: Where rows that were left out are appended, in the file's order.

    Returns:
        An iterator over the rows; the file stays open until it is exhausted or closed.

    Raises:
        CodeftError: `on_bad_row` is neither; while reading, a bad row under "error", a file that can't be
            opened or a damaged gzip stream.
    """
    if on_bad_row not in ("error", "skip"):
        raise CodeftError(f"expected on_bad_row to be 'error' or 'skip', got {on_bad_row!r}")
    return _iterate(Path(path), on_bad_row=on_bad_row, skipped=skipped)


def _iterate(path: Path, *, on_bad_row: str, skipped: SkippedRows | None) -> Iterator[Row]:
    for number, line in enumerate(read_byte_lines(path), start=1):
        where = f"{path}:{number}"
        if line is not None and not line.strip():
            continue
        try:
            fields = _parse(line)
        except CodeftError as error:
            if on_bad_row == "error":
                raise CodeftError(f"{where}: {error}; mend the row or set data.on_bad_row=skip") from error
            if skipped is not None:
                skipped.append(SkippedRow(where=where, reason=str(error)))
        else:
            yield Row(where=where, fields=fields)


def read_byte_lines(path: Path, *, kind: str = "file") -> Iterator[bytes | None]:
    """Yield a file's lines, cut at LF only and with it; `.gz` is decompressed, a byte order mark left out.

    Args:
        path: The file.
        kind: What it is called in an error.

    Yields:
        A line; None for one longer than `MAX_LINE_BYTES`, which is passed over without being held.

    Raises:
        CodeftError: The file can't be read, is a device or a pipe, or is a damaged gzip stream; the message
            names the line reached.
    """
    number = 0
    check_has_end(path, kind=kind)
    try:
        with _open_binary(path) as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                is_long = len(line) > MAX_LINE_BYTES
                rest = line
                while is_long and rest and not rest.endswith(b"\n"):
                    rest = file.readline(_SKIPPED_BYTES)
                if number == 1:
                    line = line.removeprefix(_BYTE_ORDER_MARK)
                yield None if is_long else line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CodeftError(
            f"{path}:{number + 1}: expected a whole gzip stream, got a damaged one ({error}): "
            "fetch the file again"
        ) from error
    except OSError as error:
        raise CodeftError(f"expected a readable {kind}, got {path}: {error.strerror or error}") from error


def check_has_end(path: Path, *, kind: str) -> None:
    """Raise `CodeftError` where a path is a device or a pipe: reading it may wait, or never end.

    Args:
        path: What is to be read; it needn't be there.
        kind: What it is called in the error.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise CodeftError(
            f"expected a readable {kind}, got {path}: a device or a pipe; write its content into a file"
        )


def too_long() -> CodeftError:
    """Return the error of a line longer than `MAX_LINE_BYTES`."""
    return CodeftError(f"expected a line of at most {MAX_LINE_BYTES:,} bytes, got a longer one")


def _open_binary(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _parse(line: bytes | None) -> dict[str, Any]:
    if line is None:
        raise too_long()
    try:
        text = line.decode("utf-8")
        fields = json.loads(text, parse_constant=_refuse_constant)
        # Only an escape can bring a surrogate into decoded text, and few rows have one.
        if "\\ud" in text or "\\uD" in text:
            fields = replace_surrogates(fields)
    except UnicodeDecodeError as error:
        raise CodeftError(f"expected UTF-8, got {error}") from error
    except RecursionError as error:
        raise CodeftError("expected one JSON object, got JSON nested too deeply to be read") from error
    except ValueError as error:
        raise CodeftError(f"expected one JSON object, got malformed JSON ({error})") from error
    if not isinstance(fields, dict):
        raise CodeftError(f"expected one JSON object, got a JSON {_JSON_NAMES[type(fields)]}")
    return fields


_JSON_NAMES = {
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def replace_surrogates(value: Any) -> Any:
    """Return parsed JSON with U+FFFD for each lone surrogate."""
    if isinstance(value, str):
        return _SURROGATE.sub(_REPLACEMENT, value)
    if isinstance(value, list):
        return [replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {replace_surrogates(key): replace_surrogates(item) for key, item in value.items()}
    return value


def write_rows(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a JSON Lines file that is there as a whole or not at all.

    The rows go to a temporary file beside `path`, which takes its name at the end; after an error an older
    file stays as it was. Equal rows give equal bytes, compressed or not.

    Args:
        path: Where to write, in UTF-8; `.gz` is compressed. Missing folders are made.
        rows: JSON objects, consumed one by one. A lone surrogate is written as U+FFFD.

    Returns:
        The number of rows written.

    Raises:
        CodeftError: A row holds NaN or an infinity, or the file can't be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            num_rows = _write_file(temporary, rows, compress=path.suffix == ".gz")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CodeftError(f"expected a place to write to, got {path}: {error.strerror or error}") from error
    return num_rows


def _write_file(path: Path, rows: Iterable[Mapping[str, Any]], *, compress: bool) -> int:
    num_rows = 0
    with path.open("wb") as plain, ExitStack() as stack:
        file: BinaryIO = plain
        if compress:
            # Neither name nor time in the gzip header, or equal rows would give different bytes.
            gzipped = gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0)
            file = cast(BinaryIO, stack.enter_context(gzipped))
        for num_rows, row in enumerate(rows, start=1):
            file.write(_dump(row, number=num_rows))
    return num_rows


def _dump(row: Mapping[str, Any], *, number: int) -> bytes:
    try:
        text = json.dumps(dict(row), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise CodeftError(f"row {number}: expected numbers that JSON knows, got {error}") from error
    return _SURROGATE.sub(_REPLACEMENT, text).encode("utf-8") + b"\n"
