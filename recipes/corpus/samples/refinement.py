"""Refinement: Java methods that changed a little from one published version of a package to the next."""

from __future__ import annotations

import difflib
import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from histories import read_histories, version_folder
from trees import has_permissive_head

from codeft.data.mining import code_tokens
from codeft.data.source_files import read_source_files
from codeft.syntax import extract_functions, parse
from codeft.syntax.functions import Function
from samples.rows import Novelty, Row

NUM_ROWS = {"train": 1200, "valid": 150, "test": 150}
MIN_TOKENS, MAX_TOKENS = 15, 160
MAX_CHANGED_TOKENS = 16
LEAST_ALIKE = 0.8
MAX_SAME_EDIT = 2
_BUNDLED = re.compile(r"(^|/)third[_-]?party/", re.IGNORECASE)
_UNIMPORTANT = re.compile(
    r"@\s*\w+\s*(\(\s*\"[^\"]*\"\s*\)|\(\s*[\w.]*\s*\))?|\b(final|public|private|protected|static)\b"
)
"""Annotations and modifiers, of which a change alone mends nothing."""


def refinement_rows(root: Path, *, split: str, novelty: Novelty) -> list[Row]:
    """Make rows of the packages of a split.

    Args:
        root: What fetch.py wrote.
        split: "train", "valid" or "test".
        novelty: What was seen so far.
    """
    changes = [
        row
        for source in read_histories()
        if source["role"] == f"sample-{split}"
        for row in changed_methods(root, source)
    ]
    rng = random.Random(f"refinement {split}")
    rng.shuffle(changes)
    edits: Counter[str] = Counter()
    rows: list[Row] = []
    for row in changes:
        if len(rows) == NUM_ROWS[split]:
            break
        edit = edit_of(row["buggy"].split(), row["fixed"].split())
        if edits[edit] < MAX_SAME_EDIT and novelty.admits(row["buggy"], "java"):
            edits[edit] += 1
            rows.append(row)
    print(f"refinement {split}: {len(rows)} of {len(changes)}")
    return rows


def changed_methods(root: Path, source: dict[str, str]) -> Iterator[Row]:
    """Yield a row for each method that changed a little between neighbouring versions of a package."""
    versions = source["versions"].split()
    trees = {version: java_files(version_folder(root, source, version)) for version in versions}
    for old, new in pairwise(versions):
        for path in sorted(trees[old].keys() & trees[new].keys()):
            if trees[old][path] == trees[new][path]:
                continue
            before, after = (methods(trees[version][path]) for version in (old, new))
            for key in before.keys() & after.keys():
                tokens = [code_tokens(each[key].code, "java") for each in (before, after)]
                if not is_small_change(*tokens, before[key].code, after[key].code):
                    continue
                function = before[key]
                yield {
                    "id": f"{source['upstream']}/{path}:{function.start_line}@{old}",
                    "repo": source["upstream"],
                    "version": old,
                    "fixed_version": new,
                    "path": path,
                    "func_name": function.qualified_name,
                    "start_line": function.start_line,
                    "language": "java",
                    "licence": source["licence"],
                    "buggy": " ".join(tokens[0]),
                    "fixed": " ".join(tokens[1]),
                    "made": f"changed from version {old} to {new}; tokens without comments, joined by blanks",
                }


def java_files(folder: Path) -> dict[str, str]:
    """Return the texts of a version's own Java files by their paths in the package."""
    files = read_source_files(
        folder,
        languages=["java"],
        accept=lambda path: not _BUNDLED.search(str(path)) and has_permissive_head(path),
    )
    return {file.path.partition("/")[2]: file.text for file in files}


def methods(text: str) -> dict[tuple[str, tuple[str, ...]], Function]:
    """Return a file's methods by name and parameters, those alone that no other one equals in both."""
    found = extract_functions(text, "java")
    counts = Counter((function.qualified_name, function.parameters) for function in found)
    return {
        (function.qualified_name, function.parameters): function
        for function in found
        if counts[function.qualified_name, function.parameters] == 1
    }


def is_small_change(before: list[str], after: list[str], *codes: str) -> bool:
    """Whether a change alters a few tokens, and not annotations or modifiers alone."""
    if not all(MIN_TOKENS <= len(tokens) <= MAX_TOKENS for tokens in (before, after)) or before == after:
        return False
    bare = [" ".join(_UNIMPORTANT.sub(" ", " ".join(tokens)).split()) for tokens in (before, after)]
    if bare[0] == bare[1] or not all(code.isascii() and not parse(code, "java").has_errors for code in codes):
        return False
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    changed = sum(max(i2 - i1, j2 - j1) for kind, i1, i2, j1, j2 in matcher.get_opcodes() if kind != "equal")
    return matcher.ratio() >= LEAST_ALIKE and changed <= MAX_CHANGED_TOKENS


def edit_of(before: list[str], after: list[str]) -> str:
    """Return what a change takes away and puts in, as text, wherever it stands.

    >>> edit_of("return a + b ;".split(), "return a - b ;".split())
    '[+ > -]'
    """
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    parts = [
        f"[{' '.join(before[i1:i2])} > {' '.join(after[j1:j2])}]"
        for kind, i1, i2, j1, j2 in matcher.get_opcodes()
        if kind != "equal"
    ]
    return "".join(dict.fromkeys(parts))
