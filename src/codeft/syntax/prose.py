"""The words in a docstring or a doc comment, without its marks, tags and markup."""

from __future__ import annotations

import inspect
import re
import textwrap

from codeft.syntax.commented_code import without_code
from codeft.syntax.directives import is_directive, is_rule
from codeft.syntax.markup import with_characters, without_markup

_TOKEN = re.compile(r"\w+|[^\w\s]")
_OPENING_QUOTES = re.compile(r"[rRuUbBfF]{0,2}(\"\"\"|'''|\"|')(\\\r?\n)?")
_LINE_MARK = re.compile(r"[ \t]*(///?!?|//!|#+|\*(?!/))[ \t]?")
_SUMMARY = re.compile(r"<summary>(.*?)(</summary>|\Z)", re.DOTALL | re.IGNORECASE)
_SUMMARY_TAG = re.compile(r"^[ \t]*[@\\](?:brief|short|description|desc|summary)\b[ \t]*", re.MULTILINE)
_OTHER_TAG = re.compile(r"^[ \t]*(?:@[A-Za-z]|\\(?:param|return|sa|see|note|throws)\b)", re.MULTILINE)
_RDOC_HIDDEN = re.compile(r"^--\n.*?(?:^\+\+\n|\Z)", re.MULTILINE | re.DOTALL)
_CALL_SEQUENCE = re.compile(r"^[ \t]*:?call-seq:.*(?:\n[ \t]+\S.*)*\n?", re.MULTILINE)
_FIELD = re.compile(r":\w+(?:\s[^:\n]*)?:(?:\s|$)")


def clean_docstring(raw: str, lang: str) -> str:
    r"""Return the text of a docstring or doc comment without what marks it as one.

    Quotes, comment marks and common indentation go; outside Python also HTML and XML tags (of C#'s only the
    summary stays) and everything from the first block tag (`@param`) on.

    Args:
        raw: The text as it stands in the source.
        lang: Canonical name of the language.

    Examples:
        >>> clean_docstring("r'Doc.\n\n    More.'", "python")
        'Doc.\n\nMore.'
        >>> clean_docstring("/**\n * Adds {@code a}.\n * @param a a number\n */", "java")
        'Adds a.'
        >>> clean_docstring('/// <summary>Adds <paramref name="a"/>.</summary>', "csharp")
        'Adds a.'
    """
    if not raw:
        return ""
    if lang == "python":
        text = without_code(inspect.cleandoc(_without_quotes(raw.strip())).strip(), lang)
        return without_markup(text, lang)
    text = _without_marks(raw)
    if lang in ("ruby", "c", "cpp"):
        text = _CALL_SEQUENCE.sub("", _RDOC_HIDDEN.sub("", text) if lang == "ruby" else text)
    text = without_code(text, lang)
    if summary := _SUMMARY.search(text):
        text = summary[1]
    text = without_markup(text, lang)
    text = _SUMMARY_TAG.sub("", text)
    if tag := _OTHER_TAG.search(text):
        text = text[: tag.start()]
    text = re.sub(r"\s*\n\s*\n", "\n\n", textwrap.dedent(text)).strip()
    return with_characters(text, lang)


def first_paragraph(docstring: str) -> str:
    r"""Return a docstring's first paragraph on one line: up to a blank line or a parameter's description.

    Args:
        docstring: Text without quotes or comment marks.

    Examples:
        >>> first_paragraph("Add two\nnumbers.\n\nSlowly.")
        'Add two numbers.'
    """
    lines: list[str] = []
    for line in map(str.strip, docstring.strip().splitlines()):
        if not line or (lines and (line.startswith("@") or _FIELD.match(line))):
            break
        lines.append(line)
    return " ".join(" ".join(lines).split())


def docstring_tokens(text: str) -> list[str]:
    """Split prose into words and single punctuation marks.

    Args:
        text: Any text.

    Examples:
        >>> docstring_tokens("str->list, isn't it?")
        ['str', '-', '>', 'list', ',', 'isn', "'", 't', 'it', '?']
    """
    return _TOKEN.findall(text)


def _without_quotes(raw: str) -> str:
    opening = _OPENING_QUOTES.match(raw)
    if opening is None:
        return raw
    return raw[opening.end() :].removesuffix(opening[1])


def _without_marks(raw: str) -> str:
    """Return a comment's lines without marks; tools' directives and lines of dashes go."""
    lines = []
    for line in raw.strip().splitlines():
        line = line.strip()
        if is_directive(line):
            continue
        line = line.removesuffix("*/").rstrip()
        if line.startswith("/*"):
            line = line[2:].lstrip("*!<")
        elif line in ("=begin", "=end"):
            line = ""
        else:
            line = _LINE_MARK.sub("", line, count=1) if _LINE_MARK.match(line) else line
        lines.append("" if is_rule(line) else line.rstrip())
    if lines:
        lines[0] = lines[0].lstrip()
    return "\n".join(lines)
