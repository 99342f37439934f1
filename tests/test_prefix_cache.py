"""Runs that keep what frozen layers give train and score as those that don't."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from codeft.callbacks.prefix_cache import PrefixCacheCallback, _facts
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.types import CodeftError
from one_device import ONE_DEVICE
from resuming import Killed, assert_same_end, interrupt
from waiting import LONGEST_WAIT

TELLY = ["method=telly", "k=1", "trainer.max_epochs=3", "logger=csv", "trainer.log_every_n_steps=1"]


def losses(folder):
    [path] = folder.rglob("metrics.csv")
    with path.open(encoding="utf-8") as file:
        return [float(row["train/loss_step"]) for row in csv.DictReader(file) if row.get("train/loss_step")]


def results(folder):
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return metrics["test"], (folder / "predictions.jsonl").read_text(encoding="utf-8"), metrics["time"]


def assert_same(folder, other):
    assert losses(folder) == pytest.approx(losses(other), rel=1e-5)
    (scores, rows, _), (other_scores, other_rows, _) = results(folder), results(other)
    assert scores == pytest.approx(other_scores, rel=1e-5)
    assert rows == other_rows


@pytest.mark.parametrize("method", [["method=telly"], ["method=[sat,telly]", "alpha=0.5"]])
def test_cached_and_uncached_training_are_the_same(command, tiny, tmp_path, method):
    words = [*tiny, *TELLY, *method, f"cache_dir={tmp_path}/cache"]
    for cache in ("off", "memory", "disk"):
        command("train", *words, f"cache={cache}", f"hydra.run.dir={tmp_path}/{cache}")
    assert len(losses(tmp_path / "off")) == 18
    for cache in ("memory", "disk"):
        assert_same(tmp_path / cache, tmp_path / "off")
        assert results(tmp_path / cache)[2]["cache_s"] > 0
    assert results(tmp_path / "off")[2]["cache_s"] == 0


def test_a_second_run_computes_nothing(command, tiny, tmp_path, caplog):
    words = [*tiny, *TELLY, "cache=disk", f"cache_dir={tmp_path}/cache"]
    command("train", *words, f"hydra.run.dir={tmp_path}/a")
    sizes = sorted(path.stat().st_size for path in (tmp_path / "cache").rglob("*"))
    command("train", *words, f"hydra.run.dir={tmp_path}/b")
    assert sorted(path.stat().st_size for path in (tmp_path / "cache").rglob("*")) == sizes
    assert results(tmp_path / "b")[2]["cache_s"] == 0
    assert_same(tmp_path / "b", tmp_path / "a")
    assert "28 of them are there" in (tmp_path / "b" / "train.log").read_text(encoding="utf-8")


def test_other_weights_and_another_k_have_caches_of_their_own(command, tiny, tmp_path):
    words = [*tiny, *TELLY, "trainer.max_epochs=1", "cache=disk", f"cache_dir={tmp_path}/cache"]
    for name, word in (("a", "k=1"), ("b", "k=2"), ("c", "seed=3")):
        command("train", *words, word, f"hydra.run.dir={tmp_path}/{name}")
    assert len(list((tmp_path / "cache").iterdir())) == 3


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_resumed_run_goes_on_from_the_cache(command, tiny, monkeypatch, tmp_path, precision):
    words = [*tiny, *TELLY, "cache=disk", f"trainer.precision={precision}"]
    command("train", *words, f"cache_dir={tmp_path}/cache", f"hydra.run.dir={tmp_path}/whole")
    words.append(f"cache_dir={tmp_path}/another")
    interrupt(monkeypatch, "on_train_batch_end", 8)
    with pytest.raises(Killed):
        command("train", *words, "checkpoint.every_n_steps=3", f"hydra.run.dir={tmp_path}/cut")
    command("train", f"resume={tmp_path}/cut")
    assert_same_end(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["method=telly", "callbacks.layer_freeze.reference=true"], "training mode"),
        (["method=full", "k=null"], ""),
        (["method=lora", "k=null"], ""),
        (["method=[telly,sat_reference]", "alpha=0.1", "data.pad_to_max=true"], "counts padding"),
    ],
)
def test_what_isnt_frozen_whole_isnt_kept(command, tiny, tmp_path, words, reason):
    command("train", *tiny, *TELLY, "trainer.max_epochs=1", *words, f"hydra.run.dir={tmp_path}/run")
    assert results(tmp_path / "run")[2]["cache_s"] == 0
    log = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    assert ("frozen layers run each time" in log) == bool(reason)
    assert reason in log


@pytest.mark.parametrize(
    ("share", "told"), [(0.25, "they lie in memory"), (0.0, "frozen layers run each time")]
)
def test_auto_takes_memory_or_nothing_where_the_disk_has_no_room(
    command, tiny, tmp_path, monkeypatch, share, told
):
    monkeypatch.setattr("codeft.prefix_budget.MEMORY_SHARE", share)
    words = [*tiny, *TELLY, "trainer.max_epochs=1", "cache_limit_gb=1e-9", f"cache_dir={tmp_path}/cache"]
    command("train", *words, f"hydra.run.dir={tmp_path}/run")
    assert told in (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    assert (results(tmp_path / "run")[2]["cache_s"] > 0) == (share > 0)


@pytest.mark.parametrize("share", [0.25, 0.0])
def test_auto_goes_on_where_the_folder_cant_be_made(command, tiny, tmp_path, monkeypatch, share):
    monkeypatch.setattr("codeft.prefix_budget.MEMORY_SHARE", share)
    (tmp_path / "file").write_text("")
    words = [*tiny, *TELLY, "trainer.max_epochs=1", f"cache_dir={tmp_path}/file/below"]
    command("train", *words, f"hydra.run.dir={tmp_path}/run")
    log = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    assert "can't keep hidden states in" in log
    assert ("they lie in memory" if share else "frozen layers run each time") in log
    with pytest.raises(SystemExit, match="can't keep hidden states in"):
        command("train", *words, "cache=disk", f"hydra.run.dir={tmp_path}/disk")


def test_auto_removes_nothing_for_what_wont_fit(command, tiny, tmp_path):
    other = tmp_path / "cache" / "other"
    other.mkdir(parents=True)
    (other / "facts.json").write_text("{}")
    words = [*tiny, *TELLY, "trainer.max_epochs=1", f"cache_dir={tmp_path}/cache", "cache_limit_gb=1e-9"]
    command("train", *words, f"hydra.run.dir={tmp_path}/run")
    assert other.is_dir()


def test_the_jobs_of_a_sweep_share_what_their_weights_have_in_common(command, tiny, tmp_path, tiny_model):
    words = [*tiny, *TELLY, "trainer.max_epochs=1", "optimizer.lr=1e-3,1e-4", f"cache_dir={tmp_path}/cache"]
    command("train", *words, "-m", f"hydra.sweep.dir={tmp_path}/sweep")
    metrics = [json.loads(path.read_text()) for path in (tmp_path / "sweep").glob("*/metrics.json")]
    spent = [each["time"]["cache_s"] for each in metrics]
    assert len(spent) == 2
    assert min(spent) == 0 < max(spent)


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "ram"},
        {"limit_gb": 0},
        {"limit_gb": "much"},
        {"limit_gb": True},
        {"limit_gb": float("inf")},
        {"folder": 42},
        {"folder": ["a"]},
    ],
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(CodeftError, match="cache"):
        PrefixCacheCallback(**settings)


@pytest.mark.slow
def test_two_ranks_share_one_folder(tiny, tmp_path):
    words = [*tiny, *TELLY, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    for cache in ("disk", "off"):
        done = subprocess.run(
            [sys.executable, "-m", "codeft.train", *words, f"cache={cache}", f"cache_dir={tmp_path}/cache",
             f"hydra.run.dir={tmp_path}/{cache}"],
            env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=LONGEST_WAIT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "cache").rglob("*.states"))) == 2
    assert_same(tmp_path / "disk", tmp_path / "off")


@pytest.mark.parametrize("part", ["embeddings", "block"])
def test_states_of_other_weights_are_other_states(tiny_tokenizer, part):
    """What lies below the frozen layers makes their states, too."""
    sizes = {"vocab_size": 400, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_heads": 4}
    model = EncoderDecoderModel(
        weights="random",
        tokenizer=str(tiny_tokenizer),
        architecture={**sizes, "num_layers": 2, "num_decoder_layers": 1},
    )
    trainer = SimpleNamespace(precision="32-true", strategy=ONE_DEVICE.strategy)
    before = _facts(trainer, model, 1)
    assert _facts(trainer, model, 1) == before
    with torch.no_grad():
        next((model.embeddings() if part == "embeddings" else model.blocks())[0].parameters())[0] += 1
    after = _facts(trainer, model, 1)
    assert {name for name in before if before[name] != after[name]} == {"weights"}
