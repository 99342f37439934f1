"""BigCloneBench in CodeXGLUE's layout: a file of functions, and pairs of their ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from codeft.data.jsonl import Row, SkippedRow, SkippedRows, read_byte_lines, read_rows, too_long
from codeft.types import CodeftError

FUNCTIONS = "data.jsonl"
"""The file of functions: rows with `idx` and `func`."""

_NAMES = ("{split}.txt", "{split}_sampled.txt")


def clone_pairs(folder: Path, split: str, *, on_bad_row: str, skipped: SkippedRows) -> Iterator[Row]:
    """Yield a row for each line `idx1 idx2 label` of a split's file, with the functions in it.

    Tabs or blanks part the three. A blank line is passed over.

    Args:
        folder: Holds `data.jsonl` and `<split>.txt` (or the published sample, `<split>_sampled.txt`).
        split: "train", "valid" or "test".
        on_bad_row: "skip" leaves a malformed line out, "error" stops there.
        skipped: Where lines that were left out are appended.

    Raises:
        CodeftError: A file isn't there, or there are no functions; under "error" also a line that isn't such
            a triple, a label that is neither 0 nor 1, a function that isn't there, or two of one idx.
    """
    names = [name.format(split=split) for name in _NAMES]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise CodeftError(f"expected {' or '.join(names)} in {str(folder)!r}")
    functions: dict[str, str] = {}
    for row in read_rows(folder / FUNCTIONS, on_bad_row=on_bad_row, skipped=skipped):
        reason = _add(row, functions)
        if reason and on_bad_row == "error":
            raise CodeftError(f"{row.where}: {reason}; mend the row or set data.on_bad_row=skip")
        if reason:
            skipped.append(SkippedRow(row.where, reason))
    if not functions:
        raise CodeftError(f"expected functions in {str(folder / FUNCTIONS)!r}, found none")
    for number, line in enumerate(read_byte_lines(path), start=1):
        if line is not None and not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            yield Row(where, _pair(line, functions, where=where))
        except CodeftError as error:
            if on_bad_row == "error":
                raise CodeftError(f"{error}; mend the line or set data.on_bad_row=skip") from None
            skipped.append(SkippedRow.because(error, where=where))


def _add(row: Row, functions: dict[str, str]) -> str | None:
    """Add a row's function; return what is wrong with a row that is none, and adds nothing."""
    code, name = row.fields.get("func"), row.fields.get("idx")
    if not isinstance(code, str) or isinstance(name, bool) or not isinstance(name, str | int):
        return 'expected "idx", a text or a whole number, and "func", a text'
    if functions.setdefault(str(name), code) != code:
        return f"expected one function for idx {name}, got another one before"
    return None


def _pair(line: bytes | None, functions: dict[str, str], *, where: str) -> dict[str, str]:
    if line is None:
        raise CodeftError(f"{where}: {too_long()}")
    words = line.decode("utf-8", "replace").split()
    if len(words) != 3:
        raise CodeftError(f"{where}: expected two ids and a label, got {len(words)} words")
    first, second, label = words
    if label not in ("0", "1"):
        raise CodeftError(f"{where}: expected a label out of 0, 1, got {label!r}")
    for name in (first, second):
        if name not in functions:
            raise CodeftError(f"{where}: names function {name}, which isn't in {FUNCTIONS}")
    return {"id": f"{first} {second}", "code1": functions[first], "code2": functions[second], "label": label}
