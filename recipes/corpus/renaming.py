"""Code compared without its names: two functions that differ in nothing but names and literals look alike."""

from __future__ import annotations

import functools
import hashlib
import re

import numpy as np

from codeft.syntax.keywords import KEYWORDS

WINDOW = 8

_TOKEN = re.compile(r"[^\W\d]\w*|\d[\w.]*|[^\w\s()]")
_QUALIFIER = re.compile(r"\b(?:[a-z]\w*\s*\.\s*)+(?=[A-Z])")
"""The package before a class, which some data sets write out: `java.util.` of `java.util.List`."""

_MODIFIERS = {
    *("public", "private", "protected", "internal", "final", "static"),
    *("readonly", "virtual", "override", "sealed"),
}
_ANNOTATION = re.compile(r"@\s*[A-Z]\w*")
_ABSTRACT_LITERAL = re.compile(r"(STRING|CHAR|INT|FLOAT|DOUBLE|LONG|BOOL)_\d+")
_CONSTANTS = frozenset(("true", "false", "null", "nil", "None", "True", "False", "NULL", "nullptr"))
_LITERAL, _NAME = 1, 2  # below every hash


def renamed_shingles(code: str, language: str, *, window: int = WINDOW) -> np.ndarray:
    """Return the hashes of a function's token windows, in each of which names count by their order only.

    A name becomes the place of its first occurrence inside the window, a number or string one placeholder;
    parentheses, modifiers, annotations and the package before a class don't count. So `VAR_1` of an
    abstracted function equals the variable that it stood for, and an inserted statement changes only the
    windows around it.

    Args:
        code: Code without comments and with strings reduced to quotes, as `evaluation.comparable` returns it.
        language: Canonical name of its language.
        window: Tokens in a window. A shorter text gives no window.

    Returns:
        uint64 [n], ascending, each once.

    Examples:
        >>> one = renamed_shingles("int add(int a, int b) { return a + b; }", "java")
        >>> two = renamed_shingles("int METHOD_1(int VAR_1, int VAR_2) { return (VAR_1 + VAR_2); }", "java")
        >>> bool(len(one)) and one.tolist() == two.tolist()
        True
        >>> three = renamed_shingles("int add(int a, int b) { return a + a; }", "java")
        >>> one.tolist() == three.tolist()
        False
    """
    if language in ("java", "csharp"):
        code = _ANNOTATION.sub("", _QUALIFIER.sub("", code))
    known = [value for token in _TOKEN.findall(code) if (value := _token(token, language))]
    hashes = [value for value, _ in known]
    kinds = [is_name for _, is_name in known]
    if len(hashes) < window:
        return np.zeros(0, dtype=np.uint64)
    slide = np.lib.stride_tricks.sliding_window_view
    tokens = slide(np.array(hashes, dtype=np.uint64), window)  # [n, window]
    is_name = slide(np.array(kinds), window)
    same = tokens[:, :, None] == tokens[:, None, :]  # [n, window, window]
    first = same.argmax(axis=2).astype(np.uint64) + np.uint64(_NAME)
    values = np.where(is_name, first, tokens)
    powers = np.array([pow(0x9E3779B97F4A7C15, place + 1, 2**64) for place in range(window)], dtype=np.uint64)
    mixed = (values * powers).sum(axis=1, dtype=np.uint64)
    return np.unique(mixed ^ (mixed >> np.uint64(31)))


@functools.lru_cache(maxsize=2**18)
def _token(token: str, language: str) -> tuple[int, bool] | None:
    """Return what stands for a token, and whether that is a name; None for a token that doesn't count."""
    if token in _MODIFIERS:
        return None
    if token[0].isdigit() or token in "\"'`" or _ABSTRACT_LITERAL.fullmatch(token):
        return _LITERAL, False
    is_reserved = token in KEYWORDS[language] or token in _CONSTANTS
    digest = hashlib.blake2b(token.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little"), (token[0].isalpha() or token[0] == "_") and not is_reserved
