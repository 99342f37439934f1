"""Start a stack of layers at the first that trains: what the frozen ones below it gave is kept."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Stack = Callable[[Tensor, Tensor], Any]
"""Runs a stack of layers, its embeddings included, on ids [B, L] and mask [B, L]."""

PassOn = Callable[..., Any]
"""Given a block, its input's hidden states and what else it is called with: what it returns unchanged."""


class States(Protocol):
    """Hidden states by key; those of padding aren't among them.

    Attributes:
        dtype: In which they are kept.
    """

    dtype: torch.dtype

    def get(self, key: bytes) -> Tensor | None:
        """Return the states [n, D] that were put under the key, or None."""

    def put(self, key: bytes, states: Tensor) -> None:
        """Keep the states [n, D]; they may be dropped where there is no room."""

    def refresh(self) -> None:
        """Look for what others have kept."""

    def close(self) -> None:
        """Let go of files and memory."""


class FrozenPrefix:
    """The bottom blocks of a stack, none of which trains, computed once for each text.

    Texts are told apart by their ids, so a text that is in several examples (a function in many pairs) is
    computed once, and none can be mistaken for another.

    Args:
        blocks: The frozen blocks from the bottom up, at least one; they are in eval mode.
        pass_on: See `PassOn`.
        states: Where hidden states are kept.

    Attributes:
        seconds: Time spent on computing and keeping states.
        num_computed: Texts that were computed.
        num_found: Texts that were not.
    """

    def __init__(self, blocks: Sequence[nn.Module], *, pass_on: PassOn, states: States) -> None:
        self._blocks = blocks
        self._pass_on = pass_on
        self._states = states
        self.seconds = 0.0
        self.num_computed = self.num_found = 0

    def run(self, stack: Stack, ids: Tensor, mask: Tensor, *, tags: Tensor | None = None) -> Any:
        """Return what the stack gives for ids and mask; what isn't padding is as without this class.

        Args:
            stack: Runs it whole.
            ids: int64 [B, L].
            mask: [B, L], 1 for a sub-token and 0 for padding, anywhere.
            tags: int64 [B], what else a row's hidden states depend on; None where nothing does.
        """
        real = mask.bool()
        with self._starting_at(self._find(stack, ids, real, tags=tags)):
            return stack(ids, mask)

    def _find(self, stack: Stack, ids: Tensor, real: Tensor, *, tags: Tensor | None) -> Tensor:
        """Return the states [B, L, D] above the frozen blocks, 0 at padding."""
        keys = _keys(ids, real, tags)
        found = {key: self._states.get(key) for key in dict.fromkeys(keys)}
        lacking = [keys.index(key) for key, states in found.items() if states is None]
        self.num_found += len(keys) - len(lacking)
        if lacking:
            start = time.perf_counter()
            rows = torch.tensor(lacking, device=ids.device)
            computed = self._compute(stack, ids[rows], real[rows].long())
            for row, states in zip(lacking, computed, strict=True):
                # Rounded at once, so that it makes no difference what was kept before.
                found[keys[row]] = own = states[real[row]].to(self._states.dtype)
                self._states.put(keys[row], own)
            self.seconds += time.perf_counter() - start
            self.num_computed += len(lacking)
        every = torch.cat([_given(found[key]).to(ids.device) for key in keys])
        together = every.new_zeros(*ids.shape, every.shape[-1])
        together[real] = every
        return together

    @torch.no_grad()
    def _compute(self, stack: Stack, ids: Tensor, mask: Tensor) -> Tensor:
        handle = self._blocks[-1].register_forward_hook(_stop)
        try:
            stack(ids, mask)
        except _ReachedError as reached:
            return reached.hidden
        finally:
            handle.remove()
        raise RuntimeError("the stack doesn't run its last frozen block")

    @contextmanager
    def _starting_at(self, hidden: Tensor) -> Iterator[None]:
        """Let the blocks hand on what they get, and the last of them these states."""
        before = [block.__dict__.get("forward") for block in self._blocks]
        try:
            for block in self._blocks:
                own = hidden if block is self._blocks[-1] else None
                block.forward = partial(self._skip, block, own)
            yield
        finally:
            for block, forward in zip(self._blocks, before, strict=True):
                if forward is None:
                    block.__dict__.pop("forward", None)
                else:
                    block.forward = forward

    def _skip(self, block: nn.Module, own: Tensor | None, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        return self._pass_on(block, hidden if own is None else own.to(hidden.dtype), *args, **kwargs)


class _ReachedError(Exception):
    """Ends a run of the stack above its frozen blocks."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


def _stop(module: nn.Module, args: object, output: Any) -> None:
    raise _ReachedError(output[0] if isinstance(output, tuple) else output)


def _given(states: Tensor | None) -> Tensor:
    assert states is not None
    return states


def _keys(ids: Tensor, real: Tensor, tags: Tensor | None) -> list[bytes]:
    """Return 16 bytes for each row, of its sub-tokens and its tag."""
    rows, are_real = ids.to(torch.int32).cpu().numpy(), real.cpu().numpy()
    told = [0] * len(rows) if tags is None else tags.tolist()
    return [
        hashlib.blake2b(row[mask].tobytes(), digest_size=16, key=tag.to_bytes(8, "little")).digest()
        for row, mask, tag in zip(rows, are_real, told, strict=True)
    ]
