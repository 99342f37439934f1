"""Hidden states of all layers of a frozen model: pooled to a vector a text, or of chosen sub-tokens."""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor, nn

from codeft.data.collate import pad
from codeft.models.base import AbstractCodeModel
from codeft.progress import track
from codeft.types import Batch, CodeftError

Pooling: TypeAlias = Literal["mean", "reference"]
"""`mean` over a text's own sub-tokens; `reference` over the padding of its batch, too, as published."""

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

Take: TypeAlias = Callable[[int, Tensor], None]
"""Is given a layer's number and its states [N, S, D], from the bottom up."""

_IN_MEMORY = 2**28
"""Bytes of states up to which they stay in memory; more are spilled to a file."""

_BATCH_SIZE = 32


class _LastLayer(Exception):
    """Ends a forward pass where nothing of what would follow is asked for."""


def read_layers(model: AbstractCodeModel, batch: Batch) -> list[Tensor]:
    """Return the states of all layers for one batch, L + 1 times [N, S, D]; see `visit_layers`."""
    states: list[Tensor] = []
    visit_layers(model, batch, lambda layer, found: states.append(found))
    return states


def visit_layers(model: AbstractCodeModel, batch: Batch, take: Take) -> None:
    """Run the model over a batch of sources and hand over the states of each layer.

    Layer 0 is what the lowest block reads, the embeddings' output; layer k is what block k, counted from 1,
    gives. A norm behind the last block (T5's, a causal model's) isn't applied. Nothing is kept, so that only
    as much is in memory as `take` keeps; nothing behind the last block is computed.

    Args:
        model: In eval mode, as `evaluating` puts it.
        batch: `input_ids` and `attention_mask` on the model's device; no labels.
        take: Called L + 1 times.
    """
    blocks = model.blocks()

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        take(0, args[0] if args else kwargs["hidden_states"])

    def after(layer: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            take(layer, output[0] if isinstance(output, tuple) else output)
            if layer == len(blocks):
                raise _LastLayer

        return hook

    handles = [blocks[0].register_forward_pre_hook(before, with_kwargs=True)]
    handles += [block.register_forward_hook(after(k)) for k, block in enumerate(blocks, start=1)]
    try:
        model(batch)
    except _LastLayer:
        pass
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model and all of its parts into eval mode for a while, and keep no gradients."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def pooled_states(
    model: AbstractCodeModel,
    ids: Sequence[np.ndarray],
    *,
    pooling: Pooling = "mean",
    pad_to: int | None = None,
    batch_size: int = _BATCH_SIZE,
    folder: Path | None = None,
    description: str = "reading",
) -> np.ndarray:
    """Return a vector a text from each layer.

    Args:
        model: Any family's; its weights and modes stay as they are.
        ids: Each text's sub-tokens, special tokens included, as `task.encode` cuts them.
        pooling: See `Pooling`.
        pad_to: Sub-tokens that every text is padded to; None is the longest of its batch. It changes what
            `reference` gives, and costs time with `mean`.
        batch_size: Texts at once; those of similar length go together.
        folder: Where large results are spilled to; None is a temporary file that is gone with the result.
        description: Of the progress bar.

    Returns:
        float32 [L + 1, N, D]; a memory map where it is large.

    Raises:
        CodeftError: There are no texts, another pooling was named, or the disk has no room for the result.
    """
    if pooling not in POOLINGS:
        raise CodeftError(f"expected pooling={' or '.join(POOLINGS)}, got {pooling!r}")
    found: np.ndarray | None = None
    for rows, batch in _batches(model, ids, batch_size, pad_to=pad_to, description=description):
        weight = batch["attention_mask"].unsqueeze(-1).float()  # [n, S, 1]
        if pooling == "reference":
            weight = torch.ones_like(weight)
        weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(1)  # a text of no sub-tokens stays 0
        vectors: list[Tensor] = []

        def take(
            layer: int, states: Tensor, weight: Tensor = weight, vectors: list[Tensor] = vectors
        ) -> None:
            vectors.append((states.float() * weight).sum(dim=1).cpu())

        visit_layers(model, batch, take)
        if found is None:
            shape = (len(vectors), len(ids), vectors[0].shape[1])
            found = _allocate(shape, folder=folder, name="pooled.npy")
        found[:, rows] = torch.stack(vectors).numpy()
    assert found is not None
    return found


def pooled_and_chosen_states(
    model: AbstractCodeModel,
    ids: Sequence[np.ndarray],
    positions: Sequence[np.ndarray],
    *,
    batch_size: int = _BATCH_SIZE,
    folder: Path | None = None,
    description: str = "reading",
) -> tuple[np.ndarray, np.ndarray]:
    """Return a vector a text from each layer, the mean, and the states of chosen sub-tokens, from one pass.

    Args:
        model: See `pooled_states`.
        ids: See `pooled_states`.
        positions: Of each text, which of its sub-tokens; any number, in any order. M in all.
        batch_size: See `pooled_states`.
        folder: See `pooled_states`.
        description: See `pooled_states`.

    Returns:
        float32 [L + 1, N, D], and [L + 1, M, D] in the order of texts and their positions; memory maps where
        they are large.

    Raises:
        CodeftError: There are no texts or no positions, or the disk has no room for the result.
    """
    if not sum(map(len, positions)):
        raise CodeftError("expected sub-tokens to look at, got none")
    starts = np.cumsum([0, *map(len, positions)])
    pooled = chosen = np.empty((0, 0, 0), dtype=np.float32)
    for rows, batch in _batches(model, ids, batch_size, pad_to=None, description=description):
        weight = batch["attention_mask"].unsqueeze(-1).float()  # [n, S, 1]
        weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(1)
        where = _places(rows, ids, positions, device=weight.device)
        means: list[Tensor] = []
        vectors: list[Tensor] = []

        def take(
            layer: int,
            states: Tensor,
            weight: Tensor = weight,
            where: Any = where,
            means: list[Tensor] = means,
            vectors: list[Tensor] = vectors,
        ) -> None:
            means.append((states.float() * weight).sum(dim=1).cpu())
            vectors.append(states[where].float().cpu())

        visit_layers(model, batch, take)
        if not pooled.size:
            layers, width = len(means), means[0].shape[1]
            pooled = _allocate((layers, len(ids), width), folder=folder, name="pooled.npy")
            chosen = _allocate((layers, int(starts[-1]), width), folder=folder, name="states.npy")
        pooled[:, rows] = torch.stack(means).numpy()
        target = np.concatenate([np.arange(starts[row], starts[row + 1]) for row in rows])
        chosen[:, target] = torch.stack(vectors).numpy()
    return pooled, chosen


def _places(
    rows: np.ndarray, ids: Sequence[np.ndarray], positions: Sequence[np.ndarray], *, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return where chosen sub-tokens stand in a batch of these rows: the text, and which of its own."""
    texts = np.repeat(np.arange(len(rows)), [len(positions[row]) for row in rows])
    chosen = np.concatenate([np.asarray(positions[row], dtype=np.int64) for row in rows])
    lengths = np.array([len(ids[row]) for row in rows])
    assert ((chosen >= 0) & (chosen < lengths[texts])).all(), "positions lie in their texts"
    return torch.from_numpy(texts).to(device), torch.from_numpy(chosen).to(device)


def _batches(
    model: AbstractCodeModel,
    ids: Sequence[np.ndarray],
    batch_size: int,
    *,
    pad_to: int | None,
    description: str,
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Yield batches of texts of similar length on the model's device, the longest first, and their rows."""
    if not len(ids):
        raise CodeftError("expected texts to read, got none")
    device = next(model.parameters()).device
    pad_id = model.tokenizer.pad_token_id
    order = np.argsort([-len(row) for row in ids], kind="stable")
    starts = range(0, len(order), batch_size)
    with evaluating(model):
        for start in track(starts, description=description, quiet_below=2):
            rows = order[start : start + batch_size]
            input_ids = pad([ids[row] for row in rows], value=pad_id, length=pad_to).to(device)
            lengths = torch.tensor([len(ids[row]) for row in rows], device=device)
            mask = torch.arange(input_ids.shape[1], device=device) < lengths[:, None]
            yield rows, {"input_ids": input_ids, "attention_mask": mask.long()}


def _allocate(shape: tuple[int, ...], *, folder: Path | None, name: str) -> np.ndarray:
    """Return an array of float32, in a file where it is large.

    Raises:
        CodeftError: The file has no room; a map that finds none later would end the program.
    """
    needed = math.prod(shape) * np.dtype(np.float32).itemsize
    if needed <= _IN_MEMORY:
        return np.empty(shape, dtype=np.float32)
    place = Path(tempfile.gettempdir()) if folder is None else folder
    free = shutil.disk_usage(place).free
    if free >= needed:
        with suppress(OSError):  # others took the room just now
            return _map(shape, needed, folder=folder, name=name)
    advice = "set TMPDIR= to another folder" if folder is None else "name another folder"
    raise CodeftError(
        f"the hidden states need {needed / 1e9:.1f} GB, but {str(place)!r} has {free / 1e9:.1f} GB free: "
        f"ask for fewer texts, or {advice}"
    )


def _map(shape: tuple[int, ...], needed: int, *, folder: Path | None, name: str) -> np.ndarray:
    """Return the map of a file whose room is reserved, where the system can: else a file begins empty."""
    if folder is not None:
        found = np.lib.format.open_memmap(folder / name, mode="w+", dtype=np.float32, shape=shape)
        with (folder / name).open("r+b") as file:
            _reserve(file.fileno(), needed + found.offset)
        return found
    with tempfile.TemporaryFile() as file:  # has no name, and is freed with the last map of it
        _reserve(file.fileno(), needed)
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)


def _reserve(file: int, size: int) -> None:
    if sys.platform == "linux":
        os.posix_fallocate(file, 0, size)
