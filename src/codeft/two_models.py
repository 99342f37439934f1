"""Which two models a comparison is about: runs, exported folders, published models, a run's beginning."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from codeft.build import OF_WEIGHTS, build_parts, build_trainer
from codeft.callbacks.progress_bar import RunProgressBar
from codeft.config import literal_config
from codeft.export_folder import ABOUT, ELSEWHERE, ExportFolder
from codeft.finished_run import FinishedRun, reopen, stored_config
from codeft.run_folder import RunFolder
from codeft.trained import find_trained, locate_trained
from codeft.types import CodeftError

BEFORE = "before"
"""Names what a run began with."""

_BEGINNING = ("weights", "tokenizer", *OF_WEIGHTS)
"""Keys of a run's model that say where its weights came from."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of two models, not yet built.

    Attributes:
        name: As typed; `BEFORE` for what a run began with.
        cfg: By which it is built.
        folder: Whose weights are loaded then; None where the config names them.
    """

    name: str
    cfg: DictConfig
    folder: RunFolder | ExportFolder | None

    @property
    def has_rows(self) -> bool:
        """Return whether its config says where rows lie."""
        return ELSEWHERE not in (self.cfg.data.get("dir"), self.cfg.data.get("source"))

    def open(self, *, checkpoint: str, work_dir: Path) -> FinishedRun:
        """Build the model, load its weights, and put it on its device in eval mode.

        Args:
            checkpoint: "best" or "last", of a run.
            work_dir: Where the trainer writes, should it write.

        Raises:
            CodeftError: Its weights can't be found or don't fit.
        """
        if self.folder is not None:
            run = reopen(self.cfg, self.folder, checkpoint=checkpoint, work_dir=work_dir)
        else:
            try:
                parts = build_parts(self.cfg)
            except CodeftError as error:
                raise CodeftError(f"{self.name}: {error}") from None
            trainer = build_trainer(
                self.cfg, RunFolder(work_dir), [RunProgressBar()], logger=False, enable_checkpointing=False
            )
            run = FinishedRun(parts, trainer, [])
        run.use()
        return run


def find_sides(cfg: DictConfig) -> tuple[Side, Side]:
    """Return the two models that a verb's `run=` or `runs=` names.

    Args:
        cfg: The verb's config.

    Raises:
        CodeftError: None or both are given, or one names nothing that was trained.
    """
    if bool(cfg.run) == bool(cfg.runs):
        given = "not both" if cfg.run else "and got none"
        raise CodeftError(f"expected one of run=<a run's folder> and runs=[A,B], {given}")
    if cfg.run:
        return _before_and_after(cfg)
    names = split_names(cfg.runs)
    found: dict[int, Side] = {}
    waiting = []  # published models, which take what they don't say from the other
    for i, name in enumerate(names):
        asked = _asking_for(cfg, name)
        path = locate_trained(asked)
        if not (path / ABOUT).is_file() and (path / "config.json").is_file():
            waiting.append((i, path))
            continue
        with open_dict(asked):
            asked.choices = {}
        folder = find_trained(asked)
        found[i] = Side(name, stored_config(folder, _changes(cfg, data=not found)), folder)
    for i, path in waiting:
        like = next((side.cfg for side in found.values()), None)
        found[i] = Side(names[i], _published(cfg, path, like=like), None)
    return found[0], found[1]


def split_names(runs: object) -> tuple[str, str]:
    """Return the two names in `runs=[A,B]`; a name may hold any character.

    Args:
        runs: "[A,B]", or a list.

    Raises:
        CodeftError: They aren't two, or no comma parts the text into two.

    >>> split_names("[outputs/a, microsoft/unixcoder-base]")
    ('outputs/a', 'microsoft/unixcoder-base')
    """
    words = runs.removeprefix("[").removesuffix("]").split(",") if isinstance(runs, str) else runs
    if not isinstance(words, Sequence) or len(words) < 2:
        raise CodeftError(f"expected two models, runs=[A,B], got {runs!r}")
    ways = [(",".join(map(str, words[:i])), ",".join(map(str, words[i:]))) for i in range(1, len(words))]
    parted = [tuple(name.strip(" '\"") for name in way) for way in ways]
    there = [pair for pair in parted if all(Path(name).expanduser().exists() for name in pair)]
    if len(there or parted) != 1:
        raise CodeftError(f"expected two models, runs=[A,B], got {len(words)} names: {runs}")
    first, second = (there or parted)[0]
    if not first or not second:
        raise CodeftError(f"expected two models, runs=[A,B], got an empty name: {runs}")
    return first, second


def _before_and_after(cfg: DictConfig) -> tuple[Side, Side]:
    folder = find_trained(cfg)
    if not isinstance(folder, RunFolder):
        raise CodeftError(
            f"run={cfg.run} doesn't say which weights it began with: name them, runs=[<model>,{cfg.run}]"
        )
    changed = stored_config(folder, cfg)
    plain: Any = OmegaConf.to_container(changed, resolve=True)
    stored: Any = OmegaConf.to_container(
        folder.load_config(trust_targets=cfg.trust_targets).model, resolve=True
    )
    plain["model"].update({key: stored[key] for key in _BEGINNING if key in stored})
    return Side(BEFORE, literal_config(plain), None), Side(str(cfg.run), changed, folder)


def _asking_for(cfg: DictConfig, name: str) -> DictConfig:
    asked = copy.deepcopy(cfg)
    asked.merge_with(literal_config({"run": name}))
    return asked


def _changes(cfg: DictConfig, *, data: bool) -> DictConfig:
    """Return what a run's config may be changed by: not what was typed for a published model."""
    changes = copy.deepcopy(cfg)
    with open_dict(changes):
        changes.task = {}
        changes.model = {"trust_remote_code": OmegaConf.select(cfg, "model.trust_remote_code")}
        if not data:
            changes.data = {}
    return changes


def _published(cfg: DictConfig, path: Path, *, like: DictConfig | None) -> DictConfig:
    """Return the config of a published model: of the family and task that were typed, or the other's."""
    asked = _asking_for(cfg, str(path))
    if like is not None:
        with open_dict(asked):
            for group in ("task", "model"):
                if not cfg.choices.get(group):
                    asked[group] = copy.deepcopy(like[group])
                    asked.choices[group] = like.choices[group]
            asked.model.update({key: None for key in OF_WEIGHTS if key in asked.model})
    folder = find_trained(asked)
    return stored_config(folder, _changes(cfg, data=like is None))
