"""The table of a sweep's jobs."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from codeft.sweep import Job, by_validation, compare_jobs, comparison_table, validation_score
from codeft.types import CodeftError

SCORES = {"corpus_bleu": 41.256, "codebleu": 50.0, "codebleu_ngram": 1.0, "codebleu_weighted_ngram": 2.0}
METRICS = {
    "task": "translation", "model": "codet5", "method": "telly", "params": {"trainable": 3_936_512},
    "time": {"epoch_s": 1.5}, "best": {"epoch": 2, "val_corpus_bleu": 41.256, "val_rows": 7},
    "valid": SCORES, "signatures": {name: f"{name}|v:1" for name in SCORES},
}  # fmt: skip
JOBS = [
    Job(["method=telly", "k=0", "seed=1"], Path("sweep/0_k-0"), METRICS),
    Job(["method=telly", "k=3", "seed=1"], Path("sweep/1_k-3"), None, CodeftError("too hot")),
    Job(["method=telly", "k=6", "seed=1"], Path("sweep/2_k-6")),
]


def printed(width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(comparison_table(JOBS, compare_jobs(JOBS), width=width))
    return console.file.getvalue()


def test_a_row_says_what_differs_and_what_became_of_the_job():
    done, failed, stopped = compare_jobs(JOBS)
    assert done == {
        "job": 0, "k": "0", "status": "done", "trainable": 3_936_512, "epoch_s": 1.5, "best_epoch": 2,
        **{f"val_{name}": value for name, value in SCORES.items()}, "folder": "0_k-0",
    }  # fmt: skip
    assert failed == {"job": 1, "k": "3", "status": "failed", "folder": "1_k-3", "error": "too hot"}
    assert stopped["status"] == "stopped"


def test_a_row_says_which_k_was_chosen():
    auto = Job(["k=auto"], Path("sweep/3_k-auto"), {**METRICS, "k": 2, "k_choice": {"k": 2}})
    assert [row.get("chosen_k") for row in compare_jobs([JOBS[0], auto])] == [None, 2]


def test_a_narrow_table_leaves_the_last_scores_to_the_file():
    wide, narrow = printed(160), printed(70)
    assert "translation codet5 telly: 3 jobs" in wide and "41.26" in wide and "3.94 M" in wide
    assert "weighted" in wide and "comparison.csv" not in wide
    assert "41.26" in narrow and "weighted" not in narrow and "comparison.csv" in narrow
    assert all(f"{folder} " in narrow for folder in ("0_k-0", "1_k-3", "2_k-6"))


def job(score: float | None, *, name: str = "val_f1", mode: str = "max") -> Job:
    best = {} if score is None else {"epoch": 1, name: score, "val_rows": 7}
    return Job([], Path(str(score)), {"best": best, "mode": mode})


def test_the_best_on_validation_rows_comes_first():
    scores = (1.0, None, 3.0, float("nan"), 2.0)
    for mode, order in (("max", [2, 4, 0, 1, 3]), ("min", [0, 4, 2, 1, 3])):
        assert by_validation([job(score, mode=mode) for score in scores]) == order
    other = [job(1.0), job(2.0, name="val_mrr")]
    assert by_validation(other) == [0, 1], "scores of two kinds have no order"
    assert by_validation([Job([], Path("stopped")), job(1.0)]) == [1, 0]


def test_a_sweeper_is_given_the_validation_score():
    assert [validation_score(each) for each in (JOBS[0], JOBS[1], job(None))] == [41.256, None, None]


def test_test_scores_stand_behind_those_of_validation():
    [row] = compare_jobs([Job([], Path("a"), {**METRICS, "test": {"corpus_bleu": 1.0}})])
    names = [name for name in row if "corpus_bleu" in name]
    assert names == ["val_corpus_bleu", "test_corpus_bleu"] and row["test_corpus_bleu"] == 1.0
