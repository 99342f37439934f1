"""What `predict` does: functions or rows in, a JSON Lines file of predictions out, in the same order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console

from codeft.allocator import keep_freed_memory
from codeft.data.inputs import InputReport, InputRow, read_inputs
from codeft.data.jsonl import SkippedRow, is_rows, write_rows
from codeft.data.source_tree import SourceSelection
from codeft.finished_run import FinishedRun, reopen, stored_config
from codeft.function_index import nearest_ids
from codeft.metrics.faiss_search import Nearest, search_named
from codeft.progress import track
from codeft.summary import print_outputs
from codeft.trained import find_trained
from codeft.types import CodeftError, Example

_SHOWN_ROWS = 5


def predict_input(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Predict for each function of a source file or folder, or each row of a JSON Lines file.

    Rows of other languages than the run was trained for are left out and counted.

    Args:
        cfg: The verb's config: `run`, `input`, `output`, `checkpoint` and what may differ.
        run_dir: The verb's own folder.

    Returns:
        `rows` written, `files` read, `skipped` files and rows by reason.

    Raises:
        CodeftError: Something is missing or can't be read or written, `output` would overwrite the input, or
            there is nothing to predict for.
    """
    for key in ("run", "input", "output"):
        if not cfg[key]:
            raise CodeftError(
                f"predict needs run=<a run's folder>, input=<files> and output=<file>; no {key}="
            )
    search = search_named(cfg.search)
    folder, source, output = find_trained(cfg), Path(cfg.input), Path(cfg.output)
    run_cfg = stored_config(folder, cfg)
    report = InputReport()
    rows = read_source(source, run_cfg, report, selection=source_selection(cfg))
    check_output(output, source=source, rows=rows)
    keep_freed_memory()
    run = reopen(run_cfg, folder, checkpoint=cfg.checkpoint, work_dir=run_dir)
    if run.parts.task.has_queries:
        raise CodeftError("a run of code search answers query=<a sentence>, or makes an index=<a folder>")
    kept, examples = read_examples(run, rows, report)
    texts = predict_texts(run, examples, search=search)
    answered = zip(kept, examples, texts, strict=True)
    write_rows(
        output, ({**function_row(row, example), "prediction": text} for row, example, text in answered)
    )
    told = {"rows": len(texts), "files": report.num_files, "skipped": report.left_out()}
    _print(told, report, output)
    return told


def source_selection(cfg: DictConfig) -> SourceSelection:
    """Return what a config's `data.include`, `data.exclude` and `data.ignored` mean.

    Raises:
        CodeftError: One of them holds no patterns.
    """
    include, exclude, ignored = (cfg.data.get(key) for key in ("include", "exclude", "ignored"))
    return SourceSelection.of(include=include, exclude=exclude, ignored=bool(ignored))


def read_source(
    source: Path, run_cfg: DictConfig, report: InputReport, *, selection: SourceSelection | None = None
) -> list[InputRow]:
    """Return the functions or rows of an input.

    Args:
        source: A file or folder.
        run_cfg: The run's config.
        report: Filled with what was left out.
        selection: Which files of a folder to read, and which not.

    Raises:
        CodeftError: There are none.
    """
    data = run_cfg.data
    tokens = data.get("input") == "code_tokens"
    rows = list(
        read_inputs(source, on_bad_row=data.on_bad_row, report=report, selection=selection, tokens=tokens)
    )
    if not rows:
        what = "rows" if is_rows(source) else "functions"
        left_out = _counts(Counter(report.left_out()))
        raise CodeftError(f"found no {what} in {str(source)!r} ({left_out or 'nothing was left out'})")
    return rows


def check_output(output: Path, *, source: Path, rows: Sequence[InputRow]) -> None:
    """Check, before anything is computed, that the predictions can be written and overwrite no input.

    Args:
        output: Where they shall go.
        source: The input.
        rows: What was read from it.

    Raises:
        CodeftError: `output` is a folder or a device, the input or a file that was read from it, or can't be
            written.
    """
    read = {source} if source.is_file() else {source / row.path for row in rows if row.path}
    try:
        exists = output.exists()
        if exists and not output.is_file():  # a device would be replaced by a file
            what = "a folder" if output.is_dir() else "a device"
            raise CodeftError(f"expected output= to be a file, but {str(output)!r} is {what}")
        if exists and any(path.exists() and output.samefile(path) for path in read):
            raise CodeftError(f"output={str(output)!r} would overwrite the input; name another file")
        output.parent.mkdir(parents=True, exist_ok=True)
        probe = output.with_name(f".{output.name}.{os.getpid()}.probe")
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise CodeftError(f"can't write output={str(output)!r}: {reason}") from None


def predict_texts(run: FinishedRun, examples: Sequence[Example], *, search: Nearest) -> list[str]:
    """Return a finished run's prediction for each example, in their order.

    Lightning's own prediction loop would rebuild the batch sampler, so the loop is here.
    """
    parts, trainer = run.parts, run.trainer
    if parts.task.output == "embedding":
        return nearest_ids(run, examples, search=search)
    run.use()
    loader = parts.data.loader(parts.data.encode(examples, name="input"), train=False)
    texts: dict[int, str] = {}
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for _, batch in zip(track(range(len(loader)), description="predicting"), loader, strict=True):
            batch = trainer.strategy.batch_to_device(batch)
            predicted = parts.task.predict(parts.model, batch)
            texts.update(zip(batch["index"].tolist(), predicted, strict=True))
    return [texts[index] for index in range(len(examples))]


def read_examples(
    run: FinishedRun, rows: Sequence[InputRow], report: InputReport
) -> tuple[list[InputRow], list[Example]]:
    """Return the rows that the task takes, and their examples.

    Args:
        run: Whose task reads them.
        rows: What was read.
        report: Filled with what was left out.

    Raises:
        CodeftError: There are none; or a row is malformed, unless such rows are to be left out.
    """
    task, data = run.parts.task, run.parts.data
    kept: list[InputRow] = []
    examples: list[Example] = []
    for row in rows:
        try:
            example = task.read(row.fields, where=row.where, input=data.input, labelled=False)
        except CodeftError as error:
            if data.on_bad_row == "error":
                raise CodeftError(f"{error} (data.on_bad_row=skip leaves such rows out)") from None
            report.skipped_rows.append(SkippedRow.because(error, where=row.where))
            continue
        if example is None or (row.language and example.lang and example.lang != row.language):
            report.num_other_languages += 1
            continue
        kept.append(row)
        examples.append(example)
    if not examples:
        raise CodeftError(f"none of the {len(rows)} rows of the input is for lang={task.lang}")
    return kept, examples


def function_row(row: InputRow, example: Example) -> dict[str, Any]:
    """Return what an output row says of a function: what it is, and where."""
    return {
        "id": example.id,
        "path": row.path,
        "name": row.name,
        "start_line": row.start_line,
        "language": example.lang or row.language,
        "source": example.source,
    }


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{reason}: {count:,}" for reason, count in counter.most_common() if count)


def _print(told: dict[str, Any], report: InputReport, output: Path) -> None:
    console = Console()
    files = "file" if told["files"] == 1 else "files"
    console.print(f"{told['rows']:,} predictions for {told['files']:,} {files}")
    print_left_out(console, report)
    print_outputs(console, output)


def print_left_out(console: Console, report: InputReport) -> None:
    """Say what was left out of an input, and the first bad rows."""
    if left_out := report.left_out():
        console.print(f"left out: {_counts(Counter(left_out))}")
    folders = [f"{folder}/" for (folder, _), _ in report.skipped.folders.most_common()]
    if folders:
        more = f" and {len(folders) - _SHOWN_ROWS:,} more" if len(folders) > _SHOWN_ROWS else ""
        console.print(
            f"  not entered: {', '.join(folders[:_SHOWN_ROWS])}{more} "
            "(data.ignored=true reads vendored, built and git-ignored ones)",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for row in report.skipped_rows[:_SHOWN_ROWS]:
        console.print(f"  {row.where}: {row.reason}", markup=False, highlight=False, soft_wrap=True)
