"""Writes the part of THIRD_PARTY.md that says whose source the sample and the pre-training corpus hold.

Usage: python recipes/corpus/third_party.py FETCHED
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from pathlib import Path

from fetch import LICENCE_FILE, package_folder, read_sources
from histories import read_histories, version_folder

PAGE = Path(__file__).parents[2] / "THIRD_PARTY.md"
SAMPLE = Path(__file__).parents[2] / "src/codeft/assets/sample"
BEGIN, END = "<!-- sources: begin -->", "<!-- sources: end -->"
REGISTRIES = {
    "cpython": "the interpreter's standard library",
    "debian": "Debian, source package",
    "debian-binary": "Debian, binary package",
    "npm": "npm",
    "pypi": "PyPI, wheel",
}
STATED_IN_FILES = {
    "MapServer/MapServer": "Copyright (c) 1996-2008 Regents of the University of Minnesota",
    "OSGeo/gdal": "Copyright (c) 2007 Tamas Szekeres; Copyright (c) 2009 Even Rouault",
    "dotnet/reactive": "Copyright (c) Microsoft Open Technologies, Inc. All rights reserved",
    "mongodb/mongo-go-driver": "Copyright (C) MongoDB, Inc. 2017-present",
    "mono/mono": "Copyright (C) 2001-2003 Ximian, Inc; Copyright (C) 2004-2010 Novell, Inc; Xamarin Inc",
}
"""Copyright lines that stand in the heads of the files used, where the licence files speak of other parts."""

INTRODUCTION = """
## Source code in the sample and in the pre-training corpus

The functions in `src/codeft/assets/sample` and the pre-training corpus come from these packages; what
`model=mini` was pre-trained on is an earlier, smaller corpus of some of them, and of `@stdlib/stdlib` 0.4.1
(npm, Apache-2.0, stdlib-js/stdlib). They are all under permissive licences (SPDX identifiers of the packages;
the licence of each file was read from its head, from licence files around it and from Debian's records, and
files under another than a permissive one were left out). The corpus itself isn't shipped; `recipes/corpus`
makes it again. Packages `held-out` were never trained on; pre-training is validated on them.
"""
NOTICES = """
### Copyright notices of the code in the sample

Each row of the sample names its repository, path and licence. Docstrings were cut out and indentation was
changed; what else was changed is in a row's `made`.
"""
_COPYRIGHT = re.compile(
    r"^[\s#*/.]*((?:Portions )?(?:Copyright|COPYRIGHT)[ :]+(?:\([cC]\)|[©\ufffd]|\d{4}|[A-Z]).*)$",
    re.MULTILINE,
)
_STANZA = re.compile(r"^Files: *\*\s*\n(?:.*\n)*?Copyright:((?:.*\n)(?:[ \t]+.*\n)*)", re.MULTILINE)
_ADDRESS = re.compile(r" *(<[^<>]*>|\([^()]*(@|://)[^()]*\))")
_MARK = re.compile(r"^(copyright|\(c\)|©|:|\s)+", re.IGNORECASE)
_TEMPLATE = re.compile(r"owner|yyyy|\bholders?\b|notice|License", re.IGNORECASE)


def copyright_lines(package: Path, *, folder: str, most: int = 3) -> list[str]:
    """Return the first copyright lines of a package.

    Of the licence files in the used folder and in those around it; without a folder, of what Debian says of
    all files first. Where neither has any, of the first source file that has.

    Args:
        package: A package's folder, as fetch.py writes it.
        folder: The folder inside it that is used, "" for all.
        most: How many lines at most.
    """
    debian = [
        line
        for path in sorted(package.rglob("copyright"))
        if path.is_file()
        for line in _debian_copyright(path)
    ]
    if debian and not folder:
        return debian[:most]
    roots = (
        sorted(package.glob(f"*/{folder}")) if folder else [*package.glob("*/"), *package.glob("*/licenses/")]
    )
    around = [place for root in roots for place in (root, *root.parents) if package in place.parents]
    for path in (path for place in around for path in _licence_files(place)):
        lines = _lines(path.read_text(encoding="utf-8", errors="replace"))
        if lines:
            return lines[:most]
    for path in sorted(package.rglob("*")):
        if path.suffix in {".cs", ".c", ".cc", ".java", ".js"} and not debian:
            lines = _lines(path.read_text(encoding="utf-8", errors="replace")[:2000])
            if lines:
                return lines[:1]
    return debian[:most]


def _debian_copyright(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    stanza = _STANZA.search(text)
    if stanza is None:
        return _lines(text)
    bare = (_MARK.sub("", " ".join(line.split())).rstrip(" .,") for line in stanza[1].splitlines())
    return [f"Copyright {line}" for line in bare if line]


def _licence_files(folder: Path) -> list[Path]:
    """The licence files in a folder, notices first and package metadata last."""
    order = ("notice", "licen", "copy", "metadata")
    files = [
        path
        for path in folder.iterdir()
        if path.is_file()
        and LICENCE_FILE.fullmatch(path.name)
        and path.suffix not in {".json", ".rtf", ".py"}
    ]
    return sorted(files, key=lambda path: [not path.name.lower().startswith(start) for start in order])


def _lines(text: str) -> list[str]:
    """The copyright lines of a text, but for those of a licence's template."""
    lines = (
        " ".join(line.split()).replace("\ufffd", "©").rstrip(" .,#*/") for line in _COPYRIGHT.findall(text)
    )
    return [line for line in lines if not _TEMPLATE.search(line)]


def table(sources: list[dict[str, str]]) -> list[str]:
    """The table of all packages."""
    lines = [
        "| package | version | from | languages | licence | upstream | used for |",
        "|---|---|---|---|---|---|---|",
    ]
    for source in sources:
        name = source["package"] + (f" (`{source['folder']}`)" if source["folder"] else "")
        cells = [
            *(
                name,
                source["version"],
                REGISTRIES[source["registry"]],
                source["languages"].replace(" ", ", "),
            ),
            *(source["licence"], source["upstream"], source["role"].replace(" ", ", ")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def as_sources(histories: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the packages of several versions as rows of the table."""
    return [
        {**source, "version": f"{len(versions)} versions, {versions[0]} to {versions[-1]}"}
        for source in histories
        for versions in [source["versions"].split()]
    ]


def notices(sources: list[dict[str, str]], *, fetched: Path) -> list[str]:
    """The copyright lines of every project that the sample embeds code of."""
    repositories = set()
    for path in sorted(SAMPLE.rglob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            repositories |= {json.loads(line)["repo"] for line in file}
    places = {
        source["upstream"]: (source, version_folder(fetched, source, source["versions"].split()[-1]))
        for source in read_histories()
    }
    for source in reversed(sources):
        places[source["upstream"]] = (source, package_folder(fetched, source))
    lines = []
    for repo in sorted(repositories, key=str.lower):
        source, package = places[repo]
        found = copyright_lines(package, folder=source["folder"])
        said = STATED_IN_FILES.get(repo) or _ADDRESS.sub("", "; ".join(found)) or f"the authors of {repo}"
        lines.append(f"- {repo}, {source['licence']}: {said}")
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("fetched", type=Path, help="what fetch.py wrote")
    options = parser.parse_args()
    sources = read_sources()
    part = [
        BEGIN,
        INTRODUCTION,
        *table([*sources, *as_sources(read_histories())]),
        NOTICES,
        *notices(sources, fetched=options.fetched),
        "",
        END,
    ]
    text = "\n".join(part)
    page = PAGE.read_text(encoding="utf-8")
    if BEGIN in page:
        page = page[: page.index(BEGIN)] + text + page[page.index(END) + len(END) :]
    else:
        page = page.rstrip() + "\n\n" + text + "\n"
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
