"""What `pretrain` does: a tokenizer, a model, and the folder that holds both."""

from __future__ import annotations

import csv
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from codeft.build import build_parts, without_weights
from codeft.callbacks.token_count import TokenCountCallback
from codeft.checkpoints import load_weights
from codeft.config import instantiate
from codeft.fitting import describe_training, fit, own_process_group, timing_of
from codeft.methods.adapters import AdapterCallback
from codeft.models.adapters import merge_adapters
from codeft.models.loading import RANDOM
from codeft.models.tokenizer import train_tokenizer
from codeft.run_folder import RunFolder, check_writable, write_text
from codeft.summary import describe_run
from codeft.tasks.base import text_field
from codeft.types import CodeftError

log = logging.getLogger(__name__)


@own_process_group()
def pretrain_and_save(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Train a tokenizer unless there is one, train the model, save the best weights.

    Args:
        cfg: The run's config.
        run_dir: The run's folder.

    Returns:
        What `metrics.json` holds.

    Raises:
        CodeftError: Something that the user can mend.
    """
    folder = RunFolder(run_dir)
    to = Path(cfg.to) if cfg.to else folder.path / "model"
    check_writable(to, advice="set another to=")  # before hours of training
    if cfg.trainer.get("max_steps", -1) in (None, -1):
        raise CodeftError("pre-training reads its rows without end and counts steps: set trainer.max_steps=")
    if cfg.model.tokenizer is None and cfg.model.weights == RANDOM:
        cfg.model.tokenizer = str(make_tokenizer(cfg, folder))
    parts = build_parts(without_weights(cfg, folder) if cfg.resume else cfg)
    if any(isinstance(callback, AdapterCallback) and not callback.can_merge for callback in parts.callbacks):
        raise CodeftError("method=prefix changes no weights, and pre-training saves weights: leave it away")
    tokens = TokenCountCallback()
    trainer, folder = fit(cfg, folder, parts, further=[tokens])
    params = parts.model.num_parameters()
    load_weights(parts.module, folder.best)
    metrics = describe_run(
        cfg,
        parts,
        params=params,
        times=timing_of(trainer).summary(),
        scored={},
        training=describe_training(trainer, folder, parts),
    )
    metrics["pretraining"] = {
        "steps": trainer.global_step,
        "source_tokens": tokens.source_tokens * trainer.world_size,
        "target_tokens": tokens.target_tokens * trainer.world_size,
        "examples": tokens.examples,
        "best_val_loss": trainer.checkpoint_callback.best_model_score.item(),  # type: ignore[union-attr]
    }
    if trainer.is_global_zero:
        merge_adapters(parts.model).save(to, dtype=torch.float16)
        folder.write_metrics(metrics)
        write_loss_curve(folder, to)
        log.info("weights and tokenizer lie in %s", to)
    return metrics


def make_tokenizer(cfg: DictConfig, folder: RunFolder) -> Path:
    """Train a tokenizer on the corpus's first rows and save it in the run's folder.

    Raises:
        CodeftError: A row has no text and `data.on_bad_row` is "error", or the rows are too few.
    """
    reader = instantiate(cfg.data.reader)
    rows = reader.rows("train", task="pretraining", lang=None)

    def texts() -> Iterator[str]:
        for row in itertools.islice(rows, cfg.tokenizer_rows):
            try:
                yield text_field(row.fields, "text", "code", where=row.where)
            except CodeftError:
                if cfg.data.on_bad_row == "error":
                    raise

    log.info("training a tokenizer on at most %d rows", cfg.tokenizer_rows)
    tokenizer = train_tokenizer(texts(), vocab_size=cfg.model.architecture.vocab_size)
    tokenizer.save_pretrained(str(folder.tokenizer))
    return folder.tokenizer


def loss_curve(folder: RunFolder, name: str, *, by: str = "step") -> list[tuple[int, float]]:
    """Return (step, value) of a logged value, over all parts of a resumed run.

    Args:
        folder: The run's folder.
        name: As logged, such as "val/loss".
        by: "step", or "epoch" for (epoch, last value), counted from 0.
    """
    points: dict[int, float] = {}
    for path in sorted(folder.path.glob("csv/version_*/metrics.csv"), key=lambda p: p.stat().st_mtime):
        with path.open(encoding="utf-8", newline="") as file:
            points.update({int(row[by]): float(row[name]) for row in csv.DictReader(file) if row.get(name)})
    return sorted(points.items())


def write_loss_curve(folder: RunFolder, to: Path) -> None:
    """Write the losses beside the weights, as numbers and as a picture."""
    import matplotlib.pyplot as plt

    curves = {name: loss_curve(folder, name) for name in ("train/loss_step", "val/loss")}
    rows = [f"{name},{step},{value:.4f}" for name, points in curves.items() for step, value in points]
    write_text(to / "loss.csv", "\n".join(["curve,step,loss", *rows]) + "\n")
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for name, points in curves.items():
        steps, values = zip(*points, strict=True) if points else ((), ())
        axes.plot(steps, values, label=name.replace("_step", ""), linewidth=0.8 if "train" in name else 2)
    axes.set(xlabel="step", ylabel="cross-entropy a sub-token, nats")
    axes.legend()
    figure.savefig(to / "loss.png", dpi=120)
    plt.close(figure)
