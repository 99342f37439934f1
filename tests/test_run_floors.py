"""Floors beside a run's scores: in metrics.json, on the screen, in a report and of files alone."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from codeft.metrics import smoothed_bleu
from codeft.metrics.constant_texts import find_constants
from codeft.run_floors import are_floors, compare_with_floors, floor_of
from codeft.summary import print_floors, scores_table
from codeft.sweep import Job, compare_jobs
from codeft.tasks.clone_detection import CloneRetrievalTask
from codeft.tasks.code_search import CodeSearchTask
from codeft.tasks.summarization import SummarizationTask
from codeft.types import Example
from test_report import write_job


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def targets_of(folder: Path, split: str) -> list[str]:
    lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [SummarizationTask().read(row, where="r", input="code", labelled=True).target for row in rows]


def test_constants_are_chosen_on_validation_rows_and_scored_on_the_tested_ones(finished_run, tiny_data):
    metrics = metrics_of(finished_run)
    rows = [json.loads(line) for line in (finished_run / "predictions.jsonl").read_text().splitlines()]
    train, valid = (targets_of(tiny_data, split) for split in ("train", "valid"))
    assert metrics["constants"] == find_constants(train, valid, metric="smoothed_bleu")
    for split, references in (("valid", valid), ("test", [row["reference"] for row in rows])):
        for name, text in metrics["constants"].items():
            expected = smoothed_bleu([text] * len(references), references)
            assert metrics["floors"][split][name]["smoothed_bleu"] == pytest.approx(expected)
    assert metrics["floors"]["test"]["best_target"].keys() == metrics["test"].keys()
    for split, own in (
        ("valid", metrics["best"]["val_smoothed_bleu"]),
        ("test", metrics["test"]["smoothed_bleu"]),
    ):
        is_below = own <= floor_of(metrics, "smoothed_bleu", split=split)
        assert ("smoothed_bleu" in metrics["below_floor"][split]) is is_below


@pytest.mark.parametrize("has_rows", [True, False])
def test_an_older_run_s_constants_are_chosen_when_it_is_scored_again(
    command, finished_run, tiny_data, tmp_path, has_rows
):
    run, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(finished_run, run)
    shutil.copytree(tiny_data, data)
    metrics = metrics_of(run)
    chosen = {key: metrics.pop(key) for key in ("constants", "floors", "below_floor")}
    (run / "metrics.json").write_text(json.dumps(metrics))
    if not has_rows:
        (data / "train.jsonl").unlink()
    command("evaluate", f"run={run}", f"data.dir={data}", f"hydra.run.dir={tmp_path}/out")
    again = metrics_of(tmp_path / "out")
    assert again["constants"] == (chosen["constants"] if has_rows else {})
    assert again["floors"] == ({"test": chosen["floors"]["test"]} if has_rows else {"test": {}})
    command("evaluate", f"run={run}", "split=valid", f"data.dir={data}", f"hydra.run.dir={tmp_path}/valid")
    assert metrics_of(tmp_path / "valid")["floors"].keys() == {"valid"}


def test_files_of_texts_say_that_the_constant_is_not_known(command, tmp_path, capsys):
    (tmp_path / "p").write_text("a b\n")
    command(
        "evaluate", f"predictions={tmp_path}/p", f"references={tmp_path}/p", f"hydra.run.dir={tmp_path}/o"
    )
    assert metrics_of(tmp_path / "o")["floors"] == {"test": {}}
    assert "one text for all rows would score isn't known" in " ".join(capsys.readouterr().out.split())


METRICS = {
    "task": "code_search", "model": "mini", "method": "full",
    "test": {"mrr": 0.193, "r_at_1": 0.5}, "signatures": dict.fromkeys(("mrr", "r_at_1"), "s|range:0-1|v:1"),
}  # fmt: skip
FLOORS = {"test": {"bm25": {"mrr": 0.481, "r_at_1": 0.382}, "chance": {"mrr": 0.006, "r_at_1": 0.001}}}


@pytest.mark.parametrize("width", [60, 120])
def test_a_run_below_its_floor_says_so_in_one_line(width):
    metrics = METRICS | compare_with_floors(METRICS, FLOORS)
    assert metrics["below_floor"] == {"test": ["mrr"]}
    console = Console(width=width, file=io.StringIO())
    console.print(scores_table(metrics, width=width))
    print_floors(console, metrics, split="test")
    text = " ".join(console.file.getvalue().split())
    assert "no better than without a model: mrr 0.1930 (bm25: 0.4810)" in text
    assert "chance 0.0060 a random order, on average" in text
    assert any("0.1930" in line and "0.4810" in line for line in console.file.getvalue().splitlines()[:8])


def test_a_run_above_its_floor_or_without_one_says_nothing():
    better = METRICS | {"test": {"mrr": 0.6}}
    for floors in (FLOORS, {"test": {}}, {"test": {"always": {"mrr": 0.0}}}):
        metrics = better | compare_with_floors(better, floors)
        console = Console(file=io.StringIO())
        print_floors(console, metrics, split="test")
        assert metrics["below_floor"] == {"test": []}
        assert "no better" not in console.file.getvalue()


def test_a_report_shows_floors_and_which_runs_are_no_better(command, tmp_path):
    said = {
        "constants": {"best_target": "Returns a | b ."},
        "floors": {"test": {"best_target": {"smoothed_bleu": 9.5, "exact_match": 0.0}}},
    }
    write_job(tmp_path / "s", 0, ["k=base"], score=10.0, **said)
    write_job(tmp_path / "s", 1, ["k=3"], score=9.25, **said)
    write_job(tmp_path / "s", 2, ["k=6"], score=9.75)  # of an earlier version
    command("report", f"run={tmp_path}/s", "bootstrap=false", f"hydra.run.dir={tmp_path}/report")
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [cell["floors"]["smoothed_bleu"] for cell in found["cells"]] == [9.5, 9.5, None]
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| smoothed_bleu | floor | exact_match |" in text and "| 9.25 | 9.50 |" in text
    assert "no better than the floor: k=3" in text and r"'Returns a \| b .'" in text
    with (tmp_path / "report" / "report.csv").open() as file:
        assert [row["smoothed_bleu_floor"] for row in csv.DictReader(file)][:3] == ["9.5", "9.5", ""]
    assert "floor, no model" in (tmp_path / "report" / "report.svg").read_text()


def test_a_sweep_s_table_has_the_floor_beside():
    metrics = {"valid": {"mrr": 0.2}, "floors": {"valid": {"bm25": {"mrr": 0.5}}}}
    [row] = compare_jobs([Job(["k=0"], Path("0"), metrics)])
    assert (row["val_mrr"], row["val_mrr_floor"]) == (0.2, 0.5)


def test_search_has_bm25_and_chance_among_all_candidates():
    def row(name: str, query: str | None, source: str) -> Example:
        query_of = (Example(f"{name}#query", query or ""),)
        return Example(name, source, query, "ruby", {"code_id": name}, query_of)

    task = CodeSearchTask()
    asked = [row("a", "open the file", "def open_file; end"), row("b", "sort a list", "def shuffle; end")]
    searched = [task.without_query(row("c", "x", "def sort_list; end")), task.without_query(asked[0])]
    found = task.floors([*asked, *searched])
    assert found["bm25"]["mrr"] == pytest.approx((1 + 1 / 3) / 2)  # nothing of b's query is in b
    assert found["chance"]["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_clone_retrieval_has_chance():
    rows = [Example(str(i), "x", label) for i, label in enumerate("aabbb")]
    found = CloneRetrievalTask().floors(rows)["chance"]
    assert found.keys() == {"map_at_r"} and 0.25 < found["map_at_r"] < 0.5


def test_a_floor_that_no_float_holds_is_refused():
    """JSON has such numbers; a table that prints one would break."""
    assert not are_floors({"floors": {"test": {"bm25": {"mrr": 10**400}}}})
    assert are_floors({"floors": {"test": {"bm25": {"mrr": 1}}}})
