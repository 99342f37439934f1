"""What of a source tree wasn't read, counted and named, so that no file is passed over in silence."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

log = logging.getLogger(__name__)

OTHER_LANGUAGES = {
    suffix: name
    for name, suffixes in {
        "TypeScript": ".ts .tsx .mts .cts",
        "Vue": ".vue",
        "Svelte": ".svelte",
        "Jupyter notebook": ".ipynb",
        "Kotlin": ".kt .kts",
        "Scala": ".scala .sc .sbt",
        "Groovy": ".groovy .gradle",
        "Clojure": ".clj .cljs .cljc",
        "Swift": ".swift",
        "Objective-C": ".m .mm",
        "Rust": ".rs",
        "CUDA": ".cu .cuh",
        "OpenCL": ".cl",
        "shader": ".glsl .hlsl .wgsl .metal",
        "C++ include": ".inl .inc .ipp .tpp .txx .ixx .cppm .ino .h++ .tcc .def",
        "Cython": ".pyx .pxd .pxi",
        "Dart": ".dart",
        "Lua": ".lua",
        "Perl": ".pl .pm",
        "R": ".r .rmd",
        "Julia": ".jl",
        "Haskell": ".hs .lhs",
        "OCaml": ".ml .mli",
        "F#": ".fs .fsx",
        "Visual Basic": ".vb .bas",
        "Elixir": ".ex .exs",
        "Erlang": ".erl .hrl",
        "Elm": ".elm",
        "PureScript": ".purs",
        "ReScript": ".res .re",
        "CoffeeScript": ".coffee",
        "Zig": ".zig",
        "Nim": ".nim",
        "D": ".d",
        "Crystal": ".cr",
        "V": ".v .sv .vhd .vhdl",
        "Fortran": ".f .f77 .f90 .f95 .f03 .f08 .for",
        "Pascal": ".pas .pp .dpr",
        "Ada": ".adb .ads",
        "COBOL": ".cob .cbl",
        "assembly": ".s .asm .nasm",
        "Lisp": ".lisp .lsp .cl .el .scm .rkt",
        "Prolog": ".pro .prolog",
        "Tcl": ".tcl",
        "shell": ".sh .bash .zsh .fish .ksh",
        "PowerShell": ".ps1 .psm1",
        "SQL": ".sql .plsql",
        "Solidity": ".sol",
        "GDScript": ".gd",
        "Starlark": ".bzl .star",
        "Protocol Buffers": ".proto",
        "Razor": ".cshtml .razor",
        "template": ".erb .rhtml .jsp .jspx .twig .haml .slim .ejs .hbs .mustache .j2 .jinja .aspx",
        "PHP include": ".php3 .php4 .php5 .phps .module .install",
        "Ruby script": ".ru .rbi .podspec .jbuilder",
        "ActionScript": ".as",
        "Haxe": ".hx",
        "Vim script": ".vim",
    }.items()
    for suffix in suffixes.split()
}
"""Endings of source files that codeft can't read, with the language."""


@dataclass(slots=True)
class LeftOut:
    """Files that weren't read; their names, or their folders', go to the log as they come.

    Attributes:
        reasons: Files in the languages that were looked for, by reason.
        suffixes: Source files in languages that can't be read, by suffix.
        folders: Files in the languages that were looked for, by the folder that wasn't entered and why.
        others: Files that are no source code.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    suffixes: Counter[str] = field(default_factory=Counter)
    folders: Counter[tuple[str, str]] = field(default_factory=Counter)
    others: int = 0

    def add_file(self, path: str, reason: str) -> None:
        """Count a file, and name it in the log.

        Args:
            path: Relative to the tree.
            reason: Why it isn't read.
        """
        self.reasons[reason] += 1
        _log("not read: %s (%s)", path, reason)

    def add_folder(self, path: str, reason: str, *, files: int) -> None:
        """Count a folder that isn't entered, and name it in the log.

        Args:
            path: Relative to the tree.
            reason: Why it isn't entered.
            files: How many files of the languages that were looked for lie in it; without any it isn't named.
        """
        if files:
            self.reasons[reason] += files
            self.folders[path, reason] += files
            _log("not read: %s/ (%s, %d files)", path, reason, files)

    def add_unknown(self, path: str) -> None:
        """Count a file whose suffix isn't one of the nine languages'; source files are named in the log."""
        suffix = PurePath(path).suffix.lower()
        if suffix in OTHER_LANGUAGES:
            self.suffixes[suffix] += 1
            _log("not read: %s (%s)", path, OTHER_LANGUAGES[suffix])
        else:
            self.others += 1

    def as_dict(self) -> dict[str, Any]:
        """Return what `statistics.json` says: `reasons`, `suffixes`, `folders` and `other_files`."""
        return {
            "reasons": dict(self.reasons.most_common()),
            "suffixes": dict(self.suffixes.most_common()),
            "folders": [
                {"folder": folder, "reason": reason, "files": files}
                for (folder, reason), files in self.folders.most_common()
            ],
            "other_files": self.others,
        }

    def __str__(self) -> str:
        """Return all counts on one line; "" where everything was read.

        >>> left_out = LeftOut(); left_out.add_unknown("a.kt"); left_out.add_file("b.py", "generated")
        >>> str(left_out)
        '1 .kt, generated: 1'
        """
        unknown = [f"{count:,} {suffix}" for suffix, count in self.suffixes.most_common()]
        return ", ".join([*unknown, *(f"{reason}: {n:,}" for reason, n in self.reasons.most_common() if n)])


def _log(message: str, *values: object) -> None:
    log.info(message, *values, extra={"file_only": True})
