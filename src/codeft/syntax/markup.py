"""Links, tags and entities in documentation, as what a reader sees: a link's label stands for the link."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

_WITHOUT_ENTITIES = ("python", "go")
"""Languages whose documentation is no HTML: an ampersand is an ampersand there."""

_TARGET = r"(?:[^\s{}|(<]|<[^<>{}]*>|\([^(){}]*\))+"
_INLINE_LINK = re.compile(
    rf"(?:\[(?P<before>[^\[\]]+)\])?\{{@(?:link|linkplain|linkcode|see|tutorial)\s+(?P<target>{_TARGET})"
    r"(?:(?:\s*\|\s*|\s+)(?P<label>[^{}]*))?\}"
)
_INLINE_TAG = re.compile(r"\{@\w+\s+((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
_XML_LINK = re.compile(
    r"<(see|seealso|a)\b[^<>]*?\b(?:cref|langword|href|name|id)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')[^<>]*?"
    r"(?:/>|>(.*?)</\1\s*>)",
    re.DOTALL | re.IGNORECASE,
)
_XML_NAME = re.compile(
    r"<(?:paramref|typeparamref)\s+\w+\s*=\s*(?:\"([^\"]*)\"|'([^']*)')\s*(?:/>|>\s*</\w+\s*>)", re.IGNORECASE
)
_ATTRIBUTES = r"(?:\s[^<>]*)?/?>"
_PARAGRAPH = re.compile(
    rf"</?(?:p|para|br|ul|ol|pre|[hH][1-6]|blockquote|table|BR|UL|OL|PRE){_ATTRIBUTES}"
    rf"|(?<!\w)</?P{_ATTRIBUTES}"
)
_MARKUP = re.compile(
    # A single capital between brackets may be a type: `List<A>`.
    rf"</?[abicsu]{_ATTRIBUTES}|(?<!\w)<[ABICU]{_ATTRIBUTES}|</[ABICU]>|<!--.*?-->"
    r"|</?(?i:em|tt|li|dl|dt|dd|kbd|var|code|strong|small|sub|sup|span|div|font|cite|samp|tr|td|th"
    rf"|summary|remarks|returns|param|value|example|exception|inheritdoc){_ATTRIBUTES}",
    re.DOTALL,
)
_XML_MARKUP = re.compile(
    rf"</?(?:see|seealso|paramref|typeparamref|list|item|term|listheader|description){_ATTRIBUTES}"
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,31});")

_ROLE = re.compile(r":(?:[a-z]+:)?[a-z]+:`(?P<text>[^`]+)`")
_RST_LINK = re.compile(r"(?<![`:\w])`(?P<label>[^`<>]+?)\s*<[^`<>\s]+>`__?")
_LABELLED = re.compile(r"(?P<label>.*?\S)\s*<[^<>]+>", re.DOTALL)
_MARKDOWN_LINK = re.compile(
    r"(?<![\w!\]])!?\[(?P<label>[^\[\]\n]*(?:\n[^\[\]\n]+)?)\](?:\((?:<[^<>\s]*>"
    r"|[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)"
    r"(?:\s+(?:\"[^\"]*\"|'[^']*'))?\)|\[[^\[\]\s]*\])"
)
_GO_LINK = re.compile(r"(?<![\w\])])\[(\*?(?:[\w./-]+\.)?[A-Z]\w*(?:\.\w+)?)\](?![\w\[(:])")
_YARD_LINK = re.compile(
    r"(?<![\w#$%])\{(?P<target>(?:::)?[A-Z]\w*(?:::\w+)*(?:[#.]\w+[?!=]?)?|[#.]\w+[?!=]?|https?://[^\s{}]+)"
    r"(?:\s+(?P<label>[^{}]+))?\}"
)
_RDOC_LINK = re.compile(
    r"(?:\{(?P<label>[^{}\n]+)\}|(?P<word>\b\w+))\[(?:rdoc-\w+|https?|link|mailto):[^\[\]\s]*\]"
)
_DOXYGEN_REF = re.compile(r"[@\\](?:ref|link)\s+(?P<target>[\w:~#.()]+)(?:\s+\"(?P<label>[^\"]+)\")?")
_DOXYGEN_LINK = re.compile(r"[@\\]link\s+\S+\s+(?P<label>.*?)\s*[@\\]endlink", re.DOTALL)
_DOXYGEN_RST = re.compile(r"[@\\](?:end)?(?:rst|verbatim|internal|cond\s+\w+|endcond)\b[ \t]*\n?")
_DOXYGEN_WORD = re.compile(r"(?<![\w\\@])[@\\](?:c|p|a|e|em|b)\s+(?=\S)")


def without_markup(text: str, lang: str) -> str:
    """Return documentation with links as their labels and without tags.

    Args:
        text: Without comment marks or quotes.
        lang: Canonical name of the language, which says what markup there is.

    Examples:
        >>> without_markup("Returns the {@link #sum() grand total} of {@code items}.", "java")
        'Returns the grand total of items.'
        >>> without_markup("Calls :func:`the hook <app.hooks.run>` of :class:`~app.Job`.", "python")
        'Calls the hook of Job.'
        >>> without_markup("Reads [the file](https://example.org).", "go")
        'Reads the file.'
    """
    for pattern, replacement in _STEPS[lang]:
        text = pattern.sub(replacement, text)
    text = _MARKDOWN_LINK.sub(lambda match: match["label"], text)
    return text if lang == "python" else _MARKUP.sub("", _PARAGRAPH.sub("\n\n", text))


def with_characters(text: str, lang: str) -> str:
    """Return documentation with characters for HTML's entities, if the language's documentation is HTML.

    Args:
        text: Without markup: what this writes may look like a tag.
        lang: Canonical name of the language.

    Examples:
        >>> with_characters("items &amp; all &lt;T&gt;", "java"), with_characters("&amp;", "python")
        ('items & all <T>', '&amp;')
    """
    return text if lang in _WITHOUT_ENTITIES else _ENTITY.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    character = html.unescape(match[0])
    return " " if character == "\u00a0" else character


def _inline_link(match: re.Match[str]) -> str:
    label = (match["before"] or match["label"] or "").strip()
    return label or match["target"].removeprefix("#")


def _inline_tag(match: re.Match[str]) -> str:
    """Return what is in `{@code …}`, in which nothing is markup, so that it is the same afterwards."""
    return html.escape(match[1], quote=False)


def _xml_link(match: re.Match[str]) -> str:
    label = (match[4] or "").strip()
    if label or match[1].lower() == "a":
        return label
    target: str = match[2] or match[3] or ""
    return re.sub(r"^[A-Z!]:", "", target)


def _role(match: re.Match[str]) -> str:
    text: str = match["text"]
    if labelled := _LABELLED.fullmatch(text):
        return labelled["label"]
    return text[1:].rpartition(".")[2] if text.startswith("~") else text.removeprefix("!")


def _label(match: re.Match[str]) -> str:
    label: str = match["label"] or match.groupdict().get("word") or match.groupdict().get("target") or ""
    return label.strip().removeprefix("#")


_Step = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
_JAVADOC: list[_Step] = [(_INLINE_LINK, _inline_link), (_INLINE_TAG, _inline_tag)]
_XML: list[_Step] = [(_XML_LINK, _xml_link), (_XML_NAME, lambda match: match[1] or match[2] or "")]
_DOXYGEN: list[_Step] = [
    (_DOXYGEN_RST, ""),
    (_DOXYGEN_LINK, _label),
    (_DOXYGEN_REF, _label),
    (_DOXYGEN_WORD, ""),
]
_SPHINX: list[_Step] = [(_ROLE, _role), (_RST_LINK, r"\g<label>")]
_STEPS: dict[str, list[_Step]] = {
    "python": _SPHINX,
    "java": [*_JAVADOC, *_XML],
    "javascript": [*_JAVADOC, *_XML],
    "php": [*_JAVADOC, *_XML],
    "csharp": [*_XML, *_JAVADOC, (_XML_MARKUP, "")],
    "go": [(_GO_LINK, r"\1")],
    "ruby": [(_RDOC_LINK, _label), (_YARD_LINK, _label), *_XML],
    "c": [*_JAVADOC, *_XML, *_DOXYGEN],
    "cpp": [*_JAVADOC, *_XML, *_DOXYGEN],
}
