"""What `train` does: fit, and test where it is asked to, or a dry run."""

from __future__ import annotations

import logging
import math
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, open_dict
from pytorch_lightning.utilities import rank_zero_only

from codeft.allocator import keep_freed_memory
from codeft.build import Parts, build_parts, build_trainer, run_callbacks, without_weights
from codeft.callbacks.best_checkpoint import BestCheckpointCallback
from codeft.callbacks.last_checkpoint import NonFiniteWeightsError
from codeft.callbacks.prefix_cache import PrefixCacheCallback
from codeft.callbacks.progress_bar import RunProgressBar
from codeft.callbacks.sudden_end import SuddenEndCallback, interrupts_handed_on
from codeft.callbacks.timing import TimingCallback
from codeft.checkpoints import check_checkpoint, fitting_checkpoint
from codeft.cli import RANK_CONFIG
from codeft.data.jsonl import read_rows
from codeft.k_choice import choose_k, find_auto, load_choice, set_k
from codeft.k_trials import count_devices
from codeft.methods.layer_freeze import BASE
from codeft.module import FineTuneModule, NonFiniteLossError
from codeft.precision import resolve_precision, tell_emulated
from codeft.run_floors import choose_constants, describe_floors
from codeft.run_folder import RunFolder
from codeft.split_reads import TEST, count_reads, note_read
from codeft.summary import (
    SplitScores,
    describe_run,
    prediction_rows,
    print_dry_run,
    print_summary,
    scored_examples,
    scores_of_split,
)
from codeft.trainer_checks import check_length, check_trainer, counts_batches
from codeft.types import Batch, CodeftError

log = logging.getLogger(__name__)


_LAUNCH_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def own_process_group() -> Iterator[None]:
    """Leave no trace of a run's ranks, else the next job of a multirun would wait for ranks that are gone."""
    before = {name: os.environ.get(name) for name in _LAUNCH_VARIABLES}
    try:
        yield
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def held_by_first_rank(run_dir: Path) -> Iterator[None]:
    """Keep other trainings out of a run's folder; further ranks of this one share it.

    Raises:
        CodeftError: Another training has the folder.
    """
    is_first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    with RunFolder(run_dir).held() if is_first else nullcontext():
        yield


@own_process_group()
def fit_and_test(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Fit, restore the best checkpoint by the task's own metric, test where asked to, and write everything.

    Args:
        cfg: The run's config; `resume` names the checkpoint to go on from.
        run_dir: The run's folder.

    Returns:
        What `metrics.json` holds.
    """
    folder = RunFolder(run_dir)
    parts = build_parts(without_weights(cfg, folder) if cfg.resume else cfg)
    tests = _tests_at_its_end(cfg, parts)
    if tests:
        parts.data.setup(TEST)  # a split that can't be read is told before hours of training
    trainer, folder = fit(cfg, folder, parts)
    params = parts.model.num_parameters()
    scored = validation_scores(folder, parts)
    if tests:
        trainer.test(
            parts.module, datamodule=parts.data, ckpt_path=str(folder.best), weights_only=True, verbose=False
        )
        scored[TEST] = scores_of_split(parts, split=TEST)
    metrics = describe_run(
        cfg,
        parts,
        params=params,
        times=timing_of(trainer).summary() | {"cache_s": _cache_seconds(trainer)},
        scored=scored,
        training=describe_training(trainer, folder, parts),
    )
    if "valid" in scored:
        metrics["best"]["val_rows"] = scored["valid"].rows
    choice = load_choice(folder.path)
    if choice is not None and choice.get("k") == cfg.k:  # else an earlier run's, which didn't come further
        metrics["k_choice"] = choice
    if trainer.is_global_zero:
        for split, scores in scored.items():  # before anything is told, and whatever comes of the floors
            note_read(folder, split=split, command=metrics["command"], rows=scores.rows, scores=scores.scores)
        if tests:
            folder.write_predictions(prediction_rows(parts))
        examples = {"valid": parts.data.datasets["valid"].examples}  # of a checkpoint that doesn't say which
        examples |= {split: scores.examples for split, scores in scored.items()}
        constants = choose_constants(parts.data)
        metrics |= describe_floors(parts.task, metrics, examples=examples, constants=constants)
        folder.write_metrics(metrics)
        rows = _stored_predictions(folder.predictions_of(TEST if tests else "valid"))
        print_summary(metrics, rows, folder, test_reads=count_reads(folder, split=TEST, metrics=metrics))
    return metrics


def _tests_at_its_end(cfg: DictConfig, parts: Parts) -> bool:
    """Return whether the run is to read the test split; its config then says so, too.

    Raises:
        CodeftError: `test` is neither true, false nor null.
    """
    asked = cfg.get("test", True)  # a run from before there was the key
    if not isinstance(asked, bool | None):
        raise CodeftError(f"test must be true, false or null, not {asked!r}")
    if asked is None:
        asked = find_auto(parts) is None
        with open_dict(cfg):
            cfg.test = asked
    return asked


def validation_scores(folder: RunFolder, parts: Parts) -> dict[str, SplitScores]:
    """Return what the best checkpoint came to on the validation rows, by the split's name.

    There is none in a checkpoint from before they held it.
    """
    checkpoint = check_checkpoint(folder.best)
    found = checkpoint.get("valid")
    if not isinstance(found, Mapping) or not found["scores"]:
        return {}
    rows = _stored_predictions(folder.valid_predictions)
    examples = scored_examples(parts, split="valid", rows=found.get("rows"))
    scored = SplitScores(
        scores=found["scores"],
        signatures=found["signatures"],
        rows=len(rows) or parts.data.count_rows(examples),
        examples=examples,
        num_empty=sum(not row["prediction"] for row in rows),
        threshold=checkpoint.get("threshold"),
    )
    return {"valid": scored}


def _stored_predictions(path: Path) -> list[Mapping[str, Any]]:
    return [row.fields for row in read_rows(path)] if path.is_file() else []


class _CheckpointCheck(pl.Callback):
    """Says what is wrong with a checkpoint: after the methods changed the model, before it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        checkpoint = fitting_checkpoint(pl_module, self.path)
        needed = ("loops", "optimizer_states", "lr_schedulers", "callbacks", "pytorch-lightning_version")
        if not all(key in checkpoint for key in needed):
            raise CodeftError(f"{self.path} holds weights only: training can't go on from it")
        own = {callback.state_key for callback in trainer.callbacks if callback.state_dict()}  # type: ignore[attr-defined]
        found = checkpoint["callbacks"]
        whole = isinstance(found, dict) and own <= found.keys()
        if not (whole and checkpoint["loops"] and checkpoint["optimizer_states"]):
            raise CodeftError(f"{self.path} lacks states that training can't go on without; use another one")


def fit(
    cfg: DictConfig, folder: RunFolder, parts: Parts, *, further: Sequence[pl.Callback] = ()
) -> tuple[pl.Trainer, RunFolder]:
    """Train until the end, or from a checkpoint to the end.

    Args:
        cfg: The run's config.
        folder: The run's folder; it is checked before anything is trained.
        parts: The run's parts.
        further: Callbacks beside the method's and the run's own.

    Returns:
        The trainer, and the first rank's folder: ranks that torchrun or SLURM started have composed one each.

    Raises:
        CodeftError: The folder can't be written, the checkpoint is damaged, or no step was taken.
    """
    keep_freed_memory()
    folder.prepare(num_parameters=parts.model.num_parameters()[0])
    check_trainer(cfg.trainer)
    _check_length(cfg, parts)
    auto = find_auto(parts)
    if auto is not None and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        choose_k(cfg, parts, auto, folder=folder.path)
    callbacks = [*parts.callbacks, *further, *run_callbacks(cfg, folder, parts.task)]
    if cfg.resume:
        callbacks.append(_CheckpointCheck(Path(cfg.resume)))
        tell_emulated(cfg.trainer.precision, accelerator=cfg.trainer.accelerator)
    trainer = build_trainer(cfg, folder, callbacks)
    if trainer.is_global_zero and not cfg.resume:
        folder.write_tokenizer(parts.model.tokenizer)
        parts.model.save_code(folder.tokenizer)
    try:
        with config_for_ranks(cfg, folder, parts, trainer):
            trainer.fit(parts.module, datamodule=parts.data, ckpt_path=cfg.resume, weights_only=True)
    except (NonFiniteLossError, NonFiniteWeightsError) as error:
        good = next((str(path) for path in (folder.last, folder.best) if path.is_file()), "none yet")
        advice = "try a lower optimizer.lr, or trainer.precision=32-true"
        raise CodeftError(f"{error}; {advice}; last good checkpoint: {good}") from error
    folder = first_ranks_folder(trainer, folder)
    _keep_the_end(trainer, parts)
    return trainer, folder


def _check_length(cfg: DictConfig, parts: Parts) -> None:
    """Check, before anything is trained, that the run has batches and validates where it is asked to."""
    if not counts_batches(cfg.trainer):
        return
    parts.data.setup("fit")
    devices = count_devices(cfg.trainer.devices) * cfg.trainer.get("num_nodes", 1)
    num_val = math.ceil(len(parts.data.loader(parts.data.datasets["valid"], train=False)) / devices)
    if parts.data.streamed:  # without an end, so that the run's steps are its only epoch
        num_train = cfg.trainer.max_steps * cfg.trainer.accumulate_grad_batches
    else:
        train = parts.data.datasets["train"]
        num_train = math.ceil(len(parts.data.loader(train, train=True)) / devices)
    check_length(cfg.trainer, num_train=num_train, num_val=num_val)


def _keep_the_end(trainer: pl.Trainer, parts: Parts) -> None:
    """Validate once and keep the weights, where training ended before its first validation.

    Raises:
        CodeftError: It ended before its first step.
    """
    best = _best_checkpoint(trainer)
    if best.best_model_score is not None:
        return
    if not trainer.global_step:
        raise CodeftError(
            "training ended before its first step, so there is nothing to keep: raise trainer.max_time"
        )
    log.info("training ended before its first validation, at step %d: validating now", trainer.global_step)
    trainer.validate(parts.module, datamodule=parts.data, verbose=False)
    best.keep(trainer, parts.module)


@contextmanager
def config_for_ranks(cfg: DictConfig, folder: RunFolder, parts: Parts, trainer: pl.Trainer) -> Iterator[None]:
    """Store the config; the ranks that Lightning starts read it, for what was typed may be a multirun."""
    if trainer.is_global_zero:
        with open_dict(cfg):  # so that the checkpoint can be used without the original weights, anywhere
            cfg.model.architecture = dict(parts.model.architecture)
            cfg.trainer.precision = resolve_precision(
                cfg.trainer.precision, accelerator=cfg.trainer.accelerator
            )
        folder.write_config(cfg)
        os.environ[RANK_CONFIG] = str(folder.config.absolute())
    try:
        yield
    finally:
        os.environ.pop(RANK_CONFIG, None)


def first_ranks_folder(trainer: pl.Trainer, own: RunFolder) -> RunFolder:
    """Return the first rank's folder; a rank that torchrun or SLURM started has composed one in vain."""
    first = RunFolder(Path(trainer.strategy.broadcast(str(own.path))))
    if first.path != own.path:
        own.remove_unused()
    return first


def describe_training(trainer: pl.Trainer, folder: RunFolder, parts: Parts) -> dict[str, Any]:
    """Return what `metrics.json` holds of the training: its best validation, and how far it went.

    Args:
        trainer: It has fitted.
        folder: The run's folder.
        parts: The run's parts.
    """
    checkpoint = check_checkpoint(folder.best)
    best = _best_checkpoint(trainer)
    stopping = trainer.early_stopping_callback
    return {
        "best": {
            # What was kept behind the training's end was kept after its last epoch.
            "epoch": min(checkpoint["epoch"] + 1, max(1, trainer.current_epoch)),
            "step": checkpoint["global_step"],
            f"val_{parts.task.monitor}": best.best_model_score.item(),  # type: ignore[union-attr]
            "val_rows": parts.data.num_rows()["valid"],
        },
        "mode": parts.task.mode,
        "training": {
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "stopped_early": stopping is not None and stopping.wait_count >= stopping.patience,
        },
    }


def _best_checkpoint(trainer: pl.Trainer) -> BestCheckpointCallback:
    return next(c for c in trainer.callbacks if isinstance(c, BestCheckpointCallback))  # type: ignore[attr-defined]


def _cache_seconds(trainer: pl.Trainer) -> float:
    """Return the seconds that the cache of frozen layers took to fill."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return sum(c.seconds for c in callbacks if isinstance(c, PrefixCacheCallback))


def timing_of(trainer: pl.Trainer) -> TimingCallback:
    """Return the trainer's timing callback."""
    return next(c for c in trainer.callbacks if isinstance(c, TimingCallback))  # type: ignore[attr-defined]


class _StepTimer(pl.Callback):
    """Notes each training step's seconds and sub-tokens."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, int]] = []
        self._start = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FineTuneModule)
        total, trainable = pl_module.model.num_parameters()
        log.info("%s parameters train of %s; now the longest batches", f"{trainable:,}", f"{total:,}")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.steps.append(
            (time.perf_counter() - self._start, batch["input_ids"].numel() + batch["labels"].numel())
        )


@own_process_group()
def dry_run(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Build everything, run the longest batches, and say what the run would need; nothing is trained.

    Returns:
        What `metrics.json` holds: parameters, the longest batch's memory and an estimate of the time.
    """
    keep_freed_memory()
    folder = RunFolder(run_dir)
    parts = build_parts(cfg)
    auto = find_auto(parts)
    if auto is not None:
        log.info("k=auto begins with a training of all layers, which needs most: shown is k=base")
        auto.k = BASE
        set_k(cfg, BASE)
    folder.prepare(num_parameters=parts.model.num_parameters()[0])
    parts.data.longest_first = True
    timer = _StepTimer()
    trainer = build_trainer(
        cfg,
        folder,
        [*parts.callbacks, timer, RunProgressBar(), SuddenEndCallback(what="the dry run")],
        logger=False,
        enable_checkpointing=False,
        max_epochs=1,
        limit_train_batches=2,
        limit_val_batches=0,
        overfit_batches=0.0,
        max_time=None,
        num_sanity_val_steps=0,
        accumulate_grad_batches=1,
    )
    with config_for_ranks(cfg, folder, parts, trainer), interrupts_handed_on():
        trainer.fit(parts.module, datamodule=parts.data)
    folder = first_ranks_folder(trainer, folder)
    seconds, tokens = timer.steps[-1]  # the first step also pays for warming up
    total = int(parts.data.datasets["train"].lengths().sum())
    metrics = describe_run(cfg, parts, params=parts.model.num_parameters(), times={}, scored={})
    metrics["dry_run"] = {
        "longest_batch_tokens": tokens,
        "longest_batch_memory_bytes": _peak_memory(),
        "longest_batch_s": seconds,
        "estimated_epoch_s": seconds / tokens * total,
        "estimated_fit_s": seconds / tokens * total * cfg.trainer.max_epochs,
    }
    if trainer.is_global_zero:
        folder.write_metrics(metrics)
        print_dry_run(metrics, folder)
    return metrics


def _peak_memory() -> int:
    """Return the highest memory so far in bytes: the GPU's where there is one, else this process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
