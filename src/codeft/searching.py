"""What `predict` does with a run of code search: index a source tree, answer a query."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codeft.allocator import keep_freed_memory
from codeft.data.inputs import InputReport, InputRow
from codeft.data.jsonl import write_rows
from codeft.finished_run import FinishedRun, reopen, stored_config
from codeft.function_index import FunctionIndex, answer, embed
from codeft.metrics.faiss_search import search_named
from codeft.prediction import (
    check_output,
    function_row,
    print_left_out,
    read_examples,
    read_source,
    source_selection,
)
from codeft.summary import print_outputs
from codeft.syntax import canonical_language
from codeft.trained import find_trained
from codeft.types import CodeftError, Example


def search_input(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Index the functions of an input, answer a query, or both.

    With `input`, its functions are indexed, and stored in the folder `index` if that is given; without, the
    index that lies there is read. The `query` is answered with the `top` nearest functions, as a table and,
    where `output` is given, as rows.

    Args:
        cfg: The verb's config.
        run_dir: The verb's own folder.

    Returns:
        `functions` in the index, `hits` for the query, and `skipped` files and rows by reason.

    Raises:
        CodeftError: The run isn't one of code search, something is missing or can't be read or written, or
            the index was made by another model.
    """
    if not cfg.run or not (cfg.input or cfg.index):
        raise CodeftError("search needs run=<a run's folder>, and input=<files> or index=<a folder>")
    query = None if cfg.query is None else str(cfg.query).strip()
    if query == "" or (query is None and not cfg.input):
        raise CodeftError("expected query=<a sentence>, or input=<files> to make an index of")
    if isinstance(cfg.top, bool) or not isinstance(cfg.top, int) or cfg.top < 1:
        raise CodeftError(f"top must be a whole number, at least 1, not {cfg.top!r}")
    search = search_named(cfg.search)
    folder, report = find_trained(cfg), InputReport()
    run_cfg = stored_config(folder, cfg)
    selection = source_selection(cfg)
    rows = read_source(Path(cfg.input), run_cfg, report, selection=selection) if cfg.input else []
    if cfg.output:
        check_output(Path(cfg.output), source=Path(cfg.input or cfg.index), rows=rows)
    keep_freed_memory()
    run = reopen(run_cfg, folder, checkpoint=cfg.checkpoint, work_dir=run_dir)
    if not run.parts.task.has_queries:
        raise CodeftError(
            f"query= and index= are for runs of code search; this one is of {run_cfg.choices.task}"
        )
    weights = _fingerprint(folder.weights(cfg.checkpoint))
    if cfg.lang:
        run.parts.task.lang = canonical_language(cfg.lang)
    elif all(row.language for row in rows):  # a source tree says its languages, whatever was trained on
        run.parts.task.lang = None
    if cfg.input:
        kept, examples = read_examples(run, rows, report)
        index = _index(run, kept, examples, weights=weights)
        if cfg.index:
            index.save(Path(cfg.index))
    else:
        index = FunctionIndex.load(Path(cfg.index), weights=weights)
    hits = [] if query is None else answer(run, index, query, top=cfg.top, search=search)
    if cfg.output:
        write_rows(cfg.output, hits)
    told = {"functions": len(index.functions), "hits": len(hits), "skipped": report.left_out()}
    _print(told, hits, report, cfg)
    return told


def _fingerprint(path: Path) -> str:
    """Return a number of a checkpoint's bytes: vectors of other weights don't compare."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _index(
    run: FinishedRun, rows: Sequence[InputRow], examples: Sequence[Example], *, weights: str
) -> FunctionIndex:
    encodings = run.parts.task.encode(examples, run.parts.model.tokenizer)
    functions = [function_row(row, example) for row, example in zip(rows, examples, strict=True)]
    return FunctionIndex(embed(run, examples, encodings, description="indexing"), functions, weights)


def _print(
    told: Mapping[str, Any], hits: Sequence[Mapping[str, Any]], report: InputReport, cfg: DictConfig
) -> None:
    console = Console()
    if hits:
        table = Table(title=Text(hits[0]["query"]), title_justify="left")
        table.add_column("similarity", justify="right")
        table.add_column("where", overflow="fold")
        table.add_column("function", overflow="fold")
        for hit in hits:
            where = f"{hit['path']}:{hit['start_line']}" if hit.get("path") else str(hit["id"])
            table.add_row(f"{hit['similarity']:.3f}", Text(where), Text(str(hit.get("name") or "")))
        console.print(table)
    console.print(f"{told['functions']:,} functions")
    print_left_out(console, report)
    for path in filter(None, (cfg.index if cfg.input else None, cfg.output)):
        print_outputs(console, Path(path))
