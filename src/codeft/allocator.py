"""The C library's allocator, told to keep what training frees."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory instead of giving each large tensor back to the system.

    Without it a training step on a CPU spends much of its time on page faults. Batches of many lengths leave
    gaps in what is kept, so that it grows: `give_back_memory` ends that, now and then.

    Returns:
        Whether it could be done; elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    largest = 2**31 - 1
    return all(mallopt(key, value) == 1 for key, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, largest)))


def give_back_memory() -> bool:
    """Have glibc give all that is free back to the system.

    Returns:
        Whether anything was given; elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError):  # another C library
        return False
