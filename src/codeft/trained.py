"""What `run=` names: a run's folder, an exported one, one of transformers', or a model on the hub."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from codeft.build import OF_WEIGHTS
from codeft.export_folder import ABOUT, ELSEWHERE, ExportFolder
from codeft.models.hub import download
from codeft.run_folder import OUTPUTS, RunFolder
from codeft.types import CodeftError

log = logging.getLogger(__name__)

HUB_ID = r"[\w][\w.-]*/[\w][\w.-]*"

_DATA = {
    "features": {},
    "input": "code",
    "on_bad_row": "error",
    "batch_size": 32,
    "eval_batch_size": 32,
    "reader": {
        "_target_": "codeft.data.sources.LocalReader",
        "dir": ELSEWHERE,
        "source": None,
        "on_bad_row": "error",
    },
    "dir": ELSEWHERE,
    "source": None,
    "test_limit": None,
    "val_limit": None,
}
"""What rows are taken for where no run says it."""


def find_trained(cfg: DictConfig) -> RunFolder | ExportFolder:
    """Return what a verb's `run=` names.

    Args:
        cfg: The verb's config: `run`, and `task` and `model` where they were chosen.

    Raises:
        CodeftError: It is nothing that was trained, the hub can't give it, or its task isn't known.
    """
    path = locate_trained(cfg)
    if (path / ABOUT).is_file():
        exported = ExportFolder.read(path)
        _check_unchosen(cfg, exported)
        return exported
    if (path / "config.json").is_file():
        return ExportFolder(path, _described(path, cfg))
    run = RunFolder(path)
    _check_unchosen(cfg, run)
    return run


def locate_trained(cfg: DictConfig) -> Path:
    """Return the folder that a verb's `run=` names, downloaded where it is on the hub.

    Args:
        cfg: The verb's config.

    Raises:
        CodeftError: It is no folder here, and the hub can't give it.
    """
    name = str(cfg.run)
    path = Path(name).expanduser()
    if not path.exists() and is_hub_id(name):
        try:
            code = OmegaConf.select(cfg, "model.trust_remote_code") is True
            advice = "download it elsewhere and give its folder: run="
            path = download(name, revision=None, advice=advice, code=code)
            if code:
                log.warning("run=%s isn't pinned: what is run now is its commit %s", name, path.name)
        except CodeftError as error:
            raise CodeftError(
                f"there is no folder {name!r} in {str(Path.cwd())!r}, and as a name on the hub: {error}"
            ) from None
    return path


def is_hub_id(name: str) -> bool:
    """Return whether a name is a hub id rather than a path below this folder.

    >>> is_hub_id("owner/model"), is_hub_id("/owner/model"), is_hub_id("runs/of/mine")
    (True, False, False)
    """
    owner = Path(name).parent
    return re.fullmatch(HUB_ID, name) is not None and owner != OUTPUTS and not owner.is_dir()


def _check_unchosen(cfg: DictConfig, folder: RunFolder | ExportFolder) -> None:
    """Refuse another task or model; the run's own task may be named, if that sets nothing beside it."""
    for group in ("task", "model"):
        chosen = cfg.choices.get(group)
        if not chosen:
            continue
        if group == "task" and cfg.task.get("num_beams") is None:
            own = folder.load_config(trust_targets=cfg.trust_targets).choices.get(group)
            if chosen == own:
                continue
        raise CodeftError(f"a run knows its {group}: leave {group}={chosen} away")


def _described(path: Path, cfg: DictConfig) -> dict[str, object]:
    """Return what `codeft.json` would hold, of what was typed."""
    missing = [f"{group}=" for group in ("task", "model") if not cfg.choices.get(group)]
    if missing:
        raise CodeftError(
            f"{str(path)!r} is a model folder without {ABOUT}, so codeft doesn't know what it was trained "
            f"for: say {' and '.join(missing)}, such as task=summarization model=codet5"
        )
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    if plain["task"].get("num_beams") is None:  # the verb's own key, where the task has none
        plain["task"].pop("num_beams", None)
    if plain["model"].get("trust_remote_code") is None:  # likewise
        plain["model"].pop("trust_remote_code", None)
    given = [f"model.{key}" for key in OF_WEIGHTS if plain["model"].get(key) is not None]
    if given:
        raise CodeftError(
            f"run={path} is read with all of its own weights, and {' and '.join(given)} would change "
            "nothing: to use weights that a script saved, let a run train with optimizer.lr=0, codeft.train "
            f"model.weights={path} model.checkpoint=... optimizer.lr=0 trainer.max_epochs=1, and give run= "
            "that run's folder"
        )
    model = {**plain["model"], "weights": str(path.absolute()), "tokenizer": None, "revision": None}
    return {
        "task": plain["task"],
        "model": model,
        "data": _DATA,
        "choices": {"task": None, "model": None, "method": None, "data": None} | plain["choices"],
        "lang": plain.get("lang"),
    }
