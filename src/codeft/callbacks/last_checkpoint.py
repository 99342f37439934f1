"""The checkpoint to resume from, and stopping on Ctrl-C or SIGTERM without losing a step."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from codeft.types import CodeftError, RunStopped

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

log = logging.getLogger(__name__)


class NonFiniteWeightsError(CodeftError):
    """A weight became NaN or infinite; the last checkpoint was left as it was."""


class LastCheckpointCallback(Checkpoint):
    """Writes `last.ckpt` at each epoch's end and in between, and once more when the run is told to stop.

    A run resumed from it takes the very steps that the uninterrupted run would take. For that it is only
    written where nothing is under way: not while gradients accumulate, and not between a batch and the
    validation that is due after it, which Lightning would pass over when resuming.

    The first Ctrl-C or SIGTERM stops the run at the next such place, the second one at once. A validation is
    left after the batch under way, where there is a checkpoint to go on from. Weights that aren't finite are
    never written.

    Args:
        path: The file.
        every_n_steps: Optimizer steps between two checkpoints in an epoch; None to go by the clock.
        every_minutes: Minutes between two checkpoints in an epoch, where `every_n_steps` is None.

    Raises:
        RunStopped: In training, where a signal asked for it.
        NonFiniteWeightsError: In training, where a checkpoint would hold NaN.
    """

    def __init__(self, path: Path, *, every_n_steps: int | None, every_minutes: float) -> None:
        for key, value in (("every_n_steps", every_n_steps), ("every_minutes", every_minutes)):
            if value is not None and value <= 0:
                raise CodeftError(f"checkpoint.{key} must be above 0, not {value}")
        self.path = path
        self.every_n_steps = every_n_steps
        self.every_minutes = every_minutes
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}
        self._saved_step = 0
        self._saved_time = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the first rank's path: ranks that torchrun or SLURM started have composed one each."""
        self.path = Path(trainer.strategy.broadcast(str(self.path)))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals, after Lightning has set its own handlers."""
        _leave_finished_epoch(trainer)
        self._saved_step, self._saved_time = trainer.global_step, time.monotonic()
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        self._restore_handlers()
        log.warning("stopping at the next step or batch where the run can go on; once more stops at once")

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, and stop, where it is due and can be."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches or _validates_next(trainer, batch_idx):
            return
        stop = _any_rank(trainer, self._signal is not None)
        if stop or _any_rank(trainer, self._is_due(trainer.global_step)):
            self._save(trainer, pl_module)
        if stop:
            self._stop()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop; several ranks may differ in their number of batches, and stop behind the validation."""
        if self._signal is not None and trainer.world_size == 1 and self.path.is_file():
            self._stop()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save at the end of each epoch."""
        self._save(trainer, pl_module)
        if _any_rank(trainer, self._signal is not None):
            self._stop()

    def _is_due(self, step: int) -> bool:
        if self.every_n_steps is not None:
            return step - self._saved_step >= self.every_n_steps
        return time.monotonic() - self._saved_time >= 60 * self.every_minutes

    def _save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        bad = [
            name
            for name, p in pl_module.named_parameters()
            if p.requires_grad and not torch.isfinite(p.detach()).all()
        ]
        if bad:
            raise NonFiniteWeightsError(
                f"after step {trainer.global_step} the weights {bad[0]} … aren't finite"
            )
        trainer.save_checkpoint(self.path)
        self._saved_step, self._saved_time = trainer.global_step, time.monotonic()

    def _stop(self) -> None:
        number = (
            signal.SIGTERM if self._signal is None else signal.Signals(self._signal)
        )  # None: another rank's
        raise RunStopped(number, folder=self.path.parent.parent)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop listening."""
        self._restore_handlers()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Stop listening; nothing is saved, for the step under way is half done."""
        self._restore_handlers()


def _leave_finished_epoch(trainer: pl.Trainer) -> None:
    """Have a run that goes on from an epoch's end begin the next epoch.

    Where steps are counted (`max_steps`), Lightning would add a batch to the finished epoch instead. What is
    done here is what it does where epochs are counted.
    """
    loop = trainer.fit_loop
    if loop.restarted_on_epoch_end:
        loop.epoch_progress.increment_completed()
        loop._restarting = False  # the loop's own setter would refuse where steps are counted
        loop.epoch_loop.restarting = False
        loop.reset_restart_stage()
        loop.epoch_loop.reset_restart_stage()


def _validates_next(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Return whether a validation may follow the batch, or the epoch's end does."""
    if trainer.is_last_batch:
        return True
    if (
        isinstance(trainer.val_check_batch, float) or trainer.val_check_batch is None
    ):  # infinite, or by the clock
        return False
    in_epoch = trainer.check_val_every_n_epoch is not None
    done = batch_idx + 1 if in_epoch else trainer.fit_loop.total_batch_idx + 1
    return done % trainer.val_check_batch == 0


def _any_rank(trainer: pl.Trainer, flag: bool) -> bool:
    """Return whether any rank says so: a checkpoint is written by all of them together."""
    return flag if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(flag, all=False)
