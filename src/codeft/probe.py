"""Probe what a model's layers hold: `python -m codeft.probe model=mini` or `runs=[…]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.cli import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig


def probe(cfg: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Train probes on the hidden states of frozen models, and score them by layer.

    Args:
        cfg: The composed config, with `choices`; `model` is chosen, or `runs` given, or both.
        run_dir: Where numbers and pictures go.

    Returns:
        What `probe.json` holds.

    Raises:
        CodeftError: Something that the user can mend.
    """
    from codeft.probing import probe_models

    return probe_models(cfg, run_dir)


def main() -> None:
    """Run the verb from the command line."""
    run_verb("probe", probe)


if __name__ == "__main__":
    main()
