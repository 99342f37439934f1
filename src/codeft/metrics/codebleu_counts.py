"""What CodeBLEU counts in each pair of texts. Whole numbers alone, so that they add up in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, NamedTuple, get_args

import numpy as np

from codeft.metrics.bleu import MAX_ORDER
from codeft.metrics.ngrams import match_words, possible_ngrams
from codeft.syntax.code_tree import SubtreeKeys, parse_code, subtree_ids
from codeft.syntax.comments import strip_java_comments, strip_python_comments
from codeft.syntax.dataflow import RenamedEdge, data_flow, rename_variables
from codeft.syntax.keywords import KEYWORDS

Mode = Literal["fixed", "reference", "package"]
MODES: tuple[Mode, ...] = get_args(Mode)

KEYWORD_WEIGHT = 5
"""A keyword weighs 1 and any other word 0.2: counted in fifths, both are whole numbers."""


class CodeBLEUCounts(NamedTuple):
    """Sums over pairs, float64; the last axis has one number an n-gram order, unigrams first.

    Attributes:
        matches: [..., 4], n-grams found on both sides, clipped by pair.
        possible: [..., 4], n-grams of the predictions; at least 1 a pair.
        weighted_matches: [..., 4], as `matches`, the unigrams in fifths by their weights.
        weighted_possible: [..., 4], n-grams of the references; at least 1 a pair (5 fifths).
        lengths: [..., 2], words of the predictions and of the references.
        subtrees: [..., 2], the references' sub-trees that were found in the predictions, and all of them.
        edges: [..., 2], the references' data-flow edges that were found in the predictions, and all of them.
        no_flow: [..., 1], pairs whose reference has no data flow.
        rows: [..., 1], pairs.
    """

    matches: np.ndarray
    possible: np.ndarray
    weighted_matches: np.ndarray
    weighted_possible: np.ndarray
    lengths: np.ndarray
    subtrees: np.ndarray
    edges: np.ndarray
    no_flow: np.ndarray
    rows: np.ndarray


_SIZES = (MAX_ORDER, MAX_ORDER, MAX_ORDER, MAX_ORDER, 2, 2, 2, 1, 1)
NUM_COUNTS = sum(_SIZES)
"""How many numbers are counted in a pair."""


def split_counts(sums: np.ndarray) -> CodeBLEUCounts:
    """Return what each number counts.

    Args:
        sums: [..., `NUM_COUNTS`], sums of rows that `count_rows` gave.
    """
    parts = np.split(sums.astype(np.float64), list(accumulate(_SIZES))[:-1], axis=-1)
    return CodeBLEUCounts(*parts)


def count_rows(
    predictions: Sequence[str], references: Sequence[str], *, lang: str, modes: Sequence[Mode]
) -> dict[Mode, np.ndarray]:
    """Count what CodeBLEU is made of, in each pair.

    Args:
        predictions: Texts that a model made.
        references: As many reference texts, in the same order.
        lang: Canonical name of the language.
        modes: See `codeft.metrics.codebleu`; several share what they have in common.

    Returns:
        By mode, int64 [N, `NUM_COUNTS`]; `split_counts` tells the numbers apart.
    """
    texts, reference_texts = ([text.strip() for text in side] for side in (predictions, references))
    words = _count_words(texts, reference_texts, KEYWORDS[lang])
    structures: dict[Mode, list[list[int]]] = {mode: [] for mode in modes}
    for prediction, reference in zip(texts, reference_texts, strict=True):
        for mode, counts in _count_structure(prediction, reference, lang=lang, modes=modes).items():
            structures[mode].append(counts)
    return {
        mode: np.concatenate([words, np.asarray(counts, dtype=np.int64).reshape(-1, 6)], axis=1)
        for mode, counts in structures.items()
    }


def _count_words(
    texts: Sequence[str], reference_texts: Sequence[str], keywords: frozenset[str]
) -> np.ndarray:
    """Return the counts from `matches` to `lengths`, int64 [N, 18]."""
    matches, *lengths = match_words(texts, reference_texts, max_order=MAX_ORDER)
    weighty_matches, *weighty_lengths = match_words(
        texts,
        reference_texts,
        max_order=1,
        split=lambda text: [word for word in text.split() if word in keywords],
    )
    possible, wanted = (np.maximum(possible_ngrams(side, max_order=MAX_ORDER), 1) for side in lengths)
    weighted_matches, weighted_wanted = matches.copy(), wanted.copy()
    more = KEYWORD_WEIGHT - 1
    weighted_matches[:, 0] += more * weighty_matches[:, 0]
    weighted_wanted[:, 0] = np.maximum(lengths[1] + more * weighty_lengths[1], KEYWORD_WEIGHT)
    return np.column_stack([matches, possible, weighted_matches, weighted_wanted, *lengths])


class _Structure(NamedTuple):
    subtrees: Counter[int]
    flow: Counter[RenamedEdge]


def _count_structure(
    prediction: str, reference: str, *, lang: str, modes: Sequence[Mode]
) -> dict[Mode, list[int]]:
    """Return the counts from `subtrees` to `rows`, by mode."""
    keys: SubtreeKeys = {}
    wanted = made = _read_structures(reference, keys, lang=lang, modes=modes)
    if prediction != reference:
        made = _read_structures(prediction, keys, lang=lang, modes=modes)
    return {mode: _compare(wanted[mode], made[mode], clipped=mode == "fixed") for mode in modes}


def _compare(wanted: _Structure, made: _Structure, *, clipped: bool) -> list[int]:
    if clipped:
        found = (wanted.subtrees & made.subtrees).total()
    else:  # as often as the reference has it, if the prediction has it once
        found = sum(count for key, count in wanted.subtrees.items() if key in made.subtrees)
    edges = [(wanted.flow & made.flow).total(), wanted.flow.total()]
    return [found, wanted.subtrees.total(), *edges, int(not wanted.flow), 1]


def _read_structures(
    source: str, keys: SubtreeKeys, *, lang: str, modes: Sequence[Mode]
) -> dict[Mode, _Structure]:
    found: dict[Mode, _Structure] = {}
    tree, subtrees = None, Counter[int]()
    for mode in modes:
        text = _without_comments(source, lang=lang, mode=mode)
        if tree is None or not tree.is_plain or tree.source != text:  # else all modes read it alike
            is_fixed = mode == "fixed"
            tree = parse_code(text, lang, as_file=not is_fixed, comments=not is_fixed)
            subtrees = Counter(subtree_ids(tree, keys))
        edges = data_flow(tree, lang, published=mode != "fixed")
        found[mode] = _Structure(subtrees, rename_variables(edges))
    return found


def _without_comments(source: str, *, lang: str, mode: Mode) -> str:
    """Return the text without what the published evaluators take for comments; `fixed` knows its tree."""
    if mode == "fixed":
        return source
    if mode == "reference" or lang not in ("python", "ruby"):
        return strip_java_comments(source)
    return strip_python_comments(source) if lang == "python" else source
