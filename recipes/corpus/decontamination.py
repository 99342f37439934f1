"""Which functions must not get into training: those of the evaluation sets and of the packages held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from candidates import Candidate
from evaluation import comparable, evaluation_files, evaluation_functions
from renaming import renamed_shingles

from codeft.data.near_duplicates import NearDuplicateIndex, shingles

NEAR_DUPLICATE = 0.75
RENAMED_NEAR_DUPLICATE = 0.7
MIN_RENAMED_SHINGLES = 20  # a shorter function's form without names is everybody's
COVERED = 0.8  # share of a function's shingles found among the completion sets' files
HELD_OUT = "held-out packages"


class Decontamination:
    """What is compared with: evaluation functions and files, and the held-out packages' functions.

    Args:
        data: Folder of the evaluation sets.
        language: The language whose candidates are asked about.

    Attributes:
        num_rows: How many rows of each evaluation set there are to compare with.
    """

    def __init__(self, data: Path, *, language: str) -> None:
        self.language = language
        self.close = {language, *({"c", "cpp"} if language in ("c", "cpp") else ())}
        self.functions = NearDuplicateIndex(threshold=NEAR_DUPLICATE)
        self.renamed = NearDuplicateIndex(threshold=RENAMED_NEAR_DUPLICATE)
        self.num_rows: Counter[str] = Counter()
        for name, row_language, code in evaluation_functions(data):
            if row_language in self.close:
                self._add(name, comparable(code, row_language))
                self.num_rows[f"{name} ({row_language})"] += 1
        files = [np.zeros(0, dtype=np.uint64)]
        for name, row_language, text in evaluation_files(data):
            if row_language in self.close:
                files.append(shingles(comparable(text, row_language)))
                self.num_rows[f"{name} ({row_language})"] += 1
        self.file_shingles = np.unique(np.concatenate(files))

    def hold_out(self, items: Iterable[Candidate]) -> None:
        """Add the functions of packages that are never trained on."""
        for item in items:
            if item.language in self.close:
                for piece in item.pieces:
                    self._add(HELD_OUT, comparable(piece.code, item.language))

    def reason(self, compared: str) -> str:
        """Return what a function contaminates, as `comparable` made it; "" for none."""
        matches = self.functions.query(compared)
        if matches:
            return str(matches[0].key)
        hashes = renamed_shingles(compared, self.language)
        if len(hashes) >= MIN_RENAMED_SHINGLES and (matches := self.renamed.query_hashes(hashes)):
            return f"{matches[0].key}, renamed"
        if len(self.file_shingles):
            hashes = shingles(compared)
            places = np.searchsorted(self.file_shingles, hashes).clip(max=len(self.file_shingles) - 1)
            if len(hashes) and (self.file_shingles[places] == hashes).mean() >= COVERED:
                return "javaCorpus" if self.language == "java" else "py150"
        return ""

    def _add(self, name: str, compared: str) -> None:
        self.functions.add(name, compared)
        hashes = renamed_shingles(compared, self.language)
        if len(hashes) >= MIN_RENAMED_SHINGLES:
            self.renamed.add_hashes(name, hashes)
