"""Hand on what was trained, for plain transformers: `python -m codeft.export run=… to=folder`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.cli import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig


def export(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Write a finished run's model as a folder that transformers reads, with a card that says what it is.

    Args:
        cfg: The composed config: `run` and `to`.
        run_dir: Where the log goes. The run's own folder stays as it is.

    Returns:
        The folder, and the names of its files.

    Raises:
        CodeftError: Something that the user can mend.
    """
    from codeft.exporting import export_run

    return export_run(cfg, run_dir)


def main() -> None:
    """Run the verb from the command line."""
    run_verb("export", export)


if __name__ == "__main__":
    main()
