"""CodeBLEU: BLEU, BLEU with weighted keywords, and the shares of tree and data flow that were found."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from codeft.metrics.bootstrap import RowStatistics
from codeft.metrics.codebleu_counts import MODES, NUM_COUNTS, Mode, count_rows, split_counts
from codeft.metrics.text_metric import AbstractTextMetric, check_pairs
from codeft.syntax.languages import canonical_language, grammar_version
from codeft.types import CodeftError

Weights = tuple[float, float, float, float]

EQUAL_WEIGHTS: Weights = (0.25, 0.25, 0.25, 0.25)
PARTS = ("codebleu", "codebleu_ngram", "codebleu_weighted_ngram", "codebleu_ast", "codebleu_dataflow")
"""What the score and its parts are called in `metrics.json`, in the order of `scores_of_counts`."""

_EPSILON = 0.1
"""Stands for the matches of an order that has none."""

log = logging.getLogger(__name__)


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
    counts = count_rows(predictions, references, lang=lang, modes=[mode])[mode]
    return _score(counts.sum(axis=0), mode=mode, weights=weights)


def codebleu_statistics(
    predictions: Sequence[str], references: Sequence[str], *, lang: str, modes: Sequence[Mode]
) -> dict[Mode, dict[str, RowStatistics]]:
    """Return CodeBLEU and its parts by row, for a paired bootstrap; several modes at once are cheaper.

    Args:
        predictions: Code that a model made, one text a record.
        references: Reference code in the same order.
        lang: Name or alias of the language of both.
        modes: As `codebleu` takes one.

    Returns:
        By mode and name (`PARTS`); without `codebleu_dataflow` where it is left out.

    Raises:
        CodeftError: The numbers of rows differ, or there are none; language or modes make no sense.
    """
    modes = [_checked(lang, mode, EQUAL_WEIGHTS)[1] for mode in modes]
    check_pairs(predictions, references)
    by_mode = count_rows(predictions, references, lang=canonical_language(lang), modes=modes)
    found = {}
    for mode, rows in by_mode.items():
        names = PARTS[:-1] if _leaves_flow_out(rows.sum(axis=0), mode=mode) else PARTS
        found[mode] = {
            name: RowStatistics(rows.astype(np.float64), partial(_one_score, place=place, mode=mode))
            for place, name in enumerate(names)
        }
    return found


def _one_score(sums: np.ndarray, *, place: int, mode: Mode) -> np.ndarray:
    return scores_of_counts(sums, mode=mode)[..., place]


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


def scores_of_counts(sums: np.ndarray, *, mode: Mode, weights: Weights = EQUAL_WEIGHTS) -> np.ndarray:
    """Return what summed counts amount to.

    Args:
        sums: [..., `NUM_COUNTS`], sums of rows that `count_rows` gave.
        mode: As `codebleu` takes it.
        weights: As `codebleu` takes them.

    Returns:
        float64 [..., 5], 0 to 100: CodeBLEU and its parts in the order of `PARTS`. Where data flow is left
        out, it is 0 and CodeBLEU rests on the other parts.
    """
    counts = split_counts(sums)
    # Recall punishes short predictions by itself. The published penalty of the weighted part takes each
    # reference to be 2 words long (it measures a pair of words and weights), so that it hardly ever acts.
    weighted_length = np.zeros_like(counts.rows) if mode == "fixed" else 2 * counts.rows
    weighted_lengths = np.concatenate([counts.lengths[..., :1], weighted_length], axis=-1)
    found_edges, all_edges = counts.edges[..., 0], counts.edges[..., 1]
    dataflow = 100.0 * found_edges / np.maximum(all_edges, 1)
    parts = [
        _bleu(counts.matches, counts.possible, counts.lengths),
        _bleu(counts.weighted_matches, counts.weighted_possible, weighted_lengths),
        100.0 * counts.subtrees[..., 0] / counts.subtrees[..., 1],
    ]
    weighed = np.where((found_edges == 0) & (mode == "package"), 100.0, dataflow)
    total = sum(share * part for share, part in zip(weights, [*parts, weighed], strict=True))
    kept = np.where((all_edges == 0) & (mode == "fixed"), sum(weights[:3]), 1.0)
    codebleu = np.divide(total, kept, out=np.zeros_like(kept), where=kept > 0)
    return np.stack([codebleu, *parts, dataflow], axis=-1)


def _leaves_flow_out(sums: np.ndarray, *, mode: Mode) -> bool:
    return mode == "fixed" and split_counts(sums).edges[1] == 0


def _score(sums: np.ndarray, *, mode: Mode, weights: Weights) -> CodeBLEUScore:
    counts = split_counts(sums)
    codebleu, ngram, weighted_ngram, ast, dataflow = scores_of_counts(sums, mode=mode, weights=weights)
    is_left_out = _leaves_flow_out(sums, mode=mode)
    return CodeBLEUScore(
        codebleu=float(codebleu),
        ngram=float(ngram),
        weighted_ngram=float(weighted_ngram),
        ast=float(ast),
        dataflow=None if is_left_out else float(dataflow),
        left_out=("dataflow",) if is_left_out else (),
        rows=int(counts.rows[0]),
        rows_without_dataflow=int(counts.no_flow[0]),
    )


def _bleu(matches: np.ndarray, possible: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return BLEU, 0 to 100, from summed counts by order [..., 4] and both sides' words [..., 2]."""
    logs = np.log(np.where(matches > 0, matches, _EPSILON) / possible).mean(axis=-1)
    brevity = np.minimum(0.0, 1 - lengths[..., 1] / np.maximum(lengths[..., 0], 1))
    return np.where(matches[..., 0] == 0, 0.0, 100.0 * np.exp(logs + brevity))


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

    counts: Tensor

    def __init__(self, *, lang: str, mode: Mode = "fixed", weights: Weights = EQUAL_WEIGHTS) -> None:
        super().__init__()
        self.lang, self.mode, self.weights = _checked(lang, mode, weights)
        counts = torch.zeros(NUM_COUNTS, dtype=torch.int64)
        self.add_state("counts", default=counts, dist_reduce_fx="sum")

    @property
    def signature(self) -> str:  # type: ignore[override]  # unlike the others', it depends on the language
        """Which variant of CodeBLEU this is."""
        return codebleu_signature(self.lang, mode=self.mode, weights=self.weights)

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's counts."""
        rows = count_rows(predictions, references, lang=self.lang, modes=[self.mode])[self.mode]
        self.counts += torch.from_numpy(rows.sum(axis=0)).to(self.counts.device)

    def compute(self) -> dict[str, Tensor]:  # type: ignore[override]  # five numbers, not one
        """Return the score of all records so far and its parts, float64 scalars by name (`PARTS`).

        `codebleu_dataflow` isn't there where no reference has a data flow: the mode `fixed` leaves it out.

        Raises:
            CodeftError: There were no records.
        """
        score = self._parts()
        values = (score.codebleu, score.ngram, score.weighted_ngram, score.ast, score.dataflow)
        if score.left_out:
            log.warning("codebleu leaves its data flow out: no reference has any")
        return {
            name: torch.tensor(value, dtype=torch.float64, device=self.rows.device)
            for name, value in zip(PARTS, values, strict=True)
            if value is not None
        }

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
        return _score(self.counts.cpu().numpy(), mode=self.mode, weights=self.weights)
