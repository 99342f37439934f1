"""What each leaf of a tree is: a keyword, a name, a number, a string, an operator or a delimiter."""

from __future__ import annotations

import re
from collections.abc import Sequence

from codeft.syntax.tree import leaf_nodes, parse_nodes

TOKEN_TYPES = ("keyword", "name", "number", "string", "operator", "delimiter")
"""The types of tokens, in the order of their numbers."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMBERS = _words(
    """
    integer float number rational complex imaginary_literal int_literal float_literal number_literal
    integer_literal real_literal decimal_integer_literal hex_integer_literal octal_integer_literal
    binary_integer_literal decimal_floating_point_literal hex_floating_point_literal
    """
)
_NAMES = _words(
    """
    name constant instance_variable class_variable global_variable label_name setter implicit_parameter
    """
)
_STRING = re.compile(
    r"string|regex|char|heredoc|nowdoc|symbol|rune|subshell|escape_|jsx_text|interpolation_(start|quote)"
)
"""In the kinds of literals of text, and of what is inside them."""
_HOLES = _words(
    "interpolation string_interpolation template_substitution interpolation_brace template_expression"
)
"""Kinds of code inside a string; their braces are delimiters."""
_RAW = _words(
    """
    ERROR preproc_arg literal_suffix hash_bang_line shebang_directive php_tag php_end_tag text uninterpreted
    line_continuation
    """
)
"""Kinds of text that is no token, or of which the grammar makes none."""
_DELIMITERS = _words("( ) [ ] { } [[ ]] () [] , ; : :: . ... ?. &. ?-> @ #[ #{ ${ \\{ \\ </ />")
_QUOTES = frozenset(('"', "'", "`", '"""'))
_WORD = re.compile(r"[#@]?\s*[^\W\d]")


def token_types(source: str, lang: str) -> list[str | None]:
    r"""Return the type of each leaf of `parse(source, lang)`; never raises on any text.

    A keyword is what the grammar gives by its word alone (`if`, `int`, `#include`), and words of its own kind
    that nobody chose, such as `this`, `true` and `None`. Type names are names. All of a string is one type:
    its quotes, its text, its escapes; also characters, regular expressions and Ruby's symbols. Brackets,
    commas, colons and what parts the names of a path are delimiters; all other signs are operators.

    Source: the lexical probe of Telly (arXiv 2304.05216), section 3, which names the first five; the paper
    says neither how they are found nor what brackets are.

    Args:
        source: A file or a snippet, with its layout.
        lang: Name or alias of the language.

    Returns:
        One of `TOKEN_TYPES` a leaf; None for text that the parser couldn't place or doesn't cut into tokens
        (`#define`'s right side).

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> token_types("if x: y = 'a' + str(1)", "python")  # doctest: +NORMALIZE_WHITESPACE
        ['keyword', 'name', 'delimiter', 'name', 'operator', 'string', 'string', 'string', 'operator', 'name',
         'delimiter', 'number', 'delimiter']
    """
    nodes = parse_nodes(source, lang)
    found: list[str | None] = []
    for leaf in leaf_nodes(nodes).tolist():
        parent = int(nodes.parents[leaf])
        text = source[nodes.starts[leaf] : nodes.ends[leaf]]
        found.append(
            _type_of(nodes.types[leaf], text, named=bool(nodes.named[leaf]), parent=nodes.types[parent])
        )
    return found


def _type_of(kind: str, text: str, *, named: bool, parent: str) -> str | None:
    if kind in _RAW or not text:
        return None
    if named:
        if kind in _NUMBERS:
            return "number"
        if kind in _NAMES or "identifier" in kind:
            return "name"
        if _STRING.search(kind) and kind not in _HOLES:
            return "string"
    elif parent in _NUMBERS:  # Ruby's 1r
        return "number"
    elif parent == "variable_name":  # PHP's $
        return "name"
    elif (_STRING.search(parent) and parent not in _HOLES and kind not in ("{", "}")) or kind in _QUOTES:
        return "string"
    if not text.strip():  # a line's end, where it ends a directive
        return None
    if _WORD.match(text):
        return "keyword"
    joins_strings = parent == "binary_expression"  # PHP's dot
    return "delimiter" if text in _DELIMITERS and not joins_strings else "operator"


def token_type_numbers(types: Sequence[str | None]) -> list[int]:
    """Return the number of each token type, its place in `TOKEN_TYPES`; -1 for None.

    >>> token_type_numbers(["keyword", None, "delimiter"])
    [0, -1, 5]
    """
    numbers = {name: number for number, name in enumerate(TOKEN_TYPES)}
    return [-1 if name is None else numbers[name] for name in types]
