"""What `export` does: a run's model, its tokenizer and its card into a folder, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from safetensors import SafetensorError

from codeft.export_folder import (
    ABOUT,
    CARD,
    check_free,
    check_takes_folder,
    describe_export,
    write_about,
    written_whole,
)
from codeft.finished_run import FinishedRun, reopen, stored_config
from codeft.metrics.classification import LABELS
from codeft.model_card import is_on_hub, model_card
from codeft.models.base import AbstractCodeModel
from codeft.models.exported import ExportedModel, read_again, write_exported
from codeft.models.exported_tokenizer import write_tokenizer
from codeft.models.snippets import usage_of
from codeft.onnx_graphs import check_onnx, write_graphs
from codeft.publishing import check_hub, publish
from codeft.run_folder import RunFolder, write_text
from codeft.sentence_files import write_sentence_files
from codeft.split_reads import TEST, count_reads
from codeft.summary import print_outputs, versions
from codeft.tasks.base import AbstractGenerationTask, AbstractTask
from codeft.tasks.marks import language_marks, mark_pairs
from codeft.types import CodeftError

MERGED, SEPARATE = "merged", "separate"
"""What becomes of adapters: `adapter=` says it."""

_ROOM = 1.2
"""Bytes that the folder takes, as a multiple of the weights'."""


@runtime_checkable
class MergesIntoModel(Protocol):
    """A method's callback that added modules to the model and can merge them into the model's own."""

    def merge(self, model: AbstractCodeModel) -> object:
        """Leave the model as its family builds it, computing what it computes now."""


def export_run(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Write a finished run's model as a folder, and upload it if that is asked for.

    Args:
        cfg: The verb's config.
        run_dir: The verb's own folder.

    Returns:
        `folder`, its `files`, and `hub`, the address there or None.

    Raises:
        CodeftError: Something is missing, would be overwritten or can't be written, or what was written
            doesn't compute what the model computes.
    """
    _check(cfg)
    try:
        target = Path(cfg.to).expanduser()
        check_free(target.resolve(), overwrite=cfg.overwrite)
        check_takes_folder(target)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, CodeftError):
            raise
        raise CodeftError(f"can't write an export into {cfg.to!r}: {error}; name another to=") from error
    if cfg.onnx:
        check_onnx()
    if cfg.push_to_hub:
        check_hub(cfg.push_to_hub)
    folder = RunFolder(Path(cfg.run))
    run_cfg = stored_config(folder, cfg)
    run = reopen(run_cfg, folder, checkpoint=cfg.checkpoint, work_dir=run_dir)
    run.use()
    for callback in run.parts.callbacks:
        if isinstance(callback, MergesIntoModel) and cfg.adapter == MERGED:
            callback.merge(run.parts.model)
    metrics = folder.load_metrics() if cfg.checkpoint == "best" else {}  # scores are the best checkpoint's
    plain: Any = OmegaConf.to_container(folder.load_config(trust_targets=cfg.trust_targets), resolve=True)
    plain["task"] = OmegaConf.to_container(run_cfg.task, resolve=True)
    _check_room(target, run.parts.model)
    with written_whole(target, overwrite=cfg.overwrite) as new:
        try:
            _write(run, plain, metrics, new, cfg, test_reads=count_reads(folder, split=TEST, metrics=metrics))
        except SafetensorError as error:  # what it says of a full disk
            raise OSError(None, str(error)) from error
    files = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    hub = publish(target, cfg.push_to_hub, private=cfg.private) if cfg.push_to_hub else None
    console = Console()
    console.print(f"{len(files)} files; {CARD} says how to use them", highlight=False)
    print_outputs(console, target)
    if hub:
        console.print(f"on the hub  {hub}", markup=False, soft_wrap=True)
    return {"folder": str(target), "files": files, "hub": hub}


def _check(cfg: DictConfig) -> None:
    for key in ("run", "to"):
        if not cfg[key]:
            raise CodeftError(f"export needs run=<a run's folder> and to=<a folder>; no {key}=")
    if cfg.adapter not in (MERGED, SEPARATE):
        raise CodeftError(f"adapter must be {MERGED} or {SEPARATE}, not {cfg.adapter!r}")
    if cfg.adapter == SEPARATE and cfg.onnx:
        raise CodeftError("onnx=true needs a whole model: leave adapter=separate away")
    for key in ("overwrite", "onnx", "private"):
        if not isinstance(cfg[key], bool):
            raise CodeftError(f"{key} must be true or false, not {cfg[key]!r}")
    if (Path(cfg.run) / ABOUT).is_file():
        raise CodeftError(
            f"{cfg.run!r} is an exported folder already: give the run's folder, or copy this one"
        )


def _check_room(target: Path, model: AbstractCodeModel) -> None:
    there = next(folder for folder in target.resolve().parents if folder.is_dir())
    needed = _ROOM * sum(p.numel() * p.element_size() for p in model.parameters())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise CodeftError(
            f"the folder needs {needed / 1e9:.1f} GB, but {str(there)!r} has {free / 1e9:.1f} GB free; "
            "make room, or set another to="
        )


def _write(
    run: FinishedRun,
    plain: dict[str, Any],
    metrics: Mapping[str, Any],
    folder: Path,
    cfg: DictConfig,
    *,
    test_reads: int,
) -> None:
    """Write all files.

    Args:
        run: Its weights are loaded.
        plain: The run's config.
        metrics: Its scores.
        folder: Where to.
        cfg: The verb's config.
        test_reads: How often the run's test split was scored so far.
    """
    task, model = run.parts.task, run.parts.model
    exported = model.exported()
    _bring_settings(exported, task)
    write_tokenizer(model.tokenizer, folder, max_length=task.max_source_length, side=task.truncation_side)
    usage = usage_of(exported, num_texts=task.num_texts, has_queries=task.has_queries)
    separate, graphs = cfg.adapter == SEPARATE, {}
    is_sentence_model = exported.pooling is not None and exported.head is None and not separate
    if separate:
        from codeft.adapter_export import adapter_usage, check_base, write_adapter  # peft takes a second

        weights, laid_over = str(plain["model"]["weights"]), plain["model"].get("checkpoint")
        check_base(model, weights=weights, checkpoint=laid_over)
        known = weights if is_on_hub(weights) and laid_over is None else None
        write_adapter(model, exported, folder, weights=known)
        usage = adapter_usage(usage, exported, weights=known)
    else:
        write_exported(exported, folder)
        plain_network = read_again(exported, folder)
        if is_sentence_model:
            write_sentence_files(exported, folder, max_length=task.max_source_length)
        if cfg.onnx:
            graphs = write_graphs(exported, plain_network, folder, num_texts=task.num_texts)
    inputs = [name for name, feature in run.parts.data.features.items() if feature.model_input]
    card = model_card(
        plain,
        metrics,
        usage=usage,
        graphs=graphs,
        is_sentence_model=is_sentence_model,
        is_adapter=separate,
        marks=_marks(model, task),
        inputs=inputs,
        test_reads=test_reads,
    )
    write_text(folder / CARD, card)
    about = describe_export(
        plain, untied=exported.untied, metrics=metrics, versions=versions(), inputs=inputs
    )
    write_about(folder, about | ({"adapter": True} if separate else {}))


def _marks(model: AbstractCodeModel, task: AbstractTask) -> tuple[str | None, str | None]:
    """Return the tokens of the languages that are read and written, where the task has one of each."""
    if not isinstance(task, AbstractGenerationTask):
        return None, None
    known, words = language_marks(model.tokenizer), model.tokenizer
    [pair] = mark_pairs([(task.lang or "?").partition("-")[0]], task.target_lang, known)
    read, written = (None if mark is None else str(words.convert_ids_to_tokens(mark)) for mark in pair)
    return read, written


def _bring_settings(exported: ExportedModel, task: AbstractTask) -> None:
    """Have plain transformers decode as codeft does, and name the labels."""
    network: Any = exported.network
    if isinstance(task, AbstractGenerationTask):
        network.generation_config.update(
            max_new_tokens=task.max_target_length, num_beams=task.num_beams, early_stopping=task.num_beams > 1
        )
    elif exported.pooling is None:
        network.config.id2label = dict(enumerate(LABELS))
        network.config.label2id = {label: number for number, label in enumerate(LABELS)}
