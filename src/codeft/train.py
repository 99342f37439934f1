"""Fine-tune a model on a task: `python -m codeft.train task=… model=… method=…`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.cli import run_verb
from codeft.types import CodeftError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def train(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Fit, restore the best checkpoint, test, and write the run's folder.

    Args:
        cfg: The composed config, with `choices`.
        run_dir: The run's folder.

    Returns:
        What `metrics.json` holds.

    Raises:
        CodeftError: Something that the user can mend, before training wherever it can be known.
    """
    from codeft.fitting import dry_run, fit_and_test, held_by_first_rank

    if not isinstance(cfg.dry_run, bool):
        raise CodeftError(f"dry_run must be true or false, not {cfg.dry_run!r}")
    if cfg.dry_run:
        return dry_run(cfg, run_dir)
    with held_by_first_rank(run_dir):
        return fit_and_test(cfg, run_dir)


def main() -> None:
    """Run the verb from the command line."""
    run_verb("train", train)


if __name__ == "__main__":
    main()
