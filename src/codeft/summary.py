"""What a run says at its end: `metrics.json`, rows of predictions, and a table."""

from __future__ import annotations

import platform
import shlex
import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codeft.run_floors import DESCRIPTIONS, below_floor, floor_of, highest_floor, scores_of
from codeft.run_folder import RunFolder
from codeft.split_reads import TEST, times_read

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from codeft.build import Parts
    from codeft.types import Example

_PACKAGES = ("codeft", "torch", "pytorch-lightning", "transformers", "tokenizers", "tree-sitter", "sacrebleu")
_SHOWN_PREDICTIONS = 3
_BESIDE_SIGNATURES, _BESIDE_FLOORS = 16, 9
"""Characters that the scores themselves, their floors and the table's lines take."""


@dataclass(frozen=True, slots=True)
class SplitScores:
    """What a model came to on a split.

    Attributes:
        scores: By name, the loss in nats among them.
        signatures: Which variant each of them is; the loss has none.
        rows: How many were scored, of search its queries.
        examples: Those that were scored.
        num_empty: Predictions that hold no text.
        threshold: What was tuned on validation rows, where the task tunes one.
    """

    scores: Mapping[str, float]
    signatures: Mapping[str, str]
    rows: int
    examples: Sequence[Example]
    num_empty: int = 0
    threshold: float | None = None


def scores_of_split(parts: Parts, *, split: str) -> SplitScores:
    """Return what the module has just come to on a split.

    Args:
        parts: The run's parts.
        split: What was scored.
    """
    examples = scored_examples(parts, split=split, rows=parts.module.scored_rows)
    return SplitScores(
        scores=dict(parts.module.scores),
        signatures=dict(parts.module.signatures),
        rows=parts.data.count_rows(examples),
        examples=examples,
        num_empty=sum(not prediction.text for prediction in parts.module.predictions),
        threshold=parts.module.threshold,
    )


def scored_examples(parts: Parts, *, split: str, rows: Sequence[int] | None) -> Sequence[Example]:
    """Return the examples of a split that were scored.

    Args:
        parts: The run's parts.
        split: Which one.
        rows: Their positions; None for all.
    """
    examples = parts.data.datasets[split].examples
    return examples if rows is None else [examples[row] for row in rows]


def describe_run(
    cfg: DictConfig,
    parts: Parts,
    *,
    params: tuple[int, int],
    times: Mapping[str, float | None],
    scored: Mapping[str, SplitScores],
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what `metrics.json` holds.

    Args:
        cfg: The run's config.
        parts: The run's parts.
        params: (total, trainable).
        times: As `TimingCallback.summary` gives them.
        scored: What came of each split that was scored; a split that wasn't has no key.
        training: As `describe_training` gives it; None where nothing was trained.
    """
    names = {key: cfg.choices[key] for key in ("task", "model", "method", "data")}
    described = {
        **names,
        "k": cfg.get("k"),
        "alpha": cfg.get("alpha"),
        "seed": cfg.seed,
        "lang": parts.task.lang,
        "params": {"total": params[0], "trainable": params[1]},
        **(training or {}),
        **{split: _signed(each) for split, each in scored.items()},
        "signatures": {name: text for each in scored.values() for name, text in each.signatures.items()},
        "time": dict(times),
        "rows": parts.data.num_rows() | {split: each.rows for split, each in scored.items()},
        "precision": parts.module.trainer.precision,
        "command": list(cfg.get("command") or []),  # one line, and one more each time it was resumed
        "versions": versions(),
        "commit": commit(),
    }
    for split, each in scored.items():
        if each.threshold is not None:
            described["threshold"] = each.threshold  # tuned on the validation rows
        if "loss" in each.scores:
            described[f"{split}_loss"] = each.scores["loss"]  # the task's, in nats: no score
        described[f"{prefix_of(split)}empty_predictions"] = each.num_empty
    return described


def _signed(scored: SplitScores) -> dict[str, float]:
    """Return the scores without the loss, which has no signature."""
    return {name: value for name, value in scored.scores.items() if name in scored.signatures}


def prefix_of(split: str) -> str:
    """Return what stands before "empty_predictions" in `metrics.json`; "" of the test."""
    return "" if split == TEST else f"{split}_"


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
    from codeft.module import prediction_rows as rows_of  # with torch, which tables don't need

    return rows_of(parts.module.predictions, parts.data.datasets[split].examples)


def print_summary(
    metrics: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    folder: RunFolder,
    *,
    test_reads: int,
) -> None:
    """Print scores with their signatures, parameters, times, where the files lie, and some predictions.

    Args:
        metrics: What `metrics.json` holds.
        rows: Predictions: of the test split where it was read, else of the validation rows.
        folder: The run's.
        test_reads: How often the test split was read.
    """
    console = Console()
    split = TEST if TEST in metrics else "valid"
    if split in metrics:
        console.print(scores_table(metrics, width=console.width, split=split))
        print_floors(console, metrics, split=split)
    facts = Table(show_header=False, box=None)
    params, times = metrics["params"], metrics["time"]
    facts.add_row("best", best_validation(metrics))
    facts.add_row("rows", ", ".join(f"{n:,} {name}" for name, n in metrics["rows"].items() if n))
    facts.add_row("parameters", f"{params['trainable']:,} trainable of {params['total']:,}")
    if times.get("epoch_s") is not None:
        tested = "" if times.get("test_s") is None else f", {times['test_s']:.0f} s test"
        whole = f"{times['fit_s']:.0f} s training and validation{tested}"
        facts.add_row("time", f"{times['epoch_s']:.1f} s an epoch; {whole}")
    if num_empty := metrics.get(f"{prefix_of(split)}empty_predictions"):
        facts.add_row("empty", f"{num_empty:,} predictions")
    facts.add_row("ledger", times_read(test_reads))
    console.print(facts)
    console.print(predictions_table(rows[:: max(1, len(rows) // _SHOWN_PREDICTIONS)][:_SHOWN_PREDICTIONS]))
    if not test_reads:
        console.print("these are validation rows; the test split is read, once, by", markup=False)
        console.print(f"  {_test_command(folder.path)}", markup=False, soft_wrap=True)
    print_outputs(console, folder.path)


def _test_command(path: Path) -> str:
    return shlex.join(["python", "-m", "codeft.evaluate", f"run={path}", f"split={TEST}"])


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
    """Return which scores are at or below their floors, in one line; "" where none is, or none has a floor.

    >>> run = {"test": {"mrr": 0.193}, "signatures": {"mrr": ""}}
    >>> floor_sentence(run | {"floors": {"test": {"bm25": {"mrr": 0.48}}}}, split="test")
    'no better than without a model: mrr 0.19 (bm25: 0.48)'
    """
    parts, scores, floors = [], scores_of(metrics, split), metrics.get("floors", {}).get(split, {})
    for name in below_floor(scores, floors):
        floor = highest_floor(floors, name)
        assert floor is not None
        signature = metrics["signatures"].get(name, "")
        own, other = shown_score(scores[name], signature), shown_score(floor[1], signature)
        parts.append(f"{name} {own} ({floor[0]}: {other})")
    return f"no better than without a model: {', '.join(parts)}" if parts else ""


def fold_signature(signature: str, *, width: int) -> str:
    """Break a signature behind its bars, so that its parts stay whole; a longer part has its own line.

    >>> print(fold_signature("exact_match|compare:strip|case:mixed|v:1", width=30))
    exact_match|compare:strip|
    case:mixed|v:1
    >>> print(fold_signature("codebleu|grammar:tree-sitter-java-0.23.5|v:1", width=20))
    codebleu|
    grammar:tree-sitter-java-0.23.5|
    v:1
    """
    parts = signature.replace("|", "| ")
    lines = textwrap.wrap(parts, width=width, break_long_words=False, break_on_hyphens=False)
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
