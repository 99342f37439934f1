"""Memory that was freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from codeft.callbacks.freed_memory import FreedMemoryCallback

SCRIPT = """
import psutil, torch
from codeft.allocator import give_back_memory, keep_freed_memory
keep_freed_memory()
rss = lambda: psutil.Process().memory_info().rss
parts = [torch.ones(2**20) for _ in range(100)]  # 400 MB
kept = parts[-1]  # above all others in the heap
del parts
before = rss()
assert give_back_memory()
print((before - rss()) / 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_what_lies_below_something_that_is_used_is_given_back_too():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 300


def test_it_happens_every_so_many_batches_and_around_validations(monkeypatch):
    times = []
    monkeypatch.setattr("codeft.callbacks.freed_memory.give_back_memory", lambda: times.append(1))
    callback = FreedMemoryCallback(every_n_steps=3)
    for number in range(7):
        callback.on_train_batch_end(None, None, None, None, number % 2)  # epochs of two batches
    assert len(times) == 2
    callback.on_validation_start(None, None)
    callback.on_validation_end(None, None)
    assert len(times) == 4
