"""Source text to tree facts: leaves, distances, alignment with sub-tokens, functions and their docstrings."""

from codeft.syntax.alignment import align
from codeft.syntax.distance import leaf_distances
from codeft.syntax.docstrings import find_docstring, remove_docstring
from codeft.syntax.languages import LANGUAGES, canonical_language, language_of
from codeft.syntax.tree import SyntaxTree, parse

__all__ = [
    "LANGUAGES",
    "SyntaxTree",
    "align",
    "canonical_language",
    "find_docstring",
    "language_of",
    "leaf_distances",
    "parse",
    "remove_docstring",
]
