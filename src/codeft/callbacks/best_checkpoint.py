"""The checkpoint with the best validation score, and what it said of the validation rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from codeft.data.jsonl import write_rows
from codeft.module import FineTuneModule, prediction_rows


class BestCheckpointCallback(ModelCheckpoint):
    """Keeps the weights with the best score in one file; the score is known again in a folder that was moved.

    Their predictions of the validation rows are kept in a second file, where the task has any.

    Args:
        path: The file.
        predictions: The second file.
        monitor: The validation score that decides, as it is logged.
        mode: "max" where more is better, else "min".
    """

    def __init__(self, path: Path, *, predictions: Path, monitor: str, mode: str) -> None:
        super().__init__(
            dirpath=path.parent,
            filename=path.stem,
            monitor=monitor,
            mode=mode,
            save_weights_only=True,
            enable_version_counter=False,
        )
        self._name = path.name
        self._predictions = predictions.name

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Have the module ask for predictions that need the whole split only where they are kept."""
        super().setup(trainer, pl_module, stage)
        assert isinstance(pl_module, FineTuneModule)
        name = str(self.monitor).partition("/")[2]
        pl_module.keeps_predictions = lambda scores: self.check_monitor_top_k(
            trainer, torch.tensor(scores[name], dtype=torch.float32)
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where it is the best; Lightning waits for the epoch's end where it validates once an epoch."""
        before = self.best_model_score
        super().on_validation_end(trainer, pl_module)
        if self.best_model_score is not before:
            self._write_predictions(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where it is the best and wasn't saved behind the validation; there may have been none yet."""
        if self.monitor not in trainer.callback_metrics:
            return
        before = self.best_model_score
        super().on_train_epoch_end(trainer, pl_module)
        if self.best_model_score is not before:
            self._write_predictions(trainer, pl_module)

    def keep(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what was just validated, outside of a training.

        Args:
            trainer: It has trained, and validated once behind that.
            pl_module: The module.
        """
        path = Path(str(self.dirpath)) / self._name
        trainer.save_checkpoint(path, weights_only=True)
        self.best_model_path = str(path)
        self.best_model_score = trainer.callback_metrics[str(self.monitor)].detach().clone()
        self._write_predictions(trainer, pl_module)

    def _write_predictions(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FineTuneModule)
        if not pl_module.predictions or not trainer.is_global_zero:
            return
        loader: Any = trainer.val_dataloaders
        rows = prediction_rows(pl_module.predictions, loader.dataset.examples)
        write_rows(Path(str(self.dirpath)).parent / self._predictions, rows)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best score; Lightning alone would forget it where the folder has another name now."""
        here = Path(str(self.dirpath))

        def moved(path: str) -> str:
            return str(here / Path(path).name) if path else path

        paths = {
            key: moved(state_dict[key])
            for key in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        kept = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": kept, "dirpath": self.dirpath})
