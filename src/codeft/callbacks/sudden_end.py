"""Ending on SIGTERM at once, in the middle of a step, where there is nothing to lose."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl


@contextmanager
def interrupts_handed_on() -> Iterator[None]:
    """Hand an interrupt of a training on: Lightning ends the program without a word."""
    try:
        yield
    except SystemExit as end:
        raise KeyboardInterrupt from end


class SuddenEndCallback(pl.Callback):
    """Ends the process as soon as SIGTERM comes, with a word.

    Lightning notes the signal and ends after the step, and no handler of Python's runs while torch computes a
    backward pass. So a thread waits for the byte that the interpreter writes when the signal arrives.

    Args:
        what: What ends, such as "the dry run".
    """

    def __init__(self, *, what: str) -> None:
        self.what = what
        self._pipe: tuple[int, int] | None = None
        self._before: tuple[Any, int] = (None, -1)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen, after Lightning has set its own handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        launcher = trainer.strategy.launcher
        threading.Thread(target=self._wait, args=(self._pipe[0], launcher), daemon=True).start()
        handler = signal.signal(signal.SIGTERM, lambda number, frame: None)
        self._before = (handler, signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False))

    def _wait(self, pipe: int, launcher: Any) -> None:
        while number := os.read(pipe, 1):
            if number[0] == signal.SIGTERM:
                print(f"codeft: {self.what} was stopped by SIGTERM", file=sys.stderr, flush=True)
                if launcher is not None:
                    launcher.kill(signal.SIGTERM)  # the other ranks, which would wait for this one
                os._exit(128 + signal.SIGTERM)
        os.close(pipe)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop listening."""
        self._restore()

    on_test_start, on_test_end = on_train_start, on_train_end

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: Any) -> None:
        """Stop listening."""
        self._restore()

    def _restore(self) -> None:
        if self._pipe is None:
            return
        handler, pipe = self._before
        written, self._pipe = self._pipe[1], None
        try:
            signal.set_wakeup_fd(pipe)
            # None stands for one that isn't Python's, which Python can't set again; the system's own ends.
            signal.signal(signal.SIGTERM, signal.SIG_DFL if handler is None else handler)
        finally:
            os.close(written)  # ends the thread
