"""Small data sets that tests write."""

from __future__ import annotations

import json
from pathlib import Path

NOUNS = ("apple", "bridge", "cloud", "door", "engine", "field", "glass", "house")


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    """Write rows as they are, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def function_rows(start: int, count: int) -> list[dict]:
    """Functions of different lengths, each with its documentation."""
    rows = []
    for i in range(start, start + count):
        noun, lines = NOUNS[i % len(NOUNS)], 1 + i % 5
        body = "".join(f"    {noun}_{j} = {noun}.get({i + j})\n" for j in range(lines))
        code = f"def find_{noun}_{i}({noun}):\n{body}    return {noun}_0\n"
        rows.append({"code": code, "docstring": f"Find the {noun} number {i}.", "language": "python"})
    return rows


def pair_rows(start: int, count: int) -> list[dict]:
    """The same method in two languages."""
    return [
        {
            "java": f"public int get{i}() {{ return {'a' * (i % 5 + 1)}; }}",
            "cs": f"public int Get{i} => {i % 5};",
        }
        for i in range(start, start + count)
    ]
