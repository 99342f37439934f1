"""Random states in the checkpoint, so that a resumed run draws what the uninterrupted one would."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import distributed


class RandomStateCallback(pl.Callback):
    """Saves each rank's random states and sets them when training goes on; in a new run ranks draw apart.

    They are torch's, numpy's and Python's, as plain lists, for checkpoints load with `weights_only`. They are
    set in `on_train_start`, the last hook before the first batch that also runs when resuming in mid-epoch.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the states as they are now: the first rank's, and under `other_ranks` those of the others.

        Every rank must call it together, as Lightning does: `Trainer.save_checkpoint` runs on all of them.
        """
        own = random_states()
        if not (distributed.is_available() and distributed.is_initialized()):
            return own | {"other_ranks": []}
        gathered: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(gathered, own)
        return gathered[0] | {"other_ranks": gathered[1:]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until training starts."""
        self._restored = state_dict

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the rank's restored states; a rank without any must not repeat what the first one draws."""
        restored, self._restored = self._restored, None
        ranks = [] if restored is None else [restored, *restored.get("other_ranks", [])]
        if trainer.global_rank < len(ranks):
            set_random_states(ranks[trainer.global_rank])
        elif trainer.global_rank > 0:
            seed_rank(trainer.global_rank)


def random_states() -> dict[str, Any]:
    """Return this process's random states as plain lists."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "torch": torch.get_rng_state().tolist(),
        "cuda": [state.tolist() for state in cuda],
        "numpy": [str(name), np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        "python": [version, list(internal), gauss],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Set this process's random states to what `random_states` returned."""
    torch.set_rng_state(torch.tensor(states["torch"], dtype=torch.uint8))
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([torch.tensor(s, dtype=torch.uint8) for s in states["cuda"]])
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))


def seed_rank(rank: int) -> None:
    """Seed this process's generators by the run's seed and a rank, for all begin with the run's."""
    seed = (torch.initial_seed() + rank) % 2**32
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
