"""What one package can give to the corpus: its files, whole or as their functions, kept on disk."""

from __future__ import annotations

import gzip
import json
import re
import string
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from licences import PackageLicences
from readable import chosen_files, permission
from trees import tree_roots, upstream_path

from codeft.data.mining import (
    MAX_DOCSTRING_TOKENS,
    MIN_DOCSTRING_TOKENS,
    FoundFunction,
    MiningReport,
    find_functions,
)
from codeft.data.source_files import read_source_files
from codeft.syntax.prose import docstring_tokens, first_paragraph
from codeft.types import CodeftError

MIN_CHARACTERS, MAX_CHARACTERS = 80, 10_000
MIN_LINES = 3
MIN_FILE_CHARACTERS, MAX_FILE_CHARACTERS = 200, 60_000
WHOLE_SHARE = 0.4  # of the files
TOO_SHORT = "too short"
MIN_LETTERS = 0.5  # of the characters that aren't white space
MAX_NOT_ASCII = 0.05

_LEGAL = re.compile(
    r"copyright|licen[cs]e|SPDX|all rights reserved|@author|\bauthors?:|@file\b|\$Id|\$Revision|^#!"
    r"|coding[:=]|vim?:|-\*-|eslint-|public domain|warranty",
    re.IGNORECASE,
)
_BLOCK = {
    "slash": re.compile(r"\s*(/\*.*?\*/[ \t]*|(?:[ \t]*//[^\n]*(?:\n|\Z))+)", re.DOTALL),
    "hash": re.compile(r"\s*((?:[ \t]*#[^\n]*(?:\n|\Z))+|=begin\b.*?^=end[^\n]*)", re.DOTALL | re.MULTILINE),
    "php": re.compile(r"\s*(/\*.*?\*/[ \t]*|(?:[ \t]*(?://|#(?!\[))[^\n]*(?:\n|\Z))+)", re.DOTALL),
}

_LICENCE_COMMENT = re.compile(
    r"^/\*(?:(?!\*/).)*?(?:Licensed (?:to|under) the|full copyright and licen[cs]e|Redistribution and use"
    r"|Permission is hereby granted)(?:(?!\*/).)*\*/\n*",
    re.DOTALL | re.MULTILINE,
)
_HEAD_CHARACTERS = 3_000
_PHP_OPENING = re.compile(r"\s*<\?php\b\s*(declare\s*\([^)]*\);)?")
_LICENCE_REGION = re.compile(
    r"\s*#region[^\n]*(licen[cs]e|copyright|header).*?#endregion[^\n]*", re.I | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A function of a file.

    Attributes:
        text: Its lines with the documentation before them; "" where it is only compared with, as it isn't fit
            for the corpus by itself.
        code: The same without documentation.
        docstring: The documentation's first paragraph; "" where that isn't worth generating.
    """

    text: str
    code: str
    docstring: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may enter the corpus.

    Attributes:
        repo: Its project, as `owner/name`.
        path: Its place in the project.
        language: Canonical name of its language.
        licence: What it is under, permissive licences only.
        whole: Its text without a licence at its top, where it shall go whole; "" where only as functions.
        pieces: Its functions but for the shortest.
    """

    repo: str
    path: str
    language: str
    licence: str
    whole: str
    pieces: tuple[Piece, ...]


def candidates(
    source: dict[str, str], *, root: Path, max_bytes: int, left_out: Counter[str]
) -> Iterator[Candidate]:
    """Yield the files of a package's row that hold something of fitting size.

    Args:
        source: A row of `sources.csv`.
        root: What fetch.py wrote.
        max_bytes: How many bytes of files to read.
        left_out: Counts what was left out, by reason.
    """
    licences = PackageLicences(root, source)
    report = MiningReport()
    files = chosen_files(root, source=source, max_bytes=max_bytes)
    accept = permission(files, licences=licences, report=report)
    for folder in tree_roots(root, source):
        for file in read_source_files(
            folder, languages=source["languages"].split(), accept=accept, left_out=report.left_out
        ):
            path = upstream_path(file.path, source=source)
            place = folder / file.path
            if not place.is_file():
                left_out["files: name isn't UTF-8"] += 1
                continue
            try:
                pieces = [
                    piece(found, left_out=left_out)
                    for found in find_functions(place, languages=[file.language])
                ]
            except CodeftError:
                left_out["files: not mined"] += 1
                continue
            text = without_header(file.text, file.language)
            whole = text if goes_whole(source["upstream"], path) and fits_whole(text) else ""
            kept = tuple(item for item in pieces if item is not None)
            if whole or kept:
                yield Candidate(
                    source["upstream"], path, file.language, licences.licence_of(place), whole, kept
                )
    for reason, count in report.skipped_files.items():
        if reason not in ("not accepted", "another language"):
            left_out[f"files: {reason}"] += count


def piece(found: FoundFunction, *, left_out: Counter[str]) -> Piece | None:
    """Return what is kept of a function; None for a short one, which is alike everywhere."""
    text = found.text.strip()
    reason = unfit(text)
    if reason:
        left_out[f"functions: {reason}"] += 1
    if reason == TOO_SHORT:
        return None
    return Piece("" if reason else text, found.function.code, summary(found.function.docstring))


def unfit(text: str) -> str:
    """Return why a function's text isn't fit for the corpus; "" where it is."""
    if len(text) < MIN_CHARACTERS or text.count("\n") + 1 < MIN_LINES:
        return TOO_SHORT
    if len(text) > MAX_CHARACTERS:
        return "too long"
    return "" if is_mostly_words(text) else "mostly not letters, or not ASCII"


def fits_whole(text: str) -> bool:
    """Whether a file's text may go into the corpus whole."""
    return MIN_FILE_CHARACTERS <= len(text) <= MAX_FILE_CHARACTERS and is_mostly_words(text)


def is_mostly_words(text: str) -> bool:
    """Whether a text is written by hand, in ASCII: neither a table of numbers nor one of characters.

    >>> is_mostly_words("int f(int a) { return a; }"), is_mostly_words("0x12, 0x34, 0x56")
    (True, False)
    """
    ascii_text = text.encode("ascii", "ignore")
    num_solid = len(ascii_text.translate(None, string.whitespace.encode()))
    num_letters = len(ascii_text) - len(ascii_text.translate(None, string.ascii_letters.encode()))
    return num_letters >= MIN_LETTERS * num_solid and len(ascii_text) >= (1 - MAX_NOT_ASCII) * len(text)


def goes_whole(repo: str, path: str) -> bool:
    """Whether a file is to go whole, by a hash of its place."""
    return zlib.crc32(f"whole {repo} {path}".encode("utf-8", "replace")) < WHOLE_SHARE * 2**32


def without_header(text: str, language: str) -> str:
    r"""Return a file without the comments at its top up to the last that speaks of licence or authorship.

    A licence after the file's first lines, such as the one that names its package, goes too.

    >>> without_header("/* Copyright me */\n\n// Adds.\nint f();\n", "c")
    '// Adds.\nint f();'
    >>> without_header("#!/usr/bin/python\n# Adds.\n", "python"), without_header("#include <a.h>", "c")
    ('', '#include <a.h>')
    """
    kind = {"python": "hash", "ruby": "hash", "php": "php"}.get(language, "slash")
    text = text.replace("\r\n", "\n")
    opening = _PHP_OPENING.match(text) if language == "php" else None
    start = position = opening.end() if opening else 0
    if language == "csharp" and (region := _LICENCE_REGION.match(text)):
        start = position = region.end()
    while block := _BLOCK[kind].match(text, position):
        position = block.end()
        if _LEGAL.search(block[1]):
            start = position
    rest = _LICENCE_COMMENT.sub("", text[start : start + _HEAD_CHARACTERS]) + text[start + _HEAD_CHARACTERS :]
    rest = rest.strip("\n").rstrip()
    return f"{opening[0].strip()}\n\n{rest}" if opening else rest


def summary(docstring: str) -> str:
    """Return a docstring's first paragraph; "" where that is too short or long to be worth generating."""
    paragraph = first_paragraph(docstring)
    num_tokens = len(docstring_tokens(paragraph))
    return paragraph if MIN_DOCSTRING_TOKENS <= num_tokens <= MAX_DOCSTRING_TOKENS else ""


def cache_path(folder: Path, source: dict[str, str]) -> Path:
    """Where a row's candidates are kept."""
    name = "__".join(filter(None, (source["registry"], source["package"], source["folder"])))
    return folder / (re.sub(r"[^\w.@+-]", "_", name) + ".jsonl.gz")


def keep_candidates(source: dict[str, str], max_bytes: int, *, root: Path, folder: Path) -> str:
    """Mine a row of `sources.csv` and keep what was found on disk; a row that is kept already is left alone.

    Returns:
        A line for the log.
    """
    path = cache_path(folder, source)
    header = {"source": source, "max_bytes": max_bytes}
    if path.exists() and _header(path) == header:
        return f"{source['package']} {source['folder']}: kept already"
    left_out: Counter[str] = Counter()
    part = path.with_suffix(".part")
    num_files = num_functions = 0
    with gzip.open(part, "wt", encoding="utf-8", errors="replace", compresslevel=3) as file:
        file.write(json.dumps(header) + "\n")
        for item in candidates(source, root=root, max_bytes=max_bytes, left_out=left_out):
            file.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")
            num_files += 1
            num_functions += len(item.pieces)
        file.write(json.dumps({"left out": left_out}) + "\n")
    part.replace(path)
    return f"{source['package']} {source['folder']}: {num_files} files, {num_functions} functions"


def kept_candidates(path: Path) -> tuple[list[Candidate], Counter[str]]:
    """Read what `keep_candidates` wrote: the candidates, and what was left out, by reason."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = [json.loads(line) for line in file]
    items = [
        Candidate(**row | {"pieces": tuple(Piece(**piece) for piece in row["pieces"])}) for row in rows[1:-1]
    ]
    return items, Counter(rows[-1]["left out"])


def _header(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        header: dict[str, Any] = json.loads(file.readline())
    return header
