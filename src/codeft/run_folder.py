"""A run's folder: where each of its files lies, and how they are written."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.data.jsonl import write_rows
from codeft.error_text import nearest
from codeft.run_floors import are_floors, is_score
from codeft.types import CodeftError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from transformers import PreTrainedTokenizerBase

_BYTES_A_PARAMETER = 12
"""A checkpoint holds a parameter and Adam's two moments, in float32."""

OUTPUTS = Path("outputs")
"""Where runs lie unless their folder was named."""

_SHOWN_RUNS = 3

_CHECKPOINTS_AT_ONCE = 3
"""The best, the last, and the one that is being written."""

_NUMBERS = ("params", "test", "valid", "training")
"""Keys of `metrics.json` that hold numbers by name, and that codeft reads again."""


class RunFolder:
    """The files of one run.

    Args:
        path: The folder.

    Attributes:
        path: The folder.
        config: The resolved config.
        metrics: Scores, parameters, times.
        predictions: One row a test example, where the test split was read.
        valid_predictions: One row a validation example, of the best checkpoint.
        split_reads: One line for each time that a split was scored.
        best: The checkpoint with the best validation score.
        last: The latest checkpoint, to resume from.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.json"
        self.predictions = path / "predictions.jsonl"
        self.valid_predictions = path / "valid_predictions.jsonl"
        self.split_reads = path / "split_reads.jsonl"
        self.tokenizer = path / "tokenizer"
        self.checkpoints = path / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"
        self.lock = path / ".lock"

    def load_config(self, *, trust_targets: Sequence[str] = ()) -> DictConfig:
        """Read the stored config.

        Raises:
            CodeftError: The folder isn't a run's, or its config isn't to be trusted.
        """
        from omegaconf import OmegaConf

        from codeft.config import check_sections, load_config

        if not self.path.is_dir():
            raise CodeftError(
                f"expected a run's folder, but {str(self.path)!r} isn't one{known_runs(self.path)}"
            )
        if not self.config.is_file():
            raise CodeftError(
                f"expected a run's config at {self.config}, but there is none: that run stopped before it "
                f"began, or the folder is no run's{known_runs(self.path)}"
            )
        cfg = load_config(self.config, trust_targets=trust_targets)
        try:
            check_sections(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
        except CodeftError as error:
            raise CodeftError(f"{self.config} isn't what codeft.train writes: {error}") from None
        return cfg

    def weights(self, checkpoint: str) -> Path:
        """Return a checkpoint's file.

        Args:
            checkpoint: "best" or "last".

        Raises:
            CodeftError: It is neither, or there is none.
        """
        if checkpoint not in ("best", "last"):
            raise CodeftError(f"checkpoint must be best or last, not {checkpoint!r}")
        path = self.best if checkpoint == "best" else self.last
        if not path.is_file():
            raise CodeftError(
                f"the run in {str(self.path)!r} has no {path.name}: it never reached a validation"
            )
        return path

    def load_metrics(self) -> dict[str, Any]:
        """Return what `metrics.json` holds; nothing where the run didn't come so far.

        Raises:
            CodeftError: The file can't be read, or isn't what a run writes.
        """
        try:
            metrics = json.loads(self.metrics.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise CodeftError(f"expected a run's scores in {self.metrics}: {error}") from None
        check_metrics(metrics, source=self.metrics)
        return metrics

    def check_unfinished(self, cfg: DictConfig) -> None:
        """Check that there is something left to train, so that no finished run is scored over.

        Args:
            cfg: The run's config, with what was changed to resume it.

        Raises:
            CodeftError: The run was trained to its end and tested.
        """
        done = self.load_metrics().get("training")
        if not done:
            return
        epochs, steps = cfg.trainer.get("max_epochs"), cfg.trainer.get("max_steps")
        long_enough = (
            isinstance(epochs, int) and 0 <= epochs <= done.get("epochs", 0),
            isinstance(steps, int) and 0 <= steps <= done.get("steps", 0),
        )
        if done.get("stopped_early"):
            advice = f"patience={cfg.get('patience')} ended it, so start a new run to train longer"
        elif any(long_enough):
            advice = f"raise trainer.max_{'epochs' if long_enough[0] else 'steps'} to train on"
        else:
            return
        raise CodeftError(
            f"the run in {str(self.path)!r} is finished, after {done.get('epochs')} epochs and "
            f"{done.get('steps')} steps: {advice}; codeft.evaluate run=… scores it again"
        )

    def check_new(self) -> None:
        """Check that no run's checkpoints lie here, which a new run would overwrite.

        Raises:
            CodeftError: Some do.
        """
        if self.best.is_file() or self.last.is_file():
            raise CodeftError(
                f"{str(self.path)!r} holds a run already, and this would overwrite it: set another "
                f"hydra.run.dir=, or go on with that run: resume={self.path}"
            )

    def discard(self) -> None:
        """Remove a dated folder that holds nothing but an empty log, and the date's if it is empty too."""
        left = [path for path in self.path.iterdir() if path.name != ".hydra"]
        if any(path.suffix != ".log" or path.stat().st_size for path in left):
            return
        self.remove_unused()
        with suppress(OSError):  # another run lies there
            for parent in list(self.path.parents)[:2]:
                parent.rmdir()

    def prepare(self, *, num_parameters: int) -> None:
        """Check, before training, that the folder can be written and holds what will come.

        Args:
            num_parameters: Of the model; they decide the checkpoints' size.

        Raises:
            CodeftError: The folder can't be written, or its disk is too full.
        """
        self.check_writable()
        needed = num_parameters * _BYTES_A_PARAMETER * _CHECKPOINTS_AT_ONCE
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise CodeftError(
                f"the checkpoints need {needed / 1e9:.1f} GB, but {str(self.path)!r} has {free / 1e9:.1f} GB "
                "free; make room, or set hydra.run.dir="
            )

    def check_writable(self) -> None:
        """Check that files can be made in the folder, and make it where it isn't there.

        Raises:
            CodeftError: They can't.
        """
        for folder in (self.path, self.checkpoints):
            check_writable(folder, advice="set hydra.run.dir=")
        files = (self.config, self.metrics, self.predictions, self.valid_predictions, self.split_reads)
        for file in (*files, self.best, self.last):
            if file.is_dir():
                raise CodeftError(
                    f"expected {str(file)!r} to be free for a file, but it is a folder; move it away"
                )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other training out of the folder until the end, or until this process is gone.

        Raises:
            CodeftError: Another one has it.
        """
        check_writable(self.path, advice="set hydra.run.dir=")
        with self.lock.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise CodeftError(
                    f"another training (process {lock.read().strip() or 'unknown'}) is writing into "
                    f"{str(self.path)!r}: wait for its end, or set another hydra.run.dir="
                ) from None
            except OSError:
                pass  # a file system without locks
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            try:
                yield
            finally:
                self.lock.unlink(missing_ok=True)

    def remove_unused(self) -> None:
        """Remove what was made for a rank that writes into another folder; what isn't empty stays."""
        for file in (*self.path.glob(".hydra/*.yaml"), *self.path.glob("*.log")):
            file.unlink(missing_ok=True)
        for folder in (self.path / ".hydra", self.checkpoints, self.path):
            with suppress(OSError):
                folder.rmdir()

    def write_config(self, cfg: DictConfig) -> None:
        """Store the resolved config."""
        from omegaconf import OmegaConf

        write_text(self.config, OmegaConf.to_yaml(cfg, resolve=True))

    def write_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Store the tokenizer, so that the run needs no other folder.

        Raises:
            CodeftError: It can't be written.
        """
        try:
            self.tokenizer.mkdir(exist_ok=True)
            tokenizer.save_pretrained(str(self.tokenizer))
        except Exception as error:  # the tokenizers library raises nothing more special
            raise CodeftError(f"can't write the tokenizer into {str(self.tokenizer)!r}: {error}") from error

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Store the scores."""
        write_text(self.metrics, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")

    def predictions_of(self, split: str) -> Path:
        """Return the file of a split's predictions, "test" or "valid"."""
        return self.predictions if split == "test" else self.valid_predictions

    def write_predictions(self, rows: Iterable[Mapping[str, Any]], *, split: str = "test") -> None:
        """Store a row for each example of a split."""
        write_rows(self.predictions_of(split), rows)


def check_metrics(metrics: object, *, source: Path) -> None:
    """Check what codeft reads again of a run's metrics.

    Args:
        metrics: What was read.
        source: Where, for the error.

    Raises:
        CodeftError: They aren't what a run writes.
    """
    groups = [metrics.get(key, {}) for key in _NUMBERS] if isinstance(metrics, dict) else [None]
    values = [value for group in groups if isinstance(group, dict) for value in group.values()]
    fits = all(isinstance(group, dict) for group in groups) and all(map(is_score, values))
    if not fits or not isinstance(metrics, dict) or not are_floors(metrics):
        raise CodeftError(f"expected a run's scores in {source}, found something else")


def known_runs(path: Path) -> str:
    """Say which runs may have been meant where there is none: the nearest by its path, and the latest.

    Args:
        path: What was typed; where it is a folder of runs, such as a sweep's, those in it are named.
    """
    for root in (path if path.is_dir() else path.parent, OUTPUTS):
        found = [file for depth in range(1, 4) for file in root.glob("[!.]*/" * depth + "config.yaml")]
        found = [file for file in found if file.is_file()]
        if found:
            latest = sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)
            runs = [str(file.parent) for file in latest]
            return f"{nearest(str(path), runs)} The latest: {', '.join(runs[:_SHOWN_RUNS])}"
    return f", seen from {str(Path.cwd())!r}; there are no runs in {OUTPUTS}/ there"


def check_writable(folder: Path, *, advice: str) -> None:
    """Check that files can be made in a folder, and make it where it isn't there.

    Args:
        folder: The folder.
        advice: How the user would choose another one.

    Raises:
        CodeftError: They can't.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise CodeftError(f"can't write into {str(folder)!r}: {error.strerror}; {advice}") from None


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
