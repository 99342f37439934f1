"""What CodeBLEU counts in each pair of texts. Whole numbers alone, so that they add up in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from codeft.metrics.bleu import MAX_ORDER, count_matches
from codeft.syntax.code_tree import CodeTree, SubtreeKeys, parse_code, subtree_ids
from codeft.syntax.comments import strip_java_comments, strip_python_comments
from codeft.syntax.dataflow import RenamedEdge, data_flow, rename_variables
from codeft.syntax.keywords import KEYWORDS

Mode = Literal["fixed", "reference", "package"]
MODES: tuple[Mode, ...] = get_args(Mode)

KEYWORD_WEIGHT = 5
"""A keyword weighs 1 and any other word 0.2: counted in fifths, both are whole numbers."""


class CodeBLEUCounts(NamedTuple):
    """Sums over pairs; lists have one number an n-gram order, unigrams first.

    Attributes:
        matches: N-grams found on both sides, clipped by pair.
        possible: N-grams of the predictions; at least 1 a pair.
        weighted_matches: As `matches`, the unigrams in fifths by their weights.
        weighted_possible: N-grams of the references; at least 1 a pair (5 fifths).
        lengths: Words of the predictions and of the references.
        subtrees: The references' sub-trees that were found in the predictions, and all of them.
        edges: The references' data-flow edges that were found in the predictions, and all of them.
        no_flow: Pairs whose reference has no data flow.
    """

    matches: list[int]
    possible: list[int]
    weighted_matches: list[int]
    weighted_possible: list[int]
    lengths: list[int]
    subtrees: list[int]
    edges: list[int]
    no_flow: list[int]


SIZES = CodeBLEUCounts(*([size] for size in (MAX_ORDER, MAX_ORDER, MAX_ORDER, MAX_ORDER, 2, 2, 2, 1)))
"""How many numbers each list of the counts holds."""


def count_pairs(
    predictions: Sequence[str], references: Sequence[str], *, lang: str, mode: Mode
) -> CodeBLEUCounts:
    """Count what CodeBLEU is made of.

    Args:
        predictions: Texts that a model made.
        references: As many reference texts, in the same order.
        lang: Canonical name of the language.
        mode: See `codeft.metrics.codebleu`.
    """
    total = CodeBLEUCounts(*([0] * size for (size,) in SIZES))
    for prediction, reference in zip(predictions, references, strict=True):
        prediction, reference = prediction.strip(), reference.strip()
        pair = [*_count_words(prediction.split(), reference.split(), KEYWORDS[lang])]
        pair += _count_structure(prediction, reference, lang=lang, mode=mode)
        for sums, counts in zip(total, pair, strict=True):
            sums[:] = map(sum, zip(sums, counts, strict=True))
    return total


def _count_words(
    hypothesis: Sequence[str], reference: Sequence[str], keywords: frozenset[str]
) -> tuple[list[int], ...]:
    """Return the counts from `matches` to `lengths`."""
    matches = count_matches(hypothesis, reference)
    possible, wanted = (
        [max(1, len(words) - order) for order in range(MAX_ORDER)] for words in (hypothesis, reference)
    )
    in_reference = Counter(reference)
    found = _weigh(in_reference & Counter(hypothesis), keywords)
    all_words = max(KEYWORD_WEIGHT, _weigh(in_reference, keywords))
    lengths = [len(hypothesis), len(reference)]
    return matches, possible, [found, *matches[1:]], [all_words, *wanted[1:]], lengths


def _weigh(words: Counter[str], keywords: frozenset[str]) -> int:
    return sum(count * (KEYWORD_WEIGHT if word in keywords else 1) for word, count in words.items())


def _count_structure(prediction: str, reference: str, *, lang: str, mode: Mode) -> tuple[list[int], ...]:
    """Return the counts from `subtrees` to `no_flow`."""
    keys: SubtreeKeys = {}
    wanted, wanted_flow = _read_structure(reference, keys, lang=lang, mode=mode)
    made, made_flow = wanted, wanted_flow
    if prediction != reference:
        made, made_flow = _read_structure(prediction, keys, lang=lang, mode=mode)
    # Unless fixed, a sub-tree is found as often as the reference has it, if the prediction has it once.
    found = wanted & made if mode == "fixed" else Counter({key: wanted[key] for key in wanted if key in made})
    return (
        [found.total(), wanted.total()],
        [(wanted_flow & made_flow).total(), wanted_flow.total()],
        [int(not wanted_flow)],
    )


def _read_structure(
    source: str, keys: SubtreeKeys, *, lang: str, mode: Mode
) -> tuple[Counter[int], Counter[RenamedEdge]]:
    tree = _parse(source, lang=lang, mode=mode)
    edges = data_flow(tree, lang, published=mode != "fixed")
    return Counter(subtree_ids(tree, keys)), rename_variables(edges)


def _parse(source: str, *, lang: str, mode: Mode) -> CodeTree:
    if mode == "fixed":
        return parse_code(source, lang, comments=False)
    if mode == "reference" or lang not in ("python", "ruby"):
        source = strip_java_comments(source)
    elif lang == "python":
        source = strip_python_comments(source)
    return parse_code(source, lang, as_file=True)
