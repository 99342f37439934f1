"""Source text to tree facts: leaves, distances, alignment with sub-tokens, functions and their docstrings."""

from codeft.syntax.alignment import align
from codeft.syntax.distance import identifier_links, leaf_distances, sast_distances
from codeft.syntax.docstrings import find_docstring, remove_docstring
from codeft.syntax.functions import Function, extract_functions
from codeft.syntax.languages import LANGUAGES, canonical_language, language_name, language_of
from codeft.syntax.prose import docstring_tokens, first_paragraph
from codeft.syntax.token_leaves import token_leaves
from codeft.syntax.tree import SyntaxTree, code_tokens, parse

__all__ = [
    "LANGUAGES",
    "Function",
    "SyntaxTree",
    "align",
    "canonical_language",
    "code_tokens",
    "docstring_tokens",
    "extract_functions",
    "find_docstring",
    "first_paragraph",
    "identifier_links",
    "language_name",
    "language_of",
    "leaf_distances",
    "parse",
    "remove_docstring",
    "sast_distances",
    "token_leaves",
]
