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

from codeft.build import build_parts
from codeft.callbacks.token_count import TokenCountCallback
from codeft.checkpoints import load_weights
from codeft.config import instantiate
from codeft.fitting import fit, timing_of
from codeft.models.tokenizer import train_tokenizer
from codeft.run_folder import RunFolder, write_text
from codeft.summary import describe_run

log = logging.getLogger(__name__)


def pretrain_and_save(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Train a tokenizer unless there is one, train the model, save the best weights.

    Args:
        cfg: The run's config.
        run_dir: The run's folder.

    Returns:
        What `metrics.json` holds.
    """
    folder = RunFolder(run_dir)
    if cfg.model.tokenizer is None:
        cfg.model.tokenizer = str(make_tokenizer(cfg, folder))
    parts = build_parts(cfg)
    tokens = TokenCountCallback()
    trainer = fit(cfg, folder, parts, further=[tokens])
    params = parts.model.num_parameters()
    load_weights(parts.module, folder.best)
    metrics = describe_run(cfg, parts, params=params, times=timing_of(trainer).summary(), scores={})
    metrics["pretraining"] = {
        "steps": trainer.global_step,
        "source_tokens": tokens.source_tokens * trainer.world_size,
        "target_tokens": tokens.target_tokens * trainer.world_size,
        "best_val_loss": min(loss for _, loss in loss_curve(folder, "val/loss")),
    }
    if trainer.is_global_zero:
        to = Path(cfg.to) if cfg.to else folder.path / "model"
        parts.model.save(to, dtype=torch.float16)
        folder.write_metrics(metrics)
        write_loss_curve(folder, to)
        log.info("weights and tokenizer lie in %s", to)
    return metrics


def make_tokenizer(cfg: DictConfig, folder: RunFolder) -> Path:
    """Train a tokenizer on the corpus's first rows and save it in the run's folder."""
    reader = instantiate(cfg.data.reader)

    def texts() -> Iterator[str]:
        for row in itertools.islice(
            reader.rows("train", task="span_corruption", lang=None), cfg.tokenizer_rows
        ):
            yield row.fields["text"]

    log.info("training a tokenizer on at most %d rows", cfg.tokenizer_rows)
    tokenizer = train_tokenizer(texts(), vocab_size=cfg.model.architecture.vocab_size)
    tokenizer.save_pretrained(str(folder.tokenizer))
    return folder.tokenizer


def loss_curve(folder: RunFolder, name: str) -> list[tuple[int, float]]:
    """Return (step, value) of a logged value, over all parts of a resumed run."""
    points: dict[int, float] = {}
    for path in sorted(folder.path.glob("csv/version_*/metrics.csv"), key=lambda p: p.stat().st_mtime):
        with path.open(encoding="utf-8", newline="") as file:
            points.update(
                {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}
            )
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
