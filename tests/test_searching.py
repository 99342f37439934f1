"""Code search from the shell, and what predict says of the other tasks without text."""

from __future__ import annotations

import json
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from rows import function_rows, write_jsonl


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fails(command, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        command("predict", *arguments)
    return str(stopped.value)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return {}


@pytest.fixture
def run(runs, command, tiny_model, tiny_data, tmp_path_factory):
    """Return the folder of a finished run of a task, trained once."""

    def of(task: str) -> Path:
        if task not in runs:
            folder = tmp_path_factory.mktemp(task)
            data = tiny_data
            if task == "clone_detection_poj104":
                data = folder / "data"
                for split, start in (("train", 0), ("valid", 30), ("test", 60)):
                    found = [
                        {"code": r["code"], "label": i % 2} for i, r in enumerate(function_rows(start, 8))
                    ]
                    write_jsonl(data / f"{split}.jsonl", found)
            model = [w for w in tiny_model if not w.startswith(("task.max_target", "task.num_beams"))]
            words = [f"task={task}", "data=local", f"data.dir={data}", "data.batch_size=4", "logger=none"]
            lang = ["lang=python"] if task == "clone_detection_poj104" else []
            learn = ["trainer.max_epochs=6", "optimizer.lr=1e-2", "patience=null"]
            command("train", *model, *words, *lang, *learn, f"hydra.run.dir={folder}/run")
            runs[task] = folder / "run"
        return runs[task]

    return of


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "a tree, k=1"
    folder.mkdir()
    for i, row in enumerate(function_rows(0, 12)):
        (folder / f"m{i}.py").write_text(row["code"], encoding="utf-8")
    (folder / "other.rb").write_text("def x\n  1\nend\n", encoding="utf-8")
    return folder


def test_an_index_answers_as_the_tree_does(run, command, tree, tmp_path):
    folder, query = run("code_search"), "Find the cloud, number [2] = ${x}?"
    run_dir = f"hydra.run.dir={tmp_path}/p"
    command("predict", f"run={folder}", f"input={tree}", f"index={tmp_path}/i", run_dir)
    index = np.load(tmp_path / "i" / "vectors.npy")
    assert index.shape == (13, 32) and np.allclose(np.linalg.norm(index, axis=1), 1, atol=1e-5)
    asked = ["task=code_search", f"run={folder}", f"query={query}", "top=5", run_dir]
    command("predict", *asked, f"index={tmp_path}/i", f"output={tmp_path}/from_index.jsonl")
    command("predict", *asked, f"input={tree}", f"output={tmp_path}/from_tree.jsonl")
    hits = rows_of(tmp_path / "from_index.jsonl")
    assert hits == rows_of(tmp_path / "from_tree.jsonl")
    if util.find_spec("faiss") is not None:
        out = f"output={tmp_path}/by_faiss.jsonl"
        command("predict", *asked, f"index={tmp_path}/i", out, "search=faiss")
        assert [hit["id"] for hit in rows_of(tmp_path / "by_faiss.jsonl")] == [hit["id"] for hit in hits]
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5]
    similarities = [hit["similarity"] for hit in hits]
    assert similarities == sorted(similarities, reverse=True)
    assert hits[0]["query"] == query and hits[0]["path"] and hits[0]["start_line"] == 1


def test_a_query_gets_the_vector_it_had_in_the_test(run, command, tiny_data, tmp_path):
    """Searching the test split's functions for a test row's query finds what its prediction says."""
    folder = run("code_search")
    tested = rows_of(folder / "predictions.jsonl")
    for number, row in enumerate(rows_of(tiny_data / "test.jsonl")[:3]):
        command(
            "predict",
            f"run={folder}",
            f"input={tiny_data}/test.jsonl",
            f"query={tested[number]['reference']}",
            f"output={tmp_path}/{number}.jsonl",
            f"hydra.run.dir={tmp_path}/p",
        )
        best = rows_of(tmp_path / f"{number}.jsonl")[0]
        assert Path(best["id"]).name == Path(tested[number]["prediction"]).name, row


def test_the_nearest_program_of_the_input_is_the_prediction(run, command, tree, tmp_path):
    words = [f"run={run('clone_detection_poj104')}", f"input={tree}", f"output={tmp_path}/o.jsonl"]
    command("predict", *words, f"hydra.run.dir={tmp_path}/p")
    found = rows_of(tmp_path / "o.jsonl")
    ids = {row["id"] for row in found}
    assert len(found) == 12 and all(row["prediction"] in ids - {row["id"]} for row in found)
    assert "search must be one of" in fails(command, *words, "search=annoy", f"hydra.run.dir={tmp_path}/p")


def test_what_search_refuses(run, command, tree, tmp_path, finished_run):
    folder, run_dir = run("code_search"), f"hydra.run.dir={tmp_path}/p"
    base = [f"run={folder}", run_dir]
    assert "query=<a sentence>" in fails(command, *base, f"index={tmp_path}/i")
    assert "expected an index" in fails(command, *base, f"index={tmp_path}/i", "query=x")
    assert "top must be" in fails(command, *base, f"input={tree}", "query=x", "top=0")
    assert "of code search; this one is of summarization" in fails(
        command, f"run={finished_run}", run_dir, f"input={tree}", "query=x"
    )
    command("predict", *base, f"input={tree}", f"index={tmp_path}/i")
    about = tmp_path / "i" / "index.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "weights": "0"}), encoding="utf-8")
    assert "another checkpoint" in fails(command, *base, f"index={tmp_path}/i", "query=x")
    (tmp_path / "i" / "vectors.npy").write_bytes(b"\x93NUMPY")
    assert "expected an index" in fails(command, *base, f"index={tmp_path}/i", "query=x")


def test_predict_without_a_query_says_how_to_search(run, command, tree, tmp_path):
    words = [f"run={run('code_search')}", f"input={tree}", f"output={tmp_path}/o.jsonl"]
    assert "query=" in fails(command, *words, f"hydra.run.dir={tmp_path}/p")
