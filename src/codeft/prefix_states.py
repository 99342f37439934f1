"""Where the hidden states above frozen layers are kept: in memory, or in files that runs and ranks share."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import struct
import uuid
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codeft.types import CodeftError

log = logging.getLogger(__name__)

FACTS = "facts.json"
"""What the states in a folder were made by."""

_INDEX, _STATES = ".index", ".states"
_ENTRY = struct.Struct("<16sQII")  # key, first byte, number of states, their CRC-32
_RAW = {
    torch.float32: (torch.int32, np.int32),
    torch.bfloat16: (torch.int16, np.int16),
    torch.float16: (torch.int16, np.int16),
}
"""Whole numbers of the same size, for numpy has no bfloat16."""


class MemoryStates:
    """Hidden states in this process's memory.

    Args:
        dtype: In which they are kept.
        limit: Bytes at most; what comes later isn't kept.
    """

    def __init__(self, *, dtype: torch.dtype, limit: int) -> None:
        self.dtype = dtype
        self._room = limit
        self._states: dict[bytes, Tensor] = {}
        self._is_full = False

    def get(self, key: bytes) -> Tensor | None:
        """See `States.get`."""
        return self._states.get(key)

    def put(self, key: bytes, states: Tensor) -> None:
        """See `States.put`."""
        size = states.numel() * self.dtype.itemsize
        if size > self._room:
            if not self._is_full:
                log.warning("no more room for hidden states in memory: the others are computed each time")
            self._is_full = True
            return
        self._room -= size
        self._states[key] = states.detach().to("cpu", self.dtype, copy=True)

    def refresh(self) -> None:
        """Do nothing: nobody else adds to these."""

    def close(self) -> None:
        """Free the memory."""
        self._states.clear()


class DiskStates:
    """Hidden states in a folder that other ranks of the node and other runs read and add to.

    Each process writes a file of states and an index of its own, states first, and reads all of them through
    memory maps. An index's entry has a checksum of its states: what was cut off or damaged isn't there.

    Args:
        folder: For states that the same facts made; made if it isn't there.
        facts: What the states were made by: weights, tokenizer, number of layers, type.
        width: Numbers in a state.
        dtype: In which they are kept.
        limit: Bytes at most that this process adds.

    Raises:
        CodeftError: The folder holds what other facts made, or can't be made.
    """

    def __init__(
        self, folder: Path, *, facts: Mapping[str, Any], width: int, dtype: torch.dtype, limit: int
    ) -> None:
        self.dtype = dtype
        self._folder, self._width = folder, width
        self._row_bytes = width * dtype.itemsize
        self._room = limit
        self._name = uuid.uuid4().hex
        self._places: dict[bytes, tuple[str, int, int, int]] = {}  # file, first byte, states, checksum
        self._sound: set[bytes] = set()  # whose checksum was compared
        self._read: dict[str, int] = {}  # bytes of each index that were read
        self._maps: dict[str, np.ndarray] = {}
        self._files: tuple[int, int] | None = None  # of states and index
        self._written = 0
        self._is_full = False
        self._damaged: set[str] = set()
        try:
            self._lock = _open_shared(folder, facts)
        except OSError as error:
            raise CodeftError(
                f"can't keep hidden states in {folder} ({error.strerror}): give another cache_dir"
            ) from error
        self.refresh()

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: bytes) -> Tensor | None:
        """See `States.get`."""
        place = self._places.get(key)
        if place is None:
            return None
        name, first, number, checksum = place
        data = self._bytes(name, first, first + number * self._row_bytes)
        if data is None or (key not in self._sound and zlib.crc32(data.data) != checksum):
            if name not in self._damaged:
                log.warning("some hidden states in %s are damaged: computed again", self._folder / name)
            self._damaged.add(name)
            del self._places[key]
            return None
        self._sound.add(key)
        raw = data.copy().view(_RAW[self.dtype][1]).reshape(number, self._width)
        return torch.from_numpy(raw).view(self.dtype)

    def put(self, key: bytes, states: Tensor) -> None:
        """See `States.put`."""
        if self._is_full or key in self._places:
            return
        raw = states.detach().to("cpu", self.dtype).contiguous().view(_RAW[self.dtype][0]).numpy()
        data = raw.tobytes()
        if len(data) > self._room:
            self._stop("cache_limit_gb is reached")
            return
        first, checksum = self._written, zlib.crc32(data)
        try:
            if self._files is None:
                self._files = (self._create(_STATES), self._create(_INDEX))
            _write(self._files[0], data)
            _write(self._files[1], _ENTRY.pack(key, first, len(states), checksum))
        except OSError as error:
            self._stop(error.strerror or str(error))
            return
        self._room -= len(data)
        self._written += len(data)
        self._places[key] = (self._name + _STATES, first, len(states), checksum)
        self._sound.add(key)

    def refresh(self) -> None:
        """Look for what others have added."""
        for path in sorted(self._folder.glob(f"*{_INDEX}")):
            if path.stem == self._name:
                continue
            try:
                with path.open("rb") as file:
                    file.seek(self._read.get(path.stem, 0))
                    data = file.read()
            except OSError:  # another run that needed room removed it
                continue
            whole = len(data) - len(data) % _ENTRY.size
            for key, *place in _ENTRY.iter_unpack(data[:whole]):
                self._places.setdefault(key, (path.stem + _STATES, *place))
            self._read[path.stem] = self._read.get(path.stem, 0) + whole

    def close(self) -> None:
        """Let go of all files; others may remove the folder then."""
        for file in (*(self._files or ()), self._lock):
            os.close(file)
        self._files, self._lock = None, -1
        self._maps.clear()
        self._places.clear()

    def _bytes(self, name: str, first: int, last: int) -> np.ndarray | None:
        """Return bytes of a file of states; None where it is shorter."""
        if name not in self._maps or len(self._maps[name]) < last:
            try:
                self._maps[name] = np.memmap(self._folder / name, dtype=np.uint8, mode="r")
            except (OSError, ValueError):  # it is gone, or empty
                return None
        part = self._maps[name][first:last]
        return part if len(part) == last - first else None

    def _create(self, suffix: str) -> int:
        path = self._folder / (self._name + suffix)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def _stop(self, why: str) -> None:
        self._is_full = True
        log.warning(
            "no more hidden states are kept in %s (%s): the others are computed each time", self._folder, why
        )


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _open_shared(folder: Path, facts: Mapping[str, Any]) -> int:
    """Make the folder and its facts, or compare them; return a file that keeps `make_room` away.

    Raises:
        CodeftError: The facts are others.
        OSError: The folder can't be made.
    """
    path = folder / FACTS
    while True:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.is_file():
            own = path.with_name(f"{uuid.uuid4().hex}.tmp")
            own.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
            own.replace(path)
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # another run removed it just now
            continue
        fcntl.flock(lock, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), path.stat()):
                break
        os.close(lock)  # it was removed, or written by another, in between
    try:
        _check_facts(path, facts)
        os.utime(path)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _check_facts(path: Path, facts: Mapping[str, Any]) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in facts if found.get(name) != facts[name]]
    except (ValueError, AttributeError):
        found, differing = {}, list(facts)
    if differing:
        told = ", ".join(f"{name} was {found.get(name)} and is {facts[name]}" for name in differing)
        raise CodeftError(
            f"the hidden states in {path.parent} were made otherwise ({told}): delete that folder, or give "
            "another cache_dir"
        )


def make_room(root: Path, *, keep: Path, limit: int, needed: int) -> None:
    """Remove the caches that were used least lately, as far as needed; what is in use stays.

    Args:
        root: Holds a folder for each cache.
        keep: The one that stays whatever its size.
        limit: Bytes that all of them may have.
        needed: Bytes that the one shall have.
    """
    sizes = cache_sizes(root)
    others = [cache for cache in sizes if cache != keep]
    for cache in sorted(others, key=_last_used):
        if sum(sizes[other] for other in others) + max(needed, sizes.get(keep, 0)) <= limit:
            break
        if _remove(cache):
            log.info("removed the hidden states in %s: cache_limit_gb is for all of them", cache)
            others.remove(cache)


def cache_sizes(root: Path) -> dict[Path, int]:
    """Return the bytes of each cache in a folder."""
    sizes = {}
    for facts in root.glob(f"*/{FACTS}") if os.path.isdir(root) else ():
        with suppress(OSError):  # another process removes it
            sizes[facts.parent] = sum(file.stat().st_size for file in facts.parent.iterdir())
    return sizes


def _last_used(cache: Path) -> float:
    try:
        return (cache / FACTS).stat().st_mtime
    except OSError:
        return 0.0


def _remove(cache: Path) -> bool:
    """Remove a cache unless somebody has it open."""
    try:
        lock = os.open(cache / FACTS, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        shutil.rmtree(cache, ignore_errors=True)
        return True
    finally:
        os.close(lock)
