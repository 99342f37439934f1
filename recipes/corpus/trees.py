"""The fetched packages as source trees: where each lies, its functions, and which files to leave alone."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from fetch import package_folder

from codeft.data.mining import FoundFunction, MiningReport, find_functions
from codeft.syntax.languages import language_of

_BUNDLED = re.compile(
    r"(^|/)(contrib|externals?|extern|extlib|extras?|third[_-]?party\w*|bundled|backport\w*)/", re.IGNORECASE
)
"""Folders of other projects' code, whose licence and repository aren't the package's."""

_OTHER_LICENCE = re.compile(
    r"General Public Licen[cs]e|\b[AL]?GPL|Mozilla Public|\bMPL\b|Common Development and Distribution"
    r"|Eclipse Public|Microsoft Public License|\bMs-PL\b|Creative Commons|CC-BY",
    re.IGNORECASE,
)
_CHOICE = re.compile(
    r"(Apache-2\.0|MIT|BSD-[23]-Clause) OR GPL-[\w.-]+"
    r"|both the GPLv2 \(found in the\s+\W*COPYING file in the root directory\) and Apache 2\.0",
    re.IGNORECASE,
)

_INSIDE = re.compile(r"^external/[^/]+/")
_INSTALLED = re.compile(
    r"usr/(share|lib)/(gocode/src(/[^/]+){3}|php|ruby/vendor_ruby|(rubygems-integration/all|ruby)/gems/[^/]+)/"
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


def tree_bytes(root: Path, *, source: dict[str, str]) -> int:
    """How large the files of a package's row are together, by their names' endings."""
    languages = {"c" if language == "cpp" else language for language in source["languages"].split()}
    languages |= set(source["languages"].split())
    return sum(
        path.stat().st_size
        for folder in tree_roots(root, source)
        for path in folder.rglob("*")
        if language_of(path) in languages and path.is_file()
    )


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
        max_bytes: Where the files in the row's languages are larger than this together, only a part of them
            is read, chosen by a hash of their paths.
    """
    share = min(1.0, max_bytes / max(1, tree_bytes(root, source=source)))
    for folder in tree_roots(root, source):
        accept = permission(folder, share=share, report=report)
        yield from find_functions(folder, languages=source["languages"].split(), accept=accept, report=report)


def permission(folder: Path, *, share: float, report: MiningReport) -> Callable[[Path], bool]:
    """Return a test for a tree's files: the project's own, in the share to read, permissively licensed."""

    def accept(path: Path) -> bool:
        name = path.relative_to(folder).as_posix()
        if _BUNDLED.search(name) or zlib.crc32(name.encode("utf-8", "replace")) >= share * 2**32:
            return False
        if has_permissive_head(path):
            return True
        report.skipped_files["head names another licence"] += 1
        return False

    return accept


def has_permissive_head(path: Path) -> bool:
    """Whether a file's first lines name no licence that isn't allowed here, unless another may be chosen."""
    with path.open("rb") as file:
        head = file.read(4000).decode("utf-8", "replace")
    return not _OTHER_LICENCE.search(_CHOICE.sub("", head))


def upstream_path(path: str, *, source: dict[str, str]) -> str:
    """Return a file's path in its project: without the folder that an archive puts around it."""
    if source["folder"]:
        return f"{_INSIDE.sub('', source['folder'] + '/')}{path}"
    if source["registry"] == "debian-binary":
        return _INSTALLED.sub("", path, count=1)
    return path.partition("/")[2] if source["registry"] in ("debian", "npm") else path
