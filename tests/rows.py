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


def write_codexglue(folder: Path, task: str, *, split: str, start: int, count: int) -> None:
    """One split of a task in CodeXGLUE's published layout."""
    folder.mkdir(parents=True, exist_ok=True)
    methods = [
        f"public int get{i}(int a) {{ return {'a + ' * (i % 3)}a; }}" for i in range(start, start + count)
    ]
    if task == "refinement":
        for side, old in (("buggy", "public"), ("fixed", "private")):
            lines = "".join(method.replace("public", old) + " \n" for method in methods)
            (folder / f"{split}.buggy-fixed.{side}").write_text(lines, encoding="utf-8")
        return
    rows = [{"nl": f"gets {m[11:16]} concode_field_sep int a", "code": m} for m in methods]
    if task == "completion":
        rows = [{"input": f"<s> x = <NUM_LIT:1> <EOL> {m[:20]}", "gt": m[20:]} for m in methods]
    write_jsonl(folder / f"{'dev' if split == 'valid' else split}.json", rows)
