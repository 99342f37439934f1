"""The fetched packages as source trees: where each lies, which of its files are read, and its functions."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from fetch import package_folder
from licences import PackageLicences

from codeft.data.mining import FoundFunction, MiningReport, find_functions
from codeft.data.source_files import read_source_files

_NOT_ITS_OWN = re.compile(
    r"(^|/)(contrib|externals?|extern|extlib|extras?|third[_-]?party\w*|_?vendor(ed)?|bundled|backport\w*"
    r"|generated)/|(^|/)chunk-[A-Z0-9]{8}\.m?js$",
    re.IGNORECASE,
)
"""Folders of other projects' code, whose licence and repository aren't the package's, and what was built."""

_INSIDE = re.compile(r"^external/[^/]+/")
_INSTALLED = re.compile(
    r"usr/(share|lib)/([\w-]+-linux-gnu/)?"
    r"(gocode/src(/[^/]+){3}|php|ruby/vendor_ruby|(rubygems-integration/[^/]+|ruby)/gems/[^/]+)/"
)


def tree_roots(root: Path, source: dict[str, str]) -> list[Path]:
    """The folders of a package's row of `sources.csv`: all of the package, or one folder of it.

    Raises:
        FileNotFoundError: The package wasn't fetched, or has no such folder.
    """
    package = package_folder(root, source)
    folders = [package] if not source["folder"] else sorted(package.glob(f"*/{source['folder']}"))
    if not folders or not package.is_dir():
        raise FileNotFoundError(
            f"{source['package']} {source['folder']}: not below {root}; run fetch.py first"
        )
    return folders


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


def permissive_functions(
    root: Path,
    *,
    source: dict[str, str],
    report: MiningReport,
    max_bytes: int = 2**62,
) -> Iterator[FoundFunction]:
    """Yield the functions of a package's row, but for files under another than a permissive licence.

    Args:
        root: What fetch.py wrote.
        source: A row of `sources.csv`.
        report: Filled with what was met.
        max_bytes: How many bytes of files to read.
    """
    files = chosen_files(root, source=source, max_bytes=max_bytes)
    accept = permission(files, licences=PackageLicences(root, source), report=report)
    for folder in tree_roots(root, source):
        yield from find_functions(folder, languages=source["languages"].split(), accept=accept, report=report)


def upstream_path(path: str, *, source: dict[str, str]) -> str:
    """Return a file's path in its project: without the folder that an archive puts around it."""
    if source["folder"]:
        return f"{_INSIDE.sub('', source['folder'] + '/')}{path}"
    if source["registry"] == "debian-binary":
        return _INSTALLED.sub("", path, count=1)
    return path.partition("/")[2] if source["registry"] in ("debian", "npm") else path
