"""A dry run ends on SIGTERM in the middle of a step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from pytorch_lightning import Trainer

from codeft.callbacks.sudden_end import SuddenEndCallback
from waiting import LONGEST_WAIT

LONG_STEP = """
import sys, time
from codeft.module import FineTuneModule
import codeft.train

def step(self, batch, batch_idx):
    print("in the step", file=sys.stderr, flush=True)
    time.sleep(3600)

FineTuneModule.training_step = step
codeft.train.main()
"""


@pytest.mark.skipif(not hasattr(signal, "set_wakeup_fd"), reason="this system has no such signals")
def test_a_dry_run_ends_at_once(tiny, tmp_path):
    words = [*tiny, "dry_run=true", f"hydra.run.dir={tmp_path}/run"]
    command = [sys.executable, "-c", LONG_STEP, *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as run:
        try:
            lines = iter(run.stderr.readline, "")
            assert any("in the step" in line for line in lines)
            run.send_signal(signal.SIGTERM)
            _, said = run.communicate(timeout=LONGEST_WAIT)  # far below the step's hour
            assert run.returncode == 128 + signal.SIGTERM
        finally:
            run.kill()
    assert "codeft: the dry run was stopped by SIGTERM\n" in said and "Traceback" not in said


def test_nothing_listens_afterwards(command, tiny, tmp_path):
    handler, threads = signal.getsignal(signal.SIGTERM), set(threading.enumerate())
    command("train", *tiny, "dry_run=true", f"hydra.run.dir={tmp_path}/run")
    assert signal.getsignal(signal.SIGTERM) == handler
    assert signal.set_wakeup_fd(-1) == -1
    for thread in set(threading.enumerate()) - threads:
        thread.join(LONGEST_WAIT)
        assert not thread.is_alive()


@pytest.fixture
def listening(monkeypatch):
    """A callback that listens, and the end of its pipe that is to be closed."""
    ends = []
    pipe = os.pipe
    monkeypatch.setattr(os, "pipe", lambda: ends.append(pipe()) or ends[-1])
    before = signal.getsignal(signal.SIGTERM)
    callback, trainer = SuddenEndCallback(what="the dry run"), Trainer(logger=False, accelerator="cpu")
    callback.on_train_start(trainer, None)
    yield callback, trainer, ends[-1][1]
    signal.signal(signal.SIGTERM, before)
    signal.set_wakeup_fd(-1)


def is_open(end):
    try:
        os.fstat(end)
    except OSError:
        return False
    return True


def test_where_the_handler_was_cs_sigterm_ends_the_process_again(listening):
    callback, trainer, end = listening
    callback._before = (None, -1)  # what signal.signal returns where the handler isn't Python's
    callback.on_train_end(trainer, None)
    assert not is_open(end) and signal.set_wakeup_fd(-1) == -1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_thread_ends_though_the_handler_cant_be_restored(listening):
    callback, trainer, end = listening
    callback._before = ("no handler", -1)
    with pytest.raises(TypeError):
        callback.on_train_end(trainer, None)
    assert not is_open(end)
