"""The scores in the run's log."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from codeft.module import FineTuneModule

log = logging.getLogger(__name__)


class ScoreLogCallback(pl.Callback):
    """Logs one line after each validation and one after the test, on the first rank."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch, counted from 1, the step, and the scores."""
        assert isinstance(pl_module, FineTuneModule)
        if trainer.is_global_zero and not trainer.sanity_checking:
            in_epoch = trainer.state.fn == TrainerFn.FITTING  # else behind the last one
            where = f"epoch {trainer.current_epoch + in_epoch}, step {trainer.global_step}"
            log.info("%s: val %s", where, _listed(pl_module.scores))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the test's scores."""
        assert isinstance(pl_module, FineTuneModule)
        if trainer.is_global_zero:
            log.info("test %s", _listed(pl_module.scores))


def _listed(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
