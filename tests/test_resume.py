"""A run that was killed and resumed ends like one that never stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from codeft.module import FineTuneModule
from resuming import SETTINGS, Killed, assert_same_end, interrupt, load


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
    said = capfd.readouterr().err
    assert f"-m codeft.train 'resume={folder}'" in said and "Error executing job" not in said
    assert signal.getsignal(number) is before
    assert load(folder / "checkpoints/last.ckpt")["global_step"] == 5  # 4 in the first epoch, 1 in the second
    command("train", f"resume={folder}")
    assert_same_end(folder, whole)


@pytest.mark.parametrize(("batch", "batches", "steps"), [(1, 1, 1), (3, 3, 3)])
def test_a_signal_in_validation_stops_behind_the_batch(
    command, tiny, reference, monkeypatch, tmp_path, batch, batches, steps
):
    whole, seen = reference(), []
    real = FineTuneModule.validation_step
    monkeypatch.setattr(FineTuneModule, "validation_step", lambda *a: (seen.append(1), real(*a))[1])
    interrupt(monkeypatch, "on_validation_batch_start", batch, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        command("train", *tiny, *SETTINGS, "data.eval_batch_size=3", f"hydra.run.dir={tmp_path}")
    assert len(seen) == batches  # of two in each validation
    assert load(tmp_path / "checkpoints/last.ckpt")["global_step"] == steps
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
    with pytest.raises(SystemExit, match="is finished, after .*: patience=2 ended it"):
        command("train", f"resume={tmp_path}", "trainer.max_epochs=20")


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


def test_a_finished_run_is_left_as_it_is_and_goes_on_where_more_is_asked_for(command, reference, tmp_path):
    folder = shutil.copytree(reference(), tmp_path / "copy")
    before = (folder / "metrics.json").read_bytes()
    for further in ((), ("trainer.max_epochs=2",)):
        with pytest.raises(
            SystemExit, match=r"is finished, after 3 epochs and 12 steps: raise trainer\.max_ep"
        ):
            command("train", f"resume={folder}", *further)
    assert (folder / "metrics.json").read_bytes() == before
    command("train", f"resume={folder}", "trainer.max_epochs=4")
    training = json.loads((folder / "metrics.json").read_text())["training"]
    assert training == {"epochs": 4, "steps": 16, "stopped_early": False}


def test_a_run_that_was_killed_in_its_test_tests_again(command, reference, tmp_path):
    whole = reference()
    shutil.copytree(whole, tmp_path / "copy")
    (tmp_path / "copy/metrics.json").unlink()
    command("train", f"resume={tmp_path / 'copy'}")
    assert_same_end(tmp_path / "copy", whole)
