"""Keeps what frozen layers give, so that each text goes through them once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn

from codeft.models.base import AbstractCodeModel
from codeft.models.frozen_prefix import FrozenPrefix, States
from codeft.models.prefix import find_prefix
from codeft.module import FineTuneModule
from codeft.prefix_budget import GB, MODES, measure, open_states
from codeft.prefix_states import DiskStates, make_room
from codeft.tasks.base import AbstractTask
from codeft.types import CodeftError

log = logging.getLogger(__name__)

VARIABLE = "CODEFT_CACHE"
"""Names the folder of all of codeft's caches."""

_FORMAT = 1
_PACKAGES = ("codeft", "torch", "transformers")
"""A new version may compute otherwise."""


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
        CodeftError: `mode`, `folder` or `limit_gb` isn't what it should be.
    """

    def __init__(self, *, mode: str = "auto", folder: str | None = None, limit_gb: float = 20) -> None:
        if mode not in MODES:
            raise CodeftError(f"cache must be one of {', '.join(MODES)}, not {mode!r}")
        if (
            isinstance(limit_gb, bool)
            or not isinstance(limit_gb, int | float)
            or not 0 < limit_gb < float("inf")
        ):
            raise CodeftError(f"cache_limit_gb must be a number above 0, not {limit_gb!r}")
        if not isinstance(folder, str | None):
            raise CodeftError(f"cache_dir must be a folder's path, not {folder!r}")
        self.mode = mode
        self.root = Path(folder).expanduser() if folder is not None else default_folder()
        self.limit = int(limit_gb * GB)
        self.seconds = 0.0
        self._states: States | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at what is frozen, now that methods and checkpoint have had their say, and begin to keep."""
        assert isinstance(pl_module, FineTuneModule)
        model = pl_module.model
        num_frozen = 0 if self.mode == "off" else count_frozen(model)
        if num_frozen == 0:
            return
        reason = _obstacle(trainer, pl_module, num_frozen)
        if reason is not None:
            log.warning("frozen layers run each time: %s", reason)
            return
        self._states = self._open(trainer, model, num_frozen)
        if self._states is not None:
            blocks = model.blocks()[:num_frozen]
            model.frozen_prefix = FrozenPrefix(blocks, pass_on=model.pass_on, states=self._states)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look for what other ranks and runs have kept."""
        if self._states is not None:
            self._states.refresh()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the model run whole again, and let go of what was kept."""
        self._close(pl_module)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Do the same after an error."""
        self._close(pl_module)

    def _close(self, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FineTuneModule)
        prefix, pl_module.model.frozen_prefix = pl_module.model.frozen_prefix, None
        if prefix is not None:
            self.seconds = prefix.seconds
        if self._states is not None:
            self._states.close()
            self._states = None

    def _open(self, trainer: pl.Trainer, model: AbstractCodeModel, num_frozen: int) -> States | None:
        """Choose a place and open it; None where there is none."""
        dtype = torch.bfloat16 if "bf16" in str(trainer.precision) else torch.float32
        width = _width(model)
        needed = _num_states(trainer, model) * width * dtype.itemsize
        facts = _facts(trainer, model, num_frozen)
        folder = self.root / _digest(json.dumps(facts).encode())
        # What won't fit anyhow is no reason to remove what others use.
        wants_room = self.mode == "disk" or (self.mode == "auto" and needed <= self.limit)
        if wants_room and trainer.local_rank == 0:
            make_room(self.root, keep=folder, limit=self.limit, needed=needed)
        trainer.strategy.barrier("make_room")
        budget = measure(
            self.root, folder=folder, limit=self.limit, needed=needed, num_processes=trainer.num_devices
        )
        mode, states = budget.choose(self.mode), None
        if mode == "disk":
            try:
                states = open_states(mode, budget, folder=folder, facts=facts, width=width, dtype=dtype)
            except CodeftError as error:
                if self.mode != "auto":
                    raise
                log.warning("%s", error)
                mode = budget.choose_beside_disk()
        about = f"the hidden states above the {num_frozen} frozen layers take up to {budget.told()}"
        if mode == "off":
            log.warning("%s (cache_limit_gb=%g): frozen layers run each time", about, self.limit / GB)
            return None
        log.info("%s; they lie in %s", about, "memory" if mode == "memory" else folder)
        if states is None:
            states = open_states(mode, budget, folder=folder, facts=facts, width=width, dtype=dtype)
        if isinstance(states, DiskStates) and len(states):
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


def _obstacle(trainer: pl.Trainer, module: FineTuneModule, num_frozen: int) -> str | None:
    """Return why frozen layers can't be skipped; None where they can."""
    model = module.model
    parts = [*model.embeddings(), *model.blocks()[:num_frozen]]
    features = trainer.datamodule.features.values()  # type: ignore[attr-defined]
    if not model.can_skip_blocks:
        return "this model's own code doesn't let them be skipped"
    if any(inner.training for part in parts for inner in part.modules()):
        return "they are in training mode, so that their dropout differs each time"
    if type(module.task).augment is not AbstractTask.augment:
        return f"{module.task.name} draws its inputs anew in each epoch"
    if any(feature.model_input for feature in features):
        return "what enters them isn't a text's sub-tokens alone"
    if any(term.counts_padding for term in module.loss_terms.values()):
        return "the structure loss counts padding, which isn't kept"
    if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        return f"{type(trainer.strategy).__name__} spreads them over devices"
    return None


def _facts(trainer: pl.Trainer, model: AbstractCodeModel, num_frozen: int) -> dict[str, Any]:
    """Return what the states depend on, beside a text's ids."""
    return {
        "format": _FORMAT,
        "layers": num_frozen,
        "weights": _fingerprint([*model.embeddings(), *model.blocks()[:num_frozen]]),
        "model": type(model).__name__,
        "architecture": _digest(json.dumps(model.architecture, sort_keys=True, default=str).encode()),
        "tokenizer": _digest(model.tokenizer.backend_tokenizer.to_str().encode()),
        "precision": f"{trainer.precision}, {torch.get_float32_matmul_precision()}",
        "device": trainer.strategy.root_device.type,
        "versions": {name: metadata.version(name) for name in _PACKAGES},
    }


def _num_states(trainer: pl.Trainer, model: AbstractCodeModel) -> int:
    """Return about how many states training and validation will want on this node; on one, at most."""
    datasets = trainer.datamodule.datasets  # type: ignore[attr-defined]
    lengths = [datasets[split].lengths() for split in ("train", "valid") if split in datasets]
    columns = 2 if model.shares_positions else 1
    return sum(int(pairs[:, :columns].sum()) for pairs in lengths) // trainer.num_nodes


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
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
