"""Rows of data sets on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from codeft.data.jsonl import Row
from codeft.hub import ask_hub
from codeft.syntax import language_name
from codeft.types import CodeftError

CODESEARCHNET_LANGUAGES = ("python", "java", "javascript", "go", "php", "ruby")


def hub_rows(name: str, config: str | None, split: str) -> Iterator[Row]:
    """Yield the rows of a hub data set's split.

    Raises:
        CodeftError: The `datasets` package isn't installed, or the hub can't be reached.
    """
    advice = "download its files elsewhere and give their folder: data.dir=/path/to/folder"
    try:
        import datasets  # an optional and slow import
    except ImportError:
        raise CodeftError(
            f"reading {name} from the hub needs: pip install 'codeft[hub]'; or {advice}"
        ) from None
    split = "validation" if split == "valid" else split
    _go_offline_where_the_hub_is_silent()
    try:
        rows = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # the hub client raises many unrelated types
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CodeftError(f"the hub's data set {name} can't be had ({reason[0]}); {advice}") from error
    for i, fields in enumerate(rows):
        yield Row(f"{name}/{config or ''}/{split}:{i + 1}", dict(fields))


def chosen_languages(lang: str | None, known: Sequence[str]) -> list[str]:
    """Return the canonical names of the languages asked for.

    Args:
        lang: One of them; None for all.
        known: What the data set has.

    Raises:
        CodeftError: It doesn't have the language.
    """
    if lang is None:
        return list(known)
    if language_name(lang) not in known:
        raise CodeftError(f"this data set has {', '.join(known)}, not lang={language_name(lang)}")
    return [language_name(lang)]


def plain_names(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the hub's CodeSearchNet fields under the names of its files."""
    names = {
        "repository_name": "repo",
        "func_path_in_repository": "path",
        "func_code_string": "code",
        "func_code_tokens": "code_tokens",
        "func_documentation_string": "docstring",
        "func_documentation_tokens": "docstring_tokens",
        "func_code_url": "url",
    }
    return {names.get(key, key): value for key, value in fields.items()}


def _go_offline_where_the_hub_is_silent() -> None:
    """Have `datasets` look into its cache alone where the hub doesn't answer."""
    import datasets
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE and ask_hub() is not None:
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
