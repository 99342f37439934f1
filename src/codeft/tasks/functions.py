"""How tasks read rows of functions with their documentation, in CodeSearchNet's schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeft.syntax import (
    LANGUAGES,
    code_tokens,
    docstring_tokens,
    first_paragraph,
    language_name,
    remove_docstring,
)
from codeft.tasks.base import text_field, token_field
from codeft.tasks.fields import first_field, says_something
from codeft.types import CodeftError

INPUTS = ("code", "code_tokens")

AS_TEXT = (
    "rows of another language are trained on as text (no tree, no data flow, no CodeBLEU): name their fields "
    '"source" and "target" and leave "language" away'
)
"""How rows are to look for which there is no grammar: nothing can be cut out of their code."""


def function_language(
    fields: Mapping[str, Any], *, where: str, default: str | None, needed: bool = False
) -> str:
    """Return the name of a row's language, whether or not there is a grammar for it.

    Args:
        fields: The row.
        where: Its file and line, for errors.
        default: The language of a row that doesn't say; None for "".
        needed: Whether the row must say.

    Raises:
        CodeftError: The language seems to be misspelt, or is needed and not told.
    """
    if not says_something(fields.get("language")):
        if not needed:
            return default or ""
        raise CodeftError(
            f"""{where}: expected a field "language", but the row has {", ".join(fields)}; say which of """
            f"{', '.join(LANGUAGES)} it is by lang=; {AS_TEXT}"
        )
    name = text_field(fields, "language", where=where)
    try:
        return language_name(name)
    except CodeftError as error:
        raise CodeftError(f"{where}: {error}") from None


def function_source(fields: Mapping[str, Any], *, where: str, input: str, lang: str) -> str:
    """Return a row's function without its docstring.

    Args:
        fields: The row.
        where: Its file and line, for errors.
        input: "code" for the source text, "code_tokens" for the published tokens joined by blanks. Where a
            row's preferred one is empty, the other is taken; of the text, its tree's tokens.
        lang: The row's language; "" where it doesn't say.

    Raises:
        CodeftError: A field is missing or of the wrong type, `input` is unknown, or the documentation can't
            be cut out of `code`, for there is no grammar.
    """
    if input not in INPUTS:
        raise CodeftError(f"data.input must be one of {', '.join(INPUTS)}, not {input!r}")
    texts = [name for name in ("code", "source") if name in fields]
    if input == "code":
        name = first_field(fields, *texts, "code_tokens") if texts else "source"
    else:
        name = first_field(fields, "code_tokens", *texts) if input in fields else input
    if name == "code_tokens":
        return token_field(fields, name, where=where)
    source = text_field(fields, "code", "source", where=where)
    if name != "code":  # a bare source is taken as it is
        return remove_docstring(source, lang) if lang in LANGUAGES else source
    lang = lang or function_language(fields, where=where, default=None, needed=True)
    if lang not in LANGUAGES:
        raise CodeftError(
            f"""{where}: expected "code" in one of {", ".join(LANGUAGES)}, so that its documentation can """
            f"be cut out of it, got {lang!r}, which codeft has no grammar for; {AS_TEXT}"
        )
    source = remove_docstring(source, lang)
    return source if input == "code" else " ".join(code_tokens(source, lang))


def function_summary(fields: Mapping[str, Any], *others: str, where: str) -> str:
    """Return a row's documentation: its tokens joined by blanks, or its first paragraph split like them.

    Args:
        fields: The row.
        *others: What else may hold such a text, taken as it is.
        where: The row's file and line, for errors.

    Raises:
        CodeftError: The row has none, or it is of the wrong type.
    """
    name = first_field(fields, "docstring_tokens", "docstring", *others)
    if name == "docstring_tokens":
        return " ".join(token_field(fields, "docstring_tokens", where=where).split())
    if name == "docstring":
        return " ".join(docstring_tokens(first_paragraph(text_field(fields, "docstring", where=where))))
    return text_field(fields, *others, where=where)
