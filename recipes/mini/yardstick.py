"""Measures pre-trained encoder-decoders by bits a byte of hidden text, whatever they were trained to write.

The texts and what is hidden of them lie in `yardstick.jsonl.gz`: beginnings of functions of packages that no
corpus holds, with spans of characters hidden without regard to any tree. So the measure is the same for every
tokenizer, objective and size. Counted is the likelihood of the hidden text alone, not that of sentinels.

Usage:
    python recipes/mini/yardstick.py measure MODEL [MODEL ...] [--layout t5|ast_t5] [--json FILE]
    python recipes/mini/yardstick.py make HELD_OUT.jsonl.gz
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from codeft.data.collate import pad
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.objectives.sentinels import Layout, hide
from codeft.tasks.encoding import encode_plain
from codeft.types import IGNORED_LABEL

FILE = Path(__file__).with_name("yardstick.jsonl.gz")
ROWS_A_LANGUAGE = 70
MIN_CHARACTERS, MAX_CHARACTERS = 160, 480
HIDDEN_SHARE = 0.15
SPAN_CHARACTERS = (4, 20)
BATCH = 32


def make(held_out: Path) -> list[dict[str, Any]]:
    """Draw texts and hidden spans of a corpus' held-out rows, as many of each language.

    Args:
        held_out: JSONL (`.gz`) with `text`, `language`, `repo` and `licence`.

    Returns:
        Rows with the same fields, the text cut at a line's end, and `hidden`, half-open spans of characters.
    """
    by_language: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with gzip.open(held_out, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            text = row["text"][:MAX_CHARACTERS]
            text = text if len(row["text"]) <= MAX_CHARACTERS else text[: text.rfind("\n") + 1]
            if len(text) >= MIN_CHARACTERS and row.get("kind", "function") == "function":
                fields = {key: row.get(key, "") for key in ("language", "repo", "path", "licence")}
                by_language[row["language"]].append({"text": text, **fields})
    rng = np.random.default_rng(0)
    rows = []
    for language in sorted(by_language):
        found = by_language[language]
        for place in sorted(rng.permutation(len(found))[:ROWS_A_LANGUAGE].tolist()):
            rows.append({**found[place], "hidden": hidden_spans(found[place]["text"], rng)})
    return rows


def hidden_spans(text: str, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw spans of characters that don't touch each other, about `HIDDEN_SHARE` of the text."""
    spans: list[tuple[int, int]] = []
    budget = HIDDEN_SHARE * len(text)
    for _ in range(1_000):
        if budget <= 0:
            break
        length = int(rng.integers(SPAN_CHARACTERS[0], SPAN_CHARACTERS[1] + 1))
        start = int(rng.integers(0, len(text) - length))
        if (
            all(start + length < first or last < start for first, last in spans)
            and text[start : start + length].strip()
        ):
            spans.append((start, start + length))
            budget -= length
    return sorted(spans)


def measure(model: EncoderDecoderModel, rows: Sequence[dict[str, Any]], *, layout: Layout) -> np.ndarray:
    """Return for each row the bits of its hidden text, and its bytes: float64 [N, 2].

    Args:
        model: In any mode; left in eval mode.
        rows: As `make` made them.
        layout: How the model was trained to write hidden parts.
    """
    model.eval()
    found = []
    for start in range(0, len(rows), BATCH):
        found += list(_measure_batch(model, rows[start : start + BATCH], layout=layout))
    return np.array(found, dtype=np.float64)


@torch.no_grad()
def _measure_batch(
    model: EncoderDecoderModel, rows: Sequence[dict[str, Any]], *, layout: Layout
) -> Iterator[tuple[float, float]]:
    tokenizer = model.tokenizer
    sentinels = [tokenizer.convert_tokens_to_ids(f"<extra_id_{i}>") for i in range(100)]
    frame = tokenizer("")["input_ids"]
    end = np.array(frame[-1:], dtype=np.int32)
    sources, labels = [], []
    for row in rows:
        cuts = [0, *(place for span in row["hidden"] for place in span), len(row["text"])]
        parts = [row["text"][a:b] for a, b in itertools.pairwise(cuts)]
        encoded = [part.ids for part in encode_plain(parts, tokenizer)]
        masked = np.concatenate([np.full(len(ids), i % 2 == 1) for i, ids in enumerate(encoded)])
        hidden = hide(
            np.concatenate(encoded), masked, sentinels=sentinels, end=tokenizer.eos_token_id, layout=layout
        )
        sources.append(np.concatenate((np.array(frame[:-1], dtype=np.int32), hidden.source, end)))
        labels.append(hidden.target)
    lengths = torch.tensor([len(ids) for ids in sources])
    input_ids = pad(sources, value=tokenizer.pad_token_id)
    batch = {
        "input_ids": input_ids,
        "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
        "labels": pad(labels, value=IGNORED_LABEL),
    }
    logits = model(batch).logits
    nats = functional.cross_entropy(
        logits.transpose(1, 2).float(), batch["labels"], ignore_index=IGNORED_LABEL, reduction="none"
    )
    is_text = ~torch.isin(batch["labels"], torch.tensor([*sentinels, tokenizer.eos_token_id, IGNORED_LABEL]))
    for row, bits in zip(rows, ((nats * is_text).sum(1) / math.log(2)).tolist(), strict=True):
        spans = [row["text"][start:stop] for start, stop in row["hidden"]]
        counted = dict.fromkeys(spans) if layout == "ast_t5" else spans  # equal parts are written once
        yield bits, float(sum(len(span.encode()) for span in counted))


def summary(found: np.ndarray, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return bits a byte with a 95% interval over rows, and by language."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(found), size=(2_000, len(found)))
    totals = found[draws].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
    languages = np.array([row["language"] for row in rows])
    by_language = {
        str(name): round(float(np.divide(*found[languages == name].sum(axis=0))), 4)
        for name in np.unique(languages)
    }
    total = found.sum(axis=0)
    return {
        "bits_per_byte": round(float(total[0] / total[1]), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "by_language": by_language,
    }


def read_rows() -> list[dict[str, Any]]:
    """Read the yardstick's rows."""
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("held_out", type=Path)
    measuring = commands.add_parser("measure")
    measuring.add_argument("models", nargs="+", help="folders of weights, or asset:mini")
    measuring.add_argument("--layout", choices=["t5", "ast_t5"], default="ast_t5")
    measuring.add_argument("--json", type=Path, help="append a line with each result to this file")
    options = parser.parse_args()
    if options.command == "make":
        rows = make(options.held_out)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        with FILE.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
            file.write(text.encode("utf-8", "replace"))
        print(f"{len(rows)} texts in {FILE}")
        return
    rows = read_rows()
    for name in options.models:
        found = summary(measure(EncoderDecoderModel(weights=name), rows, layout=options.layout), rows)
        print(name, json.dumps(found))
        if options.json:
            with options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"model": name, "layout": options.layout, **found}) + "\n")


if __name__ == "__main__":
    main()
