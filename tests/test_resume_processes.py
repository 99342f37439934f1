"""Real processes that are killed, and their runs resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from resuming import SETTINGS, assert_same_end

PAUSED = """
import sys
from codeft.module import FineTuneModule
import codeft.train

step, taken = FineTuneModule.training_step, []

def paused(self, batch, number):
    if len(taken) == 5:
        print("paused", file=sys.stderr, flush=True)
        sys.stdin.readline()
    taken.append(number)
    return step(self, batch, number)

FineTuneModule.training_step = paused
codeft.train.main()
"""
"""A training that waits in the middle, until it is told to go on."""


def wait_for_pause(process):
    assert any("paused" in line for line in iter(process.stderr.readline, ""))


@pytest.mark.slow
def test_kill_9_of_a_real_process(command, tiny, reference, tmp_path):
    whole = reference()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [*tiny, *SETTINGS, f"hydra.run.dir={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "-c", PAUSED, *arguments],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        wait_for_pause(process)
        assert (tmp_path / "checkpoints" / "last.ckpt").is_file()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "metrics.json").exists()
    command("train", f"resume={tmp_path}")
    assert_same_end(tmp_path, whole)


@pytest.mark.slow
def test_ctrl_c_of_a_real_process_with_workers(command, tiny, reference, tmp_path):
    whole = reference()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [*tiny, *SETTINGS, "data.num_workers=2", f"hydra.run.dir={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "-c", PAUSED, *arguments],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    wait_for_pause(process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers too
    _, said = process.communicate("go on\n")
    assert process.returncode == 128 + signal.SIGINT, said
    assert "Traceback" not in said
    assert f"-m codeft.train resume={tmp_path}" in said
    command("train", f"resume={tmp_path}")
    assert_same_end(tmp_path, whole)


@pytest.mark.slow
def test_two_trainings_never_share_a_folder(command, tiny, tmp_path):
    other = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", other, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline()
        with pytest.raises(SystemExit, match="another training"):
            command("train", *tiny, f"hydra.run.dir={tmp_path}")
        assert not (tmp_path / "checkpoints").exists()
        process.communicate("\n")
    command("train", *tiny, f"hydra.run.dir={tmp_path}", "trainer.max_epochs=1")
    assert (tmp_path / "metrics.json").is_file()
    assert not (tmp_path / ".lock").exists()
