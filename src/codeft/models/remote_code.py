"""Python code that comes with a model (`trust_remote_code`): run where the user asks for it, else refused."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_class_from_dynamic_module

from codeft.error_text import one_line
from codeft.models.networks import quiet_transformers
from codeft.types import CodeftError

KEY = "model.trust_remote_code"
AUTO_MAP = "auto_map"
"""Key of `config.json` and `tokenizer_config.json`: which file's class stands for one of transformers'."""

_KEYS = {"model": "weights", "tokenizer": "tokenizer"}
"""By which key another one is given."""

MEANING = "it can do anything that your account can: read, change and send your files"

log = logging.getLogger(__name__)


class RemoteCode:
    """Whether the code that comes with a model may be run, and the one place that says so.

    Args:
        asked: Whether the user asks for it; None where the model's family has no such key.
    """

    def __init__(self, *, asked: bool | None) -> None:
        self._asked = asked
        self._told: set[Path] = set()

    @property
    def allowed(self) -> bool:
        """Return whether the user asked for it."""
        return self._asked is True

    def permit(self, folder: Path, *, what: str) -> None:
        """Warn, once a folder, that its code is run now.

        Args:
            folder: Where the model lies.
            what: What can't be had otherwise, such as "model".

        Raises:
            CodeftError: The user didn't ask for it.
        """
        files = ", ".join(code_files(folder)) or "no *.py there"
        if self._asked is None:
            raise CodeftError(
                f"the {what} in {folder} needs Python code of its own ({files}), which transformers calls "
                f"trust_remote_code: {MEANING}. This family is read by codeft's own classes, so there is no "
                f"{KEY} for it: give a {what} that needs no code (model.{_KEYS[what]}=)"
            )
        if not self._asked:
            raise CodeftError(
                f"the {what} in {folder} needs Python code that comes with it ({files}), which transformers "
                f"calls trust_remote_code. Running it is trusting whoever wrote it, for {MEANING}; so codeft "
                f"doesn't, unless it is asked to: read these files, then give {KEY}=true"
            )
        if folder not in self._told:
            self._told.add(folder)
            log.warning(
                "%s=true: running the Python code in %s (%s); %s", KEY, folder.absolute(), files, MEANING
            )


def tell_unpinned(name: str, folder: Path, *, revision: str | None) -> None:
    """Warn where the hub may give other code tomorrow than the code that was read today.

    Args:
        name: The hub id.
        folder: Its folder in the hub's cache, which is named after the commit.
        revision: What was asked for.
    """
    if revision is None or not re.fullmatch(r"[0-9a-f]{40}", revision):
        log.warning(
            "the code of %s isn't pinned: its owner can change what %s means; the code run now is that of "
            "commit %s (model.revision=%s pins it)",
            name, revision or "the main branch", folder.name, folder.name,
        )  # fmt: skip


def code_files(folder: Path) -> list[str]:
    """Return the names of a folder's Python files; where there are none, of those that its configs name."""
    return sorted(path.name for path in folder.glob("*.py")) or sorted(named_files(folder))


def named_files(folder: Path) -> set[str]:
    """Return the names of the Python files of its own that the configs in a folder name."""
    files = ("config.json", "tokenizer_config.json")
    references = [word for name in files for word in _references(_auto_map(folder / name))]
    return {f"{word.rpartition('.')[0]}.py" for word in references if "." in word}


def _references(named: Any) -> list[str]:
    """Return the classes that an `auto_map` names; a tokenizer's is a pair, or was one alone."""
    values = list(named.values()) if isinstance(named, dict) else [named]
    words = [word for value in values for word in (value if isinstance(value, list) else [value])]
    return [word for word in words if isinstance(word, str)]


def names_tokenizer(folder: Path) -> bool:
    """Return whether the tokenizer in a folder is one of a class of its own."""
    named = _auto_map(folder / "tokenizer_config.json")
    return isinstance(named, list) or (isinstance(named, dict) and named.get("AutoTokenizer") is not None)


def check_tokenizer_code(folder: Path) -> None:
    """Check that what transformers runs to read a tokenizer lies in its folder; nothing is run yet.

    Raises:
        CodeftError: A config names another repository's class, which transformers would fetch and run.
    """
    config = _auto_map(folder / "config.json")  # read first, for the model's type
    _check_own(
        _references([config.get("AutoConfig")] if isinstance(config, dict) else []), folder / "config.json"
    )
    file = folder / "tokenizer_config.json"
    _check_own(_references(_auto_map(file)), file)


def _check_own(references: Sequence[str], file: Path) -> None:
    for reference in references:
        if "--" in reference:
            raise CodeftError(
                f"{file} names code of another repository ({reference}), which codeft doesn't follow: put "
                "its *.py files beside the config, and name them there without what ends in --"
            )


def _auto_map(path: Path) -> Any:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return said.get(AUTO_MAP) or {} if isinstance(said, dict) else {}


def load_class(folder: Path, config: Mapping[str, Any], name: str) -> Any:
    """Run a model's code, which was permitted, and return one of its classes.

    Args:
        folder: Where the code lies.
        config: What `config.json` says.
        name: transformers' name of what the class stands for, such as "AutoConfig".

    Raises:
        CodeftError: The config names no such class or another repository's, or the code can't be run.
    """
    named = config[AUTO_MAP]
    reference = named.get(name) if isinstance(named, dict) else None
    if not isinstance(reference, str):
        raise CodeftError(
            f"{folder / 'config.json'} names no {name} in its {AUTO_MAP}: its code has no decoder-only model"
        )
    _check_own([reference], folder / "config.json")
    try:
        with quiet_transformers():
            found: Any = get_class_from_dynamic_module(reference, str(folder), local_files_only=True)
    except Exception as error:  # whatever a stranger's code raises
        said = one_line(error)
        raise CodeftError(
            f"the code of the model in {folder} can't be run, {type(error).__name__}: {said}"
        ) from error
    found.register_for_auto_class(name)  # so that what is saved brings the code along
    return found
