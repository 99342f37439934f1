"""Whole runs of decoder-only models: every task that generates, with every method."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from resuming import SETTINGS, Killed, assert_same_end, interrupt
from rows import function_rows, pair_rows, write_jsonl

METHODS = {"full": [], "telly": ["k=1"], "sat": ["alpha=0.1"], "[sat,telly]": ["k=1", "alpha=0.1"]}
STACK = (
    "vocab_size=400",
    "hidden_size=32",
    "num_hidden_layers=2",
    "num_attention_heads=4",
    "intermediate_size=64",
)
MODELS = {
    "qwen2_5_coder_0_5b": STACK,
    "starcoder2_3b": (*STACK, "sliding_window=30"),
    "deepseek_coder_1_3b": (*STACK, "num_key_value_heads=4"),
    "codegpt_java": ("vocab_size=400", "n_embd=32", "n_layer=2", "n_head=4", "n_positions=64"),
}
TASKS = ("summarization", "translation", "refinement", "generation", "completion")


def rows_of(task: str, start: int, count: int) -> list[dict]:
    if task == "summarization":
        return function_rows(start, count)
    pairs = pair_rows(start, count)
    if task == "translation":
        return pairs
    names = {"refinement": ("buggy", "fixed"), "generation": ("nl", "code"), "completion": ("input", "gt")}
    return [dict(zip(names[task], pair.values(), strict=True)) for pair in pairs]


@pytest.fixture
def arguments(tmp_path: Path, tiny_model: list[str]):
    """Return a run's overrides for a task, a model and a method."""

    def of(task: str, model: str, method: str) -> list[str]:
        for split, start, count in (("train", 0, 12), ("valid", 50, 5), ("test", 80, 5)):
            write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows_of(task, start, count))
        words = [word for word in tiny_model if not word.startswith("model.architecture")]
        sizes = [f"model.architecture.{size}" for size in MODELS[model]]
        lang = {"translation": ["lang=java-cs"], "summarization": []}.get(task, ["lang=java"])
        data = ["data=local", f"data.dir={tmp_path}/data", "data.batch_size=4", "logger=none"]
        run = [f"model={model}", *sizes, *words, f"task={task}", *lang, *data, "trainer.max_epochs=1"]
        return [*run, f"method={method}", *METHODS[method]]

    return of


def check(folder: Path, method: str) -> None:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["training"]["steps"] == 3 and len(metrics["test"]) >= 2
    assert (metrics["params"]["trainable"] < metrics["params"]["total"]) == ("telly" in method)
    assert len((folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_with_every_method(arguments, command, tmp_path, task, method):
    command("train", *arguments(task, "qwen2_5_coder_0_5b", method), f"hydra.run.dir={tmp_path}/run")
    check(tmp_path / "run", method)


@pytest.mark.parametrize("model", [name for name in MODELS if "qwen2" not in name])
def test_every_family_and_scored_again_and_used(arguments, command, tmp_path, model):
    untie = "callbacks.layer_freeze.untie_output=true"
    words = arguments("summarization", model, "[sat,telly]")
    command("train", *words, untie, f"hydra.run.dir={tmp_path}/run")
    check(tmp_path / "run", "[sat,telly]")
    command("evaluate", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/again")
    metrics = json.loads((tmp_path / "again" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["reproduced"] is True
    source, output = tmp_path / "data/test.jsonl", tmp_path / "out.jsonl"
    command(
        "predict", f"run={tmp_path}/run", f"input={source}", f"output={output}", f"hydra.run.dir={tmp_path}/p"
    )
    tested, answers = (
        [json.loads(line)["prediction"] for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (tmp_path / "run" / "predictions.jsonl", output)
    )
    assert answers == tested


def test_killed_and_resumed_ends_as_if_never_stopped(arguments, command, monkeypatch, tmp_path):
    words = [*arguments("summarization", "starcoder2_3b", "[sat,telly]"), *SETTINGS]
    command("train", *words, f"hydra.run.dir={tmp_path}/whole")
    interrupt(monkeypatch, "on_train_batch_end", 6)
    with pytest.raises(Killed):
        command("train", *words, f"hydra.run.dir={tmp_path}/run")
    command("train", f"resume={tmp_path}/run")
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_learns_the_sample_by_heart(arguments, command, tmp_path):
    """Trained and decoded on the same rows, it answers them: what is trained is what is decoded."""
    words = arguments("summarization", "qwen2_5_coder_0_5b", "full")
    rows = function_rows(0, 4)
    for split in ("train", "valid", "test"):
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows)
    learn = ["trainer.max_epochs=120", "trainer.check_val_every_n_epoch=120", "data.batch_size=1"]
    words += [*learn, "optimizer.lr=3e-3", "patience=null", "task.max_target_length=32"]
    command("train", *words, f"hydra.run.dir={tmp_path}/run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"]["exact_match"] >= 75.0


def test_frozen_layers_stay_and_others_move(arguments, command, tmp_path):
    words = arguments("summarization", "codegpt_java", "telly")
    command("train", *words, "optimizer.lr=1e-2", f"hydra.run.dir={tmp_path}/run")
    command("train", *words, "optimizer.lr=1e-3", f"hydra.run.dir={tmp_path}/other")
    one, two = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("run", "other")
    )
    frozen = [
        name for name in one if any(part in name for part in ("wte", "wpe", "transformer.h.0.", "lm_head"))
    ]
    assert all(torch.equal(one[name], two[name]) == (name in frozen) for name in one)


def test_lengths_that_dont_fit_together_are_told_with_both_numbers(arguments, command):
    words = [*arguments("summarization", "codegpt_java", "full"), "task.max_target_length=20"]
    with pytest.raises(
        SystemExit, match=r"64 positions; task.max_source_length=48 and task.max_target_length=20 make 68"
    ):
        command("train", *words)


def test_a_task_for_an_encoder_is_refused(arguments, command):
    words = [word for word in arguments("summarization", "codegpt_java", "full") if "task" not in word]
    with pytest.raises(SystemExit, match="no encoder, and this task asks for a label"):
        command("train", *words, "task=defect_detection")


def test_the_reference_loss_is_refused(arguments, command):
    words = [w for w in arguments("summarization", "codegpt_java", "sat") if not w.startswith("method=")]
    with pytest.raises(SystemExit, match="causal: take method=sat"):
        command("train", *words, "method=sat_reference")
