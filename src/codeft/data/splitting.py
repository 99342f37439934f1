"""A source tree's rows, split for training, validation and test so that nothing stands in two of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Hashable, Iterable
from pathlib import Path
from typing import Any

from codeft.data.jsonl import Row
from codeft.data.mining import (
    MAX_DOCSTRING_TOKENS,
    MIN_DOCSTRING_TOKENS,
    MiningReport,
    find_functions,
    mine_functions,
)
from codeft.data.near_duplicates import NearDuplicateIndex
from codeft.data.source_tree import SourceSelection
from codeft.syntax import LANGUAGES, docstring_tokens, first_paragraph, language_name
from codeft.tasks.functions import AS_TEXT
from codeft.types import CodeftError

MinedRow = dict[str, Any]
_SPLITS = ("train", "valid", "test")


def mine_splits(
    source: Path,
    *,
    languages: Collection[str] | None = None,
    selection: SourceSelection | None = None,
    report: MiningReport | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, list[MinedRow]]:
    """Return the documented functions of a source tree, by split.

    Args:
        source: Folder, or one source file.
        languages: Names or aliases of the languages to mine; None for all.
        selection: What a user wants read, and what not.
        report: Filled with what was met.
        progress: Called with the path of each file before it is parsed.

    Returns:
        Rows of "train", "valid" and "test", each with its split as `partition`; none is empty.

    Raises:
        CodeftError: The tree doesn't exist, or holds too few functions for three splits; or there is no
            grammar for a language.
    """
    report = MiningReport() if report is None else report
    for name in languages or ():
        if language_name(name) not in LANGUAGES:
            raise CodeftError(
                f"expected data.source= to be mined for one of {', '.join(LANGUAGES)}, got lang={name}, "
                f"which codeft has no grammar for; {AS_TEXT}, in files of your own: data.dir="
            )
    if not source.exists():
        raise CodeftError(f"expected data.source to be a source tree, but {str(source)!r} doesn't exist")
    rows = list(
        mine_functions(source, languages=languages, selection=selection, report=report, progress=progress)
    )
    splits = split_rows(rows)
    if splits is None:
        why = ", ".join(f"{reason}: {n:,}" for reason, n in report.skipped_functions.most_common())
        found = f"only {len(rows)} well documented" if rows else "no well documented"
        raise CodeftError(
            f"found {found} function{'s' if len(rows) > 1 else ''} in {str(source)!r}, but train, valid and "
            "test need at least one each, and near duplicates stay together "
            f"({report.files.total():,} source files read, not read: {str(report.left_out) or 'none'}; "
            f"{report.functions.total():,} functions, of no use: {why or 'none'}); name a larger tree with "
            "data.source=, or write train.jsonl, valid.jsonl and test.jsonl yourself and give their folder: "
            "data.dir="
        )
    return splits


def corpus_rows(
    source: Path, *, selection: SourceSelection | None = None, report: MiningReport | None = None
) -> dict[str, list[Row]]:
    """Return all functions of a source tree as rows for pre-training, one file in fifty held out.

    A function whose documentation is as long as CodeXGLUE wants it has `code` and `docstring`, too.

    Args:
        source: Folder, or one source file.
        selection: Which files of the tree to read, and which not; the usual ones by default.
        report: Filled with what was met.

    Returns:
        Rows of "train" and "valid".

    Raises:
        CodeftError: The tree doesn't exist or has functions in one file alone.
    """
    if not source.exists():
        raise CodeftError(f"expected data.source to be a source tree, but {str(source)!r} doesn't exist")
    by_file: dict[str, list[Row]] = {}
    for found in find_functions(source, selection=selection, report=report):
        fields = {"text": found.text, "language": found.language}
        summary = first_paragraph(found.function.docstring)
        if MIN_DOCSTRING_TOKENS <= len(docstring_tokens(summary)) <= MAX_DOCSTRING_TOKENS:
            fields |= {"code": found.function.code, "docstring": summary}
        by_file.setdefault(found.path, []).append(Row(f"{found.path}:{found.function.start_line}", fields))
        if report is not None:
            report.rows[found.language] += 1
    if len(by_file) < 2:
        raise CodeftError(
            f"pre-training holds one file in fifty out, and {str(source)!r} has functions in {len(by_file)}: "
            "name a larger tree with data.source="
        )
    ranked = sorted(by_file, key=lambda path: (zlib.crc32(path.encode("utf-8", "replace")), path))
    held_out = set(ranked[: max(1, len(ranked) // 50)])
    rows: dict[str, list[Row]] = {"train": [], "valid": []}
    for path, of_file in by_file.items():
        rows["valid" if path in held_out else "train"] += of_file
    return rows


def split_rows(rows: Iterable[MinedRow]) -> dict[str, list[MinedRow]] | None:
    """Split mined rows: about 80 % for training, 10 % each for validation and test.

    The functions of a file stay together, and so do files with near duplicates of each other's functions. A
    group belongs to the split that a hash of its first path says, so that most stay where they are when files
    are added; the largest is trained on. Where that leaves a split empty, groups are dealt out by size, and
    where there are fewer than three, they are functions instead of files.

    Args:
        rows: Rows with `path` and `code`, in the order of their paths.

    Returns:
        The rows by split, in their order; None where there are fewer than three groups of functions.
    """
    rows = list(rows)
    files = _groups(rows, keys=[row["path"] for row in rows])
    splits = _by_hash(rows, files) or _by_size(files) or _by_size(_groups(rows, keys=range(len(rows))))
    if splits is None:
        return None
    return {name: [{**rows[i], "partition": name} for i in sorted(splits[name])] for name in _SPLITS}


def _groups(rows: list[MinedRow], *, keys: Iterable[Hashable]) -> list[list[int]]:
    """Return the places of rows that share a key or nearly duplicate each other, directly or by others."""
    parent = list(range(len(rows)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = place = parent[parent[place]]
        return place

    first: dict[Hashable, int] = {}
    index = NearDuplicateIndex()
    for place, (row, key) in enumerate(zip(rows, keys, strict=True)):
        near = [first.setdefault(("key", key), place)]
        known = first.setdefault(("code", row["code"]), place)
        near.append(known)
        if known == place:  # copies needn't be compared
            near += [match.key for match in index.query(row["code"]) if isinstance(match.key, int)]
            index.add(place, row["code"])
        for other in near:
            low, high = sorted((root(place), root(other)))
            parent[high] = low
    groups: dict[int, list[int]] = {}
    for place in range(len(rows)):
        groups.setdefault(root(place), []).append(place)
    return list(groups.values())


def _by_hash(rows: list[MinedRow], groups: list[list[int]]) -> dict[str, list[int]] | None:
    """Split groups by the hash of their first path; None where a split would be empty."""
    splits: dict[str, list[int]] = {name: [] for name in _SPLITS}
    largest = max(groups, key=len, default=None)
    for group in groups:
        place = zlib.crc32(rows[group[0]]["path"].encode("utf-8", "replace")) % 10
        splits["train" if group is largest or place > 1 else ("valid", "test")[place]] += group
    return splits if all(splits.values()) else None


def _by_size(groups: list[list[int]]) -> dict[str, list[int]] | None:
    """Deal the smallest groups out to validation and test; None where there are fewer than three."""
    if len(groups) < len(_SPLITS):
        return None
    *others, largest = sorted(groups, key=len)
    splits: dict[str, list[int]] = {"train": [*largest], "valid": [], "test": []}
    share = max(1, sum(map(len, groups)) // 10)
    for group in others:
        smaller = min(("valid", "test"), key=lambda name: len(splits[name]))
        splits[smaller if len(splits[smaller]) < share else "train"] += group
    return splits
