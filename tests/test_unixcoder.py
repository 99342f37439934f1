"""Whole runs of UniXcoder on tasks whose answer is text."""

from __future__ import annotations

import json

import pytest

from resuming import SETTINGS, Killed, assert_same_end, interrupt
from rows import write_codexglue

SIZES = (
    "vocab_size:404,hidden_size:32,num_hidden_layers:2,num_attention_heads:4,intermediate_size:64,"
    "max_position_embeddings:66,type_vocab_size:10,pad_token_id:0,pooler:true"
)
METHODS = {"full": [], "telly": ["k=1"], "sat": [], "[sat,telly]": ["k=1"]}
TASKS = {
    "summarization": [],
    "translation": ["lang=java-cs"],
    "refinement": ["lang=java"],
    "generation": ["model.mask_at=end"],
    "completion": ["model.mode=decoder-only", "lang=java"],
}


@pytest.fixture
def unixcoder(tiny_model):
    model = [word for word in tiny_model if not word.startswith("model.architecture")]
    return ["model=unixcoder", f"model.architecture={{{SIZES}}}", *model]


@pytest.fixture
def arguments(tmp_path, unixcoder, tiny_data, tiny_pairs):
    """Return a run's overrides for a task."""

    def of(task):
        folder = {"summarization": tiny_data, "translation": tiny_pairs}.get(task)
        data = ["data=local", f"data.dir={folder}"]
        if folder is None:
            for split, start, count in (("train", 0, 8), ("valid", 50, 4), ("test", 80, 4)):
                write_codexglue(tmp_path / "data", task, split=split, start=start, count=count)
            data = ["data=codexglue", f"data.dir={tmp_path}/data"]
        run = [f"task={task}", *data, *TASKS[task], "data.batch_size=4", "logger=none"]
        return [*unixcoder, *run, "trainer.max_epochs=1"]

    return of


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_a_run_trains_tests_and_is_scored_again(arguments, command, tmp_path, task, method):
    words = [*arguments(task), f"method={method}", *METHODS[method]]
    command("train", *words, f"hydra.run.dir={tmp_path}/run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"] and metrics["params"]["total"] >= metrics["params"]["trainable"]
    command("evaluate", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/again")
    again = json.loads((tmp_path / "again" / "metrics.json").read_text(encoding="utf-8"))
    assert again["reproduced"] is True


@pytest.mark.parametrize("method", ["full", "[sat,telly]"])
def test_killed_and_resumed_ends_as_if_never_stopped(
    command, unixcoder, tiny_data, monkeypatch, tmp_path, method
):
    data = ["data=local", f"data.dir={tiny_data}", "logger=none"]
    words = [*unixcoder, *data, *SETTINGS, f"method={method}", *METHODS[method]]
    command("train", *words, f"hydra.run.dir={tmp_path}/whole")
    interrupt(monkeypatch, "on_train_batch_end", 11)
    with pytest.raises(Killed):
        command("train", *words, f"hydra.run.dir={tmp_path}/killed")
    command("train", f"resume={tmp_path}/killed")
    assert_same_end(tmp_path / "killed", tmp_path / "whole")


def test_a_run_predicts_for_source_files(arguments, command, tmp_path):
    command("train", *arguments("summarization"), f"hydra.run.dir={tmp_path}/run")
    (tmp_path / "area.py").write_text("def area(width):\n    return width\n", encoding="utf-8")
    output = tmp_path / "out.jsonl"
    command(
        "predict",
        f"run={tmp_path}/run",
        f"input={tmp_path}/area.py",
        f"output={output}",
        f"hydra.run.dir={tmp_path}/predict",
    )
    [row] = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert row["name"] == "area" and "<" not in row["prediction"].replace("<unk>", "")


def test_a_senseless_mode_is_told_in_a_line(arguments, command):
    with pytest.raises(SystemExit, match=r"a text: model\.mode must be auto or encoder-decoder or dec"):
        command("train", *arguments("summarization"), "model.mode=encoder-only")


def test_lengths_beyond_the_positions_are_told_in_a_line(arguments, command):
    with pytest.raises(SystemExit, match=r"share the model's 64 positions; .*=60 and .*=8 make 68"):
        command("train", *arguments("summarization"), "task.max_source_length=60")
