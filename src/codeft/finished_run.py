"""What was trained as objects again: config, parts and weights, from a run's folder or an exported one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from codeft.build import Parts, build_parts, build_trainer, without_weights
from codeft.callbacks.progress_bar import RunProgressBar
from codeft.checkpoints import fitting_checkpoint
from codeft.config import distrust_code, literal_config
from codeft.export_folder import ABOUT, ELSEWHERE, ExportFolder
from codeft.models.causal_families import FAMILIES, MODEL_TYPE
from codeft.models.exported import load_exported
from codeft.models.loading import RANDOM
from codeft.models.networks import read_config
from codeft.models.sizes import check_same_sizes, check_sizes, measure
from codeft.module import FineTuneModule
from codeft.precision import usable_precision
from codeft.run_folder import RunFolder
from codeft.types import CodeftError

CHANGEABLE = {
    "task": ("num_beams",),
    "data": ("dir", "source", "on_bad_row", "eval_batch_size", "val_limit", "test_limit"),
    "trainer": ("accelerator", "precision"),
}
"""What may differ in a run's config when the run is used again."""


class LoadWeightsCallback(pl.Callback):
    """Loads a checkpoint's weights and threshold once the callbacks before it have changed the model.

    Args:
        path: The checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Load every weight; a checkpoint of another model is an error."""
        checkpoint = fitting_checkpoint(pl_module, self.path)
        pl_module.load_state_dict(checkpoint["state_dict"])
        pl_module.on_load_checkpoint(checkpoint)


class LoadExportCallback(pl.Callback):
    """Loads an exported folder's weights.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: ExportFolder) -> None:
        self.folder = folder

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Load every weight; those of another model are an error."""
        assert isinstance(pl_module, FineTuneModule)
        if self.folder.untied:
            pl_module.model.untie_output()
        load_exported(pl_module.model.exported(), self.folder.path)


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What a finished run is made of, ready to be tested or used.

    Attributes:
        parts: Task, model, data, module and the method's callbacks.
        trainer: One device, no loggers.
        callbacks: What changes the model, in this order: the method's, then the loading of the weights.
    """

    parts: Parts
    trainer: pl.Trainer
    callbacks: Sequence[pl.Callback]

    def use(self) -> None:
        """Load the weights and leave training mode, however often it is asked for once."""
        module = self.parts.module
        if module.training:
            for callback in self.callbacks:
                callback.setup(self.trainer, module, "predict")
            module.eval().to(self.trainer.strategy.root_device)


def stored_config(folder: RunFolder | ExportFolder, changes: DictConfig) -> DictConfig:
    """Return a run's config, changed so that it needs nothing but its folder and its data.

    The model is built from its stored architecture and the run's own tokenizer, on one device.

    Args:
        folder: The run's folder, or what was exported of it.
        changes: The verb's config: `trust_targets`, what of `CHANGEABLE` isn't null, and whether the
            code that comes with the model may be run.

    Raises:
        CodeftError: The folder isn't a run's, its config isn't to be trusted, or it lacks a key to change.
    """
    stored = folder.load_config(trust_targets=changes.trust_targets)
    if isinstance(folder, RunFolder):
        stored = without_weights(stored, folder)
    cfg: Any = OmegaConf.to_container(stored, resolve=True)
    cfg["trainer"].update(devices=1, strategy="auto", num_nodes=1)
    cfg["trainer"].pop("limit_test_batches", None)  # of an older run: a part of the rows, or none
    cfg["logger"] = {}
    distrust_code(cfg["model"], asked=OmegaConf.select(changes, "model.trust_remote_code"))
    _forget_other_place(cfg["data"], changes.data)
    for section, keys in CHANGEABLE.items():
        for key in keys:
            if changes[section].get(key) is not None:
                _change(cfg, section, key, changes[section][key])
    trainer = cfg["trainer"]
    if changes.trainer.get("precision") is None and "precision" in trainer:
        trainer["precision"] = usable_precision(
            trainer["precision"], accelerator=trainer.get("accelerator", "auto")
        )
    return literal_config(cfg)


def _forget_other_place(data: dict[str, Any], changes: Any) -> None:
    """Let a place of data that is given replace the other kind's, where an exported folder knew of one."""
    if changes.get("dir") is None and changes.get("source") is None:
        return
    for section in (data, data["reader"]):
        for name in ("dir", "source"):
            if section.get(name) == ELSEWHERE:
                section[name] = None


def _change(cfg: dict[str, Any], section: str, key: str, value: Any) -> None:
    if key not in cfg[section]:
        choice = cfg["choices"].get(section) or "this one"
        raise CodeftError(f"{section}.{key} can't be changed: the run's {section}={choice} has no such key")
    cfg[section][key] = value
    if section == "data" and key in cfg["data"].get(
        "reader", {}
    ):  # stored configs are resolved: both hold the value
        cfg["data"]["reader"][key] = value


def reopen(
    cfg: DictConfig, folder: RunFolder | ExportFolder, *, checkpoint: str, work_dir: Path
) -> FinishedRun:
    """Build a finished run's parts.

    Args:
        cfg: As `stored_config` returns it.
        folder: The run's folder, or what was exported of it.
        checkpoint: "best" or "last".
        work_dir: Where the trainer writes, should it write.

    Raises:
        CodeftError: There is no such checkpoint, or a part refused its values.
    """
    path = folder.weights(checkpoint)
    _check_sizes(cfg, folder, path)
    parts = build_parts(cfg)
    loading = LoadWeightsCallback(path) if isinstance(folder, RunFolder) else LoadExportCallback(folder)
    callbacks = [*parts.callbacks, loading]
    trainer = build_trainer(
        cfg, RunFolder(work_dir), [*callbacks, RunProgressBar()], logger=False, enable_checkpointing=False
    )
    return FinishedRun(parts, trainer, callbacks)


def _check_sizes(cfg: DictConfig, folder: RunFolder | ExportFolder, weights: Path) -> None:
    """Check the sizes that a stored config names against the weights, before a network of them is built."""
    if cfg.model.get("weights") != RANDOM or not weights.is_file():
        return
    model: Any = OmegaConf.to_container(cfg.model, resolve=True)
    architecture = model.get("architecture")
    told = {**model, **architecture} if isinstance(architecture, dict) else model
    source = str(folder.config if isinstance(folder, RunFolder) else folder.path / ABOUT)
    if told.get(MODEL_TYPE) in (None, *FAMILIES):  # a class of a model's own may mean by a name what it likes
        check_sizes(told, source=source, room=measure([weights]))
    if isinstance(folder, ExportFolder):
        check_same_sizes(
            told, read_config(folder.path), source=source, other=str(folder.path / "config.json")
        )
