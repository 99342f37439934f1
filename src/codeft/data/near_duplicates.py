"""Near-duplicate functions: found by MinHash, confirmed by the exact Jaccard similarity.

Copies of a function in a training and a test split inflate every score (Allamanis, "The adverse effects of
code duplication in machine learning models of code", arXiv 1812.06469).
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

SHINGLE_SIZE = 5
_TOKEN = re.compile(r"\w+|[^\w\s]")
_NUM_BANDS, _ROWS_PER_BAND = 16, 4  # a pair of Jaccard 0.75 shares a band with probability 0.998


@dataclass(frozen=True, slots=True)
class Match:
    """A text in the index that nearly duplicates a query.

    Attributes:
        key: The key that it was added under.
        similarity: Jaccard similarity of the two texts' shingles, in [0, 1].
    """

    key: Hashable
    similarity: float


def shingles(text: str, *, size: int = SHINGLE_SIZE) -> np.ndarray:
    """Return the hashes of a text's token n-grams; white space and letter case don't count.

    Args:
        text: Source code or prose; tokens are runs of word characters and single other characters.
        size: Tokens in a shingle, >= 1. A shorter text is one shingle.

    Returns:
        uint64 [n], ascending, each once; empty for a text without tokens.

    Examples:
        >>> len(shingles("a b c d e f")), len(shingles("f(x)")), len(shingles(" "))
        (2, 1, 0)
        >>> bool((shingles("If (a==b) {") == shingles("if(a == b){")).all())
        True
    """
    tokens = np.array([_token_hash(token) for token in _TOKEN.findall(text.lower())], dtype=np.uint64)
    if not len(tokens):
        return tokens
    size = min(size, len(tokens))
    windows = np.lib.stride_tricks.sliding_window_view(tokens, size)  # [n - size + 1, size]
    powers = np.array([pow(0x9E3779B97F4A7C15, place + 1, 2**64) for place in range(size)], dtype=np.uint64)
    hashes = (windows * powers).sum(axis=1, dtype=np.uint64)
    return np.unique(hashes ^ (hashes >> np.uint64(31)))


def jaccard(first: np.ndarray, second: np.ndarray) -> float:
    """Return the size of the intersection over the size of the union of two shingle sets.

    Args:
        first: uint64 [n], ascending and unique, as `shingles` returns it.
        second: uint64 [m], likewise.

    Returns:
        A similarity in [0, 1]; 1 for two empty sets.

    Examples:
        >>> jaccard(shingles("a b c d e"), shingles("a b c d e f"))
        0.5
    """
    if not len(first) and not len(second):
        return 1.0
    num_common = len(np.intersect1d(first, second, assume_unique=True))
    return num_common / (len(first) + len(second) - num_common)


class NearDuplicateIndex:
    """Texts that can be asked for near duplicates of another text.

    Source:
        Broder, "On the resemblance and containment of documents" (1997), with banded MinHash signatures
        (16 bands of 4). Candidates are confirmed by their exact Jaccard similarity, so a match is never
        false; one at the threshold 0.75 is missed with probability 0.002. The same texts in the same order
        give the same answers.

    Args:
        threshold: The least Jaccard similarity of a near duplicate, in (0, 1].
        seed: Chooses the hash functions.

    Raises:
        ValueError: The threshold isn't in (0, 1].
    """

    def __init__(self, *, threshold: float = 0.75, seed: int = 0) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {threshold}")
        self.threshold = threshold
        random = np.random.default_rng(seed)
        num_hashes = _NUM_BANDS * _ROWS_PER_BAND
        self._factors = random.integers(0, 2**63, num_hashes, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._terms = random.integers(0, 2**63, num_hashes, dtype=np.uint64)
        self._keys: list[Hashable] = []
        self._shingles: list[np.ndarray] = []
        self._buckets: dict[tuple[int, int], list[int]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: Hashable, text: str) -> None:
        """Add a text under a key; a text without tokens is left out, as it resembles nothing."""
        self.add_hashes(key, shingles(text))

    def add_hashes(self, key: Hashable, hashes: np.ndarray) -> None:
        """Add a text by hashes of its parts, where it is cut in another way than by `shingles`.

        Args:
            key: What a match shall name.
            hashes: uint64 [n], ascending, each once; a text without any is left out.
        """
        if len(hashes):
            self._insert(key, hashes, self._bands(hashes))

    def query(self, text: str) -> list[Match]:
        """Return the near duplicates of a text, the most similar first, then in the order of adding."""
        return self.query_hashes(shingles(text))

    def query_hashes(self, hashes: np.ndarray) -> list[Match]:
        """Return the near duplicates of a text that is given by hashes of its parts, as in `add_hashes`."""
        return self._search(hashes, self._bands(hashes)) if len(hashes) else []

    def add_unless_duplicate(self, key: Hashable, text: str) -> Match | None:
        """Add a text, unless the index holds a near duplicate of it.

        Returns:
            The nearest duplicate, where there is one and nothing was added; None where the text was added.
        """
        hashes = shingles(text)
        if not len(hashes):
            return None
        bands = self._bands(hashes)
        matches = self._search(hashes, bands)
        if matches:
            return matches[0]
        self._insert(key, hashes, bands)
        return None

    def _bands(self, hashes: np.ndarray) -> list[tuple[int, int]]:
        """Return the bucket of each band of the text's MinHash signature."""
        # [n, 64] products; the high bits of a product are the well mixed ones, and comparing looks at these.
        signature = (hashes[:, None] * self._factors + self._terms).min(axis=0)
        banded = signature.reshape(_NUM_BANDS, _ROWS_PER_BAND)
        mixed = (banded * self._factors[:_ROWS_PER_BAND]).sum(axis=1, dtype=np.uint64)
        return list(enumerate(mixed.tolist()))

    def _search(self, hashes: np.ndarray, bands: list[tuple[int, int]]) -> list[Match]:
        candidates = {place for band in bands for place in self._buckets.get(band, ())}
        matches = []
        for place in sorted(candidates):
            other = self._shingles[place]
            smaller, larger = sorted((len(hashes), len(other)))
            if smaller < self.threshold * larger:  # no overlap could reach the threshold
                continue
            similarity = jaccard(hashes, other)
            if similarity >= self.threshold:
                matches.append(Match(self._keys[place], similarity))
        return sorted(matches, key=lambda match: -match.similarity)

    def _insert(self, key: Hashable, hashes: np.ndarray, bands: list[tuple[int, int]]) -> None:
        for band in bands:
            self._buckets.setdefault(band, []).append(len(self._keys))
        self._keys.append(key)
        self._shingles.append(hashes)


def contamination(
    texts: Iterable[str], *, evaluation: Iterable[str], threshold: float = 0.75
) -> dict[int, Match]:
    """Find the texts that nearly duplicate an evaluation row.

    Args:
        texts: Training texts.
        evaluation: Texts of validation and test rows.
        threshold: The least Jaccard similarity of a near duplicate, in (0, 1].

    Returns:
        Index of each contaminated text, to its nearest evaluation row (by index) and their similarity.

    Examples:
        >>> contamination(["a b c d e f", "x y z"], evaluation=["q", "A B C D E F"])
        {0: Match(key=1, similarity=1.0)}
    """
    index = NearDuplicateIndex(threshold=threshold)
    for row, text in enumerate(evaluation):
        index.add(row, text)
    found = ((place, index.query(text)) for place, text in enumerate(texts))
    return {place: matches[0] for place, matches in found if matches}


@functools.lru_cache(maxsize=2**20)
def _token_hash(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode("utf-8", "replace"), digest_size=8).digest(), "little")
