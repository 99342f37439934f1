"""Where kept hidden states go, and how much there is room for: disk, memory, or nowhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from codeft.prefix_states import DiskStates, MemoryStates, cache_sizes

MODES = ("auto", "memory", "disk", "off")
MEMORY_SHARE = 0.25
"""Of the free memory, what states may have."""

DISK_SHARE = 0.8
"""Of the free disk; checkpoints want some, too."""

GB = 10**9

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run's states need, and what there is, in bytes.

    Attributes:
        needed: By all processes of a node together, at most.
        disk: Room where the folder lies, beside what is in it.
        memory: What a process may take.
        num_processes: Of the node.
    """

    needed: int
    disk: int
    memory: int
    num_processes: int

    def choose(self, mode: str) -> str:
        """Return memory, disk or off for a mode of `MODES`."""
        if mode != "auto":
            return mode
        return "disk" if self.needed <= self.disk else self.choose_beside_disk()

    def choose_beside_disk(self) -> str:
        """Return memory or off."""
        return "memory" if self.needed <= self.memory else "off"

    def told(self) -> str:
        """Return it in words."""
        return (
            f"{_size(self.needed)}; there is room for {_size(self.disk)} on disk and {_size(self.memory)} in "
            "memory"
        )


def _size(number: int) -> str:
    return f"{number / GB:.1f} GB" if number >= GB else f"{number / 10**6:.1f} MB"


def measure(root: Path, *, folder: Path, limit: int, needed: int, num_processes: int) -> Budget:
    """Return a run's budget.

    Args:
        root: Holds all caches.
        folder: The run's own; it may be there, and then needs less.
        limit: Bytes that all caches may have.
        needed: Bytes of all states.
        num_processes: Processes of this node, which share a folder and the memory.
    """
    sizes = cache_sizes(root)
    there = next(path for path in (root, *root.absolute().parents) if os.path.isdir(path))
    disk = min(limit - sum(sizes.values()), int(DISK_SHARE * shutil.disk_usage(there).free))
    memory = int(MEMORY_SHARE * free_memory() / num_processes)
    return Budget(max(0, needed - sizes.get(folder, 0)), max(0, disk), memory, num_processes)


def free_memory() -> int:
    """Return the bytes that may still be used: of the machine, or of the group that this process is in."""
    free = psutil.virtual_memory().available
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return free if limit == "max" else max(0, min(free, int(limit) - used))


def open_states(
    mode: str, budget: Budget, *, folder: Path, facts: Mapping[str, Any], width: int, dtype: torch.dtype
) -> MemoryStates | DiskStates:
    """Open states in memory or on disk.

    Raises:
        CodeftError: The folder holds others, or can't be made.
    """
    if mode == "memory":
        return MemoryStates(dtype=dtype, limit=budget.memory)
    limit = budget.disk // budget.num_processes
    return DiskStates(folder, facts=facts, width=width, dtype=dtype, limit=limit)
