"""Mine a source tree, check a data set, print its statistics: `python -m codeft.prepare data.source=…`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.cli import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig


def prepare(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Mine `data.source` where it is given, then check every row of the data.

    Args:
        cfg: The composed config, with `choices`.
        run_dir: Where `statistics.json` goes, and the mined rows unless `output` names a folder.

    Returns:
        What `statistics.json` holds.

    Raises:
        CodeftError: Something that the user can mend.
    """
    from codeft.preparation import prepare_data

    return prepare_data(cfg, run_dir)


def main() -> None:
    """Run the verb from the command line."""
    run_verb("prepare", prepare)


if __name__ == "__main__":
    main()
