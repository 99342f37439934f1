"""Use a finished run on real files: `python -m codeft.predict run=… input=src/ output=out.jsonl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.cli import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig


def predict(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Predict for every function of a file or folder, or every row of a JSON Lines file; or search.

    Args:
        cfg: The composed config: `run`, `input` and `output`; for a search `query` or `index`.
        run_dir: Where the log goes.

    Returns:
        The number of rows written or searched, and what was left out, by reason.

    Raises:
        CodeftError: Something that the user can mend.
    """
    if cfg.query is not None or cfg.index is not None:
        from codeft.searching import search_input

        return search_input(cfg, run_dir)
    from codeft.prediction import predict_input

    return predict_input(cfg, run_dir)


def main() -> None:
    """Run the verb from the command line."""
    run_verb("predict", predict)


if __name__ == "__main__":
    main()
