"""Model folders from the Hugging Face hub, without ever hanging on a missing network."""

from __future__ import annotations

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
from codeft.types import CodeftError

DESCRIPTIONS = ["*.json", "*.txt", "*.model"]
CODE = "*.py"
HEAD = "head.safetensors"
"""What `codeft.export` writes beside the weights where there is no class of transformers."""

ADVICE = "download it elsewhere and give its folder: model.weights=/path/to/folder"
LOGIN = "log in (hf auth login, or the variable HF_TOKEN)"


def download(name: str, *, revision: str | None, advice: str = ADVICE, code: bool = False) -> Path:
    """Return a local folder with a hub model's config, tokenizer and weights.

    What the hub's cache holds is used as it is, so that a run is repeatable and works offline. The hub is
    asked once and quickly before anything else.

    Args:
        name: `owner/model`.
        revision: Branch, tag or commit; None is the main branch.
        advice: What to do where the hub can't be had.
        code: Whether to fetch the Python code that comes with it, too.

    Raises:
        CodeftError: The hub can't be reached, or has no such model.
    """
    cached = _find_cached(name, revision=revision)
    needed = named_files(cached) if cached is not None and code else ()
    if cached is not None and all((cached / file).is_file() for file in needed):
        return cached
    if constants.HF_HUB_OFFLINE:
        raise CodeftError(f"HF_HUB_OFFLINE is set and the cache doesn't have '{name}': {advice}")
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


def _find_cached(name: str, *, revision: str | None) -> Path | None:
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    complete = (folder / "config.json").is_file() and (any(folder.glob(SAFE)) or any(folder.glob(PICKLED)))
    return folder if complete else None
