"""What `similarity` does: read the same texts with two models and compare their layers."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codeft.analysis.representations import FEWEST_TEXTS, Similarity, compare
from codeft.evaluation import SPLITS
from codeft.finished_run import FinishedRun
from codeft.hidden_states import pooled_states
from codeft.plots import PUBLISHED, new_figure, save_figure, style
from codeft.published import PublishedSimilarity, is_published_size, published_similarity
from codeft.run_folder import check_writable, write_text
from codeft.signatures import check_value
from codeft.summary import commit, print_outputs, versions
from codeft.tasks.base import AbstractTask
from codeft.two_models import BEFORE, Side, find_sides
from codeft.types import CodeftError, Example

NAME = "similarity"
ALL, COMMON = "all", "common"
MEASURES = {"pearson": "Pearson's r", "cka": "CKA", "cka_debiased": "CKA, debiased"}

log = logging.getLogger(__name__)


def compare_models(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Compare two models by layer.

    Args:
        cfg: The verb's config.
        run_dir: Where `similarity.json`, `.csv`, `.png` and `.svg` go.

    Returns:
        What `similarity.json` holds: both models' names and choices, how many `texts` of which split, each of
        the `layers` with its measures, their `signatures`, and what is `published` for this model and task.

    Raises:
        CodeftError: A model or its texts can't be read, or they can't be compared.
    """
    _check(cfg)
    check_writable(run_dir, advice="set hydra.run.dir=")
    sides = find_sides(cfg)
    own = next((side for side in sides if side.has_rows), None)
    if own is None:
        raise CodeftError("neither model says where its data lies: give data.dir= (or data.source=)")
    found: dict[int, np.ndarray] = {}
    examples: list[Example] = []
    lengths = {}
    for i in sorted((0, 1), key=lambda i: sides[i] is not own):  # the one with the rows first
        run = sides[i].open(checkpoint=cfg.checkpoint, work_dir=run_dir)
        if not found:
            examples = choose_texts(run.parts.data.read(cfg.split), limit=cfg.limit)
        lengths[i] = run.parts.task.max_source_length
        found[i] = _read(run, examples, reference=cfg.reference, name=sides[i].name)
    if lengths[0] != lengths[1]:
        log.warning("the models cut texts at %s and %s sub-tokens, as each was trained", *lengths.values())
    layers = compare_layers(found[0], found[1], names=[s.name for s in sides], cfg=cfg)
    result = _describe(cfg, sides, layers, num_texts=len(examples))
    write_text(run_dir / f"{NAME}.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    write_text(run_dir / f"{NAME}.csv", _as_csv(result))
    _draw(result, run_dir)
    console = Console()
    console.print(_table(result))
    print_outputs(console, run_dir)
    return result


def _check(cfg: DictConfig) -> None:
    if cfg.split not in SPLITS:
        raise CodeftError(f"split must be one of {', '.join(SPLITS)}, not {cfg.split!r}")
    if cfg.layers not in (ALL, COMMON):
        raise CodeftError(f"layers must be {ALL} or {COMMON}, not {cfg.layers!r}")
    if not isinstance(cfg.reference, bool):
        raise CodeftError(f"reference must be true or false, not {cfg.reference!r}")
    check_value("limit", cfg.limit, kind=int, low=FEWEST_TEXTS)


def choose_texts(examples: Sequence[Example], *, limit: int) -> list[Example]:
    """Return the different sources among examples, evenly drawn where they are too many.

    Equal texts are alike in every model; blank ones say nothing.

    Args:
        examples: A split's.
        limit: How many at most.

    >>> [e.source for e in choose_texts([Example("", s) for s in ("a", "b", "a", " ", "c", "d")], limit=2)]
    ['a', 'c']
    """
    different = {(e.source, e.lang): e for e in examples if e.source.strip()}
    texts = list(different.values())
    if len(texts) <= limit:
        return texts
    return [texts[i * len(texts) // limit] for i in range(limit)]


def encode_sources(task: AbstractTask, examples: Sequence[Example], tokenizer: Any) -> list[np.ndarray]:
    """Return the sub-tokens of examples' sources as a task encodes them, whatever task they were read for."""
    others = (Example("", ""),) * (task.num_texts - 1)
    alone = [Example(e.id, e.source, lang=e.lang, others=others) for e in examples]
    return [encoding.input_ids for encoding in task.encode(alone, tokenizer)]


def _read(run: FinishedRun, examples: Sequence[Example], *, reference: bool, name: str) -> np.ndarray:
    task, model = run.parts.task, run.parts.model
    return pooled_states(
        model,
        encode_sources(task, examples, model.tokenizer),
        pooling="reference" if reference else "mean",
        pad_to=task.max_source_length if reference else None,
        batch_size=run.parts.data.eval_batch_size,
        description=f"reading with {name}",
    )


def compare_layers(
    first: np.ndarray, second: np.ndarray, *, names: Sequence[str], cfg: DictConfig
) -> list[Similarity]:
    """Compare layer by layer.

    Args:
        first: [L + 1, n, D].
        second: [M + 1, n, E].
        names: Of both models, for errors.
        cfg: `layers`, and whether as in the `reference`.

    Raises:
        CodeftError: The models have different numbers of layers, and `layers=common` wasn't asked for; or
            nothing can be compared.
    """
    numbers = len(first) - 1, len(second) - 1
    if numbers[0] != numbers[1] and cfg.layers != COMMON:
        raise CodeftError(
            f"{names[0]} has {numbers[0]} layers and {names[1]} has {numbers[1]}: layers={COMMON} compares "
            f"the lowest {min(numbers)}"
        )
    similarities = []
    for layer, pair in enumerate(zip(first, second, strict=False)):
        try:
            similarities.append(compare(*pair, diagonal=cfg.reference))
        except CodeftError as error:
            raise CodeftError(f"layer {layer} of {names[0]} and {names[1]}: {error}") from None
    return similarities


def signatures(*, reference: bool) -> dict[str, str]:
    """Return how each measure is computed.

    >>> signatures(reference=True)["pearson"]
    'pearson|of:cosines|pairs:upper,diagonal:yes|pooling:mean,padding:yes|v:1'
    """
    padding = f"pooling:mean,padding:{'yes' if reference else 'no'}|v:1"
    return {
        "pearson": f"pearson|of:cosines|pairs:upper,diagonal:{'yes' if reference else 'no'}|{padding}",
        "cka": f"cka|kernel:linear|hsic:biased|{padding}",
        "cka_debiased": f"cka|kernel:linear|hsic:unbiased|{padding}",
    }


def _describe(
    cfg: DictConfig, sides: Sequence[Side], layers: Sequence[Similarity], *, num_texts: int
) -> dict[str, Any]:
    after = sides[1].cfg.choices
    published = published_similarity(task=after.get("task"), model=after.get("model"))
    of_other_size = not is_published_size(str(after.get("model")), sides[1].cfg.model.get("architecture"))
    if published is not None and (of_other_size or len(published.pearson) != len(layers)):
        published = None
    return {
        "models": [
            {"name": side.name, **{key: side.cfg.choices.get(key) for key in ("task", "model", "method")}}
            for side in sides
        ],
        "split": cfg.split,
        "texts": num_texts,
        "reference": cfg.reference,
        "layers": [{"layer": number, **asdict(found)} for number, found in enumerate(layers)],
        "signatures": signatures(reference=cfg.reference),
        "published": None if published is None else asdict(published),
        "command": list(cfg.command),
        "versions": versions(),
        "commit": commit(),
    }


def _published(result: Mapping[str, Any]) -> PublishedSimilarity | None:
    return None if result["published"] is None else PublishedSimilarity(**result["published"])


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    published = _published(result)
    return [
        row if published is None else {**row, "published_pearson": published.pearson[row["layer"]]}
        for row in result["layers"]
    ]


def _as_csv(result: Mapping[str, Any]) -> str:
    rows, text = _rows(result), io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _title(result: Mapping[str, Any], *, short: bool = False) -> str:
    first, second = (Path(m["name"]).name if short else m["name"] for m in result["models"])
    return f"{first} and {second}" if first != BEFORE else f"{second}: before and after"


def _table(result: Mapping[str, Any]) -> Table:
    published = _published(result)
    caption = f"{result['texts']:,} texts of the {result['split']} rows; layer 0 is the embeddings"
    if published is not None:
        caption += f"\npublished: {published.source} ({published.data}; {published.note})"
    table = Table(
        title=Text(_title(result)), title_justify="left", caption=Text(caption), caption_justify="left"
    )
    table.add_column("layer", justify="right")
    for name in (*MEASURES.values(), *(["published r"] if published else [])):
        table.add_column(name, justify="right")
    for row in _rows(result):
        values = [value for key, value in row.items() if key != "layer"]
        table.add_row(str(row["layer"]), *("undefined" if v is None else f"{v:.3f}" for v in values))
    return table


def _draw(result: Mapping[str, Any], folder: Path) -> None:
    figure, [axes] = new_figure()
    rows, published = result["layers"], _published(result)
    numbers = [row["layer"] for row in rows]
    for i, (key, label) in enumerate(MEASURES.items()):
        if key == "cka":  # as good as the debiased one for many texts, and wrong for few
            continue
        values = [np.nan if row[key] is None else row[key] for row in rows]
        axes.plot(numbers, values, label=label, **style(i))
    if published is not None:
        axes.plot(numbers, published.pearson, label=f"published r ({published.data})", **PUBLISHED)
    axes.set(
        xlabel="layer (0: embeddings)", ylabel="similarity", title=_title(result, short=True), xticks=numbers
    )
    axes.set_ylim(top=1.03)
    if axes.get_ylim()[0] > 0:
        axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    save_figure(figure, folder, NAME)
