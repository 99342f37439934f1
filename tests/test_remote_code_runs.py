"""Whole runs of a model that comes with code of its own: each verb runs it only where it is asked for."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml

from own_code import build, forget, isolate, mark
from rows import function_rows, write_jsonl

ASKED = "model.trust_remote_code=true"


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def words(tmp_path, tiny_tokenizer):
    """A run's overrides, without asking."""
    for split, start, count in (("train", 0, 12), ("valid", 50, 5), ("test", 80, 5)):
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", function_rows(start, count))
    folder = build(tmp_path / "model", tiny_tokenizer)
    return [
        "model=codegpt_java", f"model.weights={folder}", "task=summarization", "task.max_source_length=48",
        "task.max_target_length=8", "task.num_beams=2", "trainer=cpu", "data=local",
        f"data.dir={tmp_path}/data", "data.batch_size=4", "logger=none", "trainer.max_epochs=1",
        f"hydra.run.dir={tmp_path}/run",
    ]  # fmt: skip


@pytest.fixture
def run(words, command, tmp_path):
    """A finished run of it, frozen below the second block; its first folder is gone."""
    command("train", *words, ASKED, "method=telly", "k=1", "optimizer.lr=1e-2")
    shutil.rmtree(tmp_path / "model")
    forget()
    return tmp_path / "run"


def refused(command, *words):
    with pytest.raises(SystemExit) as stopped:
        command(*words)
    assert not mark().exists()
    return str(stopped.value)


def answers(path):
    return [json.loads(line)["prediction"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_training_is_refused_unasked(command, words):
    said = refused(command, "train", *words)
    assert "configuration_own.py, modeling_own.py" in said and ASKED in said


def test_a_model_of_another_family_has_no_such_key(command, words):
    others = [word for word in words if "weights" not in word and not word.startswith("model=")]
    assert "unknown key model.trust_remote_code" in refused(command, "train", "model=codet5", *others, ASKED)


def test_frozen_parts_stay_and_others_move(run, words, command, tmp_path):
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    torch.manual_seed(0)
    from safetensors.torch import load_file

    build(tmp_path / "model", run / "tokenizer")  # the very weights, once more
    before = load_file(tmp_path / "model" / "model.safetensors")
    for name, value in before.items():
        frozen = name.startswith(("stack.words", "stack.positions", "stack.blocks.0."))
        assert torch.equal(state[f"model.network.{name}"], value) == frozen, name


def test_a_run_is_used_where_it_is_asked_for(run, command, tmp_path):
    """Its own config says true, but it may be a stranger's."""
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["trust_remote_code"] is True
    scoring = ["evaluate", f"run={run}", f"hydra.run.dir={tmp_path}/again"]
    assert ASKED in refused(command, *scoring)
    command(*scoring, ASKED)
    assert json.loads((tmp_path / "again" / "metrics.json").read_text())["reproduced"] is True
    forget()
    source, output = tmp_path / "data/test.jsonl", tmp_path / "out.jsonl"
    using = ["predict", f"run={run}", f"input={source}", f"output={output}", f"hydra.run.dir={tmp_path}/p"]
    assert ASKED in refused(command, *using)
    command(*using, ASKED)
    assert answers(output) == answers(run / "predictions.jsonl")


def test_an_export_brings_the_code_and_is_used_where_it_is_asked_for(run, command, tmp_path):
    to = tmp_path / "exported"
    exporting = ["export", f"run={run}", f"to={to}", f"hydra.run.dir={tmp_path}/e"]
    assert ASKED in refused(command, *exporting)
    command(*exporting, ASKED)
    assert (to / "modeling_own.py").is_file() and (to / "configuration_own.py").is_file()
    card = (to / "README.md").read_text()
    assert "AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)" in card
    forget()
    source, output = tmp_path / "data/test.jsonl", tmp_path / "out.jsonl"
    using = ["predict", f"run={to}", f"input={source}", f"output={output}", f"hydra.run.dir={tmp_path}/p"]
    assert ASKED in refused(command, *using)
    command(*using, ASKED)
    assert answers(output) == answers(run / "predictions.jsonl")
    forget()
    (to / "codeft.json").unlink()  # as if transformers alone had written it
    using += [
        "task=summarization",
        "model=codegpt_java",
        "task.max_source_length=48",
        "task.max_target_length=8",
    ]
    using += ["task.num_beams=2", "lang=python"]
    assert ASKED in refused(command, *using)
    command(*using, ASKED)
    assert len(answers(output)) == 5


def test_a_run_is_resumed_where_it_is_asked_for(run, command):
    again = ["train", f"resume={run}", "trainer.max_epochs=2"]
    assert ASKED in refused(command, *again)
    command(*again, ASKED)
    assert json.loads((run / "metrics.json").read_text())["training"]["epochs"] == 2


def test_a_resumed_run_reads_the_word_as_hydra_does(run, command):
    again = ["train", f"resume={run}", "trainer.max_epochs=2"]
    for word in ("yes", "1", "'true'", "[true]", "true,false"):
        told = refused(command, *again, f"model.trust_remote_code={word}")
        assert "model.trust_remote_code must be true or false" in told
    for word in ("false", "null"):
        assert ASKED in refused(command, *again, f"model.trust_remote_code={word}")
    command(*again, "++model.trust_remote_code=True")
    assert json.loads((run / "metrics.json").read_text())["training"]["epochs"] == 2


def test_the_structure_loss_is_refused_before_anything_is_read(words, command, tmp_path):
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(SystemExit, match=r"attention can't be recorded.*leave method=sat away"):
        command("train", *words, ASKED, "method=sat", "alpha=0.1")


def test_adapters_go_into_layers_that_are_named(words, command, tmp_path):
    named = "callbacks.adapter.config.target_modules=[qkv]"
    command("train", *words, ASKED, "method=lora", named)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["params"]["trainable"] < metrics["params"]["total"] / 4
    for adapter in ("merged", "separate"):
        to = tmp_path / adapter
        command("export", f"run={tmp_path}/run", f"to={to}", f"adapter={adapter}", ASKED,
                f"hydra.run.dir={tmp_path}/e")  # fmt: skip


def test_a_model_that_runs_no_code_is_used_as_ever(finished_run, command, tmp_path):
    with pytest.raises(SystemExit, match=r"trust_remote_code is for decoder-only models, .*leave it away"):
        command("evaluate", f"run={finished_run}", ASKED, f"hydra.run.dir={tmp_path}/again")
