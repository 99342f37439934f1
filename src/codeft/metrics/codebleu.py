"""CodeBLEU: BLEU, BLEU with weighted keywords, and the shares of tree and data flow that were found."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from codeft.metrics.codebleu_counts import MODES, SIZES, CodeBLEUCounts, Mode, count_pairs
from codeft.metrics.text_metric import AbstractTextMetric, check_pairs
from codeft.syntax.languages import canonical_language, grammar_version
from codeft.types import CodeftError

Weights = tuple[float, float, float, float]

EQUAL_WEIGHTS: Weights = (0.25, 0.25, 0.25, 0.25)
_EPSILON = 0.1
"""Stands for the matches of an order that has none."""


@dataclass(frozen=True, slots=True)
class CodeBLEUScore:
    """CodeBLEU and its parts, 0 to 100.

    Attributes:
        codebleu: The weighted mean of the parts that aren't left out.
        ngram: Corpus BLEU-4.
        weighted_ngram: The same by recall, keywords weighing five times as much as other words.
        ast: Share of the references' sub-trees found in the predictions.
        dataflow: Share of the references' data-flow edges found in the predictions; None if left out.
        left_out: Names of the parts that could not be scored and have no weight in `codebleu`.
        rows: How many pairs were scored.
        rows_without_dataflow: In how many of them the reference has no data flow.
    """

    codebleu: float
    ngram: float
    weighted_ngram: float
    ast: float
    dataflow: float | None
    left_out: tuple[str, ...]
    rows: int
    rows_without_dataflow: int


def codebleu(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    lang: str,
    mode: Mode = "fixed",
    weights: Weights = EQUAL_WEIGHTS,
) -> CodeBLEUScore:
    """Score code by CodeBLEU, over all pairs at once.

    Words are what white space separates. With m_n n-grams matched (clipped by pair; 0.1 where an order has
    none) of t_n, c words in the predictions and r in the references, `ngram` is

        exp(1/4 sum over n=1..4 of log(m_n/t_n)) * min(1, exp(1 - r/c))

    where t_n counts the predictions' n-grams, at least 1 a record, and 0 where no word matches.
    `weighted_ngram` is recall: t_n counts the references' n-grams, unigrams weigh 1 for a keyword and 0.2
    for other words, and there is no brevity penalty. `ast` compares sub-trees by their S-expressions,
    `dataflow` edges whose variables are renamed by order of appearance.

    The modes:

    - `fixed` is the same under any `PYTHONHASHSEED`, clips sub-trees as n-grams are clipped, takes comments
      of the source's own language out, parses methods inside a class, goes by today's grammars, and leaves
      `dataflow` out where no reference has any: the other weights then grow in proportion.
    - `reference` scores as CodeXGLUE's evaluator and equals it under the same hash seed and grammars.
    - `package` scores as the `codebleu` package 0.7.0: other than `reference`, Python's comments are
      stripped as Python's and Ruby's not at all, and a data flow of 0 counts as 100 in the mean.

    Source: Ren et al. (2020), "CodeBLEU", arXiv 2009.10297; recall in the weighted part as in its evaluator.
    Deviation of all modes: NUL and lone surrogates are read as U+FFFD, and of loops nested more than 8 deep
    the inner ones are read once.

    Args:
        predictions: Code that a model made, one text a record.
        references: Reference code in the same order.
        lang: Name or alias of the language of both.
        mode: `fixed`, `reference` or `package`.
        weights: Of `ngram`, `weighted_ngram`, `ast` and `dataflow`; they add up to 1.

    Returns:
        The score and its parts.

    Raises:
        CodeftError: The numbers of rows differ, or there are none; language, mode or weights make no sense.

    >>> score = codebleu(["int f(int b) { return b; }"], ["int f(int a) { return a; }"], lang="java")
    >>> score.ast, score.dataflow, round(score.ngram, 2)
    (100.0, 100.0, 10.45)
    >>> codebleu(["pass"], ["pass"], lang="python").left_out
    ('dataflow',)
    """
    lang, mode, weights = _checked(lang, mode, weights)
    check_pairs(predictions, references)
    counts = count_pairs(predictions, references, lang=lang, mode=mode)
    return _score(counts, rows=len(predictions), mode=mode, weights=weights)


def codebleu_signature(lang: str, *, mode: Mode = "fixed", weights: Weights = EQUAL_WEIGHTS) -> str:
    """Return the signature that stands beside `codebleu`'s scores.

    Args:
        lang: Name or alias of the language.
        mode: As `codebleu` takes it.
        weights: As `codebleu` takes them.

    Raises:
        CodeftError: Language, mode or weights make no sense.
    """
    lang, mode, weights = _checked(lang, mode, weights)
    hash_seed = os.environ.get("PYTHONHASHSEED", "random")
    parts = {
        "mode": mode,
        "lang": lang,
        "weights": ",".join(f"{weight:g}" for weight in weights),
        "tok": "whitespace",
        "smooth": f"eps:{_EPSILON}",
        "weighted": "recall",
        "comments": {"fixed": "own", "reference": "java"}.get(mode, "package-0.7.0"),
        "ast": "clipped" if mode == "fixed" else "unclipped",
        "dataflow": "ordered" if mode == "fixed" else f"hashseed:{hash_seed}",
        "grammar": grammar_version(lang),
        "v": "1",
    }
    return "|".join(["codebleu", *(f"{name}:{value}" for name, value in parts.items())])


def _checked(lang: str, mode: Mode, weights: Weights) -> tuple[str, Mode, Weights]:
    if mode not in MODES:
        raise CodeftError(f"expected a CodeBLEU mode out of {', '.join(MODES)}, got {mode!r}")
    if len(weights) != 4 or not all(weight >= 0 for weight in weights) or abs(sum(weights) - 1) > 1e-6:
        raise CodeftError(
            "expected CodeBLEU weights of four parts (ngram, weighted_ngram, ast, dataflow), none below 0, "
            f"that add up to 1, got {weights!r}"
        )
    return canonical_language(lang), mode, weights


def _score(counts: CodeBLEUCounts, *, rows: int, mode: Mode, weights: Weights) -> CodeBLEUScore:
    found_edges, all_edges = counts.edges
    has_flow = all_edges > 0
    # Recall punishes short predictions by itself. The published penalty of the weighted part takes each
    # reference to be 2 words long (it measures a pair of words and weights), so that it hardly ever acts.
    weighted_lengths = (counts.lengths[0], 0 if mode == "fixed" else 2 * rows)
    dataflow = 100.0 * found_edges / all_edges if has_flow else 0.0
    parts = [
        _bleu(counts.matches, counts.possible, counts.lengths),
        _bleu(counts.weighted_matches, counts.weighted_possible, weighted_lengths),
        100.0 * counts.subtrees[0] / counts.subtrees[1],
        100.0 if mode == "package" and found_edges == 0 else dataflow,
    ]
    is_left_out = mode == "fixed" and not has_flow
    weight = sum(weights[:3]) if is_left_out else 1.0
    kept = zip(weights, parts[:3] if is_left_out else parts, strict=False)
    return CodeBLEUScore(
        codebleu=sum(share * part for share, part in kept) / weight if weight else 0.0,
        ngram=parts[0],
        weighted_ngram=parts[1],
        ast=parts[2],
        dataflow=None if is_left_out else dataflow,
        left_out=("dataflow",) if is_left_out else (),
        rows=rows,
        rows_without_dataflow=counts.no_flow[0],
    )


def _bleu(matches: Sequence[int], possible: Sequence[int], lengths: Sequence[int]) -> float:
    """Return BLEU, 0 to 100, from summed counts."""
    hypothesis_length, reference_length = lengths
    if matches[0] == 0:
        return 0.0
    logs = [math.log((m or _EPSILON) / p) for m, p in zip(matches, possible, strict=True)]
    brevity = min(0.0, 1 - reference_length / hypothesis_length)
    return 100.0 * math.exp(math.fsum(logs) / len(logs) + brevity)


class CodeBLEU(AbstractTextMetric):
    """`codebleu` over batches and processes.

    Args:
        lang: Name or alias of the language of predictions and references.
        mode: As `codebleu` takes it.
        weights: As `codebleu` takes them.

    Raises:
        CodeftError: Language, mode or weights make no sense.
    """

    name: ClassVar[str] = "codebleu"

    def __init__(self, *, lang: str, mode: Mode = "fixed", weights: Weights = EQUAL_WEIGHTS) -> None:
        super().__init__()
        self.lang, self.mode, self.weights = _checked(lang, mode, weights)
        for state, (size,) in SIZES._asdict().items():
            self.add_state(state, default=torch.zeros(size, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def signature(self) -> str:  # type: ignore[override]  # unlike the others', it depends on the language
        """Which variant of CodeBLEU this is."""
        return codebleu_signature(self.lang, mode=self.mode, weights=self.weights)

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's counts."""
        counts = count_pairs(predictions, references, lang=self.lang, mode=self.mode)
        for state, values in counts._asdict().items():
            sums: Tensor = getattr(self, state)
            setattr(self, state, sums + torch.tensor(values, device=sums.device))

    def parts(self) -> CodeBLEUScore:
        """Return the score of all records so far, of all processes, with its parts.

        Raises:
            CodeftError: There were no records.
        """
        with self.sync_context():
            return self._parts()

    def score(self) -> float:
        """Return the CodeBLEU of all counts."""
        return self._parts().codebleu

    def _parts(self) -> CodeBLEUScore:
        if self.rows == 0:
            raise CodeftError(f"expected at least one record before {self.name} is computed, got none")
        counts = CodeBLEUCounts(*(getattr(self, state).tolist() for state in SIZES._fields))
        return _score(counts, rows=int(self.rows), mode=self.mode, weights=self.weights)
