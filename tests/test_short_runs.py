"""Trainings that end before their first validation: they validate at their end, or don't begin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeft.metrics import smoothed_bleu
from rows import function_rows, write_jsonl

TELLY = ["method=telly", "k=auto", "callbacks.layer_freeze.auto_steps=2"]

ENDS = {
    "max_steps in the first epoch": (["+trainer.max_steps=3"], 3, 1),
    "max_steps in the first epoch, stopping never": (["+trainer.max_steps=3", "patience=null"], 3, 1),
    "max_steps beyond the first epoch": (
        ["+trainer.max_steps=9", "trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3"], 9, 2,
    ),
    "an interval over epochs": (
        ["trainer.val_check_interval=50", "trainer.check_val_every_n_epoch=null"], 12, 2,
    ),
    "a validation every 5 epochs": (["trainer.check_val_every_n_epoch=5"], 12, 2),
    "few batches": (["+trainer.limit_train_batches=2", "trainer.check_val_every_n_epoch=3"], 4, 2),
    "overfitting": (["+trainer.overfit_batches=2", "trainer.check_val_every_n_epoch=3"], 4, 2),
}  # fmt: skip


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ENDS)
def test_a_run_that_reached_no_validation_validates_at_its_end(command, tiny, tmp_path, name):
    words, steps, epochs = ENDS[name]
    command("train", *tiny, *words, f"hydra.run.dir={tmp_path}/run")
    metrics = metrics_of(tmp_path / "run")
    assert metrics["training"] == {"epochs": epochs, "steps": steps, "stopped_early": False}
    best = metrics["best"]
    assert (best["epoch"], best["step"], best["val_rows"]) == (epochs, steps, 6)
    assert best["val_smoothed_bleu"] == pytest.approx(metrics["valid"]["smoothed_bleu"], rel=1e-6)
    log = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    assert f"before its first validation, at step {steps}" in log
    assert f"epoch {epochs}, step {steps}: val loss" in log
    for split in ("test", "valid"):
        command("evaluate", f"run={tmp_path}/run", f"split={split}", f"hydra.run.dir={tmp_path}/{split}")
        assert metrics_of(tmp_path / split)["reproduced"] is True
    rows = (tmp_path / "run" / "valid_predictions.jsonl").read_text().splitlines()
    assert len(rows) == 6


@pytest.mark.parametrize("word", ["+trainer.limit_val_batches=2", "+trainer.overfit_batches=2"])
def test_rows_and_floors_are_those_that_a_part_of_the_validation_scored(command, tiny, tmp_path, word):
    words = ["data.eval_batch_size=2", word, "test=false", "trainer.max_epochs=1"]
    command("train", *tiny, *words, f"hydra.run.dir={tmp_path}")
    metrics = metrics_of(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "valid_predictions.jsonl").read_text().splitlines()]
    [read] = [json.loads(line) for line in (tmp_path / "split_reads.jsonl").read_text().splitlines()]
    assert len(rows) == read["rows"] == metrics["best"]["val_rows"] == metrics["rows"]["valid"] == 4
    references = [row["reference"] for row in rows]
    for name, text in metrics["constants"].items():
        expected = smoothed_bleu([text] * 4, references)
        assert metrics["floors"]["valid"][name]["smoothed_bleu"] == pytest.approx(expected)


def test_a_run_that_reached_a_validation_keeps_its_best(command, tiny, tmp_path):
    """The steps behind the last validation aren't validated once more."""
    words = ["+trainer.max_steps=5", "trainer.val_check_interval=2"]
    command("train", *tiny, *words, f"hydra.run.dir={tmp_path}")
    assert metrics_of(tmp_path)["best"]["step"] in (2, 4)
    assert "before its first validation" not in (tmp_path / "train.log").read_text(encoding="utf-8")


def test_a_run_that_validated_at_its_end_goes_on(command, tiny, tmp_path):
    command("train", *tiny, "+trainer.max_steps=3", f"hydra.run.dir={tmp_path}")
    command("train", f"resume={tmp_path}", "trainer.max_steps=12")
    metrics = metrics_of(tmp_path)
    assert metrics["training"]["steps"] > 3 and metrics["best"]["step"] > 3


REFUSED = {
    "+trainer.limit_train_batches=0": r"limit_train_batches=0 leaves nothing to train on",
    "+trainer.limit_train_batches=0.01": r"limit_train_batches=0.01 is less than one of the 6 train batches",
    "+trainer.limit_val_batches=0": r"limit_val_batches=0 leaves nothing to validate on",
    "+trainer.limit_val_batches=0.5": r"limit_val_batches=0.5 is less than one of the 1 val batches",
    "+trainer.limit_test_batches=0": r"limit_test_batches=0 .*data\.test_limit.*test=false",
    "+trainer.limit_test_batches=1": r"limit_test_batches=1 .*data\.test_limit",
    "+trainer.limit_test_batches=0.5": r"limit_test_batches=0.5 .*data\.test_limit",
    "+trainer.overfit_batches=0.1": r"overfit_batches=0.1 is less than one of the 6 train batches",
    "trainer.val_check_interval=7": r"val_check_interval=7 is beyond an epoch of 6 batches",
    "trainer.val_check_interval=0": r"val_check_interval=0: set a share",
    "trainer.val_check_interval=00:00:10:00": r"val_check_interval must be a number",
    "trainer.check_val_every_n_epoch=0": r"check_val_every_n_epoch must be a whole number of at least 1",
    "+trainer.max_steps=0": r"max_steps must be a whole number of at least 1",
    "+trainer.fast_dev_run=true": r"dry_run=true",
}


@pytest.mark.parametrize("word", REFUSED)
@pytest.mark.parametrize("more", [[], TELLY], ids=["typed", "auto"])
def test_what_can_never_validate_is_told_before_training(command, tiny, tmp_path, word, more):
    with pytest.raises(SystemExit, match=REFUSED[word]):
        command("train", *tiny, *more, word, f"hydra.run.dir={tmp_path}")
    assert not list(tmp_path.glob("checkpoints/*.ckpt")) and not (tmp_path / "k_choice.json").exists()


def test_a_run_without_time_for_a_step_is_told(command, tiny, tmp_path):
    with pytest.raises(SystemExit, match=r"before its first step.*raise trainer\.max_time"):
        command("train", *tiny, "+trainer.max_time=00:00:00:00", f"hydra.run.dir={tmp_path}")
    assert not list(tmp_path.glob("checkpoints/*.ckpt"))


@pytest.mark.parametrize(
    "word",
    ["+trainer.max_steps=3", "trainer.check_val_every_n_epoch=5", "+trainer.overfit_batches=2",
     "+trainer.limit_train_batches=1"],
)  # fmt: skip
def test_k_is_chosen_however_short_the_run(command, tiny, tmp_path, word):
    command("train", *tiny, *TELLY, word, f"hydra.run.dir={tmp_path}")
    trials = json.loads((tmp_path / "k_choice.json").read_text())["trials"]
    assert len(trials) == 3 and all(trial["loss"] is not None for trial in trials)
    assert metrics_of(tmp_path)["valid"]


def test_a_short_trainings_time_is_its_own(command, tiny, tmp_path):
    """What ends the run early doesn't end the trials, which all take the same steps."""
    with pytest.raises(SystemExit, match="before its first step"):
        command("train", *tiny, *TELLY, "+trainer.max_time=00:00:00:00", f"hydra.run.dir={tmp_path}")
    assert json.loads((tmp_path / "k_choice.json").read_text())["steps"] == 2


def test_a_dry_run_needs_no_time(command, tiny, tmp_path):
    words = ["+trainer.max_time=00:00:00:00", "+trainer.overfit_batches=2"]
    command("train", *tiny, *words, "dry_run=true", f"hydra.run.dir={tmp_path}")
    assert metrics_of(tmp_path)["dry_run"]


@pytest.mark.parametrize(
    ("word", "steps"), [("trainer.max_steps=3", 3), ("trainer.check_val_every_n_epoch=9", 8)]
)
def test_a_short_pre_training_keeps_its_weights(command, tmp_path, word, steps):
    sizes = ["vocab_size=400", "d_model=32", "d_kv=8", "num_heads=4", "d_ff=64", "num_layers=1",
             "num_decoder_layers=1"]  # fmt: skip
    rows = [{"text": row["code"], **row} for row in function_rows(0, 30)]
    for split, part in (("train", rows[:24]), ("valid", rows[24:])):
        write_jsonl(tmp_path / f"{split}.jsonl", part)
    data = [f"data.{split}={tmp_path}/{split}.jsonl" for split in ("train", "valid")]
    own = ["trainer.accelerator=cpu", "trainer.max_steps=8", "trainer.val_check_interval=4",
           "data.batch_tokens=400", "task.max_source_length=48", "task.max_target_length=24"]  # fmt: skip
    architecture = [f"model.architecture.{size}" for size in sizes]
    command("pretrain", *own, *architecture, *data, word, f"hydra.run.dir={tmp_path}/run")
    metrics = metrics_of(tmp_path / "run")
    assert metrics["training"]["steps"] == metrics["best"]["step"] == steps
    assert metrics["pretraining"]["best_val_loss"] == pytest.approx(metrics["best"]["val_loss"])
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert "val/loss" in (tmp_path / "run" / "model" / "loss.csv").read_text()
