"""CodeXGLUE on the Hugging Face hub, its fields under the names that the published files have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from codeft.data.hub_rows import CODESEARCHNET_LANGUAGES, chosen_languages, hub_rows
from codeft.data.jsonl import Row
from codeft.types import CodeftError

HUB: Mapping[str, str] = {
    "summarization": "google/code_x_glue_ct_code_to_text",
    "translation": "google/code_x_glue_cc_code_to_code_trans",
    "refinement": "google/code_x_glue_cc_code_refinement",
    "generation": "google/code_x_glue_tc_text_to_code",
    "code_search": "google/code_x_glue_tc_nl_code_search_adv",
    "clone_detection": "google/code_x_glue_cc_clone_detection_big_clone_bench",
    "clone_detection_poj104": "google/code_x_glue_cc_clone_detection_poj104",
    "defect_detection": "google/code_x_glue_cc_defect_detection",
}
"""The data sets by task. Line completion's isn't here: its rows have one split and no answers."""

SIZES = ("small", "medium")
"""The two sets of Bugs2Fix, by the length of their functions."""


def codexglue_hub_rows(split: str, *, task: str, lang: str | None, size: str) -> Iterator[Row]:
    """Yield the rows of a task's split.

    Args:
        split: "train", "valid" or "test".
        task: The task's name.
        lang: The language asked for; None for all there are.
        size: Of refinement, one of `SIZES`.

    Raises:
        CodeftError: The hub doesn't have the task or the language, or can't be read.
    """
    if task not in HUB:
        raise CodeftError(
            f"the hub has no splits for task={task}; give the folder of its published files: data.dir="
        )
    configs: list[str | None] = [None]
    if task == "summarization":
        configs = [*chosen_languages(lang, CODESEARCHNET_LANGUAGES)]
    elif task == "code_search":
        chosen_languages(lang, ("python",))
    elif task == "refinement":
        configs = [size]
    named = _NAMED.get(task, dict)
    for config in configs:
        for row in hub_rows(HUB[task], config, split):
            yield Row(row.where, named(row.fields))


def _clone_pair(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pair as `clone_pairs` makes it of the published files, its id both functions' ids."""
    names = {"func1": "code1", "func2": "code2"}
    pair = {names.get(key, key): value for key, value in fields.items()}
    if "id1" in fields and "id2" in fields:
        pair["id"] = f"{fields['id1']} {fields['id2']}"
    return pair


def _searched_function(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of AdvTest without the fields that the hub has filled because the file lacks them."""
    told = {key: value for key, value in fields.items() if value not in ("", [], None)}
    return {"language": "python", **told}


_NAMED: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "clone_detection": _clone_pair,
    "code_search": _searched_function,
}
"""What a row of the hub has other names for; the other sets' are the files'."""
