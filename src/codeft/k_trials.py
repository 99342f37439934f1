"""Short trainings with some K, and which of these K costs nothing."""

from __future__ import annotations

import gc
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, LearningRateMonitor

from codeft.build import Parts, build_parts, build_trainer
from codeft.callbacks.progress_bar import RunProgressBar
from codeft.callbacks.sudden_end import SuddenEndCallback, interrupts_handed_on
from codeft.data.datamodule import EncodedDataset
from codeft.data.sampling import ResumableDataLoader
from codeft.metrics.bootstrap import RowStatistics, standard_error
from codeft.module import NonFiniteLossError
from codeft.run_folder import RunFolder
from codeft.stored.tasks import score_own_predictions
from codeft.summary import prediction_rows
from codeft.types import CodeftError

_SPLIT = "valid"

_LOSS_MARGIN = 0.01
"""Share of base's loss that is nothing: of text, runs that differ in their seed alone differ by as much."""

_OTHERS_WATCH = (Checkpoint, EarlyStopping, LearningRateMonitor)
"""What a user may have added to a run and a trial can't have: it has neither logger nor validation."""

_OF_LAUNCHERS = (
    "LOCAL_RANK",
    "RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "NODE_RANK",
    "SLURM_NTASKS",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a short training came to on validation rows.

    Attributes:
        score: The task's metric, by row, of which more is better; None where it has none.
        loss: Its loss in nats, of text and where there is no score; else None.
    """

    score: RowStatistics | None
    loss: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One K beside the others.

    Attributes:
        k: None for base.
        score: The task's metric, where it has one.
        behind_best: The best score less it.
        score_error: Standard error of that.
        loss: In nats, where the task has one.
        costs_nothing: See `judge`.
    """

    k: int | None
    score: float | None
    behind_best: float | None
    score_error: float | None
    loss: float | None
    costs_nothing: bool


def candidates(num_layers: int, *, most: int) -> list[int | None]:
    """Return what is tried: base, 0, a quarter, half, three quarters, and all layers but one.

    Args:
        num_layers: The encoder's.
        most: The largest K that may be.

    >>> candidates(12, most=12), candidates(12, most=5), candidates(2, most=2)
    ([None, 0, 3, 6, 9, 11], [None, 0, 3, 5], [None, 0, 1])
    """
    quarters = [0, num_layers // 4, num_layers // 2, 3 * num_layers // 4, num_layers - 1]
    return [None, *sorted({min(k, most) for k in quarters})]


def judge(ks: Sequence[int | None], trials: Sequence[Trial], *, tolerance: float) -> list[Verdict]:
    """Compare short trainings: base, and one with each of some K.

    K costs nothing where its score is base's at least, and no more than some standard errors below the best;
    and where its loss is no more than 1% above base's. The error is that of the two scores' difference on the
    same rows, by the paired bootstrap. Where base came to nothing, the best of the others stands for it.

    Args:
        ks: K of each, base first.
        trials: What each came to.
        tolerance: Standard errors.
    """
    scores = [trial.score for trial in trials if trial.score is not None]
    losses = [trial.loss for trial in trials if trial.loss is not None]
    best = max(scores, key=RowStatistics.value, default=None)
    least_score = -math.inf if trials[0].score is None else trials[0].score.value()
    most_loss = min(losses, default=math.inf) if trials[0].loss is None else trials[0].loss
    verdicts = []
    for k, trial in zip(ks, trials, strict=True):
        score = behind = error = None
        free = k is not None and (trial.score if scores else trial.loss) is not None
        if trial.score is not None and best is not None:
            score = trial.score.value()
            behind, error = best.value() - score, standard_error(best, trial.score)
            free = free and score >= least_score and behind <= tolerance * error
        if trial.loss is not None:
            free = free and trial.loss <= most_loss * (1 + _LOSS_MARGIN)
        verdicts.append(Verdict(k, score, behind, error, trial.loss, costs_nothing=free))
    return verdicts


def run_trial(
    cfg: DictConfig,
    *,
    steps: int,
    batches: ResumableDataLoader,
    valid: EncodedDataset,
    folder: Path,
) -> Trial:
    """Train for some steps on one device, and score validation rows.

    A training that diverges comes to nothing, and the log says so.

    Args:
        cfg: The run's config with the K to try.
        steps: The optimizer's.
        batches: The training rows.
        valid: The rows that are scored.
        folder: The run's.
    """
    parts = build_parts(cfg)
    parts.data.datasets[_SPLIT] = valid
    callbacks = [callback for callback in parts.callbacks if not isinstance(callback, _OTHERS_WATCH)]
    with _one_process(), interrupts_handed_on():
        trainer = build_trainer(
            cfg,
            RunFolder(folder),
            [*callbacks, RunProgressBar(), SuddenEndCallback(what="choosing K")],
            logger=False,
            enable_checkpointing=False,
            devices=_first_device(cfg.trainer.devices),
            num_nodes=1,
            strategy="auto",
            max_epochs=-1,
            max_steps=steps,
            max_time=None,
            limit_val_batches=0,
            limit_test_batches=1.0,
            overfit_batches=0.0,
            val_check_interval=1.0,
            check_val_every_n_epoch=1,
            num_sanity_val_steps=0,
        )
        try:
            # Without a list, if an empty one, Lightning would miss it.
            trainer.fit(parts.module, train_dataloaders=batches, val_dataloaders=[])
            trainer.test(parts.module, dataloaders=parts.data.loader(valid, train=False), verbose=False)
        except NonFiniteLossError as error:
            log.warning("%s", error)
            trial = Trial(None, None)
        else:
            trial = _result(parts)
    del parts, trainer, callbacks
    gc.collect()  # the model and its optimizer: their trainer lies in cycles
    return trial


def _result(parts: Parts) -> Trial:
    score = _score(parts)
    loss = parts.module.scores.get("loss")
    if score is not None and not math.isfinite(score.value()):
        score = None
    if loss is not None and not math.isfinite(loss):
        loss = None
    return Trial(score, loss if score is None or parts.task.output == "text" else None)


def _score(parts: Parts) -> RowStatistics | None:
    """Return the metric that picks checkpoints, as `report` reads it from stored predictions."""
    if parts.task.mode != "max":
        return None
    with TemporaryDirectory() as folder:
        written = RunFolder(Path(folder))
        written.write_predictions(prediction_rows(parts, split=_SPLIT))
        try:
            scored = score_own_predictions(written.predictions, task=parts.task.name)
        except CodeftError as error:  # of a task that codeft doesn't have, or of rows with one id
            log.warning("k=auto goes by the loss alone: %s", error)
            return None
    found = scored.scores.get(parts.task.monitor)
    return None if found is None else found.statistics


def count_devices(devices: Any) -> int:
    """Return how many devices of a node are asked for; of "auto" and -1 the GPUs.

    >>> count_devices([2, 3]), count_devices("2,3"), count_devices("2"), count_devices(4)
    (2, 2, 2, 4)
    """
    named = _named(devices)
    if named is not None:
        return len(named)
    if devices in ("auto", "-1", -1):
        return max(1, torch.cuda.device_count())
    return int(devices)


def _first_device(devices: Any) -> Any:
    """Return the first of devices that are named, one of those that are counted.

    >>> _first_device([2, 3]), _first_device("2,3"), _first_device("2"), _first_device(-1)
    ([2], [2], 1, 1)
    """
    named = _named(devices)
    return 1 if named is None else [named[0]]


def _named(devices: Any) -> list[Any] | None:
    """Return devices that are named one by one; None where they are counted."""
    if isinstance(devices, str):
        return [int(device) for device in devices.split(",") if device.strip()] if "," in devices else None
    return list(devices) if isinstance(devices, Sequence) else None


@contextmanager
def _one_process() -> Iterator[None]:
    """Hide that further ranks are waiting: torchrun's and SLURM's."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name in _OF_LAUNCHERS}
    try:
        yield
    finally:
        os.environ.update(hidden)
