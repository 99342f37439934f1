"""Model folders from the Hugging Face hub, without ever hanging on a missing network."""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from codeft.hub import ask_hub
from codeft.models.remote_code import named_files
from codeft.models.state_dict import PICKLED, SAFE
from codeft.models.tokenizer_files import has_tokenizer
from codeft.types import CodeftError

DESCRIPTIONS = ["*.json", "*.txt", "*.model"]
CODE = "*.py"
WHOLE = ("model.safetensors", "pytorch_model.bin")
"""Weights in one file, in the order in which transformers takes them."""
HEAD = "head.safetensors"
"""What `codeft.export` writes beside the weights where there is no class of transformers."""

ADVICE = "download it elsewhere and give its folder: model.weights=/path/to/folder"
LOGIN = "log in (hf auth login, or the variable HF_TOKEN)"


def download(
    name: str,
    *,
    revision: str | None,
    advice: str = ADVICE,
    code: bool = False,
    with_tokenizer: bool = True,
) -> Path:
    """Return a local folder with a hub model's config, tokenizer and weights.

    What the hub's cache holds is used as it is, so that a run is repeatable and works offline. The hub is
    asked once and quickly before anything else.

    Args:
        name: `owner/model`.
        revision: Branch, tag or commit; None is the main branch.
        advice: What to do where the hub can't be had.
        code: Whether to fetch the Python code that comes with it, too.
        with_tokenizer: Whether the cache must have the model's tokenizer, too, to be used as it is.

    Raises:
        CodeftError: The hub can't be reached, or has no such model.
    """
    cached = _find_cached(name, revision=revision, with_tokenizer=with_tokenizer)
    needed = named_files(cached) if cached is not None and code else ()
    if cached is not None and all((cached / file).is_file() for file in needed):
        return cached
    if constants.HF_HUB_OFFLINE:
        raise CodeftError(f"HF_HUB_OFFLINE is set and the cache doesn't have all of '{name}': {advice}")
    silence = ask_hub()
    if silence is not None:
        raise CodeftError(f"can't reach the hub for '{name}' ({silence}): {advice}") from silence
    try:
        files = HfApi().list_repo_files(name, revision=revision)
        weights = SAFE if any(Path(file).match(SAFE) for file in files) else PICKLED
        patterns = [*DESCRIPTIONS, weights, HEAD, *([CODE] if code else [])]
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except GatedRepoError as error:  # a kind of RepositoryNotFoundError
        raise CodeftError(
            f"the owner of '{name}' gives it to who asks: ask at {constants.ENDPOINT}/{name} and {LOGIN}; "
            f"or {advice}"
        ) from error
    except RepositoryNotFoundError as error:
        raise CodeftError(
            f"the hub shows no model '{name}': check the spelling (owner/model); if it is private, {LOGIN}; "
            f"or {advice}"
        ) from error
    except RevisionNotFoundError as error:
        raise CodeftError(
            f"the hub's '{name}' has no revision '{revision}': give a branch, tag or commit that it has, or "
            "model.revision=null for its main branch"
        ) from error
    except Exception as error:
        raise CodeftError(
            f"the hub didn't give '{name}' (revision {revision or 'main'}): {error}; "
            f"check the name and your access to it, or {advice}"
        ) from error


def _find_cached(name: str, *, revision: str | None, with_tokenizer: bool) -> Path | None:
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    complete = (folder / "config.json").is_file() and _has_weights(folder)
    return folder if complete and (not with_tokenizer or has_tokenizer(folder)) else None


def _has_weights(folder: Path) -> bool:
    """Return whether all weights are there, in one file or in all those that an index names.

    Of several kinds the first counts that transformers would take.
    """
    for whole in WHOLE:
        if (folder / whole).is_file():
            return True
        index = folder / f"{whole}.index.json"
        if index.is_file():
            shards = _shards(index)
            return bool(shards) and all((folder / shard).is_file() for shard in shards)
    return False


def _shards(index: Path) -> set[str]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # cut off, or something else
        return set()
    return names if all(isinstance(name, str) for name in names) else set()
