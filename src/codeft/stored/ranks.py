"""A run's own rankings: each query's first answers, and the ranks that the scores are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
import torch

from codeft.data.jsonl import is_rows
from codeft.metrics.bootstrap import mean_of_rows
from codeft.metrics.floors import CHANCE, retrieval_by_chance, search_by_chance
from codeft.metrics.retrieval import (
    PROTOCOLS,
    RECALL_AT,
    TIES_SIGNATURE,
    found_within,
    map_at_r_signature,
    protocol_name,
    r_precision_signature,
    reciprocal_ranks,
    search_signature,
)
from codeft.stored.base import AbstractStoredPredictions, Files, Score, Scored
from codeft.stored.reading import StoredRow, iterate_json_rows, name_of, names_in
from codeft.types import CodeftError

_OF_ALL_CANDIDATES = ("full", "cut1000")
"""Protocols that rank alike: the other one's MRR follows from the same ranks."""


_MOST = 2**53
"""Candidates or relevant rows that a row may speak of."""


class _Protocol(NamedTuple):
    name: str
    deduplicated: bool


@final
@dataclass(frozen=True)
class StoredRanks(AbstractStoredPredictions):
    """What a run of code search writes: `{"id", "idx", "answers", "rank", "tied", "candidates", …}`.

    `idx` is the right answer, which stands in `answers` where its rank is among the first. Ties have been
    resolved, pessimistically. The rows hold all there is; queries are paired by their order.
    """

    def fits(self, predictions: Path) -> bool:
        """Return whether the first row has a `rank`."""
        return _first_has(predictions, "rank")

    def score(self, files: Files) -> Scored:
        """Read and score."""
        ranks, ties, queries, counts = [], 0, [], []
        protocol: _Protocol | None = None
        for row in _rows(files):
            own = _protocol_of(row)
            if protocol not in (None, own):
                raise CodeftError(f"{row.where}: expected the other rows' protocol, {protocol}, got {own}")
            protocol = own
            candidates = _number_in(row, "candidates", lowest=1, highest=_MOST)
            rank = _number_in(row, "rank", lowest=1, highest=candidates)
            target = name_of(row.fields.get("idx"), where=row.where)
            _check_answers(row, rank=rank, target=target, candidates=candidates)
            ranks.append(rank)
            counts.append(candidates)
            ties += _truth_in(row, "tied")
            queries.append((name_of(row.fields.get("id"), where=row.where), target))
        assert protocol is not None
        scores = _search_scores(torch.tensor(ranks), ties=ties, protocol=protocol)
        alike = _OF_ALL_CANDIDATES if protocol.name in _OF_ALL_CANDIDATES else (protocol.name,)
        chance = {
            name: value
            for each in alike
            for name, value in search_by_chance(counts, protocol=each).items()
            if name in scores
        }
        return Scored(scores, queries, floors={CHANCE: chance})


@final
@dataclass(frozen=True)
class StoredHits(AbstractStoredPredictions):
    """What a run of clone retrieval writes: `{"id", "reference", "answers", "relevant", "hits"}`.

    `relevant` is R, how many other rows have the row's label; `hits` are those of the first R places that
    they hold. A row with nothing relevant isn't scored.
    """

    def fits(self, predictions: Path) -> bool:
        """Return whether the first row has `hits`."""
        return _first_has(predictions, "hits")

    def score(self, files: Files) -> Scored:
        """Read and score."""
        precisions, shares, queries, num_others = [], [], [], -1
        for row in _rows(files):
            num_others += 1
            number, hits = _number_in(row, "relevant", lowest=0, highest=_MOST), row.fields.get("hits")
            if not isinstance(hits, list) or not _ascend(hits, highest=number):
                raise CodeftError(
                    f"{row.where}: expected ascending places from 1 to {number} in 'hits', got {hits!r:.60}"
                )
            if number:
                precisions.append(sum(i / place for i, place in enumerate(hits, start=1)) / number)
                shares.append(len(hits) / number)
                label = name_of(row.fields.get("reference"), where=row.where)
                queries.append((name_of(row.fields.get("id"), where=row.where), label, number))
        if not queries:
            raise CodeftError(f"expected rows with something relevant in {files.predictions}, got none")
        values = {
            "map_at_r": (precisions, map_at_r_signature(ties="pessimistic")),
            "r_precision": (shares, r_precision_signature()),
        }
        scores = {name: _mean(np.array(rows), sign) for name, (rows, sign) in values.items()}
        numbers = [number for *_, number in queries]
        if max(numbers) > num_others:  # rows were taken out of the file
            return Scored(scores, queries)
        chance = retrieval_by_chance(numbers, num_others=num_others)
        return Scored(scores, queries, floors={CHANCE: chance})


def _check_answers(row: StoredRow, *, rank: int, target: str, candidates: int) -> None:
    answers = names_in(row)
    if len(set(answers)) < len(answers) or len(answers) > candidates:
        raise CodeftError(f"{row.where}: expected each answer once, and at most {candidates} in 'answers'")
    place = answers.index(target) + 1 if target in answers else None
    if place != (rank if rank <= len(answers) else None):
        found = f"{answers[rank - 1]} there" if rank <= len(answers) else f"it at {place}"
        raise CodeftError(f"{row.where}: expected {target} at its rank {rank}, got {found}")


def _mean(rows: np.ndarray, signature: str) -> Score:
    statistics = mean_of_rows(rows)
    return Score(statistics.value(), signature, statistics)


def _search_scores(ranks: torch.Tensor, *, ties: int, protocol: _Protocol) -> dict[str, Score]:
    others = _OF_ALL_CANDIDATES if protocol.name in _OF_ALL_CANDIDATES else ()
    rows = {("mrr", protocol.name): reciprocal_ranks(ranks, protocol=protocol.name)}
    rows |= {(f"r_at_{k}", protocol.name): found_within(ranks, k=k) for k in RECALL_AT}
    rows |= {("mrr", name): reciprocal_ranks(ranks, protocol=name) for name in others}
    scores = {
        protocol_name(name, protocol=of): _mean(
            values.numpy(), search_signature(name, protocol=of, deduplicated=protocol.deduplicated)
        )
        for (name, of), values in rows.items()
    }
    return scores | {"ties": Score(float(ties), TIES_SIGNATURE)}


def _first_has(path: Path, field: str) -> bool:
    first = next(iterate_json_rows(path), None) if is_rows(path) else None
    return first is not None and field in first.fields


def _rows(files: Files) -> Iterator[StoredRow]:
    for name, path in (("references", files.references), ("sources", files.sources)):
        if path is not None:
            raise CodeftError(f"{files.predictions} holds its own ranks: leave {name}={path} away")
    return iterate_json_rows(files.predictions)


def _protocol_of(row: StoredRow) -> _Protocol:
    name = row.fields.get("protocol")
    if name not in PROTOCOLS:
        raise CodeftError(f"{row.where}: expected a 'protocol' out of {', '.join(PROTOCOLS)}, got {name!r}")
    return _Protocol(name, _truth_in(row, "deduplicated"))


def _number_in(row: StoredRow, field: str, *, lowest: int, highest: int | None = None) -> int:
    value = row.fields.get(field)
    if type(value) is not int or value < lowest or (highest is not None and value > highest):
        most = "" if highest is None else f" and at most {highest}"
        raise CodeftError(f"{row.where}: expected {field!r} to be at least {lowest}{most}, got {value!r}")
    return value


def _truth_in(row: StoredRow, field: str) -> bool:
    value = row.fields.get(field)
    if not isinstance(value, bool):
        raise CodeftError(f"{row.where}: expected {field!r} to be true or false, got {value!r}")
    return value


def _ascend(places: Sequence[object], *, highest: int) -> bool:
    numbers = [place for place in places if type(place) is int]
    bounds = zip([0, *numbers], [*numbers, highest + 1], strict=True)
    return len(numbers) == len(places) and all(low < high for low, high in bounds)
