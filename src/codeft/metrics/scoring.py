"""Scores stored predictions again, without a model: reads the files, pairs records, names every variant."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from codeft.metrics.bleu import (
    CorpusBLEU,
    SmoothedBLEU,
    corpus_bleu,
    corpus_bleu_counts,
    corpus_bleu_of_counts,
    sentence_scores,
    smoothed_bleu,
)
from codeft.metrics.bootstrap import RowStatistics, mean_of_rows
from codeft.metrics.edit_similarity import (
    EditSimilarity,
    EditSimilarityIndel,
    difflib_ratios,
    edit_similarity,
    edit_similarity_indel,
    indel_ratios,
)
from codeft.metrics.exact_match import (
    CompletionExactMatch,
    ExactMatch,
    ExactMatchSplit,
    completion_exact_match,
    equal_rows,
    exact_match,
    exact_match_split,
)
from codeft.metrics.sacrebleu_scores import (
    CHRF_SIGNATURE,
    SacreBLEU,
    chrf,
    chrf_statistics,
    sacrebleu_score,
    sacrebleu_statistics,
)
from codeft.metrics.text_metric import check_pairs
from codeft.types import CodeftError

_JSON_LINES_SUFFIXES = (".jsonl", ".json")
_NUMBERED_LINE = re.compile(r"([0-9]+)(?:\t|$)")


@dataclass(frozen=True, slots=True)
class TextScorer:
    """A metric as a pure function, beside the variant that it computes.

    Attributes:
        function: Takes predictions and references, returns the score.
        signature: Variant, tokenisation, smoothing, case and version.
        statistics: The same by row, for a paired bootstrap; None where the score isn't made of sums.
    """

    function: Callable[[Sequence[str], Sequence[str]], float]
    signature: str
    statistics: Callable[[Sequence[str], Sequence[str]], RowStatistics] | None = None


def _corpus_bleu_statistics(predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
    return RowStatistics(
        corpus_bleu_counts(predictions, references).astype(np.float64), corpus_bleu_of_counts
    )


def _mean_of(
    function: Callable[[Sequence[str], Sequence[str]], Sequence[float]], *, scale: float = 1
) -> Callable[[Sequence[str], Sequence[str]], RowStatistics]:
    def statistics(predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
        return mean_of_rows(np.asarray(function(predictions, references)), scale=scale)

    return statistics


TEXT_SCORERS: Mapping[str, TextScorer] = {
    SmoothedBLEU.name: TextScorer(
        smoothed_bleu, SmoothedBLEU.signature, _mean_of(sentence_scores, scale=100)
    ),
    CorpusBLEU.name: TextScorer(corpus_bleu, CorpusBLEU.signature, _corpus_bleu_statistics),
    SacreBLEU.name: TextScorer(sacrebleu_score, SacreBLEU.signature, sacrebleu_statistics),
    "chrf": TextScorer(chrf, CHRF_SIGNATURE, chrf_statistics),
    ExactMatch.name: TextScorer(
        exact_match, ExactMatch.signature, _mean_of(partial(equal_rows, rule=ExactMatch), scale=100)
    ),
    ExactMatchSplit.name: TextScorer(
        exact_match_split,
        ExactMatchSplit.signature,
        _mean_of(partial(equal_rows, rule=ExactMatchSplit), scale=100),
    ),
}
"""Every metric of any text, by its name in `metrics.json`."""

COMPLETION_SCORERS: Mapping[str, TextScorer] = {
    CompletionExactMatch.name: TextScorer(
        completion_exact_match,
        CompletionExactMatch.signature,
        _mean_of(partial(equal_rows, rule=CompletionExactMatch), scale=100),
    ),
    EditSimilarity.name: TextScorer(edit_similarity, EditSimilarity.signature, _mean_of(difflib_ratios)),
    EditSimilarityIndel.name: TextScorer(
        edit_similarity_indel, EditSimilarityIndel.signature, _mean_of(indel_ratios)
    ),
}
"""The metrics of a completed line, by name; all of them restore normalised literals first."""


def score_texts(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    names: Sequence[str],
    sources: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Score predictions by several metrics.

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.
        names: Metrics to compute, out of `TEXT_SCORERS`.
        sources: What the model read, in the same order; the naive copy (the source as the prediction) is
            then scored too.

    Returns:
        What goes into `metrics.json`: `rows`, `empty_predictions` (nothing but white space), `values` and
        `signatures` by metric, and `naive_copy`, values by metric, where `sources` were given.

    Raises:
        CodeftError: A metric is unknown, the numbers of rows differ, or there are none.

    >>> result = score_texts(["a b", ""], ["a b", "c"], names=["exact_match"], sources=["a", "c"])
    >>> result["values"], result["naive_copy"], result["rows"], result["empty_predictions"]
    ({'exact_match': 50.0}, {'exact_match': 50.0}, 2, 1)
    """
    check_pairs(predictions, references)
    if sources is not None and len(sources) != len(references):
        raise CodeftError(
            f"expected one source for each reference, got {len(sources)} sources and "
            f"{len(references)} references: give both from the same rows, in the same order"
        )
    scorers = {name: _find_scorer(name) for name in names}
    result: dict[str, Any] = {
        "rows": len(predictions),
        "empty_predictions": sum(not prediction.strip() for prediction in predictions),
        "values": {name: scorer.function(predictions, references) for name, scorer in scorers.items()},
        "signatures": {name: scorer.signature for name, scorer in scorers.items()},
    }
    if sources is not None:
        result["naive_copy"] = {
            name: scorer.function(sources, references) for name, scorer in scorers.items()
        }
    return result


def _find_scorer(name: str) -> TextScorer:
    if name in TEXT_SCORERS:
        return TEXT_SCORERS[name]
    nearest = difflib.get_close_matches(name, TEXT_SCORERS, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "choose one of these"
    raise CodeftError(f"expected a text metric out of {', '.join(TEXT_SCORERS)}, got {name!r}: {hint}")


def read_lines(path: Path) -> list[str]:
    """Read a file of one text a line.

    Only LF and CR LF end a line: characters such as U+2028 or form feed, at which `str.splitlines` cuts,
    belong to the text, and a text keeps the white space at both its ends.

    Args:
        path: A UTF-8 file, with or without a byte order mark.

    Returns:
        The texts in the file's order; a line end at the very end begins no further text.

    Raises:
        CodeftError: The file can't be read, or a line isn't UTF-8.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CodeftError(f"expected a readable file of texts, got {path}: {error.strerror}") from error
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not lines[-1]:
        lines.pop()
    texts = []
    for number, line in enumerate(lines, start=1):
        try:
            texts.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            raise CodeftError(f"{path}:{number}: expected UTF-8, got {error}: convert the file") from error
    return texts


def read_texts(path: Path, *, field: str) -> list[str]:
    """Read one text a record out of a line file or a JSON Lines file.

    Args:
        path: `.jsonl` and `.json` are read as JSON Lines, anything else by `read_lines`.
        field: Where a JSON row holds its text.

    Returns:
        The texts in the file's order; blank lines of a JSON Lines file are skipped.

    Raises:
        CodeftError: The file can't be read, isn't UTF-8, or a row isn't an object with a text in `field`.
    """
    lines = read_lines(path)
    if Path(path).suffix not in _JSON_LINES_SUFFIXES:
        return lines
    return [
        _text_of_row(line, field=field, where=f"{path}:{number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _text_of_row(line: str, *, field: str, where: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CodeftError(f"{where}: expected one JSON object a line, got {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get(field), str):
        came = f"the fields {', '.join(map(str, row)) or 'none'}" if isinstance(row, dict) else "no object"
        raise CodeftError(f"{where}: expected an object with a text in the field {field!r}, got {came}")
    return str(row[field])


def read_pairs(
    predictions: Path,
    references: Path | None = None,
    *,
    prediction_field: str = "prediction",
    reference_field: str = "reference",
    numbered: bool = False,
) -> tuple[list[str], list[str]]:
    """Read stored predictions with their references and pair them by record.

    Args:
        predictions: A line file or a JSON Lines file.
        references: The same of references; None where `predictions` is JSON Lines and holds both.
        prediction_field: Where a JSON row holds its prediction.
        reference_field: Where a JSON row holds its reference.
        numbered: Whether line files may begin each line with a number and a tab, as code summarization's
            published files do. Where both do, they are paired by number.

    Returns:
        Predictions and references of equal number, in the references' order.

    Raises:
        CodeftError: A file can't be read, only one file is numbered, a number stands twice or in one file
            only, or the numbers of rows differ.
    """
    if references is None and Path(predictions).suffix not in _JSON_LINES_SUFFIXES:
        raise CodeftError(
            f"expected a file of references beside {predictions}, got none: it holds one text a line"
        )
    references_path = predictions if references is None else references
    texts = read_texts(predictions, field=prediction_field)
    reference_texts = read_texts(references_path, field=reference_field)
    if numbered and (_is_numbered(texts) or _is_numbered(reference_texts)):
        by_number = _split_numbers(texts, path=predictions)
        references_by_number = _split_numbers(reference_texts, path=references_path)
        unpaired = by_number.keys() ^ references_by_number.keys()
        if unpaired:
            raise CodeftError(
                f"expected the same numbers in {predictions} and {references_path}, got {len(unpaired)} that "
                f"stand in one of them only, {min(unpaired)} among them"
            )
        return [by_number[number] for number in references_by_number], list(references_by_number.values())
    check_pairs(texts, reference_texts)
    return texts, reference_texts


def _is_numbered(lines: Sequence[str]) -> bool:
    # A number alone is an empty text whose tab an editor has stripped.
    return all(_NUMBERED_LINE.match(line) for line in lines) and any("\t" in line for line in lines)


def _split_numbers(lines: Sequence[str], *, path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for row, line in enumerate(lines, start=1):
        match = _NUMBERED_LINE.match(line)
        if match is None:
            raise CodeftError(
                f"{path}:{row}: expected a number and a tab before the text, as in the other file"
            )
        if match[1] in texts:
            raise CodeftError(f"{path}:{row}: expected each number once, got {match[1]} again")
        texts[match[1]] = line[match.end() :]
    return texts
