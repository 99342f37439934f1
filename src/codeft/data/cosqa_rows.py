"""CoSQA's retrieval set: queries from a search engine, and all functions in one file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codeft.data.jsonl import Row
from codeft.types import CodeftError

COSQA_CODES = "code_idx_map.txt"
"""The file of functions: one JSON object, from each function's text to its number."""

_SPLITS = {
    "train": "cosqa-retrieval-train-*.json",
    "valid": "cosqa-retrieval-dev-*.json",
    "test": "cosqa-retrieval-test-*.json",
}


def cosqa_queries(folder: Path, split: str) -> Iterator[Row]:
    """Yield a split's queries with the functions that answer them; pairs labelled 0 are left out.

    Args:
        folder: Holds the split's file, a JSON list.
        split: "train", "valid" or "test".

    Raises:
        CodeftError: The file isn't there or isn't what it should be.
    """
    paths = sorted(folder.glob(_SPLITS[split]))
    if not paths:
        raise CodeftError(
            f"expected {_SPLITS[split]} in {str(folder)!r}; where there is no such split, "
            f"data.splits.{split}= takes rows of another one"
        )
    for number, fields in enumerate(_load(paths[0], kind=list), start=1):
        where = f"{paths[0]}, row {number}"
        if not isinstance(fields, dict):
            raise CodeftError(f"{where}: expected a JSON object")
        if str(fields.get("label", 1)) != "0":
            yield Row(where, {"language": "python", **fields})


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
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CodeftError(f"can't read {path}: {error}") from None
    if not isinstance(found, kind):
        raise CodeftError(f"{path}: expected a JSON {'list' if kind is list else 'object'}")
    return found
