"""What needs no model beside a run's scores: chosen, scored on the same rows, and told."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codeft.types import CodeftError

if TYPE_CHECKING:
    from codeft.data.datamodule import CodeDataModule
    from codeft.metrics.floors import Floors
    from codeft.tasks.base import AbstractTask
    from codeft.types import Example

DESCRIPTIONS = {
    "naive_copy": "the source, unchanged",
    "bm25": "words in common, weighed by BM25",
    "chance": "a random order, on average",
    "majority": "always the more frequent label",
    "always_1": "always 1",
}
"""What was done instead of a model; a constant text says it itself."""

_LONGEST = 100_000
"""Characters of a constant text, at most."""

_HIGHEST = 100
"""No score is higher, where it is stored as a whole number."""

log = logging.getLogger(__name__)


def are_floors(metrics: Mapping[str, Any]) -> bool:
    """Return whether what a `metrics.json` says of floors can be what a run wrote; so can nothing.

    >>> are_floors({}), are_floors({"floors": {"test": {"bm25": {"mrr": "high"}}}})
    (True, False)
    """
    constants, by_split = metrics.get("constants", {}), metrics.get("floors", {})
    if not isinstance(constants, dict) or not isinstance(by_split, dict):
        return False
    if not all(isinstance(text, str) and len(text) <= _LONGEST for text in constants.values()):
        return False
    if not all(isinstance(found, dict) for found in by_split.values()):
        return False
    scores = [each for found in by_split.values() for each in found.values()]
    return all(isinstance(each, dict) and all(_is_score(value) for value in each.values()) for each in scores)


def _is_score(value: object) -> bool:
    """Return whether a table can print it: JSON has whole numbers that no float holds."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= _HIGHEST)


def choose_constants(data: CodeDataModule, *, earlier: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the constant texts that a run's score is compared with, by their floor's name.

    Args:
        data: The run's; splits that it hasn't read are read.
        earlier: The run's `metrics.json`, where they stand if it has scored before.

    Returns:
        None of a task that has no such floor, or where the training or validation rows aren't there.
    """
    if earlier and "constants" in earlier:
        return dict(earlier["constants"])
    if data.task.output != "text":
        return {}
    try:
        train, valid = (_examples(data, split) for split in ("train", "valid"))
    except CodeftError as error:
        log.info("no constant text to compare with, for the rows to choose it on aren't there: %s", error)
        return {}
    return data.task.constants(train=train, valid=valid)


def _examples(data: CodeDataModule, split: str) -> Sequence[Example]:
    return data.datasets[split].examples if split in data.datasets else data.read(split)


def describe_floors(
    task: AbstractTask,
    metrics: Mapping[str, Any],
    *,
    examples: Mapping[str, Sequence[Example]],
    constants: Mapping[str, str],
) -> dict[str, Any]:
    """Return what `metrics.json` holds of floors: the `constants`, `floors`, and what is `below_floor`.

    Args:
        task: Has the floors.
        metrics: What `metrics.json` holds of scores.
        examples: Of each split that was scored, all that were.
        constants: As `choose_constants` returns them.
    """
    floors = {}
    for split, rows in examples.items():
        scores = scores_of(metrics, split)
        only = task.monitor if split not in metrics else None  # the best validation's one score
        found = task.floors(rows, constants=constants, only=only)
        floors[split] = {
            floor: {name: value for name, value in values.items() if name in scores}
            for floor, values in found.items()
        }
    return {"constants": dict(constants), **compare_with_floors(metrics, floors)}


def compare_with_floors(metrics: Mapping[str, Any], floors: Mapping[str, Floors]) -> dict[str, Any]:
    """Return `floors` by split and, beside them, the scores that are `below_floor`.

    Args:
        metrics: What `metrics.json` holds of scores.
        floors: By split.
    """
    below = {split: below_floor(scores_of(metrics, split), found) for split, found in floors.items()}
    return {"floors": dict(floors), "below_floor": below}


def scores_of(metrics: Mapping[str, Any], split: str) -> dict[str, float]:
    """Return a split's scores; where only the best validation is known, its one score.

    >>> scores_of({"best": {"epoch": 3, "val_mrr": 0.25, "val_rows": 200}}, "valid")
    {'mrr': 0.25}
    """
    if split in metrics or split != "valid":
        return dict(metrics.get(split, {}))
    best = metrics.get("best", {})
    return {
        key.removeprefix("val_"): best[key] for key in best if key.startswith("val_") and key != "val_rows"
    }


def highest_floor(floors: Floors, score: str) -> tuple[str, float] | None:
    """Return the highest floor of a score, and which one it is; None where none is known.

    >>> highest_floor({"chance": {"mrr": 0.01}, "bm25": {"mrr": 0.48}}, "mrr")
    ('bm25', 0.48)
    """
    found = [(name, scores[score]) for name, scores in floors.items() if score in scores]
    return max(found, key=lambda floor: floor[1], default=None)


def below_floor(scores: Mapping[str, float], floors: Floors) -> list[str]:
    """Return the names of the scores that are at or below their highest floor; a floor of 0 is none.

    >>> below_floor({"mrr": 0.2, "r_at_1": 0.5}, {"bm25": {"mrr": 0.48, "r_at_1": 0.4}})
    ['mrr']
    """
    highest = {name: highest_floor(floors, name) for name in scores}
    return [name for name, floor in highest.items() if floor and floor[1] > 0 and scores[name] <= floor[1]]


def floor_of(metrics: Mapping[str, Any], score: str, *, split: str) -> float | None:
    """Return the highest floor of a run's score; None where none is known.

    Args:
        metrics: The run's `metrics.json`; those of earlier versions have no floors.
        score: Its name.
        split: Of which rows.
    """
    found = highest_floor(metrics.get("floors", {}).get(split, {}), score)
    return None if found is None else found[1]
