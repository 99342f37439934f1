"""Code that was commented out, told from prose: it looks like code, line by line, and it parses."""

from __future__ import annotations

import re

from codeft.syntax.keywords import KEYWORDS
from codeft.syntax.tree import parse_nodes

_MAX_LINES = 60
"""Of a comment that is parsed."""

_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_WORDS = re.compile(r"(?:[A-Za-z][a-z']+,? ){3,}[A-Za-z][a-z']+")

_C_LIKE = re.compile(
    r".*[()\[\]{}=<>.\"'+-].*;$|(?:return|break|continue)\b[^.,]*;$|.*[)\w\]=>]\s*\{$|[\[{}\]();,\s]+$"
    r"|\}.*[;{(]$|.*[;{].*\}[;,)]*$"
    r"|#\s*(?:include|define|if|ifdef|ifndef|endif|else|elif|undef|pragma)\b.*|(?:else|do|try)\s*\{?$"
)
_BARE_CALL = re.compile(r"(?:(?:return|await|yield|new|throw|raise)\s+)?[\w$@.:>\[\]-]+[!?]?\(.*\)$")
_GO = re.compile(
    r"[\w.,\[\]* ]+ :?= \S.*|(?:return|defer|go|var|const|func|type|if|for|switch)\b.*[)({\]}]$"
    r"|return [\w.*&]+(?:, [\w.]+)*$"
)
_ASSIGNMENT = re.compile(
    r"(?:self\.|@{1,2}|\$)?[\w.]+(?:\[[^\]]*\])?(?:, ?[\w.@]+)*\s*(?:[-+*/|&%]|\|\||\*\*"
    r"|//)?=(?![=~>])\s*(?!\w+ \w+)\S.*"
)
_PYTHON = re.compile(
    r"(?:def|class) \w+.*:$|(?:if|elif|for|while|with|try|except|else|finally)\b.*:$|(?:return|raise|yield"
    r"|import|del"
    r"|assert|from)\b [\w.]+(?:[\[(.,=+*/-].*)?$|@\w[\w.]*(?:\(.*\))?$|(?:pass|break|continue|return)$"
    r"|[\])}]+,?$"
)
_RUBY = re.compile(
    r"(?:def|class|module) [\w.:]+[!?=]?(?:\s*[(<].*)?$|end$|(?:if|unless|while|until|elsif"
    r"|when)\b.*[\w)\]?!'\"]$"
    r"|.*\b(?:do|\{)(?:\s*\|[^|]*\|)?$|(?:puts|p|pp|require|raise|attr_\w+|include|return)\b [:'\"@\w(].*"
    r"|else$|begin$|[\])}]+$"
)
_LOOKS = {
    "python": (_PYTHON, _ASSIGNMENT, _BARE_CALL),
    "ruby": (_RUBY, _ASSIGNMENT, _BARE_CALL),
    "go": (_C_LIKE, _GO, _BARE_CALL),
}
_SHAPES = {
    **dict.fromkeys(("c", "cpp", "java", "csharp"), ("void f() {\n{}\n}", "void f() {\n{};\n}", "{}\n}")),
    **dict.fromkeys(("javascript", "php"), ("{};", "{}\n}")),
    "go": ("func f() {\n{}\n}", "{}\n}"),
}
"""Around code that isn't whole: statements in a function, an end that was left behind."""


def without_code(text: str, lang: str) -> str:
    r"""Return documentation without the code that its first paragraph begins or ends with, or consists of.

    Args:
        text: A comment's lines without their marks.
        lang: Canonical name of the language.

    Examples:
        >>> without_code("Adds four.\nint old(int a) { return a + 4; }", "c")
        'Adds four.'
        >>> without_code("return a + 4 when the flag is set", "c")
        'return a + 4 when the flag is set'
    """
    lines = text.strip("\n").split("\n")
    end = next((place for place, line in enumerate(lines) if not line.strip()), len(lines))
    looks = [_looks_like_code(line.strip(), lang) for line in lines[:end]]
    if not any(looks):
        return text
    if (
        looks[0]
        and looks[-1]
        and not any(_is_prose(line, lang) for line in lines[:end])
        and _parses(lines[:end], lang)
    ):
        return without_code("\n".join(lines[end:]).strip("\n"), lang)
    first = looks.index(False) if False in looks else end
    last = end - looks[::-1].index(False) if False in looks else end
    begin = first if first and _parses(lines[:first], lang) else 0
    stop = last if last < end and _parses(lines[last:end], lang) else end
    return "\n".join([*lines[begin:stop], *lines[end:]])


def _looks_like_code(line: str, lang: str) -> bool:
    """Whether a line of a comment may be code; prose may look so too, but doesn't parse."""
    if lang not in _LOOKS and line[-1:] not in ";{}()[]," and line[:1] != "#":
        return False
    if not any(pattern.match(line) for pattern in _LOOKS.get(lang, (_C_LIKE, _BARE_CALL))):
        return False
    return not _is_prose(line, lang)


def _is_prose(line: str, lang: str) -> bool:
    """Whether four words stand side by side, keywords not counted."""
    words = [word for word in _STRING.sub("''", line).split() if word.rstrip(",") not in KEYWORDS[lang]]
    return bool(_WORDS.search(" ".join(words)))


def _parses(lines: list[str], lang: str) -> bool:
    """Whether lines are code: without an error, or two and more that all end as only code does."""
    if len(lines) > 1 and all(re.search(r"[;{}]$", line.strip()) for line in lines):
        return True
    if len(lines) > _MAX_LINES:
        return False
    source = "\n".join(lines)
    shapes = ("{}", *_SHAPES.get(lang, ()))
    return any(not parse_nodes(shape.replace("{}", source), lang).num_errors for shape in shapes)
