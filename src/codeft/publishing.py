"""An exported folder on the Hugging Face hub, for those who have an account there."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi, constants, get_token

from codeft.error_text import one_line
from codeft.hub import ask_hub
from codeft.trained import HUB_ID
from codeft.types import CodeftError


def check_hub(name: str) -> None:
    """Check, before anything is computed, that a folder could be uploaded.

    Args:
        name: `owner/name`.

    Raises:
        CodeftError: It is no such name, nobody is logged in, or the hub can't be reached.
    """
    if not isinstance(name, str) or not re.fullmatch(HUB_ID, name):
        raise CodeftError(f"expected push_to_hub=owner/name, not {name!r}")
    advice = "leave push_to_hub= away to write the folder alone"
    if constants.HF_HUB_OFFLINE:
        raise CodeftError(f"HF_HUB_OFFLINE is set: unset it, or {advice}")
    if not get_token():
        raise CodeftError(f"nobody is logged in on the hub: run hf auth login, or set HF_TOKEN; or {advice}")
    silence = ask_hub()
    if silence is not None:
        raise CodeftError(f"can't reach the hub ({silence}): {advice}") from silence


def publish(folder: Path, name: str, *, private: bool) -> str:
    """Upload a folder.

    Args:
        folder: An exported one.
        name: `owner/name`; the repository is made where it isn't there.
        private: Whether a new repository can be seen by its owner alone; one that is there stays as it is.

    Returns:
        Its address.

    Raises:
        CodeftError: The hub refused it; the folder stays.
    """
    api = HfApi()
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=str(folder), commit_message="codeft export")
    except Exception as error:  # the hub's client raises many unrelated types
        said = one_line(error)
        raise CodeftError(
            f"the hub didn't take '{name}': {said}; the folder is complete in {str(folder)!r}"
        ) from error
    return str(address)
