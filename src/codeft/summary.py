"""What a run says at its end: `metrics.json`, rows of predictions, and a table."""

from __future__ import annotations

import platform
import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codeft.run_floors import DESCRIPTIONS, floor_of, highest_floor, scores_of
from codeft.run_folder import RunFolder

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from codeft.build import Parts

_PACKAGES = ("codeft", "torch", "pytorch-lightning", "transformers", "tokenizers", "tree-sitter", "sacrebleu")
_SHOWN_PREDICTIONS = 3
_BESIDE_SIGNATURES, _BESIDE_FLOORS = 16, 9
"""Characters that the scores themselves, their floors and the table's lines take."""


def describe_run(
    cfg: DictConfig,
    parts: Parts,
    *,
    params: tuple[int, int],
    times: Mapping[str, float | None],
    scores: Mapping[str, float],
    split: str = "test",
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what `metrics.json` holds.

    Args:
        cfg: The run's config.
        parts: The run's parts.
        params: (total, trainable).
        times: As `TimingCallback.summary` gives them.
        scores: The module's, its loss among them; none where nothing was tested.
        split: What was tested.
        training: As `describe_training` gives it; None where nothing was trained.
    """
    signatures = parts.module.signatures
    names = {key: cfg.choices[key] for key in ("task", "model", "method", "data")}
    described = {
        **names,
        "k": cfg.get("k"),
        "alpha": cfg.get("alpha"),
        "seed": cfg.seed,
        "lang": parts.task.lang,
        "params": {"total": params[0], "trainable": params[1]},
        **(training or {}),
        split: {name: value for name, value in scores.items() if name in signatures},
        "signatures": signatures if scores else {},
        "time": dict(times),
        "rows": parts.data.num_rows(),
        "precision": parts.module.trainer.precision,
        "command": list(cfg.get("command") or []),  # one line, and one more each time it was resumed
        "versions": versions(),
        "commit": commit(),
    }
    if scores and parts.module.threshold is not None:
        described["threshold"] = parts.module.threshold  # tuned on the validation rows
    if "loss" in scores:
        described[f"{split}_loss"] = scores["loss"]  # the task's, in nats: no score
    if scores:
        described["empty_predictions"] = sum(not prediction.text for prediction in parts.module.predictions)
    return described


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # a checkout on the path, not installed
            found[package] = "unknown"
    return found


def commit() -> str | None:
    """Return the commit of the checkout that codeft runs from; None where it was installed."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        inside = subprocess.run([*command[:3], "ls-files", "--error-unmatch", __file__], capture_output=True)
        if inside.returncode:
            return None
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def prediction_rows(parts: Parts, *, split: str = "test") -> list[dict[str, Any]]:
    """Return the rows of `predictions.jsonl`, in the order of the split that was tested."""
    examples = parts.data.datasets[split].examples
    return [
        {
            "id": examples[p.index].id,
            "source": examples[p.index].source,
            "reference": examples[p.index].target,
            "prediction": p.text,
            **p.fields,
        }
        for p in parts.module.predictions
    ]


def print_summary(metrics: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], folder: RunFolder) -> None:
    """Print scores with their signatures, parameters, times, where the files lie, and some predictions."""
    console = Console()
    console.print(scores_table(metrics, width=console.width))
    print_floors(console, metrics, split="test")
    facts = Table(show_header=False, box=None)
    params, times = metrics["params"], metrics["time"]
    facts.add_row("best", best_validation(metrics))
    facts.add_row("rows", ", ".join(f"{n:,} {name}" for name, n in metrics["rows"].items() if n))
    facts.add_row("parameters", f"{params['trainable']:,} trainable of {params['total']:,}")
    if times.get("epoch_s") is not None:
        whole = f"{times['fit_s']:.0f} s training and validation, {times['test_s']:.0f} s test"
        facts.add_row("time", f"{times['epoch_s']:.1f} s an epoch; {whole}")
    if metrics["empty_predictions"]:
        facts.add_row("empty", f"{metrics['empty_predictions']:,} predictions")
    console.print(facts)
    console.print(predictions_table(rows[:: max(1, len(rows) // _SHOWN_PREDICTIONS)][:_SHOWN_PREDICTIONS]))
    print_outputs(console, folder.path)


def print_outputs(console: Console, path: Path) -> None:
    """Say where the outputs lie, on a line that can be copied from a narrow terminal too."""
    console.print(f"outputs  {path}", markup=False, soft_wrap=True)


def run_title(metrics: Mapping[str, Any]) -> str:
    """Return a run's choices and what its method was told.

    >>> run_title({"task": "summarization", "model": "mini", "method": "telly", "k": 6, "alpha": None})
    'summarization mini telly k=6'
    """
    words = [str(metrics[key]) for key in ("task", "model", "method") if metrics.get(key)]
    return " ".join(
        words + [f"{key}={metrics[key]}" for key in ("k", "alpha") if metrics.get(key) is not None]
    )


AS_ABOVE = "as above"
"""Stands for a signature that the row above has, too."""


def best_validation(metrics: Mapping[str, Any]) -> str:
    """Return the best validation score, when it was reached and on how many rows."""
    best = metrics["best"]
    name = next(key for key in best if key.startswith("val_") and key != "val_rows")
    shown = shown_score(best[name], metrics["signatures"].get(name.removeprefix("val_"), ""))
    epochs = f"epoch {best['epoch']} of {metrics['training']['epochs']}"
    return f"{name} {shown} in {epochs}, on {best['val_rows']:,} rows"


def scores_table(metrics: Mapping[str, Any], *, width: int, split: str = "test") -> Table:
    """Return a table of a split's scores, each with its signature.

    Args:
        metrics: What `metrics.json` holds.
        width: Of the console, in characters.
        split: What was tested.
    """
    table = Table(title=run_title(metrics), title_justify="left")
    table.add_column("score", no_wrap=True)
    table.add_column(split, justify="right", no_wrap=True)
    floors = {name: floor_of(metrics, name, split=split) for name in metrics[split]}
    has_floors = any(floor is not None for floor in floors.values())
    if has_floors:
        table.add_column("floor", justify="right", no_wrap=True, style="dim")
    table.add_column("signature", overflow="fold")
    taken = _BESIDE_SIGNATURES + (_BESIDE_FLOORS if has_floors else 0)
    room = max(24, width - max(map(len, ["score", *metrics[split]])) - taken)
    above = None
    for name, value in metrics[split].items():
        signature = metrics["signatures"][name]
        told = AS_ABOVE if signature == above else fold_signature(signature, width=room)
        floor = floors[name]
        beside = ["" if floor is None else shown_score(floor, signature)] if has_floors else []
        table.add_row(name, shown_score(value, signature), *beside, told)
        above = signature
    if f"{split}_loss" in metrics:
        beside = [""] if has_floors else []
        table.add_row("loss", f"{metrics[f'{split}_loss']:.2f}", *beside, "cross-entropy, nats")
    return table


def print_floors(console: Console, metrics: Mapping[str, Any], *, split: str) -> None:
    """Print what needs no model, and which scores are no better: in one plain line.

    Args:
        console: Where to.
        metrics: What `metrics.json` holds.
        split: What was scored.
    """
    floors = metrics["floors"].get(split, {})
    name = next((name for name in metrics[split] if highest_floor(floors, name)), None)
    if name is None:
        return
    table = Table(title=f"{name} without a model", title_justify="left", show_header=False, box=None)
    for floor, scores in floors.items():
        if name in scores:
            value = shown_score(scores[name], metrics["signatures"].get(name, ""))
            text = metrics.get("constants", {}).get(floor)
            said = DESCRIPTIONS.get(floor, "") if text is None else f"always {_head(text, 3)!r}"
            table.add_row(floor, value, Text(said, style="dim"))
    console.print(table)
    if line := floor_sentence(metrics, split=split):
        console.print(line, markup=False)


def floor_sentence(metrics: Mapping[str, Any], *, split: str) -> str:
    """Return which scores are at or below their floors, in one line; "" where none is.

    >>> run = {"test": {"mrr": 0.193}, "signatures": {"mrr": ""}}
    >>> floors = {"floors": {"test": {"bm25": {"mrr": 0.48}}}, "below_floor": {"test": ["mrr"]}}
    >>> floor_sentence(run | floors, split="test")
    'no better than without a model: mrr 0.19 (bm25: 0.48)'
    """
    parts = []
    for name in metrics["below_floor"].get(split, []):
        floor = highest_floor(metrics["floors"][split], name)
        assert floor is not None
        signature = metrics["signatures"].get(name, "")
        own, other = shown_score(scores_of(metrics, split)[name], signature), shown_score(floor[1], signature)
        parts.append(f"{name} {own} ({floor[0]}: {other})")
    return f"no better than without a model: {', '.join(parts)}" if parts else ""


def fold_signature(signature: str, *, width: int) -> str:
    """Break a signature behind its bars, so that its parts stay whole.

    >>> print(fold_signature("exact_match|compare:strip|case:mixed|v:1", width=30))
    exact_match|compare:strip|
    case:mixed|v:1
    """
    lines = textwrap.wrap(signature.replace("|", "| "), width=width, break_on_hyphens=False)
    return "\n".join(line.replace("| ", "|") for line in lines)


def shown_score(value: float, signature: str) -> str:
    """Return a score with the digits that its field prints: four from 0 to 1, else two.

    >>> shown_score(0.58333, "map_at_r|range:0-1|v:1"), shown_score(61.0812, "corpus_bleu|v:1")
    ('0.5833', '61.08')
    """
    return f"{value:.{4 if '|range:0-1|' in signature else 2}f}"


def predictions_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of predictions below their sources and references."""
    table = Table(title="predictions", title_justify="left", show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        for label in ("source", "reference", "prediction"):
            table.add_row(
                label, Text(_head(row[label] or "", 5))
            )  # code is full of what Rich takes for markup
        table.add_section()
    return table


def _head(text: str, lines: int) -> str:
    kept = text.splitlines()[:lines]
    return "\n".join(kept)[:400] + (" …" if len(kept) < len(text.splitlines()) or len(text) > 400 else "")


def print_dry_run(metrics: Mapping[str, Any], folder: RunFolder) -> None:
    """Print what a run would need."""
    params, needs = metrics["params"], metrics["dry_run"]
    table = Table(title=f"dry run: {run_title(metrics)}", title_justify="left", show_header=False)
    table.add_row("parameters", f"{params['trainable']:,} trainable of {params['total']:,}")
    table.add_row(
        "longest batch", f"{needs['longest_batch_tokens']:,} sub-tokens, {needs['longest_batch_s']:.2f} s"
    )
    table.add_row("peak memory", f"{needs['longest_batch_memory_bytes'] / 2**30:.2f} GiB")
    table.add_row(
        "estimate", f"{needs['estimated_epoch_s']:.0f} s an epoch, {needs['estimated_fit_s']:.0f} s at most"
    )
    table.add_row("", "training only: validation comes on top")
    console = Console()
    console.print(table)
    print_outputs(console, folder.path)
