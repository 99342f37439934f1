"""Turn a sweep into tables and pictures: `python -m codeft.report run=<a sweep's folder>`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.cli import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig


def report(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Say what a sweep's runs came to: parameters, times and scores, beside what is published.

    Args:
        cfg: The composed config, with `run`.
        run_dir: Where tables and pictures go; the sweep's own folder stays as it is.

    Returns:
        What `report.json` holds.

    Raises:
        CodeftError: Something that the user can mend.
    """
    from codeft.reporting import report_on

    return report_on(cfg, run_dir)


def main() -> None:
    """Run the verb from the command line."""
    run_verb("report", report)


if __name__ == "__main__":
    main()
