"""What a trained model is asked about: the functions of source files, or the rows of a JSON Lines file.

Unlike mining, which looks for examples worth learning from, this leaves out no tests or generated code and
little that is large: who names a file wants an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeft.data.jsonl import SkippedRows, is_rows, read_rows
from codeft.data.left_out import LeftOut
from codeft.data.mining import code_tokens
from codeft.data.source_files import language_of_file
from codeft.data.source_tree import SourceSelection, walk_sources
from codeft.syntax import LANGUAGES, extract_functions, language_of
from codeft.syntax.line_ends import with_line_feeds
from codeft.types import CodeftError

MAX_FILE_BYTES = 10_000_000
"""Of a source file: parsing a larger one takes minutes, and nobody wrote it."""


@dataclass(frozen=True, slots=True)
class InputRow:
    """One text to predict for.

    Attributes:
        where: File and line, for messages.
        fields: What a task reads, as in a data set's row.
        path: The source file, relative to the input; None where a row doesn't say.
        name: The function's name, with the classes around it; None where a row doesn't say.
        start_line: Where the function begins in its file, from 1; None where a row doesn't say.
        language: Canonical name of a source file's language; None for rows, which say it themselves.
    """

    where: str
    fields: dict[str, Any]
    path: str | None = None
    name: str | None = None
    start_line: int | None = None
    language: str | None = None


@dataclass(slots=True)
class InputReport:
    """What reading met, counted.

    Attributes:
        num_files: Files read.
        skipped: Files left out.
        skipped_rows: Malformed rows left out, each with its place and the reason.
        num_other_languages: Functions and rows left out, for the task is about another language.
    """

    num_files: int = 0
    skipped: LeftOut = field(default_factory=LeftOut)
    skipped_rows: SkippedRows = field(default_factory=list)
    num_other_languages: int = 0

    def left_out(self) -> dict[str, int]:
        """Return what was left out, counted by reason."""
        files, suffixes = self.skipped.reasons, self.skipped.suffixes
        rows = {"another language": self.num_other_languages, "bad row": len(self.skipped_rows)}
        unknown = {f"{suffix} file": count for suffix, count in suffixes.most_common()}
        other = {"unknown suffix": self.skipped.others}
        counts = {**unknown, **dict(files.most_common()), **rows, **other}
        return {reason: count for reason, count in counts.items() if count}


def read_inputs(
    path: Path,
    *,
    on_bad_row: str,
    report: InputReport,
    selection: SourceSelection | None = None,
    tokens: bool = True,
) -> Iterator[InputRow]:
    """Yield the functions of source files, or the rows of a JSON Lines file, in their order.

    Files come in the order of their paths. Links below a folder aren't followed, and its hidden folders
    (`.git`) aren't entered; nor is, unless it is asked for, what `.gitignore` names, vendored or built. What
    isn't read is counted.

    Args:
        path: A source file, a folder, or a `.jsonl` file (`.gz` allowed).
        on_bad_row: "error" stops at a malformed row, "skip" leaves it out.
        report: Filled with what was met.
        selection: Which files below a folder to read, and which not.
        tokens: Whether functions get `code_tokens`, which take a while.

    Raises:
        CodeftError: There is no such file or folder, a single file is none that can be read, or a row is
            malformed and `on_bad_row` is "error".
    """
    if path.is_dir():
        files = walk_sources(
            path, selection=selection or SourceSelection(), tests=True, left_out=report.skipped
        )
        for file, relative in files:
            yield from _functions(file, relative, report=report, tokens=tokens)
    elif not path.exists():
        raise CodeftError(f"expected a source file, a folder or a .jsonl file; {str(path)!r} doesn't exist")
    elif not path.is_file():  # reading a pipe could wait for ever
        raise CodeftError(
            f"expected a source file, a folder or a .jsonl file; {str(path)!r} is a pipe or device"
        )
    elif is_rows(path):
        for row in read_rows(path, on_bad_row=on_bad_row, skipped=report.skipped_rows):
            yield _input_row(row.where, row.fields)
        report.num_files = 1
    else:
        if language_of(path) is None:
            known = ", ".join(suffix for language in LANGUAGES.values() for suffix in language.suffixes)
            raise CodeftError(
                f"can't tell the language of {str(path)!r} by its suffix; known are {known}, and .jsonl"
            )
        yield from _functions(path, path.name, report=report, tokens=tokens)
        for reason in report.skipped.reasons:
            raise CodeftError(f"can't use {str(path)!r}: {reason}")


def _input_row(where: str, fields: dict[str, Any]) -> InputRow:
    path, name, line = fields.get("path"), fields.get("func_name"), fields.get("start_line")
    return InputRow(
        where,
        fields,
        path=path if isinstance(path, str) else None,
        name=name if isinstance(name, str) else None,
        start_line=line if isinstance(line, int) else None,
    )


def _functions(path: Path, relative: str, *, report: InputReport, tokens: bool) -> Iterator[InputRow]:
    """Yield the functions of a source file; none, counted, where it can't be read."""
    text, reason = _read(path)
    if reason:
        report.skipped.add_file(relative, reason)
        return
    language = language_of_file(path.name, text)
    assert language is not None
    report.num_files += 1
    seen: Counter[str] = Counter()
    for function in extract_functions(text, language):
        id_ = f"{relative}:{function.start_line}:{function.qualified_name}"
        seen[id_] += 1
        fields: dict[str, Any] = {
            "id": id_ if seen[id_] == 1 else f"{id_}:{seen[id_]}",  # one line can hold two of a name
            "path": relative,
            "func_name": function.qualified_name,
            "language": language,
            "code": function.code,
        }
        if tokens:
            fields["code_tokens"] = code_tokens(function.code, language)
        yield InputRow(
            f"{relative}:{function.start_line}",
            fields,
            path=relative,
            name=function.qualified_name,
            start_line=function.start_line,
            language=language,
        )


def _read(path: Path) -> tuple[str, str]:
    """Return a source file's text, its lines ending with LF, and "", or "" and why it can't be read."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return "", f"larger than {MAX_FILE_BYTES // 10**6} MB"
        text = path.read_bytes().decode("utf-8-sig")
    except OSError:
        return "", "unreadable"
    except UnicodeDecodeError:
        return "", "not UTF-8"
    return ("", "binary") if "\0" in text else (with_line_feeds(text), "")
