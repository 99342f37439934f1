"""Which licence each file of a package is under, as far as its files say.

What speaks for a file, the nearest first: an SPDX line or a licence's text at its own head, what
`debian/copyright` says of it, a licence file in one of its folders, the package as a whole. Where one of them
names no permissive licence, the file isn't used.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fetch import LICENCE_FILE, SUFFIXES, package_folder

ALLOWED_LICENCES = frozenset(
    (
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "HPND",
        "ISC",
        "MIT",
        "PSF-2.0",
        "PostgreSQL",
        "Unlicense",
        "Zlib",
        "blessing",
        "public-domain",
        "zlib-acknowledgement",
    )
)
"""SPDX identifiers (and `public-domain`) of the licences that a row may have: permissive ones only."""

HEAD_BYTES = 4_000

_BY_NAME = {name.lower(): name for name in ALLOWED_LICENCES} | {
    "apache": "Apache-2.0",
    "apache2": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "asl-2.0": "Apache-2.0",
    "boost-1.0": "BSL-1.0",
    "bsd": "BSD-3-Clause",
    "bsd-2": "BSD-2-Clause",
    "bsd-2-clause-freebsd": "BSD-2-Clause",
    "bsd-3": "BSD-3-Clause",
    "bsd2": "BSD-2-Clause",
    "bsd3": "BSD-3-Clause",
    "bsl": "BSL-1.0",
    "bsl-1": "BSL-1.0",
    "cc0": "public-domain",
    "cc0-1.0": "public-domain",
    "expat": "MIT",
    "go": "BSD-3-Clause",
    "mit/x11": "MIT",
    "new-bsd": "BSD-3-Clause",
    "pd": "public-domain",
    "public domain": "public-domain",
    "python-2.0": "PSF-2.0",
    "psf": "PSF-2.0",
    "psf-2": "PSF-2.0",
    "x11": "MIT",
    "zlib/libpng": "Zlib",
}
"""Names in package metadata and Debian's short names, in lower case, to SPDX identifiers."""

_VARIANT = re.compile(
    r"(bsd-[23]-clause|bsd-3|expat)[-~](?!clear|no-|attribution|lbnl|patent|modification)\w+", re.IGNORECASE
)
"""Debian's names for copies of a licence with another owner's name in it, such as `BSD-3-clause-Zend`."""

_WORD = re.compile(r"[()]|[^\s()]+")

_SPDX_LINE = re.compile(r"SPDX-License-Identifier:\s*([^\n\r]*)")
_AFTER_EXPRESSION = re.compile(r"\s*(\*/|-->|#|\*+)\s*$")

_TEXTS: tuple[tuple[str, str], ...] = (
    ("Apache-2.0", r"Licensed under the Apache License,? Version 2\.0|apache\.org/licenses/LICENSE-2\.0"),
    ("Apache-2.0", r"Apache License,? v(?:ersion|\.)? ?2\.0|Apache License Version 2\.0"),
    ("MIT", r"Permission is hereby granted, free of charge, to any person obtaining (a )?copy"),
    ("MIT", r"under the (terms of the )?MIT(-style)? licen[cs]e|governed by an? MIT|\bMIT Licensed?\b"),
    (
        "HPND",
        r"Permission to use, copy, modify,?( and| and/or|,)? (distribute|distribute,? and sell)[^.]*"
        r"documentation for any purpose",
    ),
    ("ISC", r"Permission to use, copy, modify,? (and/or|and|or) distribute this software for any"),
    ("Zlib", r"Altered source versions must be plainly marked"),
    ("BSL-1.0", r"Boost Software License"),
    ("Unlicense", r"free and unencumbered software released into the public domain"),
    ("PSF-2.0", r"PYTHON SOFTWARE FOUNDATION LICENSE|Licensed to PSF under a Contributor Agreement"),
    ("BSD-3-Clause", r"BSD-style license|3-clause BSD|BSD 3-Clause|New BSD License|Revised BSD|Modified BSD"),
    ("public-domain", r"\bCC0 1\.0|Creative Commons CC0"),
    ("BSD-2-Clause", r"2-clause BSD|BSD 2-Clause|Simplified BSD"),
    (
        "public-domain",
        r"(is|placed|released|dedicated|put)( \w+){0,3} (in|into|to) the public domain",
    ),
)
_TEXT_PATTERNS = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _TEXTS)
_BSD = re.compile(r"Redistributions? of source code must retain the", re.IGNORECASE)
_BSD_THIRD = re.compile(
    r"neither the name|not be used to endorse|names? of (its|the) contributors", re.IGNORECASE
)
_BSD_FOURTH = re.compile(r"All advertising materials mentioning", re.IGNORECASE)

_OTHER_LICENCE = re.compile(
    r"(?i:General Public Licen[cs]e|Mozilla Public|Common Development and Distribution|Eclipse Public"
    r"|Microsoft Public License|Creative Commons|Artistic License|Microsoft Reciprocal"
    r"|Business Source License|Server Side Public|All advertising materials mentioning|non-?commercial use"
    r"|version [\d.]+ of the PHP)"
    r"|\bPHP License|\b(A|L)?GPL|\bMPL([ -]?[v\d]|\b(?=[^.]*licen[cs]e))|\bMs-PL\b|\bCC-BY"
)
_CHOICE = re.compile(
    r"(Apache-2\.0|MIT|BSD-[23]-Clause|ISC|Zlib) OR [AL]?GPL-[\w.-]+|[AL]?GPL-[\w.-]+ OR (MIT|Apache-2\.0)"
    r"|both the GPLv2 \(found in the COPYING file in the root directory\) and Apache 2\.0"
    r"|both the BSD-style license \(found in the LICENSE file in the root directory of this source tree\) and"
    r" the GPLv2"
    r"|Alternatively, this (software|file|program) may be (used|distributed|relicensed)[^.]*"
    r"GNU (Lesser )?General Public License[^.]*"
    r"|terms of the Eclipse Public License v?[\d.]+ and Apache License v2\.0.*"
    r"You may elect to redistribute this code under either of these licenses"
    r"|both the BSD 3-Clause and the GNU Lesser General Public Licen[cs]e \(LGPL\)|@license LGPL[\w.-]+"
    r"|Creative Commons CC0|CC0 1\.0 Universal",
    re.IGNORECASE,
)
_NOT_PROSE = re.compile(r"^[ \t]*(?://+|/?\*+/?|#+|--|;+|%+|REM\b|dnl\b)?", re.MULTILINE)


def permissive_choice(expression: str) -> str:
    """Return what of a licence expression is permissive; "" where one can't choose permissive licences only.

    Args:
        expression: An SPDX expression, or Debian's short names joined by `and`, `or` and commas.

    Examples:
        >>> permissive_choice("Expat"), permissive_choice("GPL-2+ or Expat"), permissive_choice("GPL-2+")
        ('MIT', 'MIT', '')
        >>> permissive_choice("Apache-2.0 AND (MIT OR GPL-2.0-only)"), permissive_choice("MIT and GPL-3+")
        ('Apache-2.0 AND MIT', '')
    """
    words = _WORD.findall(re.sub(r",\s*(and|or)\b", r" \1", expression).replace(",", " and "))
    try:
        names, rest = _alternatives(words)
    except IndexError:
        return ""
    return " AND ".join(sorted(names)) if not rest else ""


def _alternatives(words: list[str]) -> tuple[set[str], list[str]]:
    """Parse `a or b or …`; the first permissive one is chosen. The empty set stands for none."""
    chosen, rest = _conjunction(words)
    while rest and rest[0].lower() in ("or", "and/or", "|"):
        other, rest = _conjunction(rest[1:])
        chosen = chosen or other
    return chosen, rest


def _conjunction(words: list[str]) -> tuple[set[str], list[str]]:
    """Parse `a and b and …`; all must be permissive."""
    names, rest = _single(words)
    while rest and rest[0].lower() in ("and", "&"):
        more, rest = _single(rest[1:])
        names = names | more if names and more else set()
    return names, rest


def _single(words: list[str]) -> tuple[set[str], list[str]]:
    if words[0] == "(":
        names, rest = _alternatives(words[1:])
        return names, rest[1:]
    name, rest = words[0], words[1:]
    if rest[:1] and rest[0].lower() == "with":  # an exception only ever allows more
        rest = rest[1:]
        while rest and rest[0].lower() not in ("and", "or", ")"):
            rest = rest[1:]
    variant = _VARIANT.fullmatch(name)
    known = _BY_NAME.get((variant[1] if variant else name).lower().strip("."), "")
    return ({known} if known else set()), rest


def licence_of_text(text: str) -> str | None:
    """Return the licence that a text names: a file's head, or a licence file.

    Returns:
        A permissive licence or several joined by AND; "" for another one; None where none is named.

    Examples:
        >>> licence_of_text("// SPDX-License-Identifier: MIT OR GPL-2.0-only")
        'MIT'
        >>> licence_of_text("/* under the GNU General Public License */"), licence_of_text("int x;")
        ('', None)
    """
    expressions = [_AFTER_EXPRESSION.sub("", line).strip() for line in _SPDX_LINE.findall(text)]
    if expressions:
        return permissive_choice(" AND ".join(f"({expression})" for expression in expressions))
    prose = " ".join(_NOT_PROSE.sub(" ", text).split())
    if _OTHER_LICENCE.search(_CHOICE.sub(" ", prose)):
        return ""
    if _BSD.search(prose):
        return "BSD-3-Clause" if _BSD_THIRD.search(prose) else "BSD-2-Clause"
    for name, pattern in _TEXT_PATTERNS:
        if pattern.search(prose):
            return name
    return None


@dataclass(frozen=True, slots=True)
class Stanza:
    """What a `debian/copyright` says of some files.

    Attributes:
        globs: Their paths' patterns, where `*` stands for any characters, slashes too.
        licence: Their licence, as Debian writes it.
    """

    globs: tuple[str, ...]
    licence: str


def debian_stanzas(text: str) -> list[Stanza]:
    r"""Return the `Files` stanzas of a machine-readable `debian/copyright` (DEP-5); [] of any other text.

    Examples:
        >>> debian_stanzas("Format: x\n\nFiles: a/*\n b.c\nCopyright: me\nLicense: Expat\n Permission …\n")
        [Stanza(globs=('a/*', 'b.c'), licence='Expat')]
    """
    if not re.match(r"\s*Format(-Specification)?:", text, re.IGNORECASE):
        return []
    stanzas = []
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, list[str]] = {}
        lines: list[str] = []
        for line in block.splitlines():
            field = re.match(r"([A-Za-z-]+):(.*)", line)
            if field:
                lines = fields.setdefault(field[1].lower(), [])
                lines.append(field[2].strip())
            elif line[:1] in (" ", "\t"):
                lines.append(line.strip())
        if "files" in fields and "license" in fields:
            globs = tuple(" ".join(fields["files"]).replace(",", " ").split())
            stanzas.append(Stanza(globs, fields["license"][0]))
    return stanzas


def debian_licence(stanzas: Sequence[Stanza], path: str) -> str | None:
    """Return the licence of the last stanza that a path matches, as Debian writes it; None for none.

    Examples:
        >>> stanzas = [Stanza(("*",), "Expat"), Stanza(("lib/*", "a.?"), "GPL-2+")]
        >>> debian_licence(stanzas, "src/b.c"), debian_licence(stanzas, "lib/x/y.c"), debian_licence([], "a")
        ('Expat', 'GPL-2+', None)
    """
    for stanza in reversed(stanzas):
        if any(_glob(glob).fullmatch(path) for glob in stanza.globs):
            return stanza.licence
    return None


@functools.cache
def _glob(glob: str) -> re.Pattern[str]:
    """Compile a DEP-5 pattern: `*` and `?` stand for characters, a backslash for the next one itself."""
    parts = re.findall(r"\\.|.", glob.removeprefix("./"), re.DOTALL)
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(part) or re.escape(part[-1]) for part in parts), re.DOTALL)


class PackageLicences:
    """The licences of one package's files.

    Args:
        root: What fetch.py wrote.
        source: The package's row of `sources.csv`; its licence is that of the files of which nothing else
            speaks.
    """

    def __init__(self, root: Path, source: dict[str, str]) -> None:
        self.package = package_folder(root, source)
        self.default = source["licence"]
        self.is_installed = source["registry"] == "debian-binary"
        self.top = {self.package, *self.package.iterdir()} if self.package.is_dir() else {self.package}
        self.stanzas: list[Stanza] = []
        places = (
            ["usr/share/doc/*/copyright"] if self.is_installed else ["debian/copyright", "*/debian/copyright"]
        )
        for path in sorted(path for place in places for path in self.package.glob(place)):
            self.stanzas += debian_stanzas(path.read_text(encoding="utf-8", errors="replace"))
        self._files: dict[Path, str] = {}
        self._folders: dict[Path, str | None] = {}

    def licence_of(self, path: Path) -> str:
        """Return a file's licence; "" where it isn't known to be a permissive one."""
        if path not in self._files:
            self._files[path] = self._licence_of(path)
        return self._files[path]

    def _licence_of(self, path: Path) -> str:
        with path.open("rb") as file:
            head = licence_of_text(file.read(HEAD_BYTES).decode("utf-8", "replace"))
        if head is not None:
            return head
        recorded = self._recorded(path.relative_to(self.package).as_posix())
        if recorded is not None and not permissive_choice(recorded):
            return ""
        nearby = self._of_folder(path.parent)
        if nearby is not None:
            return nearby
        return permissive_choice(recorded or "") or self.default

    def _recorded(self, path: str) -> str | None:
        """What Debian says of a file, from the place where its source stands, or once stood."""
        names = [path.partition("/")[2], path]
        if self.is_installed:  # where it stood before it was installed isn't known: any tail may be its path
            parts = path.split("/")
            tails = ["/".join(parts[place:]) for place in range(len(parts))]
            names = [prefix + tail for tail in tails for prefix in ("lib/", "src/", "")]
        whole = None
        for stanza in reversed(self.stanzas):
            if stanza.globs == ("*",):
                whole = whole or stanza.licence
            elif any(_glob(glob).fullmatch(name) for glob in stanza.globs for name in names):
                return stanza.licence
        return whole

    def _of_folder(self, folder: Path) -> str | None:
        """What the licence files of a folder, or of the nearest one around it inside the package, name."""
        if folder in self.top or self.package not in folder.parents:
            return None
        if folder not in self._folders:
            found = None
            for path in sorted(folder.iterdir()):
                is_text = path.suffix not in (*SUFFIXES, ".json") and path.name != "copyright"
                if is_text and LICENCE_FILE.fullmatch(path.name) and path.is_file():
                    text = path.read_bytes()[: 3 * HEAD_BYTES].decode("utf-8", "replace")
                    found = licence_of_text(text) if found is None else found
            self._folders[folder] = self._of_folder(folder.parent) if found is None else found
        return self._folders[folder]
