"""Functions and their docstrings out of any source tree, in CodeSearchNet's schema.

Mining reads and parses; it never runs or imports what it finds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeft.data.left_out import LeftOut
from codeft.data.source_files import read_source_files
from codeft.data.source_tree import SourceSelection
from codeft.syntax.functions import Function, extract_functions
from codeft.syntax.prose import docstring_tokens, first_paragraph
from codeft.syntax.tree import parse, walk_leaves

MIN_DOCSTRING_TOKENS, MAX_DOCSTRING_TOKENS = 3, 256
MIN_CODE_LINES = 3

_COMMENT_LINE = re.compile(r"\s*(//|/\*|\*|#(?!include|define|if|endif|else|pragma)|@)")

_STANDARD_METHODS = {
    *("constructor", "initialize", "__construct", "__destruct"),
    *("toString", "equals", "hashCode", "ToString", "Equals", "GetHashCode"),
}
_BOILERPLATE = re.compile(
    r"\{?@?inherit-?doc|@?deprecated\b|todo\b|fixme\b|auto-?generated|\(?non-javadoc|constructor\b|noop\b"
    r"|copyright\b|see \S+$",
    re.IGNORECASE,
)
_SPECIAL_TOKEN = re.compile(r"https?:|<(?:img|a)\s+\w+=|-----|={4}")


@dataclass(slots=True)
class MiningReport:
    """What mining met, counted; pass one in and read it afterwards.

    Attributes:
        files: Files parsed, by language.
        left_out: Files that weren't read.
        functions: Functions found, by language.
        skipped_functions: Functions that made no row, by reason.
        rows: Rows made, by language.
    """

    files: Counter[str] = field(default_factory=Counter)
    left_out: LeftOut = field(default_factory=LeftOut)
    functions: Counter[str] = field(default_factory=Counter)
    skipped_functions: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)

    @property
    def skipped_files(self) -> Counter[str]:
        """Files in a wanted language that were left out, by reason."""
        return self.left_out.reasons

    def __str__(self) -> str:
        """Return what was met, on one line."""
        return (
            f"{self.rows.total():,} rows out of {self.functions.total():,} functions of "
            f"{self.files.total():,} files; not read: {str(self.left_out) or 'none'}"
        )


@dataclass(frozen=True, slots=True)
class FoundFunction:
    """A function and where it stands.

    Attributes:
        path: Its file, relative to the tree's root, with forward slashes.
        language: Canonical name of its language.
        function: What the syntax floor found.
        text: Its lines as they stand in the file, the documentation before them included, moved to column 0.
    """

    path: str
    language: str
    function: Function
    text: str


def mine_functions(
    root: Path,
    *,
    languages: Collection[str] | None = None,
    repo: str = "",
    licence: str = "",
    partition: str = "",
    include_tests: bool = False,
    selection: SourceSelection | None = None,
    accept: Callable[[Path], bool] | None = None,
    report: MiningReport | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each well documented function of a source tree.

    Source:
        CodeSearchNet (arXiv 1909.09436), section 2, and CodeXGLUE's filter (arXiv 2102.04664): no tests,
        constructors or functions under three lines; a docstring's first paragraph of 3 to 256 tokens, in
        mostly ASCII text, without links. Unlike both, the docstring is already cut out of `code`, and
        duplicates stay (`codeft.data.near_duplicates` finds them).

    Args:
        root: Folder, or one source file.
        languages: Names or aliases of the languages to mine; None for all.
        repo: What the rows' `repo` shall say; the root's name by default.
        licence: What the rows' `licence` shall say, an SPDX identifier.
        partition: What the rows' `partition` shall say; `codeft.data.splitting` splits a whole tree.
        include_tests: Whether to read tests and test data too.
        selection: What a user wants read, and what not.
        accept: Asked for each file before it is read; False leaves it out.
        report: Filled with what was met.
        progress: Called with the path of each file before it is parsed.

    Yields:
        Rows with `repo`, `path`, `func_name`, `start_line`, `language`, `licence`, `code`, `code_tokens`,
        `docstring` (its first paragraph), `docstring_tokens` and `partition`; files in the order of their
        paths, functions in the order of their lines.

    Raises:
        CodeftError: The root doesn't exist or a language is unknown.
    """
    report = MiningReport() if report is None else report
    found = find_functions(
        root,
        languages=languages,
        include_tests=include_tests,
        selection=selection,
        accept=accept,
        report=report,
        progress=progress,
    )
    for item in found:
        summary = first_paragraph(item.function.docstring)
        reason = _reason_to_skip(item.function, summary=summary, language=item.language)
        if reason:
            report.skipped_functions[reason] += 1
            continue
        report.rows[item.language] += 1
        yield {
            "repo": repo or root.resolve().name,
            "path": item.path,
            "func_name": item.function.qualified_name,
            "start_line": item.function.start_line,
            "language": item.language,
            "licence": licence,
            "code": item.function.code,
            "code_tokens": code_tokens(item.function.code, item.language),
            "docstring": summary,
            "docstring_tokens": docstring_tokens(summary),
            "partition": partition,
        }


def find_functions(
    root: Path,
    *,
    languages: Collection[str] | None = None,
    include_tests: bool = False,
    selection: SourceSelection | None = None,
    accept: Callable[[Path], bool] | None = None,
    report: MiningReport | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[FoundFunction]:
    """Yield every function of a source tree, documented or not, from its files (`read_source_files`).

    Args:
        root: Folder, or one source file.
        languages: Names or aliases of the languages to look for; None for all.
        include_tests: Whether to read tests and test data too.
        selection: What a user wants read, and what not.
        accept: Asked for each file before it is read; False leaves it out.
        report: Filled with what was met.
        progress: Called with the path of each file before it is parsed.

    Raises:
        CodeftError: The root doesn't exist or a language is unknown.
    """
    report = MiningReport() if report is None else report
    files = read_source_files(
        root,
        languages=languages,
        include_tests=include_tests,
        selection=selection,
        accept=accept,
        left_out=report.left_out,
    )
    for file in files:
        if progress is not None:
            progress(file.path)
        report.files[file.language] += 1
        lines = file.text.split("\n")  # as lines are counted; `splitlines` cuts at form feeds too
        for function in extract_functions(file.text, file.language):
            report.functions[file.language] += 1
            yield FoundFunction(file.path, file.language, function, _whole_text(lines, function))


def code_tokens(code: str, language: str) -> list[str]:
    """Return the texts of a snippet's leaves, comments left out.

    Args:
        code: A snippet of source code.
        language: Name or alias of its language.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> code_tokens("int f() { return 1; } // one", "c")
        ['int', 'f', '(', ')', '{', 'return', '1', ';', '}']
    """
    leaves = walk_leaves(code, language)
    if leaves is None:
        tree = parse(code, language)
        spans = zip(tree.starts.tolist(), tree.ends.tolist(), strict=True)
    else:
        spans = zip(leaves.starts, leaves.ends, strict=True)
    return [code[start:end] for start, end in spans if code[start:end].strip()]


def _whole_text(lines: list[str], function: Function) -> str:
    """Return a function's lines with the comment lines right before them, moved to column 0."""
    first = function.start_line - 1
    body_indent = len(lines[first]) - len(lines[first].lstrip()) if first < len(lines) else 0
    while first > 0 and _COMMENT_LINE.match(lines[first - 1]):
        first -= 1
    margin = re.compile(rf"[ \t]{{0,{body_indent}}}")
    return "\n".join(margin.sub("", line, count=1) for line in lines[first : function.end_line])


def _reason_to_skip(function: Function, *, summary: str, language: str) -> str:
    """Return why a function makes no row; "" where it makes one."""
    if not summary:
        return "no docstring"
    owner = function.qualified_name.rpartition(".")[0].rpartition(".")[2]
    is_dunder = function.name.startswith("__") and function.name.endswith("__")
    if is_dunder or function.name in _STANDARD_METHODS or function.name == owner:
        return "constructor or standard method"
    if re.search(r"(^|_)test|Test([A-Z_]|$)|^test", function.name):
        return "test"
    if function.code.count("\n") + 1 < MIN_CODE_LINES:
        return "short code"
    num_tokens = len(docstring_tokens(summary))
    if num_tokens < MIN_DOCSTRING_TOKENS:
        return "short docstring"
    if num_tokens > MAX_DOCSTRING_TOKENS:
        return "long docstring"
    if _SPECIAL_TOKEN.search(summary) or _BOILERPLATE.match(summary):
        return "boilerplate docstring"
    letters = sum(character.isascii() and character.isalpha() for character in summary)
    if letters < 0.5 * len(summary) or sum(not character.isascii() for character in summary) > 0.1 * len(
        summary
    ):
        return "docstring isn't English prose"
    return ""
