"""A source tree becomes data, and data is described."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeft.cli import conf_dir
from rows import write_codexglue

TASKS = sorted(path.stem for path in (conf_dir() / "task").glob("*.yaml"))
LEARNT_FROM_MINED = {"summarization", "code_search", "span_corruption"}


def rows_of(task: str, start: int, count: int) -> list[dict]:
    """Rows that a task reads."""
    found = []
    for i in range(start, start + count):
        function = f"int f{i}(int a) {{\n  return a + {i};\n}}"
        python = f"def f{i}(a):\n    return a + {i}"
        found.append(
            {
                "summarization": {"code": python, "docstring": f"Adds {i}.", "language": "python"},
                "translation": {"java": function, "cs": function.upper()},
                "refinement": {"buggy": function, "fixed": function + " "},
                "generation": {"nl": f"adds {i}", "code": function},
                "completion": {"input": f"x = {i} ; y =", "gt": "x"},
                "code_search": {"code": python, "docstring": f"Adds {i}.", "language": "python"},
                "clone_detection": {"code1": function, "code2": python, "label": i % 2},
                "clone_detection_poj104": {"code": function, "label": i % 2},
                "defect_detection": {"func": function, "target": i % 2},
                "span_corruption": {"text": python, "language": "python"},
            }[task]
        )
    return found


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def rows(tiny_data) -> list[dict]:
    """Twelve different rows."""
    return [json.loads(line) for line in (tiny_data / "train.jsonl").read_text().splitlines()][:12]


@pytest.fixture
def prepare(command, tiny_tokenizer, tmp_path):
    """Run the verb and return its statistics."""

    def run(*arguments: str) -> dict:
        command("prepare", f"model.tokenizer={tiny_tokenizer}", f"hydra.run.dir={tmp_path}/run", *arguments)
        return json.loads((tmp_path / "run" / "statistics.json").read_text(encoding="utf-8"))

    return run


def fails(prepare, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        prepare(*arguments)
    return str(stopped.value)


@pytest.fixture
def tree(tmp_path) -> Path:
    """Forty files of one documented function each."""
    root = tmp_path / "a tree, x=1"
    root.mkdir()
    for i in range(40):
        body = f"    total_{i} = value * {i}\n    return total_{i} + step_{i}(value)\n"
        doc = f'    """Return the total number {i} of the value."""\n'
        (root / f"part_{i}.py").write_text(f"def count_{i}(value):\n{doc}{body}")
    return root


def test_a_source_tree_becomes_data_to_train_on(prepare, command, tiny, tree, tmp_path, capsys):
    statistics = prepare(f"data.source={tree}", f"output={tmp_path}/rows, 1")
    rows = {name: split["rows"] for name, split in statistics["splits"].items()}
    assert rows.keys() == {"train", "valid", "test"}
    assert sum(rows.values()) == statistics["mined"]["rows"]["python"] == 40
    assert statistics["unreadable"] == {}
    assert "in python" in capsys.readouterr().out
    local = [argument for argument in tiny if not argument.startswith("data.dir=")]
    command(
        "train", *local, f"data.dir={tmp_path}/rows, 1", "dry_run=true", f"hydra.run.dir={tmp_path}/train"
    )
    assert json.loads((tmp_path / "train" / "metrics.json").read_text())["rows"]["train"] == rows["train"]
    assert "there already" in fails(prepare, f"data.source={tree}", f"output={tmp_path}/rows, 1")


def test_a_folder_is_checked(prepare, rows, tmp_path):
    long = {"code": "def f():\n" + "    return 1\n" * 200, "docstring": "Word " * 100, "language": "python"}
    broken = {"code": "def f(:\n return )", "docstring": "", "language": "python"}
    folder = tmp_path / "data"
    write_rows(folder / "train.jsonl", [*rows[:10], long, {"language": "python"}])
    write_rows(folder / "valid.jsonl", [rows[10], broken])
    write_rows(folder / "test.jsonl", [rows[11], rows[3]])
    with (folder / "test.jsonl").open("ab") as file:
        file.write(b"\xff\xfe no utf-8\n{]\n")
    statistics = prepare(f"data.dir={folder}")
    train, valid, test = (statistics["splits"][name] for name in ("train", "valid", "test"))
    assert (train["rows"], valid["rows"], test["rows"]) == (11, 2, 2)
    assert train["source_tokens"]["truncated"] == train["target_tokens"]["truncated"] == 1
    assert train["source_tokens"]["max"] > train["source_tokens"]["limit"] == 256
    assert train["bad_rows"][0]["where"].endswith("train.jsonl:12")
    assert [row["where"].rpartition(":")[2] for row in test["bad_rows"]] == ["3", "4"]
    assert (valid["parse_failures"], valid["empty_targets"]) == (1, 1)
    assert statistics["duplicates"]["test in train"]["exact"] == 1
    assert statistics["duplicates"]["test in train"]["near"] >= 1
    assert statistics["duplicates"]["valid in train"]["exact"] == 0


def test_a_missing_split_is_told(prepare, rows, tmp_path):
    write_rows(tmp_path / "data" / "train.jsonl", rows[:3])
    statistics = prepare(f"data.dir={tmp_path}/data")
    assert list(statistics["splits"]) == ["train"]
    assert "valid.jsonl" in statistics["unreadable"]["valid"]


def test_translation(prepare, tiny_pairs):
    statistics = prepare("task=translation", f"data.dir={tiny_pairs}")
    assert statistics["lang"] == "java-cs"
    assert statistics["splits"]["train"]["languages"] == {"java": 12}


def test_errors(prepare, command, tree, tmp_path, tiny_data):
    assert "data.source" in fails(prepare)
    said = fails(prepare, "task=translation", f"data.source={tree}")
    assert "task=translation can't be learnt from" in said and "task=code_search" in said
    assert "doesn't exist" in fails(prepare, f"data.source={tmp_path}/nothing")
    said = fails(prepare, f"data.source={tree}", "lang=kotlin")
    assert "got lang=kotlin" in said and '"source" and "target"' in said and "mean" not in said
    kotlin = [{"code": "fun f() = 1", "docstring": "One.", "language": "kotlin"}]
    for split in ("train", "valid", "test"):
        write_rows(tmp_path / "kotlin" / f"{split}.jsonl", kotlin)
    said = fails(prepare, f"data.dir={tmp_path}/kotlin")
    assert "train.jsonl:1: expected" in said and '"source" and "target"' in said
    assert "output=" in fails(prepare, f"data.dir={tiny_data}", f"output={tmp_path}/x")
    (tmp_path / "empty").mkdir()
    assert "no well documented function" in fails(
        prepare, f"data.source={tmp_path}/empty", f"output={tmp_path}/y"
    )
    assert "tokenizer" in fails(prepare, f"data.dir={tiny_data}", f"model.tokenizer={tmp_path}/nothing")


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_checked(prepare, command, tree, tmp_path, task):
    for split, start, count in (("train", 0, 12), ("valid", 20, 8), ("test", 40, 7)):
        write_rows(tmp_path / "rows" / f"{split}.jsonl", rows_of(task, start, count))
    statistics = prepare(
        f"task={task}", f"data.dir={tmp_path}/rows", "data.splits.train=valid[4:]",
        "data.splits.valid=valid[:4]", "data.train_limit=3", "data.test_limit=5", "seed=7",
        *(["model.tokenizer=null"] if task == "span_corruption" else []),
    )  # fmt: skip
    searched = 2 if task == "code_search" else 0  # beyond a limit of queries, functions are still searched
    counts = {split: described["rows"] for split, described in statistics["splits"].items()}
    assert counts == {"train": 3, "valid": 4, "test": 5 + searched}
    for described in statistics["splits"].values():
        assert described["empty_targets"] == (described["rows"] if task == "span_corruption" else 0)
        assert not described["bad_rows"] and described["source_tokens"]["max"] > 3
        assert ("target_tokens" in described) == (task in TEXT_TASKS)
        assert ("query_tokens" in described) == (task == "code_search")


def test_equal_queries_and_functions_are_counted(prepare, command, tiny_model, tmp_path, capsys):
    rows = rows_of("code_search", 0, 12)
    for row in rows[:4]:
        row["docstring"] = "Returns the name."
    rows[4]["code"] = rows[5]["code"] + "\n"
    for split in ("train", "valid", "test"):
        write_rows(tmp_path / "rows" / f"{split}.jsonl", rows)
    described = prepare("task=code_search", f"data.dir={tmp_path}/rows")["splits"]["train"]
    assert (described["equal_queries"], described["equal_functions"], described["candidates"]) == (4, 2, 0)
    assert "equal queries" in capsys.readouterr().out
    model = [word for word in tiny_model if not word.startswith(("task.max_target", "task.num_beams"))]
    command(
        "train", "task=code_search", *model, "data=local", f"data.dir={tmp_path}/rows", "data.batch_size=4",
        "trainer.max_epochs=1", "logger=none", f"hydra.run.dir={tmp_path}/train",
    )  # fmt: skip
    said = capsys.readouterr().err
    assert "train: 4 of 12 rows have a query that another row has, too, and 2 a function" in said
    assert "valid: 4" not in said


def test_a_corpus_for_pre_training_is_checked(prepare, tmp_path):
    write_rows(tmp_path / "rows" / "a.jsonl", rows_of("span_corruption", 0, 6))
    write_rows(tmp_path / "rows" / "b.jsonl", rows_of("span_corruption", 9, 4))
    files = [f"data.train={tmp_path}/rows/a.jsonl", f"data.valid={tmp_path}/rows/b.jsonl"]
    statistics = prepare("task=span_corruption", "data=corpus", *files, "model.tokenizer=null")
    assert {split: found["rows"] for split, found in statistics["splits"].items()} == {"train": 6, "valid": 4}
    assert "no test split" in statistics["unreadable"]["test"]


TEXT_TASKS = {"summarization", "translation", "refinement", "generation", "completion"}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_says_whether_it_learns_from_a_source_tree(prepare, tree, tmp_path, task):
    words = [f"task={task}", f"data.source={tree}", "data.splits.train=valid", "data.splits.valid=train[:2]"]
    if task == "span_corruption":
        words.append("model.tokenizer=null")
    if task not in LEARNT_FROM_MINED:
        assert "can't be learnt from" in fails(prepare, *words)
        return
    statistics = prepare(*words)
    assert statistics["mined"]["rows"] == {"python": 40}
    assert statistics["splits"]["valid"]["rows"] == 2
    assert statistics["splits"]["train"]["rows"] + statistics["splits"]["test"]["rows"] < 40


@pytest.mark.parametrize("task", ["refinement", "generation", "completion"])
def test_published_layouts_are_checked(prepare, tmp_path, task):
    for split, start, count in (("train", 0, 6), ("valid", 20, 4), ("test", 40, 5)):
        write_codexglue(tmp_path / "published", task, split=split, start=start, count=count)
    statistics = prepare(f"task={task}", "data=codexglue", f"data.dir={tmp_path}/published")
    assert [split["rows"] for split in statistics["splits"].values()] == [6, 4, 5]
