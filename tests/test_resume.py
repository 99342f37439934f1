"""A run that was killed and resumed ends like one that never stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

import codeft.fitting

SETTINGS = [
    "trainer.max_epochs=3",
    "trainer.accumulate_grad_batches=2",
    "trainer.val_check_interval=0.5",
    "data.batch_size=3",  # 8 batches, 4 optimizer steps an epoch
    "checkpoint.every_n_steps=1",
    "patience=null",
]


class Killed(BaseException):
    """Stands for `kill -9`: nothing of the run's own is told of it."""


class KillCallback(pl.Callback):
    """Kills, or signals, when a hook runs for the n-th time."""

    def __init__(self, hook: str, nth: int, act: Callable[[], None]) -> None:
        self.hook, self.left, self.act = hook, nth, act
        setattr(self, hook, self._count)

    def _count(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self.act()


def kill() -> None:
    raise Killed


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory, _one_thread) -> dict[str, Path]:
    """Runs that were never stopped, by their further overrides."""
    return {}


@pytest.fixture
def reference(tiny, whole, command, tmp_path_factory):
    """Return the folder of the uninterrupted run with these overrides, trained once."""

    def run(*overrides: str) -> Path:
        key = " ".join(overrides)
        if key not in whole:
            folder = tmp_path_factory.mktemp("whole")
            command("train", *tiny, *SETTINGS, *overrides, f"hydra.run.dir={folder}")
            whole[key] = folder
        return whole[key]

    return run


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def assert_same_end(folder: Path, reference: Path) -> None:
    """Weights, optimizer, schedule, random states, scores and the best checkpoint are equal, bit for bit."""
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = load(folder / "checkpoints" / name), load(reference / "checkpoints" / name)
        assert ours["state_dict"].keys() == theirs["state_dict"].keys()
        for key, value in theirs["state_dict"].items():
            assert torch.equal(ours["state_dict"][key], value), (name, key)
        assert ours["global_step"] == theirs["global_step"]
        assert ours["epoch"] == theirs["epoch"]
    ours, theirs = load(folder / "checkpoints/last.ckpt"), load(reference / "checkpoints/last.ckpt")
    torch.testing.assert_close(ours["optimizer_states"], theirs["optimizer_states"], rtol=0, atol=0)
    assert ours["lr_schedulers"] == theirs["lr_schedulers"]
    states = [c["callbacks"]["RandomStateCallback"] for c in (ours, theirs)]
    assert states[0]["torch"] == states[1]["torch"]
    scores = [json.loads((path / "metrics.json").read_text())["test"] for path in (folder, reference)]
    assert scores[0] == scores[1]
    rows = [(path / "predictions.jsonl").read_text() for path in (folder, reference)]
    assert rows[0] == rows[1]


def interrupt(monkeypatch: pytest.MonkeyPatch, hook: str, nth: int, act: Callable[[], None] = kill) -> None:
    """Have the next run meet its end at a hook."""
    real = codeft.fitting.run_callbacks

    def with_kill(*arguments: Any) -> list[pl.Callback]:
        monkeypatch.setattr(codeft.fitting, "run_callbacks", real)  # only this run
        return [*real(*arguments), KillCallback(hook, nth, act)]

    monkeypatch.setattr(codeft.fitting, "run_callbacks", with_kill)


@pytest.mark.parametrize(
    ("hook", "nth"),
    [
        ("on_train_batch_end", 1),  # before the first checkpoint
        ("on_train_batch_end", 3),  # while gradients accumulate
        ("on_validation_start", 1),  # in mid-epoch
        ("on_train_batch_start", 14),
        ("on_train_epoch_end", 2),  # after the validation, before the checkpoint
        ("on_train_epoch_start", 2),  # after the first epoch's checkpoint
        ("on_test_start", 1),
    ],
)
def test_killed_and_resumed_ends_as_if_never_stopped(
    command, tiny, reference, monkeypatch, tmp_path, hook, nth
):
    whole = reference()
    interrupt(monkeypatch, hook, nth)
    with pytest.raises(Killed):
        command("train", *tiny, *SETTINGS, f"hydra.run.dir={tmp_path}")
    command("train", f"resume={tmp_path}")
    assert_same_end(tmp_path, whole)


def test_killed_twice_with_methods_composed(command, tiny, reference, monkeypatch, tmp_path):
    overrides = ("method=[sat,telly]", "k=1", "alpha=0.1")
    whole = reference(*overrides)
    interrupt(monkeypatch, "on_train_batch_end", 5)
    with pytest.raises(Killed):
        command("train", *tiny, *SETTINGS, *overrides, f"hydra.run.dir={tmp_path}")
    interrupt(monkeypatch, "on_train_batch_end", 9)
    with pytest.raises(Killed):
        command("train", f"resume={tmp_path}")
    command("train", f"resume={tmp_path}")
    assert_same_end(tmp_path, whole)


@pytest.mark.slow
def test_worker_processes_prefetch_and_nothing_is_lost(command, tiny, reference, monkeypatch, tmp_path):
    whole = reference()
    interrupt(monkeypatch, "on_train_batch_end", 11)
    with pytest.raises(Killed):
        command("train", *tiny, *SETTINGS, "data.num_workers=2", f"hydra.run.dir={tmp_path}")
    command("train", f"resume={tmp_path}")
    assert_same_end(tmp_path, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step_and_says_how_to_go_on(
    command, tiny, reference, monkeypatch, tmp_path, capfd, number
):
    whole = reference()
    before = signal.getsignal(number)
    folder = tmp_path / "my run"
    never = ("checkpoint.every_n_steps=1000",)  # so the checkpoint is the signal's own
    interrupt(monkeypatch, "on_train_batch_start", 10, lambda: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as stopped:
        command("train", *tiny, *SETTINGS, *never, f"hydra.run.dir='{folder}'")
    assert stopped.value.code == 128 + number
    assert f"codeft train resume='{folder}'" in capfd.readouterr().err
    assert signal.getsignal(number) is before
    assert load(folder / "checkpoints/last.ckpt")["global_step"] == 5  # 4 in the first epoch, 1 in the second
    command("train", f"resume={folder}")
    assert_same_end(folder, whole)


def test_a_signal_in_validation_stops_behind_it(command, tiny, reference, monkeypatch, tmp_path):
    whole = reference()
    interrupt(monkeypatch, "on_validation_batch_start", 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        command("train", *tiny, *SETTINGS, f"hydra.run.dir={tmp_path}")
    assert load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 4
    command("train", f"resume={tmp_path}")
    assert_same_end(tmp_path, whole)


def test_early_stopping_goes_on_counting_and_stays_stopped(command, tiny, reference, monkeypatch, tmp_path):
    # An untrained model's scores don't rise, so patience 2 ends the run long before 9 epochs.
    overrides = ("trainer.max_epochs=9", "patience=2", "optimizer.lr=0.0")
    whole = reference(*overrides)
    stopped_at = load(whole / "checkpoints/last.ckpt")["epoch"]
    assert stopped_at < 8
    interrupt(monkeypatch, "on_train_epoch_start", 2)
    with pytest.raises(Killed):
        command("train", *tiny, *SETTINGS, *overrides, f"hydra.run.dir={tmp_path}")
    interrupt(monkeypatch, "on_test_start", 1)
    with pytest.raises(Killed):
        command("train", f"resume={tmp_path}")
    command("train", f"resume={tmp_path}")
    assert_same_end(tmp_path, whole)


def test_a_moved_folder_remembers_its_best_score(command, tiny, reference, monkeypatch, tmp_path):
    whole = reference("optimizer.lr=0.0")
    interrupt(monkeypatch, "on_train_epoch_start", 2)
    with pytest.raises(Killed):
        command("train", *tiny, *SETTINGS, "optimizer.lr=0.0", f"hydra.run.dir={tmp_path / 'old'}")
    (tmp_path / "old").rename(tmp_path / "new")
    command("train", f"resume={tmp_path / 'new'}")
    # No score is better than the first, whose checkpoint must stay.
    assert load(tmp_path / "new/checkpoints/best.ckpt")["global_step"] == 2
    assert_same_end(tmp_path / "new", whole)


def test_resume_of_a_finished_run_tests_again(command, reference, tmp_path):
    whole = reference()
    shutil.copytree(whole, tmp_path / "copy")
    (tmp_path / "copy/metrics.json").unlink()
    command("train", f"resume={tmp_path / 'copy'}")
    assert_same_end(tmp_path / "copy", whole)


def test_trainer_may_be_changed_and_more_epochs_follow(command, reference, tmp_path):
    shutil.copytree(reference(), tmp_path / "copy")
    command("train", f"resume={tmp_path / 'copy'}", "trainer.max_epochs=4")
    assert load(tmp_path / "copy/checkpoints/last.ckpt")["epoch"] == 3
    assert "max_epochs: 4" in (tmp_path / "copy/config.yaml").read_text()


@pytest.mark.parametrize("argument", ["k=3", "data.batch_size=1", "+trainerx.y=1", "-m", "trainer=ddp"])
def test_only_trainer_may_be_changed(command, reference, argument):
    with pytest.raises(SystemExit, match=r"only trainer\.\* can be changed"):
        command("train", f"resume={reference()}", argument)


def test_errors_of_a_resume(command, reference, tmp_path):
    with pytest.raises(SystemExit, match="expected a run's folder"):
        command("train", f"resume={tmp_path / 'nowhere'}")
    with pytest.raises(SystemExit, match=r"expected a run's config at .*config\.yaml"):
        command("train", f"resume={tmp_path}")
    with pytest.raises(SystemExit, match=r"can't read 'trainer\.max_epochs=\['"):
        command("train", f"resume={reference()}", "trainer.max_epochs=[")
    copy = tmp_path / "copy"
    shutil.copytree(reference(), copy)
    last = copy / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:-2000])
    with pytest.raises(SystemExit, match=r"last\.ckpt is damaged"):
        command("train", f"resume={copy}")


def test_a_checkpoint_that_does_not_fit(command, reference, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(reference(), copy)
    last = copy / "checkpoints/last.ckpt"
    whole = torch.load(last, weights_only=True)
    weights = whole["state_dict"]
    for broken, said in (
        ({**whole, "state_dict": dict(list(weights.items())[1:])}, "another model: 1 missing"),
        ({**whole, "state_dict": {name: [1] for name in weights}}, "no state_dict of tensors"),
        ({"state_dict": 5}, "no state_dict of tensors"),
        ({"state_dict": weights}, "holds weights only"),
    ):
        torch.save(broken, last)
        with pytest.raises(SystemExit, match=said):
            command("train", f"resume={copy}")


def test_a_kill_while_a_checkpoint_is_written_leaves_the_older_one(tmp_path, monkeypatch):
    from codeft.checkpoints import AtomicCheckpointIO, check_checkpoint

    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.ones(3)}}, path)
    real = torch.save

    def save_half(checkpoint: Any, file: Any) -> None:
        real(checkpoint, file)
        file.truncate(100)
        raise Killed

    monkeypatch.setattr(torch, "save", save_half)
    with pytest.raises(Killed):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.zeros(3)}}, path)
    assert torch.equal(check_checkpoint(path)["state_dict"]["w"], torch.ones(3))


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
    assert f"codeft train resume={tmp_path}" in said
    command("train", f"resume={tmp_path}")
    assert_same_end(tmp_path, whole)
