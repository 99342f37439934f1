"""An exported folder: what codeft writes beside transformers' files, and a model read from there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from codeft.build import OF_WEIGHTS
from codeft.config import check_sections, literal_config
from codeft.run_folder import check_metrics, write_text
from codeft.targets import check_targets
from codeft.types import CodeftError

if TYPE_CHECKING:
    from omegaconf import DictConfig

ABOUT, CARD, WEIGHTS = "codeft.json", "README.md", "model.safetensors"
FORMAT = 1
"""Of `codeft.json`; a later codeft may write another."""

ELSEWHERE = "elsewhere"
"""Stands for a path of data: it says nothing in another place."""

PATHS = ("dir", "source", "train", "valid")
TOLD = ("task", "model", "data", "choices")
VALUES = ("seed", "lang", "k", "alpha")
"""What of a run's config an exported folder tells: sections, and values at the top."""

_OF_ITS_BEGINNING = ("weights", "tokenizer", "revision", *OF_WEIGHTS)
"""Keys of a run's model that say where it began."""

_REST: dict[str, Any] = {
    "callbacks": {},
    "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True},
    "scheduler": None,
    "trainer": {
        "_target_": "pytorch_lightning.Trainer",
        "accelerator": "auto",
        "precision": "auto",
        "max_epochs": 1,
        "accumulate_grad_batches": 1,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "enable_model_summary": False,
    },
    "logger": {},
    "checkpoint": {},
    "patience": None,
    "dry_run": False,
}
"""What a config needs and a trained model doesn't know: nothing is trained."""


def describe_export(
    run: Mapping[str, Any],
    *,
    untied: bool,
    metrics: Mapping[str, Any],
    versions: Mapping[str, str],
    inputs: Collection[str] = (),
) -> dict[str, Any]:
    """Return what `codeft.json` holds but its list of files; no path of the machine is in it.

    Args:
        run: A run's config, as plain values.
        untied: Whether the output layer has weights of its own.
        metrics: The run's `metrics.json`.
        versions: Of what wrote it.
        inputs: Features of the data that the model itself reads, by name.
    """
    about: dict[str, Any] = {"format": FORMAT, "versions": dict(versions), "untied": untied}
    about |= {name: run[name] for name in TOLD} | {name: run.get(name) for name in VALUES}
    about["model"] = {name: value for name, value in run["model"].items() if name not in _OF_ITS_BEGINNING}
    features = run["data"]["features"]
    about["data"] = _without_paths(run["data"])
    about["data"]["features"] = {name: features[name] for name in inputs}
    if "precision" in run["trainer"]:
        about["precision"] = run["trainer"]["precision"]
    about["metrics"] = {name: value for name, value in metrics.items() if name not in ("command", "commit")}
    return about


def _without_paths(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of data without its paths, which stand twice: its own and its reader's."""
    reader = data.get("reader")
    told = {name: ELSEWHERE if name in PATHS and value else value for name, value in data.items()}
    if isinstance(reader, dict):
        told["reader"] = {n: ELSEWHERE if n in PATHS and value else value for n, value in reader.items()}
    return told


class ExportFolder:
    """A folder that `codeft.export` wrote, or one of transformers' whose task and model the user names.

    Args:
        path: The folder.
        about: What `codeft.json` holds.

    Attributes:
        path: The folder.
        untied: Whether the output layer has weights of its own.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self.untied = about.get("untied") is True
        self._about = about

    @classmethod
    def read(cls, path: Path) -> ExportFolder:
        """Read a folder's `codeft.json`.

        Raises:
            CodeftError: It can't be read, or isn't what `codeft.export` writes.
        """
        about = read_about(path)
        if about.get("format") != FORMAT:
            raise CodeftError(
                f"{path / ABOUT} is of format {about.get('format')!r}, this codeft reads {FORMAT}: "
                "export the run again, or use the codeft that wrote it"
            )
        if about.get("adapter"):
            raise CodeftError(
                f"{str(path)!r} holds adapters alone, which peft reads: export the run with adapter=merged"
            )
        wrong = [name for name in TOLD if not isinstance(about.get(name), dict)]
        if wrong:
            raise CodeftError(f"{path / ABOUT} isn't what codeft.export writes: it needs {', '.join(wrong)}")
        check_metrics(about.get("metrics", {}), source=path / ABOUT)
        model = {**about["model"], "weights": "random", "tokenizer": str(path.absolute())}
        return cls(path, {**about, "model": model})

    def load_config(self, *, trust_targets: Sequence[str] = ()) -> DictConfig:
        """Return a run's config by which the model is built; its weights are to be loaded after it.

        Raises:
            CodeftError: A value isn't of its form, or a name isn't to be trusted.
        """
        plain = {name: self._about[name] for name in TOLD} | {n: self._about.get(n) for n in VALUES} | _REST
        plain["data"] = _without_paths(plain["data"])
        plain["seed"] = plain["seed"] or 0
        plain["trainer"] = {**_REST["trainer"], "precision": self._about.get("precision", "auto")}
        check_targets(plain, trusted=frozenset(trust_targets))
        try:
            check_sections(plain)
        except CodeftError as error:
            raise CodeftError(f"{self.path / ABOUT} isn't what codeft.export writes: {error}") from None
        return literal_config(plain)

    def load_metrics(self) -> dict[str, Any]:
        """Return what the run's `metrics.json` held."""
        metrics: dict[str, Any] = self._about.get("metrics", {})
        return metrics

    def weights(self, checkpoint: str) -> Path:
        """Return the file of weights.

        Args:
            checkpoint: "best": an exported folder holds no second one.

        Raises:
            CodeftError: Another was asked for.
        """
        if checkpoint != "best":
            raise CodeftError(
                f"checkpoint={checkpoint} is for a run's folder: {str(self.path)!r} is an exported one and "
                "holds one checkpoint"
            )
        return self.path / WEIGHTS


def read_about(path: Path) -> dict[str, Any]:
    """Return what a folder's `codeft.json` holds, unchecked.

    Raises:
        CodeftError: It isn't there or no JSON object.
    """
    try:
        about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CodeftError(f"expected {path / ABOUT} as codeft.export writes it: {error}") from None
    if not isinstance(about, dict):
        raise CodeftError(f"expected an object in {path / ABOUT}, found {type(about).__name__}")
    return about


def check_free(target: Path, *, overwrite: bool) -> None:
    """Check that a folder can be written without anything being lost.

    Args:
        target: Where to write.
        overwrite: Whether an earlier export may be replaced.

    Raises:
        CodeftError: It is no folder, or holds what isn't an earlier export's.
    """
    if target.exists() and not target.is_dir():
        raise CodeftError(f"expected to= to be a folder, but {str(target)!r} is none")
    found = {
        path.relative_to(target).as_posix()
        for path in target.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    if not found:
        return
    advice = "name a new or empty folder"
    if ABOUT not in found:
        raise CodeftError(f"{str(target)!r} isn't empty, and nothing that codeft.export wrote: {advice}")
    written = read_about(target).get("files")
    foreign = sorted(found - {str(name) for name in written} if isinstance(written, list) else found)
    if foreign:
        raise CodeftError(
            f"{str(target)!r} holds an export and what codeft didn't write ({', '.join(foreign[:3])}): "
            f"move that away, or {advice}"
        )
    if not overwrite:
        raise CodeftError(f"{str(target)!r} holds an export: overwrite=true replaces it, or {advice}")


def check_takes_folder(target: Path) -> None:
    """Check that a folder can be made where an export is to lie; nothing stays of the try.

    Args:
        target: Where to write; what it lies in needn't be there.

    Raises:
        CodeftError: It can't.
    """
    place = next(parent for parent in target.resolve().parents if parent.exists())
    try:
        with TemporaryDirectory(prefix=".codeft-export.", dir=place):
            pass
    except OSError as error:
        raise CodeftError(
            f"can't write an export into {str(target)!r}: no folder can be made in {str(place)!r} "
            f"({error.strerror}); name another to="
        ) from None


@contextmanager
def written_whole(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a folder to write into, which takes the target's place at the end; after an error nothing is left.

    A kill leaves the target as it was, and beside it a hidden folder that the next export removes.

    Args:
        target: The folder to write.
        overwrite: Whether an earlier export may be replaced.

    Raises:
        CodeftError: See `check_free`; or it can't be written.
    """
    target = target.resolve()  # a link to a folder stays one
    new, old = (target.with_name(f".{target.name}.codeft-export.{word}") for word in ("new", "old"))
    try:
        if old.is_dir() and not target.exists():
            old.rename(target)  # killed between the two renames below
        check_free(target, overwrite=overwrite)
        for left in (new, old):
            if left.is_dir():
                shutil.rmtree(left)
        new.mkdir(parents=True)
        try:
            yield new
            for path in new.rglob("*"):
                if path.is_file():
                    shutil.copymode(new / ABOUT, path)  # safetensors makes files for their owner alone
                    _sync(path)
            if target.is_dir():
                target.rename(old)
            new.rename(target)
        finally:
            if old.is_dir() and not target.exists():
                old.rename(target)
            for left in (new, old):
                shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise CodeftError(
            f"can't write {str(target)!r}: {error.strerror or error}; it is as it was. Make room, or set to="
        ) from error


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Write `codeft.json`, with the list of all files in the folder; the last to be written."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    text = json.dumps({**about, "files": sorted({*files, ABOUT})}, indent=2, ensure_ascii=False)
    write_text(folder / ABOUT, text + "\n")
