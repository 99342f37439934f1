"""Score a finished run again, or files of texts: `python -m codeft.evaluate run=…` or `predictions=…`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.cli import run_verb
from codeft.types import CodeftError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def evaluate(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Score a finished run again, or stored predictions without a model.

    Args:
        cfg: The composed config, with `choices`; one of `run` and `predictions` is given.
        run_dir: Where `metrics.json` goes. Of the run's own folder only the ledger grows.

    Returns:
        What `metrics.json` holds.

    Raises:
        CodeftError: Something that the user can mend.
    """
    if bool(cfg.run) == bool(cfg.predictions):
        raise CodeftError(
            "evaluate needs one of run=<a run's folder> and predictions=<file> references=<file>, "
            + ("not both" if cfg.run else "and got none")
        )
    if cfg.run:
        from codeft.evaluation import evaluate_run

        return evaluate_run(cfg, run_dir)
    from codeft.rescoring import score_files

    return score_files(cfg, run_dir)


def main() -> None:
    """Run the verb from the command line."""
    run_verb("evaluate", evaluate)


if __name__ == "__main__":
    main()
