"""What `prepare` does: mine a source tree, read every row of a data set, say what there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from codeft.build import build_data
from codeft.config import instantiate, literal_config
from codeft.data.datamodule import CodeDataModule
from codeft.data.jsonl import SkippedRows, write_rows
from codeft.data.left_out import OTHER_LANGUAGES
from codeft.data.mining import MiningReport
from codeft.data.source_tree import SourceSelection
from codeft.data.sources import SPLITS
from codeft.data.splitting import mine_splits
from codeft.data.statistics import describe_split, duplicates_across
from codeft.models.loading import MINI, RANDOM, find_folder, load_tokenizer
from codeft.models.remote_code import RemoteCode
from codeft.prediction import source_selection
from codeft.run_folder import write_text
from codeft.summary import print_outputs
from codeft.tasks.base import AbstractTask
from codeft.types import CodeftError, Example

_SHOWN_FOLDERS = 10


def prepare_data(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Mine `data.source` where it is given, then check the data and print its statistics.

    Args:
        cfg: The verb's config: a task, a data set, a model for its tokenizer, and perhaps `output`.
        run_dir: Where `statistics.json` goes, and the mined rows unless `output` names a folder.

    Returns:
        What `statistics.json` holds.

    Raises:
        CodeftError: There is no tokenizer, nothing to mine, or no split can be read.
    """
    task = instantiate(cfg.task)
    tokenizer = model_tokenizer(cfg)
    statistics: dict[str, Any] = {key: cfg.choices[key] for key in ("task", "model", "data")}
    statistics["lang"] = task.lang
    folder = Path(cfg.output) if cfg.output else run_dir
    if cfg.data.get("source"):
        selection = source_selection(cfg)
        statistics["mined"] = mine(Path(cfg.data.source), task=task, folder=folder, selection=selection)
        cfg = _read_from(cfg, folder)
    elif cfg.output:
        raise CodeftError(
            "output= is where the rows mined out of data.source= go; without it nothing is written"
        )
    statistics |= check_data(build_data(cfg, task=task, tokenizer=tokenizer))
    write_text(run_dir / "statistics.json", json.dumps(statistics, indent=2, ensure_ascii=False) + "\n")
    _print(statistics, folder=folder, run_dir=run_dir)
    return statistics


def model_tokenizer(cfg: DictConfig) -> PreTrainedTokenizerBase:
    """Return the tokenizer of the chosen model, without building the model.

    Raises:
        CodeftError: It can't be found or read.
    """
    model = cfg.model
    name = model.tokenizer or (MINI if model.weights == RANDOM else model.weights)
    code = RemoteCode(asked=model.get("trust_remote_code"))
    revision = None if model.tokenizer else model.revision
    try:
        return load_tokenizer(find_folder(name, revision=revision, code=code.allowed), code=code)
    except CodeftError as error:
        raise CodeftError(
            f"lengths need the tokenizer of model={cfg.choices.model}, which can't be had: {error}. "
            "Choose another model=, or give a tokenizer's folder: model.tokenizer="
        ) from None


def mine(
    source: Path, *, task: AbstractTask, folder: Path, selection: SourceSelection | None = None
) -> dict[str, Any]:
    """Write the documented functions of a source tree as `train.jsonl`, `valid.jsonl` and `test.jsonl`.

    Args:
        source: The tree.
        task: Summarization; its language is the only one mined, if it has one.
        folder: Where the files go; it must not hold any of them.
        selection: Which files of the tree to read, and which not.

    Returns:
        Files, functions and rows by language, and what was left out: `skipped_files` and `skipped_functions`
        by reason, `left_out` as `LeftOut.as_dict` returns it.

    Raises:
        CodeftError: Another task, files that are there already, or a tree with too few documented functions.
    """
    if task.name != "summarization":
        raise CodeftError(f"mining finds functions and docstrings, for task=summarization, not {task.name}")
    paths = {split: folder / f"{split}.jsonl" for split in SPLITS}
    for path in paths.values():
        if path.exists():
            raise CodeftError(f"{str(path)!r} is there already: name another folder with output=")
    report = MiningReport()
    columns = (SpinnerColumn(), TextColumn("mining {task.completed:,} {task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("", total=None)
        rows = mine_splits(
            source,
            languages=None if task.lang is None else [task.lang],
            selection=selection,
            report=report,
            progress=lambda path: bar.update(shown, description=path.replace("[", r"\["), advance=1),
        )
    for split, path in paths.items():
        write_rows(path, rows[split])
    names = ("files", "skipped_files", "functions", "skipped_functions", "rows")
    counts = {name: dict(getattr(report, name).most_common()) for name in names}
    return counts | {"left_out": report.left_out.as_dict()}


def _read_from(cfg: DictConfig, folder: Path) -> DictConfig:
    """Return the config of the mined rows' data."""
    plain: Any = OmegaConf.to_container(cfg.data, resolve=True)
    for section in (plain, plain["reader"]):
        section.update(source=None, dir=str(folder))
    return literal_config({"data": plain})


def check_data(data: CodeDataModule) -> dict[str, Any]:
    """Read every row of a data set's splits and describe them.

    Args:
        data: With `on_bad_row="skip"` all bad rows are found, else the first one ends it.

    Returns:
        `splits`, each as `describe_split` returns it with its `bad_rows` (place and reason); `unreadable`,
        why a split can't be read; `duplicates` across splits.

    Raises:
        CodeftError: No split can be read, or a row is bad and `on_bad_row` is "error".
    """
    examples: dict[str, list[Example]] = {}
    bad: dict[str, SkippedRows] = {}
    unreadable: dict[str, str] = {}
    for split in SPLITS:
        before = len(data.skipped)
        try:
            examples[split] = data.read(split)
        except CodeftError as error:
            if data.on_bad_row == "error":
                raise
            unreadable[split] = str(error)
        bad[split] = data.skipped[before:]
    if not examples:
        raise CodeftError("; ".join(dict.fromkeys(unreadable.values())))
    splits = {
        split: describe_split(found, task=data.task, tokenizer=data.tokenizer, name=split)
        for split, found in examples.items()
    }
    for split, described in splits.items():
        described["bad_rows"] = [asdict(row) for row in bad[split]]
    return {"splits": splits, "unreadable": unreadable, "duplicates": duplicates_across(examples)}


def _print(statistics: Mapping[str, Any], *, folder: Path, run_dir: Path) -> None:
    console = Console()
    if "mined" in statistics:
        console.print(mined_table(statistics["mined"]))
    console.print(statistics_table(statistics))
    for split, reason in statistics["unreadable"].items():
        console.print(f"{split} can't be read: {reason}", style="bold red", markup=False)
    if "mined" in statistics and (
        statistics["mined"]["left_out"]["reasons"] or statistics["mined"]["left_out"]["suffixes"]
    ):
        console.print("each file or folder that wasn't read stands in the log")
    if any(split["bad_rows"] for split in statistics["splits"].values()):
        console.print("each bad row stands in the log and in statistics.json")
    if "mined" in statistics:
        console.print(f"rows     {folder} (data=local data.dir=…)", markup=False, soft_wrap=True)
    print_outputs(console, run_dir)


def mined_table(mined: Mapping[str, Any]) -> Table:
    """Return a table of what mining met and what it left out.

    Args:
        mined: As `mine` returns it.
    """
    table = Table(title="mined", title_justify="left", show_header=False)
    table.add_column("", overflow="fold")
    table.add_column("", justify="right")

    def add(label: str, count: int) -> None:
        table.add_row(Text(label), f"{count:,}")

    for name in ("files", "functions", "rows"):
        add({"files": "files read"}.get(name, name), sum(mined[name].values()))
    left_out = mined["left_out"]
    table.add_section()
    for suffix, count in left_out["suffixes"].items():
        add(f"not read: {suffix} ({OTHER_LANGUAGES[suffix]})", count)
    for reason, count in left_out["reasons"].items():
        add(f"not read: {reason}", count)
        folders = [each for each in left_out["folders"] if each["reason"] == reason]
        for each in folders[:_SHOWN_FOLDERS]:
            add(f"    {each['folder']}/", each["files"])
        if rest := folders[_SHOWN_FOLDERS:]:
            add(f"    {len(rest)} more folders", sum(each["files"] for each in rest))
    if left_out["other_files"]:
        add("no source code", left_out["other_files"])
    table.add_section()
    for reason, count in mined["skipped_functions"].items():
        add(f"no row: {reason}", count)
    return table


def statistics_table(statistics: Mapping[str, Any]) -> Table:
    """Return a table with a column for each split that could be read."""
    splits = statistics["splits"]
    title = " ".join(str(statistics[key]) for key in ("task", "data", "lang") if statistics[key])
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for split in splits:
        table.add_column(split, justify="right")

    def add(label: str, cells: Mapping[str, object]) -> None:
        table.add_row(label, *(str(cells.get(split, "")) for split in splits))

    for key in ("rows", "parse_failures", "empty_sources", "empty_targets"):
        add(key.replace("_", " "), {split: f"{described[key]:,}" for split, described in splits.items()})
    add("bad rows", {split: f"{len(described['bad_rows']):,}" for split, described in splits.items()})
    languages = dict.fromkeys(lang for described in splits.values() for lang in described["languages"])
    for lang in languages:
        add(
            f"in {lang}",
            {split: f"{described['languages'].get(lang, 0):,}" for split, described in splits.items()},
        )
    for side in ("source", "target"):
        lengths = {split: described[f"{side}_tokens"] for split, described in splits.items()}
        for key, label in (("median", "median"), ("p90", "90 %"), ("max", "maximum")):
            add(f"{side} sub-tokens, {label}", {split: f"{found[key]:,}" for split, found in lengths.items()})
        limit = next(iter(lengths.values()))["limit"]
        add(
            f"{side}s cut at {limit:,}",
            {split: f"{found['truncated']:,}" for split, found in lengths.items()},
        )
    for earlier in splits:
        found = {split: statistics["duplicates"].get(f"{split} in {earlier}") for split in splits}
        for key, label in (("exact", "exactly"), ("near", "nearly")):
            cells = {split: f"{pairs[key]:,}" for split, pairs in found.items() if pairs}
            if cells:
                add(f"also in {earlier}, {label}", cells)
    return table
