"""Which of several fields a row is read by: the first that says something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def says_something(value: object) -> bool:
    """Return whether a field's value is more than null, blank text, or a list of nothing else.

    >>> says_something([""]), says_something(" "), says_something(["x"]), says_something(0)
    (False, False, True, True)
    """
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, list | tuple):
        return any(map(says_something, value))
    return value is not None


def first_field(fields: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of some names whose field says something, else the first that the row has.

    So an empty field never hides a full one, and one of the wrong type is still found and reported.

    Args:
        fields: The row.
        names: Of fields, the preferred first.

    Returns:
        None where the row has none of them.

    >>> first_field({"docstring_tokens": [], "docstring": "One."}, "docstring_tokens", "docstring")
    'docstring'
    """
    there = [name for name in names if name in fields]
    return next((name for name in there if says_something(fields[name])), there[0] if there else None)


def row_id(fields: Mapping[str, Any], *names: str, where: str) -> str:
    """Return what names a row: the first of some fields that says something, as text, else its place.

    >>> row_id({"id": "", "idx": 7}, "id", "idx", where="rows.jsonl:1")
    '7'
    """
    return next((str(fields[name]) for name in names if says_something(fields.get(name))), where)
