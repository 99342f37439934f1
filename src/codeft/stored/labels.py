"""Stored labels: one yes or no for each function, pair of functions, or query with its code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, final

import numpy as np

from codeft.data.jsonl import is_rows
from codeft.metrics.bootstrap import RowStatistics
from codeft.metrics.classification import (
    FORMULAS,
    LABELS,
    TUNED_NAMES,
    confusion_names,
    confusion_rows,
    probabilities,
)
from codeft.metrics.floors import label_floors
from codeft.stored.base import AbstractStoredPredictions, Files, Score, Scored
from codeft.stored.reading import StoredRow, name_of, read_json_rows, read_lines
from codeft.tasks.fields import first_field, says_something
from codeft.types import CodeftError

Key = tuple[str, ...]
_ID_FIELDS = (("idx1", "idx2"), ("id1", "id2"), ("id",), ("idx",), ("index",))


class _Label(NamedTuple):
    where: str
    value: str


@final
@dataclass(frozen=True)
class StoredLabels(AbstractStoredPredictions):
    """Labels 0 and 1, or probabilities of 1: lines `id label` or `id1 id2 label`, or JSON Lines.

    JSON rows name what they are about by `id`, `idx` or `index`, or by `idx1` and `idx2`. A row that
    stands twice counts once. `sources` is a file of functions, rows with `idx`: an id that isn't there is
    then an error.

    Attributes:
        names: The metrics, the task's own first.
        reference_fields: Where a JSON row holds what is right; the first that it has.
        prediction_fields: Where a JSON row holds what was said; the first that it has.
    """

    takes_threshold: ClassVar[bool] = True

    names: Sequence[str] = ("accuracy", "f1", "precision", "recall")
    reference_fields: Sequence[str] = ("reference", "target", "label")
    prediction_fields: Sequence[str] = ("prediction", "label")

    def fits(self, predictions: Path) -> bool:
        """Return True: what isn't a ranking is a file of labels."""
        return True

    def score(self, files: Files) -> Scored:
        """Read, pair and score."""
        path = files.references or files.predictions
        if files.references is None and not is_rows(files.predictions):
            raise CodeftError(f"expected a file of references beside {files.predictions}, got none")
        said = _read_labels(files.predictions, self.prediction_fields)
        true = _read_labels(path, self.reference_fields)
        for label in true.values():
            if label.value not in LABELS:
                wanted = ", ".join(LABELS)
                raise CodeftError(f"{label.where}: expected a label out of {wanted}, got {label.value!r}")
        for label in said.values():
            _check_probability(label)
        if files.sources is not None:
            _check_ids(said, true, path=files.sources)
        _check_keys(said, true, predictions=files.predictions, references=path)
        references = [label.value for label in true.values()]
        texts = [said[key].value for key in true]
        rows = confusion_rows(texts, references).astype(np.float64)
        scores = {}
        for name in self.names:
            statistics = RowStatistics(rows, FORMULAS[name])
            scores[name] = Score(statistics.value(), confusion_names(name)[1], statistics)
        if files.threshold is not None:
            rows = confusion_rows(texts, references, threshold=files.threshold).astype(np.float64)
            for name in TUNED_NAMES:
                statistics = RowStatistics(rows, FORMULAS[name])
                tuned, signature = confusion_names(name, threshold=files.threshold)
                scores[tuned] = Score(statistics.value(), signature, statistics)
        known = {
            floor: {name: value for name, value in values.items() if name in scores}
            for floor, values in label_floors(references).items()
        }
        return Scored(scores, list(zip(true, references, strict=True)), floors=known)


def _read_labels(path: Path, fields: Sequence[str]) -> dict[Key, _Label]:
    labels: dict[Key, _Label] = {}
    rows = _json_labels(path, fields) if is_rows(path) else _line_labels(path)
    for key, label in rows:
        if labels.setdefault(key, label).value != label.value:
            raise CodeftError(
                f"{label.where}: expected one label for {_shown(key)}, got {label.value} after "
                f"{labels[key].value} at {labels[key].where}"
            )
    if not labels:
        raise CodeftError(f"expected rows in {path}, got none: nothing to score")
    return labels


def _line_labels(path: Path) -> list[tuple[Key, _Label]]:
    rows: list[tuple[Key, _Label]] = []
    for number, line in enumerate(read_lines(path), start=1):
        *key, label = line.split() or [""]
        if len(key) not in (1, 2) or (rows and len(key) != len(rows[0][0])):
            raise CodeftError(
                f"{path}:{number}: expected an id or two and a label, as in the other lines, got {line!r}"
            )
        rows.append((tuple(key), _Label(f"{path}:{number}", label)))
    return rows


def _json_labels(path: Path, fields: Sequence[str]) -> list[tuple[Key, _Label]]:
    rows = []
    for row in read_json_rows(path):
        names = next(
            (names for names in _ID_FIELDS if all(says_something(row.fields.get(name)) for name in names)),
            None,
        )
        if names is None:
            raise CodeftError(f"{row.where}: expected an id in 'id', 'idx' or 'index', or two, got none")
        # A pair's id may be both ids with white space between, as its line holds them.
        key = tuple(" ".join(name_of(row.fields[name], where=row.where) for name in names).split())
        rows.append((key, _Label(row.where, _label_of(row, fields))))
    return rows


def _label_of(row: StoredRow, fields: Sequence[str]) -> str:
    name = first_field(row.fields, *fields)
    if name is None:
        raise CodeftError(f"{row.where}: expected a label in {' or '.join(map(repr, fields))}, got none")
    value = row.fields[name]
    return str(int(value)) if isinstance(value, bool) else name_of(value, where=row.where)


def _check_probability(label: _Label) -> None:
    try:
        probabilities([label.value])
    except CodeftError:
        raise CodeftError(
            f"{label.where}: expected a label out of {', '.join(LABELS)} or a probability from 0 to 1, got "
            f"{label.value!r}"
        ) from None


def _check_ids(said: Mapping[Key, _Label], true: Mapping[Key, _Label], *, path: Path) -> None:
    known = {name_of(row.fields.get("idx"), where=row.where) for row in read_json_rows(path)}
    for labels in (said, true):
        for key, label in labels.items():
            for id_ in key:
                if id_ not in known:
                    raise CodeftError(f"{label.where}: names function {id_}, which isn't in {path}")


def _check_keys(
    said: Mapping[Key, _Label], true: Mapping[Key, _Label], *, predictions: Path, references: Path
) -> None:
    for key, label in said.items():
        if key not in true:
            raise CodeftError(f"{label.where}: names {_shown(key)}, which isn't in {references}")
    for key, label in true.items():
        if key not in said:
            raise CodeftError(
                f"expected a prediction for each of {len(true):,} rows, got {len(said):,}: {label.where} "
                f"({_shown(key)}) is the first that {predictions} lacks"
            )


def _shown(key: Key) -> str:
    return " and ".join(key)
