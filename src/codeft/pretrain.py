"""Pre-train a new model, or go on with one: `python -m codeft.pretrain data.train=… data.valid=…`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.cli import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig


def pretrain(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Train a tokenizer and a model on a corpus, and write both as a folder of half-precision weights.

    Args:
        cfg: The composed config, with `choices`; `to` names the folder, `model` in the run's by default.
        run_dir: The run's folder.

    Returns:
        What `metrics.json` holds.

    Raises:
        CodeftError: Something that the user can mend.
    """
    from codeft.fitting import held_by_first_rank
    from codeft.pretraining import pretrain_and_save

    with held_by_first_rank(run_dir):
        return pretrain_and_save(cfg, run_dir)


def main() -> None:
    """Run the verb from the command line."""
    run_verb("pretrain", pretrain)


if __name__ == "__main__":
    main()
