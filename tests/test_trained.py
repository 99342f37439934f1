"""What `run=` names, beside a run's folder."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from codeft import trained
from codeft.types import CodeftError
from rows import function_rows, write_jsonl


@pytest.fixture(scope="module")
def folder(finished_run, tmp_path_factory, _one_thread) -> Path:
    """An export of a run."""
    import sys

    from codeft.cli import run_verb
    from codeft.export import export

    path = tmp_path_factory.mktemp("exports")
    argv, sys.argv = sys.argv, ["codeft export", f"run={finished_run}", f"to={path}/model",
                                "task.num_beams=1", f"hydra.run.dir={path}/log"]  # fmt: skip
    try:
        run_verb("export", export)
    finally:
        sys.argv = argv
    return path / "model"


@pytest.fixture
def plain(folder, tmp_path) -> Path:
    """The same, as if transformers alone had written it."""
    copied = Path(shutil.copytree(folder, tmp_path / "plain"))
    (copied / "codeft.json").unlink()
    return copied


@pytest.fixture
def asked(tmp_path) -> list[str]:
    rows = write_jsonl(tmp_path / "rows.jsonl", function_rows(300, 5))
    return [f"input={rows}", f"output={tmp_path}/out.jsonl", f"hydra.run.dir={tmp_path}/log"]


def fails(command, *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        command(*words)
    return str(stopped.value)


def predictions(tmp_path) -> list[str]:
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["prediction"] for line in lines]


def test_an_export_is_scored_again(command, folder, finished_run, tiny_data, tmp_path):
    words = ["evaluate", f"run={folder}", "task.num_beams=2", f"hydra.run.dir={tmp_path}/log"]
    assert "give data.dir=" in fails(command, *words)
    command(*words, f"data.dir={tiny_data}")
    scored = json.loads((tmp_path / "log" / "metrics.json").read_text())
    stored = json.loads((finished_run / "metrics.json").read_text())
    assert scored["reproduced"] is True
    assert scored["test"] == pytest.approx(stored["test"], abs=1e-9)
    for key in ("task", "method", "k", "alpha", "seed", "params"):
        assert scored[key] == stored[key], key


def test_a_mined_tree_stands_in_for_files(command, folder, tmp_path):
    for i, row in enumerate(function_rows(0, 12)):
        (tmp_path / "src").mkdir(exist_ok=True)
        text = row["code"].replace(":\n", f':\n    """{row["docstring"]}"""\n', 1)
        (tmp_path / "src" / f"m{i}.py").write_text(text)
    command("evaluate", f"run={folder}", f"data.source={tmp_path}/src", f"hydra.run.dir={tmp_path}/log")
    assert json.loads((tmp_path / "log" / "metrics.json").read_text())["rows"]["test"] > 0


def test_a_changed_number_of_beams_goes_along(folder):
    assert json.loads((folder / "generation_config.json").read_text())["num_beams"] == 1
    assert json.loads((folder / "codeft.json").read_text())["task"]["num_beams"] == 1


def test_a_folder_of_transformers_own_needs_a_task(command, plain, folder, asked, tmp_path):
    said = fails(command, "predict", f"run={plain}", *asked)
    assert "task= and model=" in said and "codeft.json" in said
    task = ["task=summarization", "task.max_source_length=48", "task.max_target_length=8", "task.num_beams=1"]
    assert "say model=" in fails(command, "predict", f"run={plain}", *task, *asked)
    command("predict", f"run={folder}", *asked)
    expected = predictions(tmp_path)
    command("predict", f"run={plain}", *task, "model=codet5", *asked)
    assert predictions(tmp_path) == expected and any(expected)
    assert "type 't5'" in fails(command, "predict", f"run={plain}", *task, "model=codebert", *asked)
    over = [*task, "model=codet5", f"model.checkpoint={folder}"]
    assert "would change nothing" in fails(command, "predict", f"run={plain}", *over, *asked)
    task = ["task=defect_detection", "lang=python", "task.max_source_length=48"]
    said = fails(command, "predict", f"run={plain}", *task, "model=codet5", *asked)
    assert "has no head for this task" in said


def test_what_knows_its_task_is_asked_for_no_other(command, folder, finished_run, asked):
    for run in (folder, finished_run):
        assert "knows its task" in fails(command, "predict", f"run={run}", "task=translation", *asked)
        assert "knows its model" in fails(command, "evaluate", f"run={run}", "model=codet5", asked[-1])
    assert "one checkpoint" in fails(command, "predict", f"run={folder}", "checkpoint=last", *asked)


def test_a_hub_id_is_downloaded(command, folder, asked, monkeypatch, tmp_path):
    names = []

    def download(name, *, revision, advice, code):
        names.append(name)
        return folder

    monkeypatch.setattr(trained, "download", download)
    command("predict", "run=owner/model", *asked)
    assert names == ["owner/model"] and len(predictions(tmp_path)) == 5


def test_a_path_that_leads_nowhere_is_not_asked_for_at_the_hub(command, asked, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()

    def download(name, *, revision, advice, code):
        raise CodeftError(f"can't reach the hub for {name!r}")

    monkeypatch.setattr(trained, "download", download)
    for path in ("runs/first", "outputs/first", "./owner/model", "a/b/c"):
        assert "expected a run's folder" in fails(command, "predict", f"run={path}", *asked)
    said = fails(command, "predict", "run=owner/model", *asked)
    assert "no folder 'owner/model'" in said and "can't reach the hub" in said


def test_what_the_model_reads_beside_the_text_goes_along(command, tiny_tokenizer, tmp_path):
    """GraphCodeBERT's data flow: codeft gives it again, and the card says that its own Python doesn't."""
    for split, start in (("train", 0), ("valid", 20), ("test", 30)):
        rows = function_rows(start, 6)
        write_jsonl(tmp_path / f"{split}.jsonl", [{**row, "target": i % 2} for i, row in enumerate(rows)])
    sizes = "vocab_size:400,hidden_size:32,num_hidden_layers:1,num_attention_heads:4,intermediate_size:64"
    words = [
        "task=defect_detection", "model=graphcodebert", "model.weights=random", "lang=python",
        f"model.architecture={{{sizes},max_position_embeddings:66}}", f"model.tokenizer={tiny_tokenizer}",
        "method=data_flow", "task.max_source_length=48", "data=local", f"data.dir={tmp_path}", "trainer=cpu",
        "trainer.max_epochs=2", "optimizer.lr=1e-2", "logger=none", f"hydra.run.dir={tmp_path}/run",
    ]  # fmt: skip
    command("train", *words)
    command("export", f"run={tmp_path}/run", f"to={tmp_path}/model", f"hydra.run.dir={tmp_path}/log")
    about = json.loads((tmp_path / "model" / "codeft.json").read_text())
    assert set(about["data"]["features"]) == {"data_flow"}
    assert "trained with each text's data flow" in (tmp_path / "model" / "README.md").read_text()
    answers = []
    for folder in ("run", "model"):
        asked = [
            f"input={tmp_path}/test.jsonl",
            f"output={tmp_path}/out.jsonl",
            f"hydra.run.dir={tmp_path}/log",
        ]
        command("predict", f"run={tmp_path}/{folder}", *asked)
        answers.append(predictions(tmp_path))
    assert answers[0] == answers[1]


def test_other_weights_than_the_best_have_no_scores(command, finished_run, tmp_path):
    words = [f"run={finished_run}", f"to={tmp_path}/model", f"hydra.run.dir={tmp_path}/log"]
    command("export", *words, "checkpoint=last")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "There are none of these weights" in card and "smoothed_bleu" not in card
    assert json.loads((tmp_path / "model" / "codeft.json").read_text())["metrics"] == {}


def test_a_method_merges_what_it_added(command, finished_run, monkeypatch, tmp_path):
    from codeft.methods.layer_freeze import LayerFreezeCallback

    def merge(self, model):
        with torch.no_grad():
            model.network.shared.weight.zero_()

    monkeypatch.setattr(LayerFreezeCallback, "merge", merge, raising=False)
    words = [f"run={finished_run}", f"to={tmp_path}/model", f"hydra.run.dir={tmp_path}/log"]
    command("export", *words)
    assert load_file(tmp_path / "model" / "model.safetensors")["shared.weight"].eq(0).all()


@pytest.fixture
def changed(folder, tmp_path):
    """Return a copy of the export in which a value of a JSON file is another."""

    def change(file: str, *path: str, value: object) -> Path:
        copied = Path(shutil.copytree(folder, tmp_path / "changed"))
        told = json.loads((copied / file).read_text())
        inner = told
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        (copied / file).write_text(json.dumps(told))
        return copied

    return change


def fails_before_the_model(command, monkeypatch, *words: str) -> str:
    from codeft import finished_run

    def build(_):
        raise AssertionError("a model is built")

    monkeypatch.setattr(finished_run, "build_parts", build)
    said = fails(command, *words)
    assert "\n" not in said and len(said) < 600
    return said


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["metrics"], {"test": "x"}, "expected a run's scores in .*codeft.json"),
        (["metrics"], {"test": {"smoothed_bleu": "x"}}, "expected a run's scores"),
        (["metrics"], {"test": {"smoothed_bleu": 10**400}}, "expected a run's scores"),
        (["metrics"], {"params": []}, "expected a run's scores"),
        (["metrics"], [1], "expected a run's scores"),
        (["choices"], {}, "codeft.json isn't what codeft.export writes: choices.task must be"),
        (["choices", "data"], ["x"], "choices.data must be"),
        (["lang"], ["java"], "lang must be one value"),
        (["model", "architecture", "num_layers"], 10**9, "codeft.json: num_layers=1000000000 can't be"),
        (
            ["model", "architecture", "num_layers"],
            0,
            "num_layers must be a whole number of at least 1, not 0",
        ),
        (
            ["model", "architecture", "d_ff"],
            72,
            "says d_ff=72, but .*config.json 64: one of them was changed",
        ),
    ],
)
def test_what_an_export_cannot_say_is_told_at_the_start(
    command, monkeypatch, changed, tiny_data, tmp_path, path, value, said
):
    copied = changed("codeft.json", *path, value=value)
    words = ["evaluate", f"run={copied}", f"data.dir={tiny_data}", f"hydra.run.dir={tmp_path}/log"]
    assert re.search(said, fails_before_the_model(command, monkeypatch, *words))


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"num_beams": 1_000_000}, "task.num_beams must be at most 1,000, not 1000000"),
        ({"num_beams": 201}, "task.num_beams must be at most half of the model's vocabulary of 400, not 201"),
        ({"max_target_length": 10**9}, "task.max_target_length must be at most 100,000"),
    ],
)
def test_a_search_too_wide_is_refused(command, changed, folder, asked, task, said):
    told = json.loads((folder / "codeft.json").read_text())["task"]
    copied = changed("codeft.json", "task", value=told | task)
    assert said in fails(command, "predict", f"run={copied}", *asked)


@pytest.mark.parametrize("file", ["config.json", "codeft.json"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("dense_act_fn", "gelu"), ("layer_norm_epsilon", 1e-3), ("relative_attention_max_distance", 64)],
)
def test_two_files_that_contradict_each_other_are_told(command, changed, asked, file, name, value):
    path = [name] if file == "config.json" else ["model", "architecture", name]
    copied = changed(file, *path, value=value)
    said = fails(command, "predict", f"run={copied}", *asked)
    assert "config.json" in said and name in said and "changed" in said and "\n" not in said


def test_a_run_whose_sizes_are_not_its_weights(command, monkeypatch, finished_run, tmp_path):
    copied = Path(shutil.copytree(finished_run, tmp_path / "run"))
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("num_layers: 2", "num_layers: 1000000000"))
    said = fails_before_the_model(
        command, monkeypatch, "evaluate", f"run={copied}", f"hydra.run.dir={tmp_path}/l"
    )
    assert "config.yaml: num_layers=1000000000 can't be" in said
