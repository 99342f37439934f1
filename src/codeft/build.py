"""From a config to the objects of a run: task, model, data, module, callbacks, trainer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pytorch_lightning as pl
import torch
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from transformers import PreTrainedTokenizerBase

from codeft.callbacks.best_checkpoint import BestCheckpointCallback
from codeft.callbacks.early_stopping import ResumableEarlyStopping
from codeft.callbacks.freed_memory import FreedMemoryCallback
from codeft.callbacks.last_checkpoint import LastCheckpointCallback
from codeft.callbacks.prefix_cache import PrefixCacheCallback
from codeft.callbacks.progress_bar import RunProgressBar
from codeft.callbacks.random_state import RandomStateCallback
from codeft.callbacks.score_log import ScoreLogCallback
from codeft.callbacks.timing import TimingCallback
from codeft.checkpoints import AtomicCheckpointIO
from codeft.config import instantiate, literal_config
from codeft.data.datamodule import CodeDataModule
from codeft.data.features import AbstractFeature
from codeft.logs import quiet_libraries
from codeft.models.base import AbstractCodeModel
from codeft.models.loading import RANDOM
from codeft.models.networks import read_config
from codeft.module import FineTuneModule
from codeft.precision import resolve_precision
from codeft.run_folder import RunFolder
from codeft.signatures import check_value, check_values
from codeft.tasks.base import AbstractGenerationTask, AbstractTask
from codeft.types import CodeftError

READER_KEYS = (
    "reader",
    "features",
    "dir",
    "size",
    "source",
    "include",
    "exclude",
    "ignored",
    "train",
    "valid",
)
"""Keys of `data` that aren't the data module's own: objects, and what the readers' configs refer to."""

OF_WEIGHTS = ("checkpoint", "label_order")
"""Keys of `model` that say how weights are loaded."""

LARGEST_SEED = 2**32 - 1
"""numpy takes no larger one."""

log = logging.getLogger(__name__)


@runtime_checkable
class ChecksModel(Protocol):
    """A method's callback that can tell from the model alone whether its values fit."""

    def check_model(self, model: AbstractCodeModel) -> object:
        """Raise CodeftError if they don't."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of."""

    task: AbstractTask
    model: AbstractCodeModel
    data: CodeDataModule
    module: FineTuneModule
    callbacks: list[pl.Callback]


def build_parts(cfg: DictConfig) -> Parts:
    """Build task, model, data, module and the method's callbacks, in this order.

    Raises:
        CodeftError: One of them refused its values.
    """
    check_value("seed", cfg.seed, kind=int, low=0, high=LARGEST_SEED)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    task = instantiate(cfg.task)
    check_features(cfg, task)
    check_fit(cfg, task)
    model = instantiate(cfg.model, output=task.output, num_texts=task.num_texts)
    data = build_data(cfg, task=task, tokenizer=model.tokenizer)
    instantiate(cfg.optimizer, params=[torch.nn.Parameter(torch.zeros(1))])  # says now what it refuses
    optimizer = instantiate(cfg.optimizer)
    scheduler = instantiate(cfg.scheduler) if cfg.scheduler else None
    module = FineTuneModule(model=model, task=task, optimizer=optimizer, scheduler=scheduler)
    callbacks = [instantiate(callback) for callback in cfg.callbacks.values() if callback]
    check_lengths(task, model)
    for callback in callbacks:
        if isinstance(callback, ChecksModel):  # before the data is read
            callback.check_model(model)
    return Parts(task, model, data, module, callbacks)


def without_weights(cfg: DictConfig, folder: RunFolder) -> DictConfig:
    """Return a run's config with which its model is built from what lies in the run's folder.

    The architecture is the stored one, the tokenizer the run's own. The weights are random: a checkpoint is
    to be loaded over them, and the original ones may be gone.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    plain["model"].update(weights=RANDOM, tokenizer=str(folder.tokenizer.absolute()))
    plain["model"].update({key: None for key in OF_WEIGHTS if key in plain["model"]})
    return literal_config(plain)


def build_data(cfg: DictConfig, *, task: AbstractTask, tokenizer: PreTrainedTokenizerBase) -> CodeDataModule:
    """Build the data module from its reader, the method's features and plain settings."""
    reader = instantiate(cfg.data.reader)
    features = build_features(cfg)
    plain = OmegaConf.to_container(cfg.data, resolve=True)
    assert isinstance(plain, dict)
    settings = {str(key): value for key, value in plain.items() if key not in READER_KEYS}
    check_values(CodeDataModule, settings, prefix="data.")
    try:
        return CodeDataModule(task=task, tokenizer=tokenizer, reader=reader, features=features, **settings)
    except TypeError as error:
        raise CodeftError(f"a key of data isn't known: {error}") from error


def build_features(cfg: DictConfig) -> dict[str, AbstractFeature]:
    """Build what is asked of an example, by name."""
    return {str(name): instantiate(feature) for name, feature in cfg.data.features.items() if feature}


def check_features(cfg: DictConfig, task: AbstractTask) -> None:
    """Check, before the model is loaded, that it reads what its input shall have.

    Raises:
        CodeftError: It doesn't, or the task draws other sources than those that have the features.
    """
    asked = {name: feature for name, feature in build_features(cfg).items() if feature.model_input}
    if not asked:
        return
    name, feature = next(iter(asked.items()))
    if type(task).augment is not AbstractTask.augment:
        raise CodeftError(
            f"task={task.name} masks its sources anew each time, and data.features.{name} wouldn't fit: "
            f"set data.features.{name}=null"
        )
    try:
        model_class = get_object(cfg.model._target_)
    except Exception:  # there is no such name, or Hydra won't run it: so much is said when it is built
        return
    is_known = isinstance(model_class, type) and issubclass(model_class, AbstractCodeModel)
    known: frozenset[str] = model_class.further_inputs if is_known else frozenset()
    for name, feature in asked.items():
        if feature.model_input not in known:
            raise CodeftError(
                f"{model_class.__name__} reads no {feature.model_input.replace('_', ' ')}, which "
                f"data.features.{name} would give it: choose an encoder of RoBERTa's family, such as "
                f"model=graphcodebert, or set data.features.{name}=null"
            )


def check_fit(cfg: DictConfig, task: AbstractTask) -> None:
    """Check, before anything is loaded, that the model gives what the task asks for and has the positions.

    `model.architecture` tells these of random weights, a local folder's `config.json` of its own; where
    neither does, `check_lengths` comes later.

    Raises:
        CodeftError: It doesn't, or the sources are longer.
    """
    try:
        model_class = get_object(cfg.model._target_)
    except Exception:  # so much is said when it is built
        return
    if not isinstance(model_class, type) or not issubclass(model_class, AbstractCodeModel):
        return
    model_class.check_output(task.output)
    weights: Any = cfg.model.get("weights")
    config = Path(str(weights)).expanduser() / "config.json"
    values: Any = None
    if weights == RANDOM:
        values = OmegaConf.to_container(cfg.model, resolve=True).get("architecture")  # type: ignore[union-attr]
    elif config.is_file():
        values = read_config(config.parent)
    if isinstance(values, dict):
        _check_source_length(task, model_class.stated_positions(values))


def _check_source_length(task: AbstractTask, limit: int | None) -> None:
    if limit is not None and task.max_source_length > limit:
        raise CodeftError(
            f"task.max_source_length={task.max_source_length} is more than the model's {limit} positions; "
            f"set task.max_source_length={limit}"
        )


def check_lengths(task: AbstractTask, model: AbstractCodeModel) -> None:
    """Check that the task's sources fit the model's positions, with their targets where both share them.

    Beams, too, are checked: each goes on in two ways, and in its first step there is one.

    Raises:
        CodeftError: They don't.
    """
    if isinstance(task, AbstractGenerationTask) and 2 * task.num_beams > model.vocab_size:
        raise CodeftError(
            f"task.num_beams must be at most half of the model's vocabulary of {model.vocab_size}, not "
            f"{task.num_beams}"
        )
    limit = model.max_source_length
    _check_source_length(task, limit)
    together = task.max_source_length + task.max_target_length
    if limit is not None and model.shares_positions and together > limit:
        raise CodeftError(
            f"source and target share the model's {limit} positions; task.max_source_length="
            f"{task.max_source_length} and task.max_target_length={task.max_target_length} make {together}: "
            "lower one of them"
        )


def build_trainer(
    cfg: DictConfig, folder: RunFolder, callbacks: list[pl.Callback], **values: Any
) -> pl.Trainer:
    """Build the trainer, its loggers writing into the run's folder.

    Args:
        cfg: The run's config.
        folder: The run's folder.
        callbacks: All of them.
        values: Named settings of the trainer that replace the config's.
    """
    quiet_libraries()  # once more: Lightning sets its log's level when it is imported
    check_trainer(cfg.trainer)
    settings = {
        "callbacks": callbacks,
        "default_root_dir": str(folder.path),
        "precision": resolve_precision(cfg.trainer.precision, accelerator=cfg.trainer.accelerator),
        "plugins": [AtomicCheckpointIO()],
        **values,
    }
    if "logger" not in settings:
        settings["logger"] = [
            instantiate(logger, save_dir=str(folder.path)) for logger in cfg.logger.values() if logger
        ]
    return instantiate(cfg.trainer, **settings)


def check_trainer(trainer: DictConfig) -> None:
    """Check what Lightning would take and trip over, or take and train nothing.

    Raises:
        CodeftError: The run has no length, or no step.
    """
    check_value("trainer.accumulate_grad_batches", trainer.accumulate_grad_batches, kind=int, low=1)
    if trainer.get("gradient_clip_val") is not None:
        check_value("trainer.gradient_clip_val", trainer.gradient_clip_val, kind=float, low=0)
    epochs, steps = trainer.max_epochs, trainer.get("max_steps", -1)
    if epochs in (None, -1) and steps in (None, -1):
        raise CodeftError(f"trainer.max_epochs={epochs} needs trainer.max_steps, or training never ends")
    if epochs not in (None, -1):
        check_value("trainer.max_epochs", epochs, kind=int, low=1)


def run_callbacks(cfg: DictConfig, folder: RunFolder, task: AbstractTask) -> list[pl.Callback]:
    """Return what every training run needs beside its method: checkpoints, random states, times, log, bars.

    `best.ckpt` follows the task's metric, `last.ckpt` is the latest: a monitored checkpoint's `save_last`
    isn't that.

    Raises:
        CodeftError: `patience` or a key of `checkpoint` isn't what it should be.
    """
    check_values(LastCheckpointCallback, dict(cfg.checkpoint), prefix="checkpoint.")
    monitor = f"val/{task.monitor}"
    best = BestCheckpointCallback(folder.best, monitor=monitor, mode=task.mode)
    last = LastCheckpointCallback(
        folder.last, every_n_steps=cfg.checkpoint.every_n_steps, every_minutes=cfg.checkpoint.every_minutes
    )
    watching = [TimingCallback(), ScoreLogCallback(), RunProgressBar(leave=True)]
    callbacks = [RandomStateCallback(), FreedMemoryCallback(), *watching, best, last]
    if "cache" in cfg:  # pre-training freezes nothing
        callbacks.append(
            PrefixCacheCallback(mode=cfg.cache, folder=cfg.cache_dir, limit_gb=cfg.cache_limit_gb)
        )
    if cfg.patience is not None:
        check_value("patience", cfg.patience, kind=int, low=1)
        callbacks.append(ResumableEarlyStopping(monitor, mode=task.mode, patience=cfg.patience))
    return callbacks
