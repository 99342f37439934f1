"""Stored rankings: for each query the candidates' ids, best first, as CodeXGLUE stores search results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
import torch

from codeft.data.jsonl import is_rows
from codeft.metrics.bootstrap import RowStatistics, mean_of_rows
from codeft.metrics.floors import CHANCE, retrieval_by_chance, search_by_chance
from codeft.metrics.retrieval import (
    CUT,
    RECALL_AT,
    average_precisions,
    found_within,
    map_at_r_signature,
    r_precision_signature,
    reciprocal_ranks,
    search_signature,
)
from codeft.stored.base import AbstractStoredPredictions, Files, Score, Scored
from codeft.stored.reading import StoredRow, iterate_json_rows, name_of, names_in, read_json_rows
from codeft.tasks.fields import first_field
from codeft.types import CodeftError


class _Ranking(NamedTuple):
    where: str
    answers: list[str]


@final
@dataclass(frozen=True)
class StoredSearch(AbstractStoredPredictions):
    """Rankings of queries that have one target each: `{"url": …, "answers": [idx, …]}` (AdvTest).

    References are rows with a query's key and its target's `idx`; all targets are candidates. `sources` is a
    file of further candidates, rows with `idx`; with it, an answer that is no candidate is an error.

    Attributes:
        keys: Where a row names its query; the first that it has.
        target: Where a reference or candidate holds its id.
    """

    keys: Sequence[str] = ("url", "id", "index")
    target: str = "idx"

    def fits(self, predictions: Path) -> bool:
        """Return whether the first row has `answers`."""
        return _has_answers(predictions)

    def score(self, files: Files) -> Scored:
        """Read, pair and score."""
        path = _references_of(files)
        targets = {
            key: name_of(row.fields.get(self.target), where=row.where)
            for key, row in _rows_by_key(path, self.keys).items()
        }
        candidates = set(targets.values())
        if files.sources is not None:
            candidates |= {
                name_of(row.fields.get(self.target), where=row.where) for row in read_json_rows(files.sources)
            }
        rankings = _read_rankings(files.predictions, self.keys)
        _check_queries(rankings, targets, predictions=files.predictions, references=path)
        if files.sources is not None:
            _check_answers(rankings, candidates, path=files.sources)
        ranks = torch.tensor([_place(rankings[key].answers, target) for key, target in targets.items()])
        if not bool((ranks > 0).any()):
            raise CodeftError(
                f"expected answers out of the ids of {path}, but no target stands in any ranking of "
                f"{files.predictions}: do both files spell ids alike?"
            )
        depth = min(len(ranking.answers) for ranking in rankings.values())
        scores = _search_scores(ranks, depth=depth, candidates=len(candidates))
        return Scored(
            scores, list(targets.items()), floors={CHANCE: _chance(scores, len(candidates), depth=depth)}
        )


@final
@dataclass(frozen=True)
class StoredRetrieval(AbstractStoredPredictions):
    """Rankings of queries that have R relevant items each: `{"index": …, "answers": [index, …]}` (POJ-104).

    References are rows with `index` and either all relevant `answers` or the `label` that they share.
    """

    keys: Sequence[str] = ("index", "id")

    def fits(self, predictions: Path) -> bool:
        """Return whether the first row has `answers`."""
        return _has_answers(predictions)

    def score(self, files: Files) -> Scored:
        """Read, pair and score."""
        path = _references_of(files)
        relevant = _relevant_items(_rows_by_key(path, self.keys))
        rankings = _read_rankings(files.predictions, self.keys)
        _check_queries(rankings, relevant, predictions=files.predictions, references=path)
        _check_answers(rankings, relevant.keys(), path=path)
        for key, items in relevant.items():
            ranking = rankings[key]
            if key in ranking.answers or len(ranking.answers) < len(items):
                wrong = (
                    "itself among them"
                    if key in ranking.answers
                    else f"{len(ranking.answers)} for {len(items)}"
                )
                raise CodeftError(
                    f"{ranking.where}: expected as many answers as {key} has relevant items, got {wrong}"
                )
        found, wanted = [rankings[key].answers for key in relevant], list(relevant.values())
        shares = [
            len(set(answers[: len(items)]) & set(items)) / len(items)
            for answers, items in zip(found, wanted, strict=True)
        ]
        precisions = mean_of_rows(np.asarray(average_precisions(found, wanted)))
        scores = {
            "map_at_r": _score(precisions, map_at_r_signature(ties="as-ranked")),
            "r_precision": _score(mean_of_rows(np.asarray(shares)), r_precision_signature()),
        }
        chance = retrieval_by_chance(
            [len(items) for items in relevant.values()], num_others=len(relevant) - 1
        )
        queries = [(key, sorted(items)) for key, items in relevant.items()]
        return Scored(scores, queries, floors={CHANCE: chance})


def _score(statistics: RowStatistics, signature: str) -> Score:
    return Score(statistics.value(), signature, statistics)


def _search_scores(ranks: torch.Tensor, *, depth: int, candidates: int) -> dict[str, Score]:
    """Score ranks by every protocol that rankings of this depth allow; 0 is a target not found."""
    protocol = "full" if depth >= candidates else f"top{depth}"
    rows = {"mrr": reciprocal_ranks(ranks)} | {
        f"r_at_{k}": found_within(ranks, k=k) for k in RECALL_AT if k <= max(depth, 1)
    }
    scores = {
        name: _score(
            mean_of_rows(values.numpy()), search_signature(name, protocol=protocol, ties="as-stored")
        )
        for name, values in rows.items()
    }
    if depth >= min(CUT, candidates):
        cut = mean_of_rows(reciprocal_ranks(ranks, protocol="cut1000").numpy())
        signature = search_signature("mrr", protocol="cut1000", ties="as-stored")
        scores["mrr_cut1000"] = _score(cut, signature)
    return scores


def _chance(scores: Collection[str], candidates: int, *, depth: int) -> dict[str, float]:
    """Return what the head of a random order is expected to score, of the scores that there are."""
    by_protocol = [search_by_chance([candidates], protocol=name, depth=depth) for name in ("full", "cut1000")]
    return {name: value for each in by_protocol for name, value in each.items() if name in scores}


def _has_answers(path: Path) -> bool:
    if not is_rows(path):
        return False
    first = next(iterate_json_rows(path), None)
    return first is None or "answers" in first.fields


def _references_of(files: Files) -> Path:
    if files.references is None:
        raise CodeftError(f"expected a file of references beside the rankings of {files.predictions}")
    return files.references


def _rows_by_key(path: Path, keys: Sequence[str]) -> dict[str, StoredRow]:
    found: dict[str, StoredRow] = {}
    for row in read_json_rows(path):
        field = first_field(row.fields, *keys)
        if field is None:
            raise CodeftError(f"{row.where}: expected a field {' or '.join(map(repr, keys))}, got none")
        key = name_of(row.fields[field], where=row.where)
        if key in found:
            raise CodeftError(f"{row.where}: expected each query once, got {key} again")
        found[key] = row
    if not found:
        raise CodeftError(f"expected rows in {path}, got none: nothing to score")
    return found


def _read_rankings(path: Path, keys: Sequence[str]) -> dict[str, _Ranking]:
    rankings = {}
    for key, row in _rows_by_key(path, keys).items():
        answers = names_in(row)
        if len(set(answers)) < len(answers):
            raise CodeftError(f"{row.where}: expected each answer once, got one again")
        rankings[key] = _Ranking(row.where, answers)
    return rankings


def _relevant_items(rows: Mapping[str, StoredRow]) -> dict[str, list[str]]:
    if all("answers" in row.fields for row in rows.values()):
        relevant = {key: names_in(row) for key, row in rows.items()}
    else:
        of_label: dict[str, list[str]] = {}
        for key, row in rows.items():
            of_label.setdefault(name_of(row.fields.get("label"), where=row.where), []).append(key)
        relevant = {
            key: [other for other in of_label[name_of(row.fields["label"], where=row.where)] if other != key]
            for key, row in rows.items()
        }
    for key, items in relevant.items():
        if not items:
            raise CodeftError(f"{rows[key].where}: expected something relevant to {key}, got nothing")
    return relevant


def _check_queries(
    rankings: Mapping[str, _Ranking], wanted: Mapping[str, object], *, predictions: Path, references: Path
) -> None:
    for key, ranking in rankings.items():
        if key not in wanted:
            raise CodeftError(f"{ranking.where}: expected a query of {references}, got {key}")
    missing = [key for key in wanted if key not in rankings]
    if missing:
        raise CodeftError(
            f"expected a ranking for each of {len(wanted):,} queries, got {len(rankings):,} in "
            f"{predictions}: {missing[0]} is the first of {references} without one"
        )


def _check_answers(rankings: Mapping[str, _Ranking], known: Collection[str], *, path: Path) -> None:
    for ranking in rankings.values():
        for answer in ranking.answers:
            if answer not in known:
                raise CodeftError(f"{ranking.where}: expected answers out of {path}, got {answer}")


def _place(answers: Sequence[str], target: str) -> int:
    """Return the target's rank from 1, or 0 where it isn't there."""
    return answers.index(target) + 1 if target in answers else 0
