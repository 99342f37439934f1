"""Loggers that need more than their own constructor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytorch_lightning.loggers import WandbLogger


def wandb_logger(*, save_dir: str, project: str, offline: bool | None = None) -> WandbLogger:
    """Return a Weights & Biases logger.

    Args:
        save_dir: The run's folder.
        project: The project's name there.
        offline: Whether to write files only; None: where there is no account.
    """
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    if offline is None:
        offline = os.environ.get("WANDB_MODE") == "offline" or not wandb.login(prompt=False)
    # Lightning's own `offline` asks for a mode that wandb no longer takes without an account.
    return WandbLogger(
        save_dir=save_dir, project=project, mode="offline" if offline else "online", log_model=False
    )
