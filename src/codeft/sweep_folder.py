"""A sweep's jobs, read back from its folder: the finished ones, and what became of the others."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from codeft.run_folder import RunFolder, known_runs
from codeft.sweep import FILE, Job, differing_overrides
from codeft.types import CodeftError

DONE, FAILED, UNFINISHED, NOT_STARTED, UNREADABLE = (
    "done", "failed", "unfinished", "not started", "unreadable",
)  # fmt: skip

_OVERRIDES = Path(".hydra") / "overrides.yaml"


@dataclass(frozen=True, slots=True)
class SweptJob:
    """One job of a sweep.

    Attributes:
        folder: Its files; the sweep's for a job that never began.
        overrides: All that was typed for it, as key=value.
        status: What became of it.
        values: Of the overrides those that not all jobs share, by key.
        metrics: Of a finished job, what its `metrics.json` holds.
        error: Why it isn't finished, where that is known.
    """

    folder: Path
    overrides: Sequence[str]
    status: str
    values: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


def read_sweep(folder: Path) -> list[SweptJob]:
    """Return all of a sweep's jobs, in their order; those that never began come last.

    Args:
        folder: As a multirun of `codeft.train` wrote it, finished or not.

    Raises:
        CodeftError: It is no sweep's folder.
    """
    if not folder.is_dir():
        raise CodeftError(f"expected a sweep's folder, but {str(folder)!r} isn't one{known_runs(folder)}")
    if (folder / _OVERRIDES).is_file():
        raise CodeftError(
            f"{str(folder)!r} is one run's folder: give the folder of its sweep (python -m codeft.train -m …)"
        )
    found = sorted(
        (path.parent.parent for path in folder.glob(f"*/{_OVERRIDES}")), key=lambda path: _number(path.name)
    )
    if not found:
        raise CodeftError(
            f"expected a sweep's folder, but there is no job in {str(folder)!r}: python -m codeft.train -m "
            "with values parted by commas makes one"
        )
    told = _told(folder / FILE)
    jobs = [_read_job(path, told.get(path.name, {})) for path in found]
    jobs += _not_started(folder, [job.overrides for job in jobs])
    known = [job for job in jobs if job.overrides]  # of the others nobody knows what was typed
    differing = differing_overrides([Job(job.overrides, job.folder) for job in known])
    values = {id(job): own for job, own in zip(known, differing, strict=True)}
    return [replace(job, values=values.get(id(job), {})) for job in jobs]


def _number(name: str) -> tuple[int, str]:
    found = re.match(r"\d+", name)
    return (int(found[0]) if found else -1, name)


def _told(path: Path) -> dict[str, Mapping[str, str]]:
    """Return what the sweep's own table says, by folder; nothing where it isn't written or is damaged."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["folder"]: row for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError, csv.Error):
        return {}


def _read_job(path: Path, told: Mapping[str, str]) -> SweptJob:
    overrides: list[str] = []
    try:
        overrides = _read_overrides(path / _OVERRIDES)
        metrics = RunFolder(path).load_metrics()
        _check_parts(metrics, source=RunFolder(path).metrics)
    except CodeftError as error:
        return SweptJob(path, overrides, UNREADABLE, error=str(error))
    if metrics.get("valid") or metrics.get("test"):
        return SweptJob(path, overrides, DONE, metrics=metrics)
    if told.get("status") == FAILED:
        return SweptJob(path, overrides, FAILED, error=told.get("error") or "")
    return SweptJob(path, overrides, UNFINISHED)


def _check_parts(metrics: Mapping[str, Any], *, source: Path) -> None:
    """Check what tables and pictures read of a run beside its scores.

    Raises:
        CodeftError: It isn't what a run writes.
    """
    groups = {name: metrics.get(name) or {} for name in ("best", "time", "signatures", "k_choice")}
    wrong = [name for name, group in groups.items() if not isinstance(group, dict)]
    if not wrong:
        numbers = {"time": list(groups["time"].values()), "best": list(groups["best"].values())}
        numbers["k_choice"] = [groups["k_choice"].get("seconds")]
        wrong = [name for name, values in numbers.items() if not all(map(_is_number, values))]
        wrong += ["signatures"] * (not all(isinstance(text, str) for text in groups["signatures"].values()))
    if wrong:
        raise CodeftError(f"expected a run's scores in {source}, found something else under {wrong[0]!r}")


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _read_overrides(path: Path) -> list[str]:
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise CodeftError(f"{path} can't be read: {str(error).splitlines()[0]}") from None
    if not isinstance(plain, list) or not all(isinstance(word, str) for word in plain):
        raise CodeftError(f"{path} isn't what a sweep writes: expected a list of key=value")
    return plain


def _not_started(folder: Path, begun: Sequence[Sequence[str]]) -> list[SweptJob]:
    """Return the jobs that were asked for and have no folder, as far as the sweep's own config tells."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        plain = yaml.safe_load((folder / "multirun.yaml").read_text(encoding="utf-8"))
        asked = OverridesParser.create().parse_overrides(plain["hydra"]["overrides"]["task"])
        options = [
            [f"{override.get_key_element()}={value}" for value in values]
            for override in asked
            for values in [
                list(override.sweep_string_iterator())
                if override.is_sweep_override()
                else [override.get_value_element_as_str()]
            ]
        ]
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError, KeyError, TypeError, HydraException):
        return []
    there = {tuple(words) for words in begun}
    missing = [list(words) for words in itertools.product(*options) if words not in there]
    known = len(missing) + len(begun) == len(list(itertools.product(*options)))
    return [SweptJob(folder, words, NOT_STARTED) for words in missing] if known else []
