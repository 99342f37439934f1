"""Where a function's own documentation stands in its source, and the source without it."""

from __future__ import annotations

import re

import numpy as np

from codeft.syntax.languages import canonical_language
from codeft.syntax.nodes import NodeTable
from codeft.syntax.tree import parse_nodes

_STRINGS = ("string", "concatenated_string")
_STATEMENT_PARENTS = ("expression_statement", "block", "module", "ERROR")
_TRIVIA = ("comment", "line_continuation")


def find_docstring(source: str, lang: str) -> tuple[int, int] | None:
    r"""Return the span of a snippet's documentation.

    In Python that is the string statement that opens the outermost function's body, whatever its quotes and
    prefix; in the other languages the comments that stand before the first code.

    Args:
        source: A snippet that holds a function, with its layout; it needn't parse.
        lang: Name or alias of the language.

    Returns:
        Half-open span in characters; None where there is no documentation.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> find_docstring('def f():\n    "Doc."\n    return 1', "python")
        (13, 19)
    """
    lang = canonical_language(lang)
    nodes = parse_nodes(source, lang)
    return _python_docstring(nodes) if lang == "python" else _leading_comments(nodes)


def remove_docstring(source: str, lang: str) -> str:
    r"""Return a snippet without its documentation (see `find_docstring`), still valid code.

    Whole lines go, with the blank lines after them. A Python body that would be left empty becomes `pass`.

    Args:
        source: A snippet that holds a function, with its layout; it needn't parse.
        lang: Name or alias of the language.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> remove_docstring('def f():\n    "Doc."\n    return 1', "python")
        'def f():\n    return 1'
        >>> remove_docstring('def f(): "Doc."', "python")
        'def f(): pass'
        >>> remove_docstring('// Add adds.\nfunc Add(a, b int) int { return a + b }', "go")
        'func Add(a, b int) int { return a + b }'
    """
    return split_docstring(source, lang)[0]


def split_docstring(source: str, lang: str) -> tuple[str, str]:
    """Return a snippet without its documentation, and the documentation as it stood there.

    Args:
        source: A snippet that holds a function, with its layout; it needn't parse.
        lang: Name or alias of the language.

    Returns:
        The code, and the text with its quotes or comment marks; "" where there is none.

    Raises:
        CodeftError: The language is unknown.
    """
    lang = canonical_language(lang)
    return split_parsed_docstring(source, parse_nodes(source, lang), lang)


def split_parsed_docstring(source: str, nodes: NodeTable, lang: str) -> tuple[str, str]:
    """Return what `split_docstring` does, of a snippet that is parsed already.

    Args:
        source: The snippet.
        nodes: Its nodes.
        lang: Canonical name of the language.
    """
    span = _python_docstring(nodes) if lang == "python" else _leading_comments(nodes)
    if span is None:
        return source, ""
    start, end = span
    if lang == "python" and _is_whole_body(nodes, start, end):
        return f"{source[:start]}pass{source[end:]}", source[start:end]
    return _cut(source, start, end), source[start:end]


def _python_docstring(nodes: NodeTable) -> tuple[int, int] | None:
    colon = _header_colon(nodes)
    if colon is None:
        return None
    for index in range(colon + 1, len(nodes)):
        kind = nodes.types[index]
        if kind in _TRIVIA or kind in ("block", "expression_statement"):
            continue
        if kind in _STRINGS and nodes.types[nodes.parents[index]] in _STATEMENT_PARENTS:
            return int(nodes.starts[index]), int(nodes.ends[index])
        return None
    return None


def _header_colon(nodes: NodeTable) -> int | None:
    """Return the colon that ends the first `def`'s header, also where the parser gave up on the function."""
    if "def" not in nodes.types:
        return None
    first = nodes.types.index("def")
    for index in range(first + 1, len(nodes)):
        if nodes.types[index] == ":" and nodes.parents[index] == nodes.parents[first]:
            return index
    return None


def _is_whole_body(nodes: NodeTable, start: int, end: int) -> bool:
    """Whether nothing but comments follows a docstring in its block."""
    inside = np.flatnonzero((nodes.starts == start) & (nodes.ends == end))
    parents = [int(nodes.parents[index]) for index in inside]
    blocks = [parent for parent in parents if nodes.types[parent] == "block"]
    if not blocks:
        return False
    statements = np.flatnonzero(nodes.parents == blocks[0])
    return sum(nodes.types[index] not in (*_TRIVIA, ";") for index in statements) == 1


def _leading_comments(nodes: NodeTable) -> tuple[int, int] | None:
    start = end = None
    for kind, childless, first, last in zip(
        nodes.types, nodes.childless.tolist(), nodes.starts.tolist(), nodes.ends.tolist(), strict=True
    ):
        if "comment" in kind:
            start = first if start is None else start
            end = last
        elif childless and last > first and kind != "php_tag":
            # The first token of the code: without one the comments are all there is, and stay.
            return None if start is None or end is None else (start, end)
    return None


def _cut(source: str, start: int, end: int) -> str:
    """Return the source without a span and without what the span leaves behind on its lines."""
    line_start = max(source.rfind("\n", 0, start), source.rfind("\r", 0, start)) + 1
    rest = re.compile(r"[ \t]*(;[ \t]*)?(#[^\r\n]*)?").match(source, end)
    assert rest is not None
    blank_lines = re.compile(r"([ \t]*(\r\n|\r|\n))+").match(source, rest.end())
    if source[line_start:start].strip():  # code before it on its line: `def f(): "Doc."; return 1`
        return source[:start] + source[rest.end() if rest[1] else end :]
    if blank_lines:
        return source[:line_start] + source[blank_lines.end() :]
    # Code after it on its line: it takes the span's place.
    return source[:start] + source[rest.end() :]
