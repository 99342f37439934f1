"""How tasks read rows of functions with their documentation, in CodeSearchNet's schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeft.syntax import canonical_language, docstring_tokens, first_paragraph, remove_docstring
from codeft.tasks.base import text_field, token_field
from codeft.types import CodeftError

INPUTS = ("code", "code_tokens")


def function_language(
    fields: Mapping[str, Any], *, where: str, default: str | None, needed: bool = False
) -> str:
    """Return the canonical name of a row's language.

    Args:
        fields: The row.
        where: Its file and line, for errors.
        default: The language of a row that doesn't say; None for "".
        needed: Whether the row must say.

    Raises:
        CodeftError: The language is unknown, or needed and not told.
    """
    if "language" not in fields and not needed:
        return default or ""
    try:
        return canonical_language(text_field(fields, "language", where=where))
    except CodeftError as error:
        told = str(error) if "language" in fields else f"{error}; or say which it is by lang="
        raise CodeftError(told if told.startswith(where) else f"{where}: {told}") from None


def function_source(fields: Mapping[str, Any], *, where: str, input: str, lang: str) -> str:
    """Return a row's function without its docstring.

    Args:
        fields: The row.
        where: Its file and line, for errors.
        input: "code" for the source text, "code_tokens" for the published tokens joined by blanks.
        lang: The row's language; "" where it doesn't say.

    Raises:
        CodeftError: A field is missing or of the wrong type, or `input` is unknown.
    """
    if input == "code":
        source = text_field(fields, "code", "source", where=where)
        if lang or "code" in fields:  # a bare source and target are taken as they are
            known = lang or function_language(fields, where=where, default=None, needed=True)
            source = remove_docstring(source, known)
        return source
    if input == "code_tokens":
        return token_field(fields, "code_tokens", where=where)
    raise CodeftError(f"data.input must be one of {', '.join(INPUTS)}, not {input!r}")


def function_summary(fields: Mapping[str, Any], *others: str, where: str) -> str:
    """Return a row's documentation: its tokens joined by blanks, or its first paragraph split like them.

    Args:
        fields: The row.
        *others: What else may hold such a text, taken as it is.
        where: The row's file and line, for errors.

    Raises:
        CodeftError: The row has none, or it is of the wrong type.
    """
    if "docstring_tokens" in fields:
        return " ".join(token_field(fields, "docstring_tokens", where=where).split())
    if "docstring" in fields:
        return " ".join(docstring_tokens(first_paragraph(text_field(fields, "docstring", where=where))))
    return text_field(fields, *others, where=where)
