"""The best text to say of every row, whatever the row: what a model that reads nothing could learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import numpy as np
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

from codeft.metrics.bleu import (
    MAX_ORDER,
    CorpusBLEU,
    SmoothedBLEU,
    corpus_bleu_of_counts,
    smoothed_bleu_words,
)
from codeft.metrics.edit_similarity import EditSimilarity, EditSimilarityIndel
from codeft.metrics.literals import restore_literals

BEST_TARGET, GROWN_WORDS = "best_target", "grown_words"

MOST_ROWS = 2_000
"""Validation rows that a constant is chosen on, at most: every n-th, so that a search takes seconds."""

_MOST_WORDS = 100
"""A sequence grows by so many of the most frequent words, and to so many."""

_ROUNDING = 1e-9
"""Scores that are nearer are equally good: processors round differently."""

_BLOCK = 500
"""Texts that are compared with all rows at a time."""


class AbstractConstantSearch(ABC):
    """Scores one text as the prediction of every row, fast enough to try thousands.

    Args:
        references: Of the rows that a constant is chosen on, at least one.

    Attributes:
        most_targets: Training targets that are scored; of more, the most promising.
        most_words: No further word is looked for once sequences of so many words together were scored.
    """

    most_targets: ClassVar[int] = 500
    most_words: ClassVar[int] = 100_000

    def __init__(self, references: Sequence[str]) -> None:
        self.num_rows = len(references)
        rows = [self.split(reference) for reference in references]
        self.lengths = np.array([len(row) for row in rows])
        self.num_rows_with = Counter(word for row in rows for word in dict.fromkeys(row))

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """Return a text's words, as the metric sees them."""

    @abstractmethod
    def scores(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Return what each text scores as the prediction of every row: float64 [N], 0 to 100.

        Args:
            texts: Words each, to be joined by blanks.
        """

    def promise(self, words: Sequence[str]) -> float:
        """Return what a text would score if only single words counted: good enough to sort by.

        It is smoothed BLEU with the mean precision of single words and no longer match.
        """
        length = len(words)
        if not length:
            return 0.0
        precision = sum(self.num_rows_with[word] for word in set(words)) / (self.num_rows * length)
        for order in range(1, MAX_ORDER):
            precision /= max(length - order, 0) + 1
        brevity = np.exp(np.minimum(0.0, 1 - (self.lengths + 1) / (length + 1))).mean()
        return float(precision ** (1 / MAX_ORDER) * brevity)


@final
class SmoothedBLEUSearch(AbstractConstantSearch):
    """`smoothed_bleu` of a constant: each of its n-grams is looked up once for all rows."""

    def __init__(self, references: Sequence[str]) -> None:
        super().__init__(references)
        found = defaultdict(list)
        for row, reference in enumerate(references):
            for gram, times in _ngrams(self.split(reference)).items():
                found[gram].append((row, times))
        self._places = {gram: np.array(places).T for gram, places in found.items()}

    def split(self, text: str) -> list[str]:
        """Return lower-cased runs of letters and digits, and single other characters."""
        return smoothed_bleu_words(text)

    def scores(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the mean sentence scores."""
        return np.array([self._score(words) for words in texts])

    def _score(self, words: Sequence[str]) -> float:
        length = len(words)
        brevity = np.minimum(0.0, 1 - (self.lengths + 1) / (length + 1))
        if not length:
            return float(np.exp(brevity).mean() * 100)
        matches = np.zeros((MAX_ORDER, self.num_rows))
        for gram, times in _ngrams(words).items():
            if gram in self._places:
                rows, in_reference = self._places[gram]
                matches[len(gram) - 1, rows] += np.minimum(in_reference, times)
        has_word = matches[0] > 0
        log_precision = np.log(np.where(has_word, matches[0], 1) / length)
        for order in range(1, MAX_ORDER):
            log_precision += np.log((matches[order] + 1) / (max(length - order, 0) + 1))
        return float((np.exp(log_precision / MAX_ORDER + brevity) * has_word).mean() * 100)


@final
class CorpusBLEUSearch(AbstractConstantSearch):
    """`corpus_bleu` of a constant: its counts are sums over rows, so that an n-gram costs one look-up."""

    most_targets: ClassVar[int] = 20_000
    most_words: ClassVar[int] = 2_000_000

    def __init__(self, references: Sequence[str]) -> None:
        super().__init__(references)
        found = defaultdict(list)
        for reference in references:
            for gram, times in _ngrams(self.split(reference)).items():
                found[gram].append(times)
        self._matches = {gram: _clipped_sums(np.array(times)) for gram, times in found.items()}

    def split(self, text: str) -> list[str]:
        """Return what white space parts."""
        return text.split()

    def scores(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the corpus BLEUs."""
        return corpus_bleu_of_counts(np.array([self._counts(words) for words in texts]))

    def _counts(self, words: Sequence[str]) -> list[int]:
        matches = [0] * MAX_ORDER
        for gram, times in _ngrams(words).items():
            sums = self._matches.get(gram, (0,))
            matches[len(gram) - 1] += sums[min(times, len(sums) - 1)]
        possible = [max(len(words) - order, 0) * self.num_rows for order in range(MAX_ORDER)]
        return [*matches, *possible, len(words) * self.num_rows, int(self.lengths.sum())]


@final
class EditSimilaritySearch(AbstractConstantSearch):
    """`edit_similarity_indel` of a constant, also for `edit_similarity`, which is a hundred times as slow."""

    def __init__(self, references: Sequence[str]) -> None:
        super().__init__(references)
        self._references = [restore_literals(reference.strip()) for reference in references]

    def split(self, text: str) -> list[str]:
        """Return what white space parts."""
        return text.split()

    def scores(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the mean ratios."""
        said = [restore_literals(" ".join(words)) for words in texts]
        parts = [
            cdist(
                said[i : i + _BLOCK], self._references, scorer=Indel.normalized_similarity, dtype=np.float64
            )
            for i in range(0, len(said), _BLOCK)
        ]
        return np.concatenate([np.round(100 * part).mean(axis=1) for part in parts])


CONSTANT_SEARCHES: Mapping[str, type[AbstractConstantSearch]] = {
    SmoothedBLEU.name: SmoothedBLEUSearch,
    CorpusBLEU.name: CorpusBLEUSearch,
    EditSimilarity.name: EditSimilaritySearch,
    EditSimilarityIndel.name: EditSimilaritySearch,
}
"""What finds the best constant, by the metric's name."""


def find_constants(targets: Sequence[str], references: Sequence[str], *, metric: str) -> dict[str, str]:
    """Find two texts that score well as the prediction of every row.

    `best_target` is the best training target. `grown_words` is a sequence of words that grows greedily from
    nothing, and from that target; the better of the two. Of equally good ones it is the first, so that the
    same rows give the same texts.

    Args:
        targets: Of training rows; each different one is tried, or the most promising.
        references: Of validation rows, on which is chosen; every n-th where there are more than `MOST_ROWS`.
        metric: The score to choose by, a key of `CONSTANT_SEARCHES`; another one is stood in for by
            smoothed BLEU.

    Returns:
        By name; nothing without targets or references.

    >>> find_constants(["Returns a", "b"], ["returns a", "returns c"], metric="smoothed_bleu")
    {'best_target': 'Returns a', 'grown_words': 'returns a'}
    """
    if not targets or not references:
        return {}
    rows = np.linspace(0, len(references) - 1, min(len(references), MOST_ROWS), dtype=int)
    search = CONSTANT_SEARCHES.get(metric, SmoothedBLEUSearch)([references[row] for row in rows])
    target = best_target(targets, search)
    grown = [grow_words(search, start=start) for start in ([], search.split(target))]
    return {BEST_TARGET: target, GROWN_WORDS: " ".join(grown[_first_best(search.scores(grown))])}


def best_target(targets: Sequence[str], search: AbstractConstantSearch) -> str:
    """Return the text that scores best as the prediction of every row, the first of equally good ones.

    Args:
        targets: At least one.
        search: Scores them.
    """
    texts = list(dict.fromkeys(targets))
    words = [search.split(text) for text in texts]
    tried = np.arange(len(texts))
    if len(texts) > search.most_targets:
        promises = np.array([search.promise(each) for each in words])
        tried = np.sort(np.argsort(-promises, kind="stable")[: search.most_targets])
    return texts[tried[_first_best(search.scores([words[i] for i in tried]))]]


def grow_words(
    search: AbstractConstantSearch, *, start: Sequence[str] = (), most: int = _MOST_WORDS
) -> list[str]:
    """Grow a sequence of words: again and again the insertion that helps most, until none helps.

    It also ends once much was tried (`AbstractConstantSearch.most_words`), so that it takes seconds.

    Args:
        search: Scores it.
        start: What it grows from.
        most: So many of the most frequent words are tried, and the sequence grows to so many.
    """
    vocabulary = [word for word, _ in search.num_rows_with.most_common(most)]
    words = list(start)
    best, tried = search.scores([words])[0], 0
    while vocabulary and len(words) < most and tried < search.most_words:
        longer = [
            [*words[:place], word, *words[place:]] for word in vocabulary for place in range(len(words) + 1)
        ]
        scores = search.scores(longer)
        tried += sum(map(len, longer))
        if scores.max() <= best + _ROUNDING:
            break
        place = _first_best(scores)
        best, words = scores[place], longer[place]
    return words


def _first_best(scores: np.ndarray) -> int:
    """Return the place of the first score that is no worse than any other, but for rounding.

    >>> _first_best(np.array([1.0, 2.0, 2.0 + 1e-12]))
    1
    """
    return int(np.argmax(scores > scores.max() - _ROUNDING))


def _ngrams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for order in range(MAX_ORDER):
        found.update(zip(*(words[first:] for first in range(order + 1)), strict=False))
    return found


def _clipped_sums(times: np.ndarray) -> list[int]:
    """Return, for k = 0, 1, … up to the largest of some counts, the sum of min(k, count) over them."""
    at_least = np.bincount(times)[::-1].cumsum()[::-1]  # how many counts are k or more
    return [0, *np.cumsum(at_least[1:]).tolist()]
