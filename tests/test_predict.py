"""Predictions for source files, folders and rows, in their order."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest


def read_rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def fails(command, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        command("predict", *arguments)
    return str(stopped.value)


def test_rows_keep_their_order_and_give_the_run_s_predictions(command, finished_run, tiny_data, tmp_path):
    """Rows without docstrings, in an order that isn't their lengths', are answered as in the test."""
    tested = read_rows(finished_run / "predictions.jsonl")
    rows = [{k: v for k, v in row.items() if k != "docstring"} for row in read_rows(tiny_data / "test.jsonl")]
    source = write_rows(tmp_path / "rows.jsonl", [*rows, *rows[:2]])
    command(
        "predict",
        f"run={finished_run}",
        f"input={source}",
        f"output={tmp_path}/out.jsonl",
        f"hydra.run.dir={tmp_path}/p",
    )
    answers = read_rows(tmp_path / "out.jsonl")
    assert [row["source"] for row in answers] == [row["source"] for row in [*tested, *tested[:2]]]
    assert [row["prediction"] for row in answers] == [row["prediction"] for row in [*tested, *tested[:2]]]
    assert list(answers[0]) == ["id", "path", "name", "start_line", "language", "source", "prediction"]


@pytest.fixture
def tree(tmp_path):
    """Source files good and bad, and links that lead outside."""
    root = tmp_path / "src, a=${b} [x]"
    (root / "pkg").mkdir(parents=True)
    (tmp_path / "outside.py").write_text("def secret():\n    return 1\n")
    (root / "b.py").write_text(
        'class A:\n    def put(self, x):\n        """Doc."""\n        return x\n\n\ndef g():\n    pass\n'
    )
    (root / "a.js").write_text("function add(a, b) { return a + b; }\n")
    (root / "pkg" / "c.py").write_text("def größe():\n    return 'ä'\n", encoding="utf-8")
    (root / "pkg" / "broken.py").write_text("def f(:\n  return )\n")
    (root / "latin.py").write_bytes("def f():\n    return 'ä'\n".encode("latin-1"))
    (root / "notes.txt").write_text("def no():\n    pass\n")
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    (root / "linked").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.py")
    return root


def test_a_folder(command, finished_run, tree, tmp_path, capsys):
    output = tmp_path / "out, 1=2.jsonl"
    command(
        "predict", f"run={finished_run}", f"input={tree}", f"output={output}", f"hydra.run.dir={tmp_path}/p"
    )
    answers = read_rows(output)
    found = [(row["path"], row["name"], row["start_line"], row["language"]) for row in answers]
    assert found[:3] == [
        ("a.js", "add", 1, "javascript"),
        ("b.py", "A.put", 2, "python"),
        ("b.py", "g", 7, "python"),
    ]
    assert ("pkg/c.py", "größe", 1, "python") in found
    assert all("secret" not in row["source"] and "Doc." not in row["source"] for row in answers)
    assert len({row["id"] for row in answers}) == len(answers)
    told = capsys.readouterr().out
    for reason in ("not UTF-8: 1", "unknown suffix: 1", "link or device: 2", "linked folder: 1"):
        assert reason in told.replace("\n", " ")


def test_bad_rows_are_errors_or_left_out(command, finished_run, tiny_data, tmp_path, capsys):
    rows = read_rows(tiny_data / "train.jsonl")
    source = write_rows(
        tmp_path / "rows.jsonl", [rows[0], {"text": "no code", "language": "python"}, rows[1]]
    )
    shared = (
        f"run={finished_run}",
        f"input={source}",
        f"output={tmp_path}/out.jsonl",
        f"hydra.run.dir={tmp_path}/p",
    )
    assert "rows.jsonl:2" in fails(command, *shared)
    assert not (tmp_path / "out.jsonl").exists()
    command("predict", *shared, "data.on_bad_row=skip")
    assert len(read_rows(tmp_path / "out.jsonl")) == 2
    said = capsys.readouterr().out
    assert "bad row: 1" in said
    assert said.count("rows.jsonl:2") == 1


def test_errors(command, finished_run, tree, tmp_path):
    run, out = f"run={finished_run}", (f"output={tmp_path}/out.jsonl", f"hydra.run.dir={tmp_path}/p")
    assert "input" in fails(command, run, *out)
    assert "doesn't exist" in fails(command, run, f"input={tmp_path}/nothing", *out)
    assert "suffix" in fails(command, run, f"input={tree}/notes.txt", *out)
    assert "not UTF-8" in fails(command, run, f"input={tree}/latin.py", *out)
    (tmp_path / "empty").mkdir()
    assert "no functions" in fails(command, run, f"input={tmp_path}/empty", *out)
    content = (tree / "b.py").read_text()
    for output in (tree / "b.py", tmp_path / "alias"):
        if output.name == "alias":
            output.symlink_to(tree / "b.py")
        assert "overwrite" in fails(command, run, f"input={tree}", f"output={output}", out[1])
    assert (tree / "b.py").read_text() == content
    assert "folder" in fails(command, run, f"input={tree}", f"output={tmp_path}", out[1])
    assert "can't write" in fails(command, run, f"input={tree}", f"output={tree}/b.py/out.jsonl", out[1])


def test_other_languages_are_left_out(command, finished_run, tree, tmp_path, capsys):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    config = run / "config.yaml"
    stored = config.read_text()
    config.write_text(stored.replace("lang: null", "lang: javascript"))
    shared = (f"run={run}", f"input={tree}", f"output={tmp_path}/out.jsonl", f"hydra.run.dir={tmp_path}/p")
    command("predict", *shared)
    assert [row["name"] for row in read_rows(tmp_path / "out.jsonl")] == ["add"]
    assert "another language: 3" in capsys.readouterr().out
    config.write_text(stored.replace("lang: null", "lang: go"))
    assert "lang=go" in fails(command, *shared)


def test_an_output_that_is_no_file_is_left_alone(command, finished_run, tiny_data, tmp_path):
    asked = [f"run={finished_run}", f"input={tiny_data}/test.jsonl"]
    os.mkfifo(tmp_path / "pipe")
    for output, said in ((tmp_path / "pipe", "a device"), ("x" * 300, "too long"), ("a\0b", "null byte")):
        with pytest.raises(SystemExit, match=said):
            command("predict", *asked, f"output={output}", f"hydra.run.dir={tmp_path}/run")
    assert (tmp_path / "pipe").is_fifo()


def test_an_input_that_is_a_pipe_is_not_waited_for(command, finished_run, tmp_path):
    os.mkfifo(tmp_path / "rows.jsonl")
    asked = [f"run={finished_run}", f"input={tmp_path}/rows.jsonl", f"output={tmp_path}/out.jsonl"]
    with pytest.raises(SystemExit, match="a pipe or device"):
        command("predict", *asked, f"hydra.run.dir={tmp_path}/run")
