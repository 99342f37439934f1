"""Which files of a source tree are meant: not what others wrote, what was built, or what git ignores."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from pathspec import GitIgnoreSpec

from codeft.data.left_out import LeftOut
from codeft.syntax.languages import LANGUAGES, language_of
from codeft.types import CodeftError

_VENDORED = re.compile(
    r"vendor(ed)?|third[_-]?party\w*|node_modules|bower_components|jspm_packages|web_modules|site-packages"
    r"|dist-packages"
    r"|__pypackages__|dist|deps|godeps|pods|carthage|venv|virtualenv|__pycache__|\w+\.egg-info",
    re.IGNORECASE,
)
_BUILT = re.compile(r"_build|cmake-build-\w+|htmlcov|lcov-report", re.IGNORECASE)
_BUILT_BESIDE = {
    "build": re.compile(
        r"setup\.(py|cfg)|pyproject\.toml|package\.json|CMakeLists\.txt|meson\.build|build\.gradle(\.kts)?"
        r"|composer\.json"
        r"|Makefile|.*\.gemspec|pom\.xml|\.git|\.gitignore"
    ),
    "target": re.compile(r"pom\.xml|Cargo\.toml|build\.sbt"),
    "obj": re.compile(r".*\.(cs|vb|fs|vcx)proj"),
    "bin": re.compile(r".*\.(cs|vb|fs)proj"),
}
"""Folders that tools write into, by the files that lie beside them."""
_BUILT_INSIDE = re.compile(
    r"lib|lib\..*|temp\..*|bdist\..*|CMakeCache\.txt|CMakeFiles|classes|generated|intermediates|tmp"
)
_TEST_FOLDER = re.compile(r"tests?|testing|test[_-]?data|__tests__|specs?|fixtures?|mocks?", re.IGNORECASE)
_TEST_FILE = re.compile(
    r"(test_|tests?\.|conftest\.).*|.*([._-]tests?|[._-]specs?|[a-z]Tests?|[a-z]TestCase)\.\w+"
)
_NEVER_ENTERED = {".git", ".hg", ".svn"}


@dataclass(frozen=True, slots=True)
class SourceSelection:
    """What a user wants read of a tree.

    Args:
        include: Patterns as in `.gitignore`, relative to the tree; only files that match one are read.
            None for all.
        exclude: Patterns of files and folders to leave out.
        ignored: Whether to read what `.gitignore` names, vendored folders and builds, too.

    Raises:
        CodeftError: A pattern isn't text, or is none.
    """

    include: GitIgnoreSpec | None = None
    exclude: GitIgnoreSpec | None = None
    ignored: bool = False

    @classmethod
    def of(
        cls,
        *,
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        ignored: bool = False,
    ) -> SourceSelection:
        """Return the selection that configs' values mean."""
        return cls(_patterns(include, key="include"), _patterns(exclude, key="exclude"), bool(ignored))


def _patterns(value: str | Sequence[str] | None, *, key: str) -> GitIgnoreSpec | None:
    patterns = [value] if isinstance(value, str) else list(value or ())
    if not patterns:
        return None
    try:
        return GitIgnoreSpec.from_lines(patterns)
    except (ValueError, TypeError, AttributeError) as error:
        raise CodeftError(
            f"expected data.{key} to be patterns as in .gitignore, such as [src/, '*.py']; got {value!r}: "
            f"{error}"
        ) from None


def walk_sources(
    root: Path,
    *,
    selection: SourceSelection,
    tests: bool,
    left_out: LeftOut,
    languages: Collection[str] | None = None,
) -> Iterator[tuple[Path, str]]:
    """Yield (path, relative path) of a tree's source files: a folder's own in the order of names, then below.

    Links aren't followed, hidden folders aren't entered. A root that is a file is yielded whatever it is.

    Args:
        root: Folder, or one file.
        selection: What else to leave out.
        tests: Whether tests and test data are meant, too.
        left_out: Filled with what isn't yielded.
        languages: Canonical names of the languages that are looked for; None for all.
    """
    if root.is_file():
        yield root, root.name
        return
    wanted = frozenset(LANGUAGES) if languages is None else frozenset(languages)
    git = _GitIgnore(root)

    def unreadable(_: OSError) -> None:
        left_out.reasons["unreadable folder"] += 1

    for folder, names, files in os.walk(root, onerror=unreadable, followlinks=False):
        git.enter(folder)
        place = _text(os.path.relpath(folder, root))
        place = "" if place == "." else f"{place}/"
        entered = []
        for name in sorted(names):
            path = os.path.join(folder, name)
            reason = _reason_to_stay_out(
                path, place + _text(name), beside=files, selection=selection, git=git, tests=tests
            )
            if reason:
                if name not in _NEVER_ENTERED and not os.path.islink(path):
                    left_out.add_folder(place + _text(name), reason, files=_num_sources(path, wanted))
            elif os.path.islink(path):
                left_out.reasons["linked folder"] += 1
            else:
                entered.append(name)
        names[:] = entered
        for name in sorted(files):
            # A name that isn't UTF-8 is a path all the same, but no row could hold it.
            relative = place + _text(name)
            language = language_of(name)
            if language is None:
                left_out.add_unknown(relative)
            elif os.path.islink(os.path.join(folder, name)) or not os.path.isfile(os.path.join(folder, name)):
                left_out.add_file(relative, "link or device")
            elif not wanted & possible_languages(name):
                left_out.reasons["another language"] += 1
            elif reason := _reason_to_pass_over(
                os.path.join(folder, name), relative, selection=selection, git=git, tests=tests
            ):
                left_out.add_file(relative, reason)
            else:
                yield Path(folder, name), relative


def possible_languages(path: str | PurePath) -> set[str]:
    """Return the languages that a file may be in by its name's ending: a `.h` file may be C or C++."""
    language = language_of(path)
    if language is None:
        return set()
    return {"c", "cpp"} if PurePath(path).suffix.lower() == ".h" else {language}


def _text(name: str) -> str:
    return name.encode("utf-8", "replace").decode().replace(os.sep, "/")


def _reason_to_stay_out(
    path: str,
    relative: str,
    *,
    beside: Collection[str],
    selection: SourceSelection,
    git: _GitIgnore,
    tests: bool,
) -> str:
    name = os.path.basename(path)
    if name.startswith("."):
        return "hidden folder"
    if selection.exclude is not None and selection.exclude.match_file(f"{relative}/"):
        return "in data.exclude"
    if not selection.ignored:
        if git.ignores(f"{path}/"):
            return "in .gitignore"
        if _VENDORED.fullmatch(name) or os.path.isfile(os.path.join(path, "pyvenv.cfg")):
            return "vendored folder"
        if _is_built(path, relative, beside=beside):
            return "build folder"
    return "test" if not tests and _TEST_FOLDER.fullmatch(name) else ""


def _is_built(path: str, relative: str, *, beside: Collection[str]) -> bool:
    name = os.path.basename(path).lower()
    if _BUILT.fullmatch(name):
        return True
    if name not in _BUILT_BESIDE:
        return False
    if any(map(_BUILT_BESIDE[name].fullmatch, beside)):
        return True
    if name != "build":
        return False
    try:
        inside = os.listdir(path)
    except OSError:
        return False
    # Go has packages of that name.
    return any(map(_BUILT_INSIDE.fullmatch, inside)) or (
        "/" not in relative and not any(file.endswith(".go") for file in inside)
    )


def _reason_to_pass_over(
    path: str, relative: str, *, selection: SourceSelection, git: _GitIgnore, tests: bool
) -> str:
    if selection.exclude is not None and selection.exclude.match_file(relative):
        return "in data.exclude"
    if selection.include is not None and not selection.include.match_file(relative):
        return "not in data.include"
    if not selection.ignored and git.ignores(path):
        return "in .gitignore"
    return "test" if not tests and _TEST_FILE.fullmatch(os.path.basename(path)) else ""


def _num_sources(folder: str, wanted: frozenset[str]) -> int:
    """Count the files below a folder that isn't entered."""
    return sum(
        bool(wanted & possible_languages(name))
        for _, _, files in os.walk(folder, followlinks=False)
        for name in files
    )


def _is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, TypeError):
        return False
    return True


class _GitIgnore:
    """The `.gitignore` files that hold in a tree: its own, and those above it in the same repository."""

    def __init__(self, root: Path) -> None:
        self._specs: dict[str, GitIgnoreSpec] = {}
        self._root = os.path.abspath(root)
        top = self._root
        while not os.path.exists(os.path.join(top, ".git")) and os.path.dirname(top) != top:
            top = os.path.dirname(top)
        if not os.path.exists(os.path.join(top, ".git")):
            top = self._root
        self._top = top
        folder = self._root
        while folder != top:
            folder = os.path.dirname(folder)
            self.enter(folder)
        if self._specs and self.ignores(f"{self._root}/"):  # who names an ignored folder wants it
            self._specs.clear()

    def enter(self, folder: str) -> None:
        """Read a folder's own file, if there is one."""
        try:
            with open(os.path.join(folder, ".gitignore"), encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            return
        patterns = filter(_is_pattern, lines)  # git passes over the others, too
        self._specs[os.path.abspath(folder)] = GitIgnoreSpec.from_lines(patterns)

    def ignores(self, path: str) -> bool:
        """Whether git would ignore a path; a folder's ends with a slash. The nearest file decides."""
        if not self._specs:
            return False
        whole = os.path.abspath(path) + ("/" if path.endswith("/") else "")
        folder = os.path.dirname(whole.rstrip("/"))
        while True:
            spec = self._specs.get(folder)
            if spec is not None:
                decided = spec.check_file(whole[len(folder) :].lstrip("/")).include
                if decided is not None:
                    return decided
            if folder == self._top or os.path.dirname(folder) == folder:
                return False
            folder = os.path.dirname(folder)
