"""Keeps what frozen layers give, so that each text goes through them once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytorch_lightning as pl
import torch
from torch import nn

from codeft.models.base import AbstractCodeModel
from codeft.models.frozen_prefix import FrozenPrefix
from codeft.models.prefix import find_prefix
from codeft.module import FineTuneModule
from codeft.prefix_states import FACTS, DiskStates, MemoryStates, make_room
from codeft.tasks.base import AbstractTask
from codeft.types import CodeftError

log = logging.getLogger(__name__)

VARIABLE = "CODEFT_CACHE"
"""Names the folder of all of codeft's caches."""

MODES = ("auto", "memory", "disk", "off")
_FORMAT = 1
_MEMORY_SHARE = 0.25
"""Of the free memory, what `auto` takes at most."""

_GB = 10**9


class PrefixCacheCallback(pl.Callback):
    """Starts training and validation at the lowest layer that trains, from kept hidden states.

    What the embeddings and the layers below give for a text never changes while they are frozen and in eval
    mode: the first epoch computes and keeps it, later ones read it. Where a layer below trains in part or
    has dropout (`reference`), or inputs are drawn anew in each epoch, nothing is kept, and the log says so.

    Args:
        mode: "disk", "memory" (a resumed run computes anew, and rounds otherwise), "off", or "auto": the
            disk where there is room, else memory, else off.
        folder: Where states lie on disk; None is `default_folder`.
        limit_gb: Of all that lies there, in 10^9 bytes.

    Raises:
        CodeftError: `mode` or `limit_gb` isn't what it should be.
    """

    def __init__(self, *, mode: str = "auto", folder: str | None = None, limit_gb: float = 20) -> None:
        if mode not in MODES:
            raise CodeftError(f"cache must be one of {', '.join(MODES)}, not {mode!r}")
        if isinstance(limit_gb, bool) or not isinstance(limit_gb, int | float) or not limit_gb > 0:
            raise CodeftError(f"cache_limit_gb must be a number above 0, not {limit_gb!r}")
        self.mode = mode
        self.root = Path(folder).expanduser() if folder is not None else default_folder()
        self.limit = int(limit_gb * _GB)
        self.prefix: FrozenPrefix | None = None
        self._states: MemoryStates | DiskStates | None = None

    @property
    def seconds(self) -> float:
        """Return the seconds that computing and keeping states took."""
        return 0.0 if self.prefix is None else self.prefix.seconds

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at what is frozen, now that methods and checkpoint have had their say, and begin to keep."""
        assert isinstance(pl_module, FineTuneModule)
        model = pl_module.model
        num_frozen = 0 if self.mode == "off" else count_frozen(model)
        if num_frozen == 0:
            return
        reason = _obstacle(pl_module, num_frozen)
        if reason is not None:
            log.warning("frozen layers run each time: %s", reason)
            return
        self._states = self._open(trainer, pl_module, num_frozen)
        if self._states is None:
            return
        blocks = model.blocks()[:num_frozen]
        self.prefix = FrozenPrefix(blocks, pass_on=model.pass_on, states=self._states)
        model.frozen_prefix = self.prefix

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look for what other ranks and runs have kept."""
        if self._states is not None:
            self._states.refresh()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the model run whole again."""
        assert isinstance(pl_module, FineTuneModule)
        pl_module.model.frozen_prefix = None
        self._states = None

    def _open(
        self, trainer: pl.Trainer, module: FineTuneModule, num_frozen: int
    ) -> MemoryStates | DiskStates | None:
        model = module.model
        precision = str(trainer.precision)
        dtype = torch.bfloat16 if "bf16" in precision else torch.float32
        width = _width(model)
        needed = _num_states(trainer, model) * width * dtype.itemsize
        facts = {
            "format": _FORMAT,
            "layers": num_frozen,
            "weights": _fingerprint([*model.embeddings(), *model.blocks()[:num_frozen]]),
            "tokenizer": _digest(model.tokenizer.backend_tokenizer.to_str().encode()),
            "architecture": _digest(json.dumps(model.architecture, sort_keys=True, default=str).encode()),
            "precision": precision,
        }
        folder = self.root / _digest(json.dumps(facts).encode())
        about = f"the hidden states above the {num_frozen} frozen layers take up to {needed / _GB:.2f} GB"
        room = min(make_room(self.root, keep=folder, limit=self.limit), _free_disk(self.root))
        memory = int(_MEMORY_SHARE * psutil.virtual_memory().available)
        on_disk = needed <= room or (folder / FACTS).is_file()
        if self.mode == "memory" or (self.mode == "auto" and not on_disk and needed <= memory):
            log.info("%s of memory", about)
            return MemoryStates(dtype=dtype, limit=max(needed, memory))
        if self.mode == "auto" and not on_disk:
            log.warning(
                "%s; %s has room for %.1f (cache_limit_gb=%g), memory for %.1f: frozen layers run each time",
                about,
                self.root,
                room / _GB,
                self.limit / _GB,
                memory / _GB,
            )
            return None
        log.info("%s in %s, where there is room for %.1f GB", about, folder, room / _GB)
        states = DiskStates(folder, facts=facts, width=width, dtype=dtype, limit=room)
        os.utime(folder / FACTS)
        if len(states):
            log.info("%s of them are there", f"{len(states):,}")
        return states


def default_folder() -> Path:
    """Return where states lie unless the user says otherwise."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    own = os.environ.get(VARIABLE) or Path(base) / "codeft"
    return Path(own).expanduser() / "prefix"


def count_frozen(model: AbstractCodeModel) -> int:
    """Return how many blocks from the bottom have nothing that trains, and read nothing that does."""
    if find_prefix(model) is not None or any(map(_trains, model.embeddings())):
        return 0
    blocks = model.blocks()
    return next((index for index, block in enumerate(blocks) if _trains(block)), len(blocks))


def _obstacle(module: FineTuneModule, num_frozen: int) -> str | None:
    """Return why frozen layers can't be skipped; None where they can."""
    model = module.model
    parts = [*model.embeddings(), *model.blocks()[:num_frozen]]
    if not model.can_skip_blocks:
        return "this model's own code doesn't let them be skipped"
    if any(inner.training for part in parts for inner in part.modules()):
        return "they are in training mode, so that their dropout differs each time"
    if type(module.task).augment is not AbstractTask.augment:
        return f"{module.task.name} draws its inputs anew in each epoch"
    return None


def _num_states(trainer: pl.Trainer, model: AbstractCodeModel) -> int:
    """Return at most how many states training and validation will want."""
    datasets = trainer.datamodule.datasets  # type: ignore[attr-defined]
    lengths = [datasets[split].lengths() for split in ("train", "valid") if split in datasets]
    columns = 2 if model.shares_positions else 1
    return sum(int(pairs[:, :columns].sum()) for pairs in lengths)


def _width(model: AbstractCodeModel) -> int:
    table: Any = model.network.get_input_embeddings()
    return table.embedding_dim


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _fingerprint(modules: list[nn.Module]) -> str:
    """Return a digest of the names and numbers of modules' parameters and buffers."""
    digest = hashlib.sha256()
    for place, module in enumerate(modules):
        for name, value in module.state_dict().items():
            digest.update(f"{place}.{name}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _free_disk(folder: Path) -> int:
    """Return the bytes that are free where the folder is or will be."""
    there: Any = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(there).free
