"""Compare two models layer by layer: `python -m codeft.similarity run=…` or `runs=[A,B]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.cli import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig


def similarity(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Say how alike two models hold the same texts, by layer; or a model before and after its fine-tuning.

    Args:
        cfg: The composed config, with `choices`; one of `run` and `runs` is given.
        run_dir: Where numbers and pictures go.

    Returns:
        What `similarity.json` holds.

    Raises:
        CodeftError: Something that the user can mend.
    """
    from codeft.layer_similarity import compare_models

    return compare_models(cfg, run_dir)


def main() -> None:
    """Run the verb from the command line."""
    run_verb("similarity", similarity)


if __name__ == "__main__":
    main()
