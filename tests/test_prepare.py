"""A source tree becomes data, and data is described."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


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
    assert "summarization" in fails(prepare, "task=translation", f"data.source={tree}")
    assert "doesn't exist" in fails(prepare, f"data.source={tmp_path}/nothing")
    assert "output=" in fails(prepare, f"data.dir={tiny_data}", f"output={tmp_path}/x")
    (tmp_path / "empty").mkdir()
    assert "no well documented function" in fails(
        prepare, f"data.source={tmp_path}/empty", f"output={tmp_path}/y"
    )
    assert "tokenizer" in fails(prepare, f"data.dir={tiny_data}", f"model.tokenizer={tmp_path}/nothing")
