"""The checkpoint with the best validation score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import ModelCheckpoint


class BestCheckpointCallback(ModelCheckpoint):
    """Keeps the weights with the best score in one file; the score is known again in a folder that was moved.

    Args:
        path: The file.
        monitor: The validation score that decides, as it is logged.
        mode: "max" where more is better, else "min".
    """

    def __init__(self, path: Path, *, monitor: str, mode: str) -> None:
        super().__init__(
            dirpath=path.parent,
            filename=path.stem,
            monitor=monitor,
            mode=mode,
            save_weights_only=True,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best score; Lightning alone would forget it where the folder has another name now."""
        here = Path(str(self.dirpath))

        def moved(path: str) -> str:
            return str(here / Path(path).name) if path else path

        paths = {
            key: moved(state_dict[key])
            for key in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        kept = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": kept, "dirpath": self.dirpath})
