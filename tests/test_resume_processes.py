"""Real processes that are killed, and their runs resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from resuming import SETTINGS, assert_same_end


@pytest.mark.slow
def test_kill_9_of_a_real_process(command, tiny, reference, tmp_path):
    whole = reference()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [*tiny, *SETTINGS, f"hydra.run.dir={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "codeft.train", *arguments],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    last = tmp_path / "checkpoints" / "last.ckpt"
    while not last.is_file() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "metrics.json").exists()
    command("train", f"resume={tmp_path}")
    assert_same_end(tmp_path, whole)


@pytest.mark.slow
def test_ctrl_c_of_a_real_process_with_workers(command, tiny, reference, tmp_path):
    whole = reference()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [*tiny, *SETTINGS, "data.num_workers=2", f"hydra.run.dir={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "codeft.train", *arguments],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    last = tmp_path / "checkpoints" / "last.ckpt"
    while not last.is_file() and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers too
    _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGINT, said
    assert "Traceback" not in said
    assert f"-m codeft.train resume={tmp_path}" in said
    command("train", f"resume={tmp_path}")
    assert_same_end(tmp_path, whole)
