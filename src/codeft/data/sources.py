"""Where rows come from: the embedded sample, the published data sets, a user's own folder.

A reader turns (split, task, language) into rows; what a row means is the task's affair.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from codeft.data.clone_rows import FUNCTIONS, clone_pairs
from codeft.data.codexglue_hub import HUB, SIZES, codexglue_hub_rows
from codeft.data.cosqa_rows import COSQA_CODES, cosqa_functions, cosqa_queries
from codeft.data.hub_rows import CODESEARCHNET_LANGUAGES, chosen_languages, hub_rows, plain_names
from codeft.data.jsonl import ROW_SUFFIXES, Row, SkippedRow, SkippedRows, check_has_end, read_rows
from codeft.data.mining import MiningReport
from codeft.data.source_tree import SourceSelection
from codeft.data.splitting import mine_splits
from codeft.syntax import LANGUAGES, canonical_language
from codeft.types import CodeftError

log = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
CODEBASE = "codebase.jsonl"


class AbstractReader(ABC):
    """Reads the rows of one data set.

    Args:
        on_bad_row: "error" stops at the first malformed row, "skip" leaves it out.

    Attributes:
        folder: What the rows' files lie in; None where they have none in common.
        skipped: The rows left out so far, each with its place and the reason.
    """

    folder: Path | None = None

    def __init__(self, *, on_bad_row: str = "error") -> None:
        if on_bad_row not in ("error", "skip"):
            raise CodeftError(f"data.on_bad_row must be error or skip, not {on_bad_row!r}")
        self.on_bad_row = on_bad_row
        self.skipped: SkippedRows = []

    @abstractmethod
    def rows(self, split: str, *, task: str, lang: str | None) -> Iterator[Row]:
        """Yield a split's rows.

        Args:
            split: "train", "valid" or "test".
            task: The task's name.
            lang: The language or language pair asked for; None for all there are.

        Raises:
            CodeftError: The split's files aren't there or can't be read.
        """

    def candidates(self, split: str, *, task: str, lang: str | None) -> Iterator[Row]:
        """Yield what is searched beside the functions of a split's own rows; nothing by default.

        Args:
            split: "train", "valid" or "test".
            task: The task's name.
            lang: The language asked for; None for all there are.
        """
        return iter(())

    def name(self, row: Row) -> str:
        """Return what names a row that has no id: its file and line, the same wherever the data lies."""
        return row.where if self.folder is None else row.where.removeprefix(f"{self.folder}{os.sep}")

    def _read(self, paths: Sequence[Path]) -> Iterator[Row]:
        for path in paths:
            yield from read_rows(path, on_bad_row=self.on_bad_row, skipped=self.skipped)


class SampleReader(AbstractReader):
    """The small real data set that comes with codeft; see its THIRD_PARTY.md for origins and licences."""

    folder = Path(str(resources.files("codeft") / "assets" / "sample"))

    def rows(self, split: str, *, task: str, lang: str | None) -> Iterator[Row]:
        """Yield the embedded rows of a task's split."""
        folder = self.folder
        path = folder / task / f"{split}.jsonl.gz"
        if not path.is_file():
            there = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_dir()))
            raise CodeftError(f"data=sample has nothing for task={task}; it has {there}")
        if task == "translation":
            _check_pair(lang)
        yield from self._read([path])


class CorpusReader(AbstractReader):
    """Source code for pre-training: two files of rows with `text`, `language` and perhaps `docstring`.

    Args:
        train: JSONL file (`.gz` allowed).
        valid: JSONL file.
        on_bad_row: See `AbstractReader`.
    """

    def __init__(self, *, train: str, valid: str, on_bad_row: str = "error") -> None:
        super().__init__(on_bad_row=on_bad_row)
        self.files = {"train": Path(train), "valid": Path(valid)}

    def rows(self, split: str, *, task: str, lang: str | None) -> Iterator[Row]:
        """Yield a split's rows."""
        if split not in self.files:
            raise CodeftError("a pre-training corpus has no test split")
        yield from self._read([self.files[split]])


class LocalReader(AbstractReader):
    """A user's own data: a folder with train, valid and test files, or a source tree to mine.

    Args:
        dir: Folder with `train.jsonl`, `valid.jsonl` and `test.jsonl` (`.gz` allowed).
        source: A source tree instead; its functions are mined once, and split by `split_rows`.
        include: Of the tree, only files that match one of these patterns, as in `.gitignore`.
        exclude: Patterns of files and folders of the tree to leave out.
        ignored: Whether to read what `.gitignore` names, vendored folders and builds, too.
        on_bad_row: See `AbstractReader`.
    """

    def __init__(
        self,
        *,
        dir: str | os.PathLike[str] | None = None,
        source: str | os.PathLike[str] | None = None,
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        ignored: bool = False,
        on_bad_row: str = "error",
    ) -> None:
        super().__init__(on_bad_row=on_bad_row)
        self.selection = SourceSelection.of(include=include, exclude=exclude, ignored=ignored)
        if (dir is None) == (source is None):
            raise CodeftError(
                "data=local needs one of data.dir=<folder with train.jsonl, valid.jsonl, test.jsonl> "
                "and data.source=<source tree to mine>"
            )
        self.dir = self.folder = None if dir is None else Path(dir)
        self.source = None if source is None else Path(source)
        self._mined: dict[str | None, dict[str, list[dict[str, Any]]]] = {}

    def rows(self, split: str, *, task: str, lang: str | None) -> Iterator[Row]:
        """Yield a split's rows of the folder, or of the mined tree."""
        if self.dir is not None:
            yield from self._read([split_file(existing_folder(self.dir), split)])
            return
        assert self.source is not None
        if lang not in self._mined:
            report = MiningReport()
            self._mined[lang] = mine_splits(
                self.source,
                languages=lang.split("-") if lang else None,
                selection=self.selection,
                report=report,
            )
            log.info("mined %s", report)
        for fields in self._mined[lang][split]:
            yield Row(f"{fields['path']}:{fields['start_line']}", fields)


class CodeXGLUEReader(AbstractReader):
    """CodeXGLUE in its published file layout, or from the hub.

    Args:
        dir: Folder in the task's published layout (`docs/tasks.md` has them): `<language>/train.jsonl` for
            summarization, or the language's folder itself; `train.java-cs.txt.java` and `.cs` for
            translation; `train.buggy-fixed.buggy` and `.fixed` for refinement; `train.json` for generation
            and completion. None asks the hub.
        size: Which set of refinement, "small" or "medium"; of a folder that has both, the one of that name.
        on_bad_row: See `AbstractReader`.

    Raises:
        CodeftError: `size` or `on_bad_row` is neither.
    """

    PARALLEL: ClassVar[dict[str, tuple[str, str]]] = {
        "translation": ("{split}.java-cs.txt.java", "{split}.java-cs.txt.cs"),
        "refinement": ("{split}.buggy-fixed.buggy", "{split}.buggy-fixed.fixed"),
    }
    """Tasks whose splits are two files of lines."""
    FOLDERS: ClassVar[tuple[str, ...]] = (
        "generation",
        "completion",
        "clone_detection_poj104",
        "defect_detection",
    )
    """Tasks whose folder holds one file a split."""

    def __init__(
        self, *, dir: str | os.PathLike[str] | None = None, size: str = "small", on_bad_row: str = "error"
    ) -> None:
        super().__init__(on_bad_row=on_bad_row)
        if size not in SIZES:
            raise CodeftError(f"data.size must be one of {', '.join(SIZES)}, not {size!r}")
        self.size = size
        self.dir = self.folder = None if dir is None else Path(dir)

    def rows(self, split: str, *, task: str, lang: str | None) -> Iterator[Row]:
        """Yield the rows of a task's split."""
        known = dict.fromkeys([*HUB, *self.PARALLEL, *self.FOLDERS])
        if task not in known:
            raise CodeftError(f"data=codexglue has {', '.join(known)}, not task={task}")
        if task == "translation":
            _check_pair(lang)
        if self.dir is None:
            yield from codexglue_hub_rows(split, task=task, lang=lang, size=self.size)
            return
        folder = existing_folder(self.dir)
        if task == "refinement" and (folder / self.size).is_dir():
            folder /= self.size
        if task in self.PARALLEL:
            source, target = (folder / name.format(split=split) for name in self.PARALLEL[task])
            if not source.exists() and not target.exists():
                raise CodeftError(
                    f"expected {source.name} and {target.name} in {str(folder)!r}{_other_split(split)}"
                )
            yield from parallel_rows(source, target, on_bad_row=self.on_bad_row, skipped=self.skipped)
        elif task == "clone_detection" and (folder / FUNCTIONS).is_file():
            yield from clone_pairs(folder, split, on_bad_row=self.on_bad_row, skipped=self.skipped)
        elif task == "code_search" and (folder / COSQA_CODES).is_file():
            yield from cosqa_queries(folder, split, on_bad_row=self.on_bad_row, skipped=self.skipped)
        elif task in (*self.FOLDERS, "clone_detection"):
            yield from self._read([split_file(folder, split)])
        else:
            yield from self._read(_language_files(folder, split, lang, "{lang}/{split}.jsonl"))

    def candidates(self, split: str, *, task: str, lang: str | None) -> Iterator[Row]:
        """Yield all of CoSQA's functions, or those that GraphCodeBERT's layout has in a file of their own."""
        if self.dir is None or task != "code_search":
            return
        folder = existing_folder(self.dir)
        if (folder / COSQA_CODES).is_file():
            yield from cosqa_functions(folder)
            return
        names = LANGUAGES if lang is None else [canonical_language(lang)]
        paths = [folder / CODEBASE, *(folder / name / CODEBASE for name in names)]
        yield from self._read([path for path in paths if path.is_file()])


class CodeSearchNetReader(AbstractReader):
    """CodeSearchNet in its published file layout, or from the hub.

    Args:
        dir: Folder that holds `<language>/final/jsonl/<split>/*.jsonl.gz`; None asks the hub.
        on_bad_row: See `AbstractReader`.
    """

    HUB = "code-search-net/code_search_net"

    def __init__(self, *, dir: str | os.PathLike[str] | None = None, on_bad_row: str = "error") -> None:
        super().__init__(on_bad_row=on_bad_row)
        self.dir = self.folder = None if dir is None else Path(dir)

    def rows(self, split: str, *, task: str, lang: str | None) -> Iterator[Row]:
        """Yield the rows of a split."""
        if task not in ("summarization", "code_search"):
            raise CodeftError(
                f"data=codesearchnet has functions and their docstrings; take data=codexglue for task={task}"
            )
        if self.dir is None:
            for name in chosen_languages(lang, CODESEARCHNET_LANGUAGES):
                for row in hub_rows(self.HUB, name, split):
                    yield Row(row.where, plain_names(row.fields))
        else:
            layout = "{lang}/final/jsonl/{split}/*.jsonl.gz"
            yield from self._read(_language_files(existing_folder(self.dir), split, lang, layout))


def existing_folder(path: Path) -> Path:
    """Return `data.dir` if it is a folder.

    Raises:
        CodeftError: It isn't.
    """
    if not path.is_dir():
        found = "is a file" if path.exists() else "doesn't exist"
        raise CodeftError(f"expected data.dir to be a folder, but {str(path)!r} {found}")
    return path


def split_file(folder: Path, split: str) -> Path:
    """Return the file of a split in a folder.

    Raises:
        CodeftError: There is none.
    """
    names = [split, "validation", "dev"] if split == "valid" else [split]
    for name in names:
        for suffix in ROW_SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    there = ", ".join(sorted(p.name for p in folder.iterdir())[:10]) or "nothing"
    raise CodeftError(f"expected {split}.jsonl in {str(folder)!r}, which holds {there}{_other_split(split)}")


def _other_split(split: str) -> str:
    return f"; where there is no such split, data.splits.{split}= takes rows of another one"


def parallel_rows(
    source: Path, target: Path, *, on_bad_row: str = "error", skipped: SkippedRows | None = None
) -> Iterator[Row]:
    """Yield a row for each pair of lines of two files, under the files' suffixes.

    Args:
        source: A UTF-8 file.
        target: Another, with as many lines.
        on_bad_row: "skip" leaves out a pair of which a line isn't UTF-8, "error" stops there.
        skipped: Where pairs that were left out are appended.

    Raises:
        CodeftError: A file isn't there or has fewer lines than the other; a line isn't UTF-8, under "error".
    """
    paths = (source, target)
    sides = [_lines(path) for path in paths]
    if len(sides[0]) != len(sides[1]):
        raise CodeftError(
            f"expected as many lines in {str(source)!r} as in {str(target)!r}, "
            f"but they have {len(sides[0])} and {len(sides[1])}"
        )
    for i, pair in enumerate(zip(*sides, strict=True)):
        fields = {"id": str(i)}
        where = f"{source}:{i + 1}"
        try:
            for path, line in zip(paths, pair, strict=True):
                where = f"{path}:{i + 1}"
                fields[path.suffix[1:]] = line.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            reason = f"expected UTF-8 text ({error.reason})"
            if on_bad_row == "error":
                raise CodeftError(f"{where}: {reason}; mend the line or set data.on_bad_row=skip") from None
            if skipped is not None:
                skipped.append(SkippedRow(where=where, reason=reason))
        else:
            yield Row(f"{source}:{i + 1}", fields)


def _lines(path: Path) -> list[bytes]:
    check_has_end(path, kind="text file")
    try:
        text = path.read_bytes()
    except OSError as error:
        raise CodeftError(f"expected a text file {str(path)!r}: {error.strerror}") from None
    return text.removesuffix(b"\n").split(b"\n") if text else []


def _check_pair(lang: str | None) -> None:
    """Refuse a pair of languages that CodeXGLUE's translation data, and the sample like it, don't have."""
    if lang and {canonical_language(name) for name in lang.split("-")} != {"java", "csharp"}:
        raise CodeftError(
            "this data set has translation between java and csharp: lang=java-cs or lang=cs-java, "
            f"not lang={lang}"
        )


def _language_files(folder: Path, split: str, lang: str | None, layout: str) -> list[Path]:
    """Return a split's files of one language or all, in a published layout or flat in the folder."""
    found: list[Path] = []
    for name in LANGUAGES if lang is None else [canonical_language(lang)]:
        found += sorted(folder.glob(layout.format(lang=name, split=split)))
    return found or [split_file(folder, split)]
