"""What `evaluate predictions=…` does: every text metric of stored predictions, without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from codeft.metrics.scoring import TEXT_SCORERS, read_pairs, read_texts, score_texts
from codeft.run_folder import RunFolder
from codeft.summary import commit, scores_table, versions
from codeft.types import CodeftError

TASKS = ("summarization", "translation")


def score_files(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Score stored predictions by every metric that needs nothing but texts.

    Args:
        cfg: The verb's config: `predictions`, and perhaps `references`, `sources` and a chosen task.
        run_dir: Where `metrics.json` goes.

    Returns:
        What `metrics.json` holds: the files, `rows`, `empty_predictions`, `test` and `signatures` by metric,
        `baselines` (the naive copy) where there are sources, versions and commit.

    Raises:
        CodeftError: A file can't be read, the files differ in their number of rows, or the task isn't scored
            by texts.
    """
    task = cfg.choices.task
    if task is not None and task not in TASKS:
        raise CodeftError(f"stored predictions are scored for task={' or task='.join(TASKS)}, not {task}")
    files = {key: str(cfg[key]) if cfg[key] else None for key in ("predictions", "references", "sources")}
    predictions = Path(str(files["predictions"]))
    references = Path(files["references"]) if files["references"] else None
    # CodeXGLUE's code-to-text files number their lines.
    texts, reference_texts = read_pairs(predictions, references, numbered=task == "summarization")
    sources: list[str] | None = None
    if files["sources"]:
        sources = read_texts(Path(files["sources"]), field="source")
    elif references is None and task == "translation":
        sources = _own_sources(predictions)
    result = score_texts(texts, reference_texts, names=list(TEXT_SCORERS), sources=sources)
    metrics = {
        "task": task,
        **files,
        "rows": result["rows"],
        "empty_predictions": result["empty_predictions"],
        "test": result["values"],
        "signatures": result["signatures"],
        "baselines": {f"naive_copy_{name}": value for name, value in result.get("naive_copy", {}).items()},
        "versions": versions(),
        "commit": commit(),
    }
    RunFolder(run_dir).write_metrics(metrics)
    console = Console()
    console.print(scores_table(metrics))
    console.print(f"rows  {result['rows']:,}, {result['empty_predictions']:,} predictions empty")
    console.print(f"outputs  {run_dir}", markup=False, soft_wrap=True)
    return metrics


def _own_sources(path: Path) -> list[str] | None:
    """Return what the model read, where every row of a run's `predictions.jsonl` says it."""
    with path.open(encoding="utf-8-sig") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    sources = [row.get("source") for row in rows]
    return sources if all(isinstance(source, str) for source in sources) else None
