"""Which files of a package the corpus is made of: its own, a fair part of them, permissively licensed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path

from licences import PackageLicences
from trees import tree_roots

from codeft.data.mining import MiningReport
from codeft.data.source_files import read_source_files

_NOT_ITS_OWN = re.compile(
    r"(^|/)(contrib|externals?|extern|extlib|extras?|third[_-]?party\w*|_?vendor(ed)?|bundled|backport\w*"
    r"|generated)/|(^|/)chunk-[A-Z0-9]{8}\.m?js$",
    re.IGNORECASE,
)
"""Folders of other projects' code, whose licence and repository aren't the package's, and what was built."""


def readable_files(root: Path, *, source: dict[str, str]) -> dict[Path, int]:
    """The files of a package's row that mining would read by their names and sizes, with their bytes.

    In the order of a hash of their paths, so that a beginning of them is a fair part of the package.
    """
    files: dict[str, tuple[Path, int]] = {}
    for folder in tree_roots(root, source):

        def note(path: Path, folder: Path = folder) -> bool:
            name = path.relative_to(folder).as_posix()
            if not _NOT_ITS_OWN.search(name):
                files[name] = (path, path.stat().st_size)
            return False

        for _ in read_source_files(folder, languages=source["languages"].split(), accept=note):
            pass
    order = sorted(files, key=lambda name: (zlib.crc32(name.encode("utf-8", "replace")), name))
    return {files[name][0]: files[name][1] for name in order}


def chosen_files(root: Path, *, source: dict[str, str], max_bytes: int = 2**62) -> set[Path]:
    """The first of a row's readable files, up to a number of bytes."""
    chosen = set()
    size = 0
    for path, num_bytes in readable_files(root, source=source).items():
        if size >= max_bytes:
            break
        chosen.add(path)
        size += num_bytes
    return chosen


def permission(
    files: set[Path], *, licences: PackageLicences, report: MiningReport
) -> Callable[[Path], bool]:
    """Return a test for a tree's files: chosen, and permissively licensed."""

    def accept(path: Path) -> bool:
        if path not in files:
            return False
        if licences.licence_of(path):
            return True
        report.skipped_files["names another licence"] += 1
        return False

    return accept
