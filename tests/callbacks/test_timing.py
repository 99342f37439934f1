"""What counts as training, by a clock that only the test moves."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from codeft.callbacks.timing import TimingCallback

BATCH, MAKING, VALIDATION, BEST, LAST = 1.0, 0.25, 100.0, 1000.0, 10000.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Rows(torch.utils.data.Dataset):
    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.clock.now += self.seconds
        return torch.ones(1)


class SlowModule(pl.LightningModule):
    def __init__(self, clock):
        super().__init__()
        self.layer, self.clock = torch.nn.Linear(1, 1), clock

    def training_step(self, batch, batch_idx):
        self.clock.now += BATCH
        return self.layer(batch).sum()

    def validation_step(self, batch, batch_idx):
        self.clock.now += VALIDATION / 4

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SlowCheckpoint(Checkpoint):
    """Writes after each validation, in the middle of each epoch and at its end."""

    def __init__(self, clock, folder):
        self.clock, self.folder = clock, folder

    def save(self, trainer, seconds, *, weights_only):
        trainer.save_checkpoint(self.folder / "last.ckpt", weights_only=weights_only)
        self.clock.now += seconds

    def on_validation_end(self, trainer, pl_module):
        self.save(trainer, BEST, weights_only=True)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 2:
            self.save(trainer, LAST, weights_only=False)

    def on_train_epoch_end(self, trainer, pl_module):
        self.save(trainer, LAST, weights_only=False)


@pytest.fixture
def clock():
    return Clock()


def fit(clock, folder, *, epochs, ckpt_path=None):
    times = TimingCallback(clock=clock)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        val_check_interval=0.5,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[SlowCheckpoint(clock, folder), times],
    )
    loaders = [torch.utils.data.DataLoader(Rows(clock, seconds)) for seconds in (MAKING, 0.0)]
    trainer.fit(SlowModule(clock), *loaders, ckpt_path=ckpt_path, weights_only=True)
    return times


@pytest.mark.filterwarnings("ignore")
def test_an_epoch_is_its_batches_without_validations_and_checkpoints(clock, tmp_path):
    times = fit(clock, tmp_path, epochs=3)
    assert len(times.epochs) == 3
    for seconds in times.epochs:
        assert 4 * BATCH <= seconds <= 4 * (BATCH + MAKING)
    summary = times.summary()
    assert summary["val_s"] == VALIDATION
    assert summary["epoch_s"] == summary["first_epoch_s"] == times.epochs[0]
    assert summary["fit_s"] == clock.now > 3 * (2 * VALIDATION + 2 * BEST + 2 * LAST)


@pytest.mark.filterwarnings("ignore")
def test_a_resumed_run_keeps_its_epochs(clock, tmp_path):
    first = fit(clock, tmp_path, epochs=2)
    resumed = fit(clock, tmp_path, epochs=3, ckpt_path=tmp_path / "last.ckpt")
    assert resumed.epochs[:2] == first.epochs
    assert len(resumed.epochs) == 3 and 4 * BATCH <= resumed.epochs[2] <= 4 * (BATCH + MAKING)
