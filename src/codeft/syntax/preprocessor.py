"""What a preprocessor would do to C, C++ and C#, undone for a parser that has none: readings without macros.

Each reading is as long as the source, blanks in the place of what was taken away, so that offsets stay right.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

PREPROCESSED = ("c", "cpp", "csharp")
"""Languages that have a preprocessor."""

# Possessive, as everything that repeats here: a file of macros would otherwise take for ever.
_MACRO = r"\b[A-Z_][A-Z0-9_]++(?!\w)"
_CALL = r"(?:[ \t]*+\((?:[^()\n]++|\([^()\n]*+\))*+\))?+"
_ALONE = re.compile(
    rf"^[ \t]*+{_MACRO}{_CALL}(?:[ \t]++{_MACRO}{_CALL})*+[ \t]*+;?[ \t]*+(?=//|/\*.*\*/[ \t]*$|$)",
    re.MULTILINE,
)
_CLASS = re.compile(
    r"\b(?:class|struct|union|enum|enum class)[ \t]++"
    rf"((?:(?:{_MACRO}|\w+_(?:api|export|dll)\b){_CALL}[ \t\n]++)++)"
    r"(?=[A-Za-z_][\w:]*+(?:<[^<>;{}]*+>)?\s*+(?:final\s*+)?[:{])"
)
_KEYWORD = (
    r"(?:static|inline|const|constexpr|extern|virtual|explicit|template|typename|auto|void|bool|char|short"
    r"|int|long|float"
    r"|double|unsigned|signed|struct|class|enum|union|friend|using|typedef|operator|const_iterator"
    r"|[a-z]\w*_t)\b"
)
_SPECIFIER = re.compile(rf"(?<![\w.>#])((?:{_MACRO}{_CALL}\s++)++)(?={_KEYWORD}|std::|~\w)")
_BEFORE_TYPE = re.compile(
    r"^[ \t]*+(?:(?:static|inline|extern|virtual|explicit|friend|constexpr)[ \t]++)*+"
    rf"((?:{_MACRO}{_CALL}[ \t\n]++)+)"
    r"(?=[A-Za-z_][\w:]*+(?:<[^;{}()<>]*+>)?[ \t*&]++(?:[\w:]++[ \t*&]++)?[A-Za-z_~][\w:~]*+[ \t]*+\()",
    re.MULTILINE,
)
_CONDITION = re.compile(r"[ \t]*#[ \t]*(if|ifdef|ifndef|elif|else|endif)\b")
_NOT_CODE = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])'|//[^\n]*|/\*.*?\*/", re.DOTALL)
_MID_STATEMENT = re.compile(r"\s*(?:else\b|catch\b|while\s*\(|&&|\|\||[-,?:.+*/=|&)\]}{<>])")


def readings(source: str, lang: str) -> Iterator[str]:
    """Yield a file as it stands, and readings of it that may parse better, the simplest first.

    Args:
        source: A whole file.
        lang: Canonical name of its language; only those with a preprocessor have other readings.
    """
    # A macro between `class` and a name parses without an error, but as something else.
    classes = [match.span(1) for match in _CLASS.finditer(source)] if lang == "cpp" else []
    text = _blank(source, classes) if classes else source
    yield text
    if lang in ("c", "cpp"):
        plain = without_macros(text)
        if plain != text:
            yield plain
        text = plain
    if lang in PREPROCESSED and "#" in source:
        flat = without_conditions(text)
        if flat != text:
            yield flat


def without_macros(source: str) -> str:
    r"""Blank macros where C's grammar has no place for them: alone on a line, and before what they decorate.

    Args:
        source: C or C++.

    Examples:
        >>> without_macros("LIB_BEGIN\nclass LIB_API Buffer {")
        '         \nclass         Buffer {'
    """
    code = _NOT_CODE.sub(lambda match: _blanks(match[0]), source)
    places = [
        *(match.span() for match in _ALONE.finditer(code) if _stands_alone(code, *match.span())),
        *(
            match.span(1)
            for pattern in (_CLASS, _SPECIFIER, _BEFORE_TYPE)
            for match in pattern.finditer(code)
        ),
    ]
    return _blank(source, places)


def _stands_alone(code: str, start: int, end: int) -> bool:
    """Whether a line of macros is a statement of its own, and not a part of the expression around it."""
    before, after = code[max(0, start - 300) : start].rstrip(), code[end : end + 300].lstrip()
    line = before.rpartition("\n")[2].lstrip()
    if (
        before
        and before[-1] not in ";{}:>)"
        and not line.startswith(("#", "//"))
        and not re.fullmatch(_MACRO, line)
    ):
        return False
    if after.startswith("{") and "(" in code[start:end]:  # a macro that is the head of a function: TEST(a, b)
        return False
    return after[:1] not in tuple("=.,?*+-/|&)(:[") or after.startswith(("*/", "//", "::"))


def without_conditions(source: str) -> str:
    r"""Blank `#if` and its kin, and all but the first branch, where a branch is no whole piece of code.

    Args:
        source: C, C++ or C#.

    Examples:
        >>> without_conditions("if (a) {}\n#if B\nelse {}\n#endif\nb();")
        'if (a) {}\n     \nelse {}\n      \nb();'
    """
    starts = [0, *(match.end() for match in re.finditer("\n", source))]
    places: list[tuple[int, int]] = []
    open_groups: list[list[tuple[int, int]]] = []  # spans of the directives of each condition that isn't over
    directives = ((start, _CONDITION.match(source, start)) for start in starts)
    for start, match in directives:
        if match is None:
            continue
        end = _end_of_directive(source, start)
        if match[1].startswith("if"):
            open_groups.append([(start, end)])
        elif open_groups:
            open_groups[-1].append((start, end))
            if match[1] == "endif":
                places += _parts_to_blank(source, open_groups.pop())
    return _blank(source, places)


def _parts_to_blank(source: str, group: list[tuple[int, int]]) -> list[tuple[int, int]]:
    branches = [(end, start) for (_, end), (start, _) in itertools.pairwise(group)]
    if not any(_is_piece(source, start, end) for start, end in branches):
        return []
    off = re.match(r"[ \t]*#[ \t]*if[ \t]+0\b", source[slice(*group[0])])
    kept = 1 if off and len(branches) > 1 else 0
    return [*group, *(branch for place, branch in enumerate(branches) if place != kept)]


def _is_piece(source: str, start: int, end: int) -> bool:
    """Whether a branch is only a piece of a statement, or opens or closes a block that it doesn't hold."""
    code = _NOT_CODE.sub("", source[start:end])
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", code, flags=re.MULTILINE)
    if any(code.count(left) != code.count(right) for left, right in ("{}", "()")):
        return True
    before = _NOT_CODE.sub("", source[max(0, start - 400) : start])
    before = re.sub(r"^[ \t]*#[^\n]*", "", before, flags=re.MULTILINE).rstrip()
    code = code.strip()
    return bool(code) and bool(
        _MID_STATEMENT.match(code) or code[-1] in ")|&+-*/=?(" or (before and before[-1] in "|&+-*/=?(,")
    )


def _end_of_directive(source: str, start: int) -> int:
    match = re.compile(r"(?:[^\n]*\\\n)*[^\n]*").match(source, start)
    assert match is not None
    return match.end()


def _blank(source: str, places: list[tuple[int, int]]) -> str:
    """Return the source with blanks in some places; line feeds stay."""
    pieces: list[str] = []
    done = 0
    for start, end in sorted(places):
        if end <= done:
            continue
        pieces += [source[done : max(start, done)], _blanks(source[max(start, done) : end])]
        done = end
    return "".join([*pieces, source[done:]])


def _blanks(text: str) -> str:
    return re.sub(r"[^\n]", " ", text) if "\n" in text else " " * len(text)
