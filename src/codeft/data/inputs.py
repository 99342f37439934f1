"""What a trained model is asked about: the functions of source files, or the rows of a JSON Lines file.

Unlike mining, which looks for examples worth learning from, this leaves out no tests, vendored or generated
code and little that is large: who names a file wants an answer.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeft.data.jsonl import SkippedRows, is_rows, read_rows
from codeft.syntax import LANGUAGES, code_tokens, extract_functions, language_of
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
        skipped_files: Files left out, by reason.
        skipped_rows: Malformed rows left out, each with its place and the reason.
        num_other_languages: Functions and rows left out, for the task is about another language.
    """

    num_files: int = 0
    skipped_files: Counter[str] = field(default_factory=Counter)
    skipped_rows: SkippedRows = field(default_factory=list)
    num_other_languages: int = 0

    def left_out(self) -> dict[str, int]:
        """Return what was left out, counted by reason."""
        rows = {"another language": self.num_other_languages, "bad row": len(self.skipped_rows)}
        return {reason: count for reason, count in {**self.skipped_files, **rows}.items() if count}


def read_inputs(
    path: Path, *, on_bad_row: str, report: InputReport, tokens: bool = True
) -> Iterator[InputRow]:
    """Yield the functions of source files, or the rows of a JSON Lines file, in their order.

    Files come in the order of their paths. Links below a folder aren't followed, and its hidden folders
    (`.git`) aren't entered; what can't be read is left out and counted.

    Args:
        path: A source file, a folder, or a `.jsonl` file (`.gz` allowed).
        on_bad_row: "error" stops at a malformed row, "skip" leaves it out.
        report: Filled with what was met.
        tokens: Whether functions get `code_tokens`, which take a while.

    Raises:
        CodeftError: There is no such file or folder, a single file is none that can be read, or a row is
            malformed and `on_bad_row` is "error".
    """
    if path.is_dir():
        for file, relative in _walk(path, report=report):
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
        for reason in report.skipped_files:
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


def _walk(root: Path, *, report: InputReport) -> Iterator[tuple[Path, str]]:
    """Yield (path, relative path) of the source files below a folder, in a fixed order."""

    def unreadable(_: OSError) -> None:
        report.skipped_files["unreadable folder"] += 1

    for folder, names, files in os.walk(root, onerror=unreadable, followlinks=False):
        report.skipped_files["linked folder"] += sum((Path(folder) / name).is_symlink() for name in names)
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder) / name
            if path.is_symlink():
                report.skipped_files["link"] += 1
            elif language_of(path) is None:
                report.skipped_files["unknown suffix"] += 1
            elif not path.is_file():
                report.skipped_files["no regular file"] += 1
            else:
                yield path, path.relative_to(root).as_posix().encode("utf-8", "replace").decode()


def _functions(path: Path, relative: str, *, report: InputReport, tokens: bool) -> Iterator[InputRow]:
    """Yield the functions of a source file; none, counted, where it can't be read."""
    language = language_of(path)
    assert language is not None
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            report.skipped_files[f"larger than {MAX_FILE_BYTES // 10**6} MB"] += 1
            return
        text = path.read_bytes().decode("utf-8-sig")
    except OSError:
        report.skipped_files["unreadable"] += 1
        return
    except UnicodeDecodeError:
        report.skipped_files["not UTF-8"] += 1
        return
    if "\0" in text:
        report.skipped_files["binary"] += 1
        return
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
