"""CoSQA's retrieval set: queries from a search engine, and all functions in one file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codeft.data.jsonl import Row, SkippedRow, SkippedRows, replace_surrogates
from codeft.tasks.fields import says_something
from codeft.types import CodeftError

COSQA_CODES = "code_idx_map.txt"
"""The file of functions: one JSON object, from each function's text to its number."""

_SPLITS = {
    "train": "cosqa-retrieval-train-*.json",
    "valid": "cosqa-retrieval-dev-*.json",
    "test": "cosqa-retrieval-test-*.json",
}


def cosqa_queries(folder: Path, split: str, *, on_bad_row: str, skipped: SkippedRows) -> Iterator[Row]:
    """Yield a split's queries with the functions that answer them; pairs labelled 0 are left out.

    A row names its function by `retrieval_idx`; where it doesn't, the function's text does.

    Args:
        folder: Holds the split's file, a JSON list, and `code_idx_map.txt`.
        split: "train", "valid" or "test".
        on_bad_row: "skip" leaves a malformed row out, "error" stops there.
        skipped: Where rows that were left out are appended.

    Raises:
        CodeftError: The file isn't there or isn't what it should be; under "error" also a row that is no
            object, has another label than 0 or 1, or names no function.
    """
    paths = sorted(folder.glob(_SPLITS[split]))
    if not paths:
        raise CodeftError(
            f"expected {_SPLITS[split]} in {str(folder)!r}; where there is no such split, "
            f"data.splits.{split}= takes rows of another one"
        )
    functions: dict[str, Any] = {}
    for number, fields in enumerate(_load(paths[0], kind=list), start=1):
        where = f"{paths[0]}, row {number}"
        if isinstance(fields, dict) and not says_something(fields.get("retrieval_idx")):
            functions = functions or _load(folder / COSQA_CODES, kind=dict)
            found = functions.get(str(fields.get("code")))
            fields = fields if found is None else {**fields, "retrieval_idx": found}
        reason = _reason(fields)
        if reason and on_bad_row == "error":
            raise CodeftError(f"{where}: {reason}; mend the row or set data.on_bad_row=skip")
        if reason:
            skipped.append(SkippedRow(where, reason))
        elif str(fields.get("label", 1)) == "1":
            yield Row(where, {**fields, "language": fields.get("language") or "python"})


def _reason(fields: object) -> str | None:
    """Return what is wrong with a query's row."""
    if not isinstance(fields, dict):
        return "expected a JSON object"
    if str(fields.get("label", 1)) not in ("0", "1"):
        return f"""expected "label" to be 0 or 1, got {fields["label"]!r}"""
    if not says_something(fields.get("retrieval_idx")):
        return f'expected "retrieval_idx", or "code" as it stands in {COSQA_CODES}'
    return None


def cosqa_functions(folder: Path) -> Iterator[Row]:
    """Yield all functions, which every query is searched in.

    Args:
        folder: Holds `code_idx_map.txt`.

    Raises:
        CodeftError: It isn't what it should be.
    """
    path = folder / COSQA_CODES
    for code, number in _load(path, kind=dict).items():
        fields = {"code": code, "language": "python", "id": f"code-{number}", "retrieval_idx": number}
        yield Row(f"{path}, function {number}", fields)


def _load(path: Path, *, kind: type) -> Any:
    try:
        found = replace_surrogates(json.loads(path.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, RecursionError) as error:
        raise CodeftError(f"can't read {path}: {error}") from None
    if not isinstance(found, kind):
        raise CodeftError(f"{path}: expected a JSON {'list' if kind is list else 'object'}")
    return found
