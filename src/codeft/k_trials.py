"""Short trainings with some K, and which of these K costs nothing."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig

from codeft.build import Parts, build_parts, build_trainer
from codeft.callbacks.progress_bar import RunProgressBar
from codeft.callbacks.sudden_end import SuddenEndCallback, interrupts_handed_on
from codeft.data.datamodule import EncodedDataset
from codeft.data.sampling import ResumableDataLoader
from codeft.metrics.bootstrap import RowStatistics, standard_error
from codeft.run_folder import RunFolder
from codeft.stored.tasks import score_own_predictions
from codeft.summary import prediction_rows

_SPLIT = "valid"

_LOSS_MARGIN = 0.01
"""Share of base's loss that is nothing: runs that differ in their seed alone differ by as much."""

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
        score: The task's metric, by row; None where it has none of rows.
        loss: Its loss in nats; None where the task has none there.
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
    same rows, by the paired bootstrap.

    Args:
        ks: K of each, base first.
        trials: What each came to.
        tolerance: Standard errors.
    """
    base = trials[0]
    best = max((t.score for t in trials if t.score is not None), key=RowStatistics.value, default=None)
    verdicts = []
    for k, trial in zip(ks, trials, strict=True):
        score = behind = error = None
        free = k is not None and (trial.score is not None or trial.loss is not None)
        if trial.score is not None and best is not None and base.score is not None:
            score = trial.score.value()
            behind, error = best.value() - score, standard_error(best, trial.score)
            free = free and score >= base.score.value() and behind <= tolerance * error
        if trial.loss is not None and base.loss is not None:
            free = free and trial.loss <= base.loss * (1 + _LOSS_MARGIN)
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

    Args:
        cfg: The run's config with the K to try.
        steps: The optimizer's.
        batches: The training rows.
        valid: The rows that are scored.
        folder: The run's.
    """
    parts = build_parts(cfg)
    parts.data.datasets[_SPLIT] = valid
    with _one_process(), interrupts_handed_on():
        trainer = build_trainer(
            cfg,
            RunFolder(folder),
            [*parts.callbacks, RunProgressBar(), SuddenEndCallback(what="choosing K")],
            logger=False,
            enable_checkpointing=False,
            devices=_first_device(cfg.trainer.devices),
            num_nodes=1,
            strategy="auto",
            max_epochs=-1,
            max_steps=steps,
            limit_val_batches=0,
            num_sanity_val_steps=0,
        )
        # Without a list, if an empty one, Lightning would miss it.
        trainer.fit(parts.module, train_dataloaders=batches, val_dataloaders=[])
        trainer.test(parts.module, dataloaders=parts.data.loader(valid, train=False), verbose=False)
    trial = Trial(_score(parts), parts.module.scores.get("loss"))
    del parts, trainer
    gc.collect()  # the model and its optimizer: their trainer lies in cycles
    return trial


def _score(parts: Parts) -> RowStatistics | None:
    """Return the metric that picks checkpoints, as `report` reads it from stored predictions."""
    if parts.task.monitor == "loss":
        return None
    with TemporaryDirectory() as folder:
        written = RunFolder(Path(folder))
        written.write_predictions(prediction_rows(parts, split=_SPLIT))
        scored = score_own_predictions(written.predictions, task=parts.task.name)
    found = scored.scores.get(parts.task.monitor)
    return None if found is None else found.statistics


def _first_device(devices: Any) -> Any:
    """Return the first of devices that are named, one of those that are counted.

    >>> _first_device([2, 3]), _first_device("2,3"), _first_device("2"), _first_device(-1)
    ([2], [2], 1, 1)
    """
    if isinstance(devices, str) and "," in devices:
        devices = [int(device) for device in devices.split(",") if device.strip()]
    return [devices[0]] if isinstance(devices, Sequence) and not isinstance(devices, str) else 1


@contextmanager
def _one_process() -> Iterator[None]:
    """Hide that further ranks are waiting: torchrun's and SLURM's."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name in _OF_LAUNCHERS}
    try:
        yield
    finally:
        os.environ.update(hidden)
