"""What `evaluate run=…` does: test a finished run's checkpoint and compare with what the run says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from codeft.export_folder import ELSEWHERE
from codeft.finished_run import reopen, stored_config
from codeft.run_floors import choose_constants, describe_floors
from codeft.run_folder import RunFolder
from codeft.split_reads import TEST, count_reads, note_read, times_read
from codeft.summary import (
    describe_run,
    prediction_rows,
    print_floors,
    print_outputs,
    scores_of_split,
    scores_table,
)
from codeft.trained import find_trained
from codeft.types import CodeftError

SPLITS = (TEST, "valid")
SAME = 1e-6
"""Scores that differ by less are the same; sums in another order differ in their last digits."""


def evaluate_run(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Test a finished run again, without its original weights or the hub.

    Args:
        cfg: The verb's config: `run`, `split`, `checkpoint`, `trust_targets` and what may differ.
        run_dir: Where `metrics.json` and the predictions go. Of the run's own folder only the ledger grows.

    Returns:
        What `metrics.json` holds: a run's metrics, `run`, `checkpoint`, the `stored` scores, whether they
        are `reproduced` (None where there are none to compare with), and `test_reads`, how often the run's
        test split was read so far (None of a folder without a ledger).

    Raises:
        CodeftError: The folder isn't a run's, its data isn't there, or its checkpoint is damaged.
    """
    _check(cfg)
    folder = find_trained(cfg)
    earlier = folder.load_metrics()
    split = cfg.split or ("valid" if earlier.get("valid") and not earlier.get(TEST) else TEST)
    run_cfg = stored_config(folder, cfg)
    if ELSEWHERE in (run_cfg.data.get("dir"), run_cfg.data.get("source")):
        raise CodeftError(
            "an exported folder doesn't say where its data lies: give data.dir= (or data.source=)"
        )
    run = reopen(run_cfg, folder, checkpoint=cfg.checkpoint, work_dir=run_dir)
    data, module = run.parts.data, run.parts.module
    try:
        examples = data.read(split)
    except CodeftError as error:
        moved = "; where the data has moved, give data.dir=" if run_cfg.data.get("dir") else ""
        raise CodeftError(f"{error}{moved}") from None
    data.datasets[split] = data.encode(examples, name=split)
    loader = data.loader(data.datasets[split], train=False)
    if split == TEST:
        run.trainer.test(module, dataloaders=loader, verbose=False)
    else:  # a threshold isn't scored where it is tuned
        run.trainer.validate(module, dataloaders=loader, verbose=False)

    total = run.parts.model.num_parameters()[0]
    trainable = earlier.get("params", {}).get("trainable")  # nothing is frozen now
    scored = scores_of_split(run.parts, split=split)
    command = list(cfg.command)
    if isinstance(folder, RunFolder):  # before anybody sees them
        note_read(folder, split=split, command=command, rows=scored.rows, scores=scored.scores)
    metrics = describe_run(run_cfg, run.parts, params=(total, trainable), times={}, scored={split: scored})
    metrics |= describe_floors(
        run.parts.task,
        metrics,
        examples={split: scored.examples},
        constants=choose_constants(data, earlier=earlier),
    )
    stored = earlier.get(split, {})
    metrics |= {"run": str(folder.path), "checkpoint": cfg.checkpoint, "stored": stored}
    metrics["command"] = command
    metrics["test_reads"] = (
        count_reads(folder, split=TEST, metrics=earlier) if isinstance(folder, RunFolder) else None
    )
    metrics["reproduced"] = compare(metrics[split], stored)
    rows = prediction_rows(run.parts, split=split)
    own = RunFolder(run_dir)
    own.write_predictions(rows, split=split)
    own.write_metrics(metrics)
    _print(metrics, split=split, run_dir=run_dir)
    return metrics


def _check(cfg: DictConfig) -> None:
    if cfg.split is not None and cfg.split not in SPLITS:
        raise CodeftError(f"split must be one of {', '.join(SPLITS)}, not {cfg.split!r}")
    for key in ("references", "sources", "threshold", "extra_metrics"):
        if cfg[key] is not None and cfg[key] != []:
            raise CodeftError(f"{key}= goes with predictions=, not with run=")


def compare(scores: Mapping[str, float], stored: Mapping[str, float]) -> bool | None:
    """Return whether the scores are those that were stored; None where there is nothing to compare with.

    >>> compare({"exact_match": 50.0}, {"exact_match": 50.0}), compare({"exact_match": 50.0}, {})
    (True, None)
    """
    if not stored:
        return None
    return scores.keys() == stored.keys() and all(abs(scores[name] - stored[name]) < SAME for name in scores)


def _print(metrics: Mapping[str, Any], *, split: str, run_dir: Path) -> None:
    console = Console()
    console.print(scores_table(metrics, width=console.width, split=split))
    print_floors(console, metrics, split=split)
    if metrics["reproduced"]:
        console.print("the same scores as in the run's metrics.json")
    elif metrics["reproduced"] is False:
        table = Table(title="not the scores in the run's metrics.json", title_justify="left")
        for column in ("score", "now", "stored"):
            table.add_column(column, justify="left" if column == "score" else "right")
        for name, value in metrics["stored"].items():
            now = metrics[split].get(name)
            table.add_row(name, "" if now is None else f"{now:.4f}", f"{value:.4f}")
        console.print(table)
    if metrics["test_reads"] is not None:
        console.print(times_read(metrics["test_reads"]))
    print_outputs(console, run_dir)
