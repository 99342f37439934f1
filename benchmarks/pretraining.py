"""Making pre-training batches from source, against tokenising and parsing alone, on one core."""

from __future__ import annotations

import os

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # before tokenizers starts its threads

import itertools
import statistics
from collections.abc import Sequence
from functools import partial

import torch
import tree_sitter
from _race import Result, quick, race, ratio, spread, write
from transformers import PreTrainedTokenizerBase

from codeft.data.sources import SampleReader
from codeft.data.streaming import PieceStream
from codeft.models.loading import MINI, find_folder, load_tokenizer
from codeft.syntax.languages import LANGUAGES, load_grammar
from codeft.tasks.encoding import encode_plain
from codeft.tasks.pretraining import PretrainingTask
from codeft.types import Example

BATCH_TOKENS = 8192
AT_LEAST = 1_500


def main() -> None:
    torch.set_num_threads(1)
    short = quick()
    tokenizer = load_tokenizer(find_folder(MINI))
    rows = SampleReader().rows("train", task="summarization", lang=None)
    examples = [
        Example(row.where, row.fields["code"], None, row.fields["language"])
        for row in itertools.islice(rows, 200 if short else 2_000)
    ]
    contestants = {
        "tokenise + parse": partial(only_parse, examples, tokenizer),
        "subtrees": partial(stream, examples, tokenizer, "subtrees"),
        "spans": partial(stream, examples, tokenizer, "spans"),
    }
    seconds = race(contestants, rounds=2 if short else 7)
    milliseconds = {"scale": 1e3 / len(examples), "unit": "ms a function"}
    results = []
    for part in ("subtrees", "spans"):
        rate = len(examples) / statistics.median(seconds[part])
        relative = ratio(seconds, rival=part, own="tokenise + parse")
        results += [
            Result(
                f"source to batches of hidden {part}",
                "a clock",
                rate,
                " functions/s a core",
                f">= {AT_LEAST:,}",
                rate >= AT_LEAST,
                spread(seconds, **milliseconds),
            ),
            Result(
                f"the same, {part}",
                "tokenising + parsing alone",
                relative,
                "x its time",
                "<= 4x",
                relative <= 4,
                spread(seconds, **milliseconds),
            ),
        ]
    write("pretraining", results, data="the embedded sample's 2,000 training functions in nine languages")


def only_parse(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> None:
    """Tokenise with offsets and parse; keep nothing."""
    for start in range(0, len(examples), 512):
        encode_plain([example.source for example in examples[start : start + 512]], tokenizer)
    for example in examples:
        language = LANGUAGES[example.lang]
        parser = tree_sitter.Parser(tree_sitter.Language(load_grammar(language, language.function)))
        parser.parse(example.source.encode())


def stream(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, part: str) -> None:
    """Make an epoch's batches."""
    task = PretrainingTask(parts={part: 1})
    batches = PieceStream(examples, task=task, tokenizer=tokenizer, batch_tokens=BATCH_TOKENS)
    for made in batches:
        if made.behind[0] == 1 or made.behind[1] * batches.pool_rows >= len(examples):
            return


if __name__ == "__main__":
    main()
