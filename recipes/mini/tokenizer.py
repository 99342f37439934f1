"""Trains the tokenizer of the embedded model on a corpus: byte-level BPE in which each digit stands alone.

Usage: python recipes/mini/tokenizer.py CORPUS.jsonl.gz OUT [--rows 60000]
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from codeft.models.tokenizer import train_tokenizer

VOCAB_SIZE = 8192
MAX_CHARACTERS = 6_000


def texts(corpus: Path, *, rows: int) -> Iterator[str]:
    """Yield the beginnings of a corpus' first texts, which are in random order."""
    with gzip.open(corpus, "rt", encoding="utf-8") as file:
        for line in itertools.islice(file, rows):
            yield json.loads(line)["text"][:MAX_CHARACTERS]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=60_000)
    options = parser.parse_args()
    found = train_tokenizer(
        texts(options.corpus, rows=options.rows), vocab_size=VOCAB_SIZE, split_digits=True
    )
    found.save_pretrained(str(options.out))


if __name__ == "__main__":
    main()
