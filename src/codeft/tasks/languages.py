"""Languages that a task is asked for by name, with a grammar or as plain text."""

from __future__ import annotations

import logging

from codeft.syntax import LANGUAGES, language_name

log = logging.getLogger(__name__)


def asked_language(lang: str) -> str:
    """Return the name of a language that was asked for; say so where codeft has no grammar for it.

    Args:
        lang: As typed in `lang=`.

    Raises:
        CodeftError: The name seems to be misspelt.
    """
    name = language_name(lang)
    if name not in LANGUAGES:
        log.warning(
            "codeft has no grammar for %s: its code is read and written as text, without tree, data flow and "
            "CodeBLEU",
            name,
        )
    return name


def parsed_as(name: str | None) -> str:
    """Return the language whose grammar parses code of a language, as `Example.lang` says it; "" for none.

    >>> parsed_as("java"), parsed_as("kotlin"), parsed_as(None)
    ('java', '', '')
    """
    return name if name is not None and name in LANGUAGES else ""
