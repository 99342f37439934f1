"""The files of a source tree that are worth learning from: people's own code, in wanted languages."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from codeft.data.generated import has_generated_name, is_generated
from codeft.data.left_out import LeftOut
from codeft.data.source_tree import SourceSelection, possible_languages, walk_sources
from codeft.syntax.languages import canonical_language, language_of
from codeft.syntax.line_ends import with_line_feeds
from codeft.types import CodeftError

MAX_FILE_BYTES = 1_000_000
MAX_LINE_LENGTH = 2_000

_CPP_HEADER = re.compile(
    r"^\s*(class \w+|namespace\b|template\s*<|(public|private|protected):|using namespace\b|enum class\b)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was read.

    Attributes:
        path: Its place, relative to the tree's root, with forward slashes.
        language: Canonical name of its language; a `.h` file may turn out to be C++.
        text: Its contents; all lines end with LF.
    """

    path: str
    language: str
    text: str


def read_source_files(
    root: Path,
    *,
    languages: Collection[str] | None = None,
    include_tests: bool = False,
    selection: SourceSelection | None = None,
    accept: Callable[[Path], bool] | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[SourceFile]:
    """Yield the files of a source tree in the order of their paths.

    Left out are links (none is followed), what `.gitignore` names, folders of vendored code, of builds and,
    unless asked for, of tests, and files that are generated, minified, binary, not UTF-8, unreadable or
    larger than a megabyte.

    Args:
        root: Folder, or one source file.
        languages: Names or aliases of the languages to look for; None for all.
        include_tests: Whether to read tests and test data too.
        selection: What a user wants read, and what not.
        accept: Asked for each file before it is read; False leaves it out.
        left_out: Filled with what isn't read.

    Raises:
        CodeftError: The root doesn't exist or a language is unknown.
    """
    left_out = LeftOut() if left_out is None else left_out
    wanted = None if languages is None else {canonical_language(name) for name in languages}
    if not root.exists():
        raise CodeftError(f"Expected a folder or a file to mine; {root} doesn't exist. Check its spelling.")
    walk = walk_sources(
        root,
        selection=selection or SourceSelection(),
        tests=include_tests,
        left_out=left_out,
        languages=wanted,
    )
    for path, relative in walk:
        language = language_of(path)
        if language is None:  # the root itself
            left_out.add_unknown(relative)
            continue
        if wanted is not None and not wanted & possible_languages(path):
            left_out.reasons["another language"] += 1
            continue
        reason = _reason_to_skip_unread(path, accept=accept)
        text = "" if reason else read_text(path)
        if text is None:
            reason = "unreadable or not UTF-8"
            text = ""
        language = language_of_file(path.name, text) or language
        reason = reason or _reason_to_skip(text, language=language)
        if reason:
            left_out.add_file(relative, reason)
        elif wanted is None or language in wanted:
            yield SourceFile(relative, language, text)
        else:
            left_out.reasons["another language"] += 1


def language_of_file(name: str, text: str) -> str | None:
    """Return a file's language: what its name's ending says, but C++ for a `.h` file that holds C++.

    Args:
        name: The file's.
        text: Its contents.

    Examples:
        >>> language_of_file("a.h", "int f(void);"), language_of_file("a.h", "namespace n {}")
        ('c', 'cpp')
    """
    language = language_of(name)
    return "cpp" if language == "c" and name.lower().endswith(".h") and _CPP_HEADER.search(text) else language


def read_text(path: Path) -> str | None:
    """Return a file's text with LF for all line ends and without a byte order mark; None if it isn't UTF-8.

    Args:
        path: The file; one that can't be read gives None, too.
    """
    try:
        return with_line_feeds(path.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return None


def _reason_to_skip_unread(path: Path, *, accept: Callable[[Path], bool] | None) -> str:
    if path.is_symlink() or not path.is_file():
        return "link or device"
    if has_generated_name(path.name):
        return "generated"
    if path.stat().st_size > MAX_FILE_BYTES:
        return "too large"
    return "not accepted" if accept is not None and not accept(path) else ""


def _reason_to_skip(text: str, *, language: str) -> str:
    if "\0" in text:
        return "binary"
    if is_generated(text, language=language):
        return "generated"
    return "minified" if any(len(line) > MAX_LINE_LENGTH for line in text.splitlines()) else ""
