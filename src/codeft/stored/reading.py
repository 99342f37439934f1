"""Line files and JSON Lines files as people store predictions: nothing is skipped, nothing cut wrongly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from codeft.data.jsonl import read_byte_lines, too_long
from codeft.tasks.fields import first_field
from codeft.types import CodeftError


class StoredRow(NamedTuple):
    """One row of a JSON Lines file, and where it stands."""

    where: str
    fields: dict[str, Any]


def read_lines(path: Path) -> list[str]:
    """Read a file of one text a line.

    Only LF and CR LF end a line: characters such as U+2028 or form feed, at which `str.splitlines` cuts,
    belong to the text, and a text keeps the white space at both its ends.

    Args:
        path: A UTF-8 file, with or without a byte order mark.

    Returns:
        The texts in the file's order; a line end at the very end begins no further text.

    Raises:
        CodeftError: The file can't be read, or a line isn't UTF-8.
    """
    return list(_texts(path))


def _texts(path: Path) -> Iterator[str]:
    for number, line in enumerate(read_byte_lines(Path(path), kind="file of texts"), start=1):
        if line is None:
            raise CodeftError(f"{path}:{number}: {too_long()}")
        try:
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise CodeftError(f"{path}:{number}: expected UTF-8, got {error}: convert the file") from error


def read_json_rows(path: Path) -> list[StoredRow]:
    """Read a JSON Lines file, or one JSON list of rows (as CoSQA's are).

    Args:
        path: A UTF-8 file; blank lines are skipped.

    Raises:
        CodeftError: The file can't be read, isn't UTF-8, or a row isn't one JSON object.
    """
    return list(iterate_json_rows(path))


def iterate_json_rows(path: Path) -> Iterator[StoredRow]:
    """Yield what `read_json_rows` returns, row by row."""
    lines = _texts(path)
    is_first = True
    for number, line in enumerate(lines, start=1):
        if is_first and line.lstrip().startswith("["):
            yield from _listed_rows("\n".join([line, *lines]), path=path)
        elif line.strip():
            yield StoredRow(f"{path}:{number}", _parse(line, where=f"{path}:{number}"))
        is_first = is_first and not line.strip()


def _listed_rows(text: str, *, path: Path) -> Iterator[StoredRow]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CodeftError(f"{path}: expected one JSON object a line, or one list, got {error}") from None
    for number, fields in enumerate(rows, start=1):
        if not isinstance(fields, dict):
            raise CodeftError(f"{path}, row {number}: expected one JSON object, got no object")
        yield StoredRow(f"{path}, row {number}", fields)


def _parse(line: str, *, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CodeftError(f"{where}: expected one JSON object a line, got {error}") from error
    if not isinstance(row, dict):
        raise CodeftError(f"{where}: expected one JSON object a line, got no object")
    return row


def text_of(row: StoredRow, fields: Sequence[str]) -> str:
    """Return the text in the first of the fields that says something, else in the first that the row has.

    Raises:
        CodeftError: The row has none of them, or it holds no text.
    """
    name = first_field(row.fields, *fields)
    if name is None or not isinstance(row.fields[name], str):
        wanted = " or ".join(repr(field) for field in fields)
        raise CodeftError(
            f"{row.where}: expected an object with a text in the field {wanted}, got the fields "
            f"{', '.join(map(str, row.fields)) or 'none'}"
        )
    return str(row.fields[name])


def name_of(value: object, *, where: str) -> str:
    """Return an id, an index or a label, which files spell as text or as a number, as text.

    Raises:
        CodeftError: It is neither.

    >>> name_of(10, where="rows.jsonl:1"), name_of("10", where="rows.jsonl:2")
    ('10', '10')
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise CodeftError(f"{where}: expected a text or a number, got {value!r}")
    return str(value).strip()


def names_in(row: StoredRow) -> list[str]:
    """Return the ids of a row's `answers`.

    Raises:
        CodeftError: They are no list of ids.
    """
    answers = row.fields.get("answers")
    if not isinstance(answers, list):
        raise CodeftError(f"{row.where}: expected a list of ids in 'answers', got {answers!r}")
    return [name_of(answer, where=row.where) for answer in answers]
