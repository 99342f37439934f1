"""The log: short lines on the console, full ones in the run's folder, and libraries kept quiet."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import TextIO

CONSOLE_FORMAT = "%(message)s"
FILE_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"

_KNOWN_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\)",  # Lightning on a newer torch
    r".*does not have many workers",  # batches cost nothing beside a training step
    r".*module\(s\) in eval mode at the start of training",  # frozen layers are, on purpose
    r".*Checkpoint directory .* exists and is not empty",  # so it is in a run that is resumed
    r".*You're resuming from a checkpoint that ended before the epoch ended",  # the loader can do it
    r".*Trying to infer the `batch_size`",
    r".*The number of training batches \(\d+\) is smaller than the logging interval",
)


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the time: a progress bar takes its place, to show lines above itself.

    Long lists stay in the file: a record with `extra={"file_only": True}` isn't written here.

    Args:
        stream: Not read; Hydra's configs name one.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        logging.Handler.__init__(self)
        self.addFilter(lambda record: not getattr(record, "file_only", False))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Return standard error."""
        return sys.stderr


def quiet_libraries() -> None:
    """Silence what libraries say on every run and nobody needs; their other warnings stay."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def log_to(path: Path) -> None:
    """Send the log to the console and behind what a file already holds, as a new run does through Hydra."""
    console = ConsoleHandler()
    console.setFormatter(logging.Formatter(CONSOLE_FORMAT))
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter(FILE_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[console, file], force=True)
