"""What the sample's tasks have in common: mined functions, what is new, turns, and how rows are written."""

from __future__ import annotations

import functools
import gzip
import json
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from evaluation import comparable, evaluation_functions
from fetch import read_sources
from trees import permissive_functions, tree_roots, upstream_path

from codeft.data.mining import FoundFunction, MiningReport, code_tokens
from codeft.data.near_duplicates import NearDuplicateIndex
from codeft.syntax import parse
from codeft.syntax.languages import LANGUAGES

ASSETS = Path(__file__).parents[3] / "src/codeft/assets/sample"
RENAMED = Path(__file__).with_name("renamed.txt")
MAX_BYTES_READ = 1_200_000  # of one package
NEAR_DUPLICATE = 0.7

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SampleFunction:
    """A function of a package, and where it is from.

    Attributes:
        found: The function and its place in the package.
        source: The package's row of `sources.csv`.
        path: Its file in its project.
        num_tokens: How many tokens its code has.
    """

    found: FoundFunction
    source: dict[str, str]
    path: str
    num_tokens: int

    @property
    def code(self) -> str:
        """Its code without documentation."""
        return self.found.function.code

    @property
    def repo(self) -> str:
        """Its upstream repository."""
        return self.source["upstream"]

    @property
    def name(self) -> str:
        """Its own name."""
        return self.found.function.name

    def origin(self) -> Row:
        """Return the fields that say where a row is from."""
        return {
            "id": f"{self.repo}/{self.path}:{self.found.function.start_line}",
            "repo": self.repo,
            "version": self.source["version"],
            "path": self.path,
            "func_name": self.found.function.qualified_name,
            "start_line": self.found.function.start_line,
            "language": self.found.language,
            "licence": self.source["licence"],
        }


class Novelty:
    """Which functions are new: not in the evaluation sets, and not nearly in a task's rows so far.

    Args:
        data: Folder of the evaluation sets.
    """

    def __init__(self, data: Path) -> None:
        self.evaluation = _indexes()
        for name, language, code in evaluation_functions(data):
            self.evaluation[language].add(name, comparable(code, language))
        self.indexes = _indexes()

    def forget(self) -> None:
        """Begin another task's rows."""
        self.indexes = _indexes()

    def admits(self, code: str, language: str) -> bool:
        """Whether a function is new; it is remembered if so."""
        text = comparable(code, language)
        if self.evaluation[language].query(text):
            return False
        return self.indexes[language].add_unless_duplicate("sample", text) is None


def _indexes() -> dict[str, NearDuplicateIndex]:
    return {name: NearDuplicateIndex(threshold=NEAR_DUPLICATE) for name in LANGUAGES}


def split_functions(
    root: Path, *, split: str, languages: Collection[str], min_tokens: int, max_tokens: int
) -> list[SampleFunction]:
    """Return the functions of a split's packages: of fitting length, ASCII, and parsed without an error.

    Args:
        root: What fetch.py wrote.
        split: "train", "valid" or "test".
        languages: Canonical names.
        min_tokens: Tokens at least.
        max_tokens: Tokens at most.
    """
    functions = []
    for source in read_sources():
        if f"sample-{split}" not in source["role"].split() or source["languages"] not in languages:
            continue
        for item in _package_functions(root, tuple(source.items())):
            code = item.function.code
            is_plain = code.isascii() and "\n" in code and len(code) <= 40 * max_tokens
            if item.language not in languages or not is_plain:
                continue
            num_tokens = len(code_tokens(code, item.language))
            if min_tokens <= num_tokens <= max_tokens and not parse(code, item.language).has_errors:
                path = upstream_path(item.path, source=source)
                functions.append(SampleFunction(item, source, path, num_tokens))
    return functions


@functools.cache
def _package_functions(root: Path, source: tuple[tuple[str, str], ...]) -> list[FoundFunction]:
    """Read a package once, whatever number of tasks take functions of it."""
    found = permissive_functions(root, source=dict(source), report=MiningReport(), max_bytes=MAX_BYTES_READ)
    return list(found)


def file_text(root: Path, function: SampleFunction) -> str:
    """Return the text of a function's file."""
    places = (folder / function.found.path for folder in tree_roots(root, function.source))
    path = next(place for place in places if place.is_file())
    return path.read_text(encoding="utf-8", errors="replace")


def in_turns(rows: Iterable[T], *, key: Callable[[T], str], seed: int) -> Iterator[T]:
    """Yield rows in a random order, every value of `key(row)` in turn giving one."""
    groups: dict[str, list[T]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    order = random.Random(seed)
    for members in groups.values():
        order.shuffle(members)
    while groups:
        for value in list(groups):
            yield groups[value].pop()
            if not groups[value]:
                del groups[value]


def write_rows(path: Path, rows: list[Row]) -> None:
    """Writes rows as compressed JSON lines; the same rows make the same bytes.

    Rows of refinement and generation that `renamed.txt` names are left out: without their names they are an
    evaluation row's.
    """
    if path.parent.name in ("refinement", "generation"):
        renamed = set(RENAMED.read_text(encoding="utf-8").split())
        rows = [row for row in rows if row["id"] not in renamed]
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(lines.encode(), compresslevel=9, mtime=0))
    print(f"{path.parent.name}/{path.name}: {len(rows)} rows, {path.stat().st_size:,} bytes", flush=True)
