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
