"""A sweep as tables and pictures: what varied, what came of it, what is published, and what failed."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from codeft.published import published_runs

TEXT = "return the sum of all values in a list that are not none and raise an error"
WORDS = TEXT.split()


def sentence(row: int, *, wrong: int = 0) -> str:
    """A reference of nine words, or one with its last words wrong."""
    words = [WORDS[(row * 7 + i) % len(WORDS)] for i in range(9)]
    return " ".join(words[: 9 - wrong] + ["wrong"] * wrong)


def write_job(
    sweep: Path,
    number: int,
    overrides: list[str],
    *,
    score: float | None = 10.0,
    wrong: int = 0,
    rows: int = 40,
    **changes,
) -> Path:
    """A job's files as `codeft.train -m` writes them; without a score it didn't come to its end."""
    folder = sweep / f"{number}_{'-'.join(overrides).replace('=', '-')}"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    if score is None:
        return folder
    typed = dict(word.split("=", 1) for word in overrides)
    metrics = {
        "task": "summarization", "model": "unixcoder", "method": typed.get("method", "telly"),
        "lang": "python", "seed": int(typed.get("seed", 1)),
        "params": {"total": 9_000_000, "trainable": 5_000_000},
        "best": {"epoch": 3, "val_smoothed_bleu": 9.0, "val_rows": 4}, "time": {"epoch_s": 2.0},
        "test": {"exact_match": 0.0, "smoothed_bleu": score},
        "signatures": {"exact_match": "exact_match|v:1", "smoothed_bleu": "smoothed_bleu|v:1"},
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics | changes))
    with (folder / "predictions.jsonl").open("w") as file:
        for row in range(rows):
            told = {"reference": sentence(row), "prediction": sentence(row, wrong=wrong), "id": str(row)}
            file.write(json.dumps({**told, "source": "x"}) + "\n")
    return folder


@pytest.fixture
def report(command, tmp_path):
    """Report on a sweep and return what `report.json` holds."""

    def run(sweep: Path, *arguments: str) -> dict:
        command("report", f"run={sweep}", *arguments, f"hydra.run.dir={tmp_path}/report")
        return json.loads((tmp_path / "report" / "report.json").read_text())

    return run


@pytest.fixture
def fails(command, tmp_path):
    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            command("report", *arguments, f"hydra.run.dir={tmp_path}/report")
        return str(stopped.value)

    return run


def test_a_real_sweep(command, tiny, report, tmp_path, capsys):
    """Of three jobs, one asked for more layers than there are: it is told, not hidden."""
    sweep = tmp_path / "a sweep"
    with pytest.raises(SystemExit, match="1 of 3 jobs failed"):
        command("train", "-m", *tiny, "method=telly", "k=1,base,99", f"hydra.sweep.dir={sweep}")
    before = {path: path.stat().st_mtime_ns for path in sweep.rglob("*")}
    capsys.readouterr()
    found = report(sweep)
    assert [cell["x"] for cell in found["cells"]] == ["base", "1"]
    base, frozen = found["cells"]
    assert frozen["trainable"]["mean"] < base["trainable"]["mean"]
    assert frozen["baseline"] == "base" and base["baseline"] is None
    stored = json.loads((Path(frozen["folders"][0]) / "metrics.json").read_text())
    assert found["split"] == "valid" and "test" not in stored and set(found["test_reads"].values()) == {0}
    assert frozen["scores"]["smoothed_bleu"]["mean"] == stored["valid"]["smoothed_bleu"]
    times = stored["time"]
    to_best = times["epoch_s"] * stored["best"]["epoch"] + times["cache_s"]
    assert frozen["to_best_s"]["mean"] == pytest.approx(to_best)
    assert 0 < frozen["differences"]["smoothed_bleu"]["p"] <= 1
    [failed] = found["jobs"]
    assert (failed["job"], failed["status"]) == ("k=99", "failed") and "k must be base, auto" in failed[
        "error"
    ]
    said = capsys.readouterr().out
    assert "summarization mini by k" in said and "k=99" in said and "k must be base, auto" in said
    assert before == {path: path.stat().st_mtime_ns for path in sweep.rglob("*")}


def test_seeds_are_one_row_in_the_order_of_k(report, tmp_path):
    scores = {"10": (1.0, 3.0), "base": (5.0, 5.5), "2": (2.0, 2.0)}
    number = 0
    for k, values in scores.items():
        for seed, value in enumerate(values, start=1):
            wrong = {"10": 6, "base": 0, "2": 1}[k]
            write_job(tmp_path / "sweep", number, [f"k={k}", f"seed={seed}"], score=value, wrong=wrong)
            number += 1
    found = report(tmp_path / "sweep")
    assert [cell["x"] for cell in found["cells"]] == ["base", "2", "10"]
    base, second, tenth = found["cells"]
    assert tenth["scores"]["smoothed_bleu"] == {"mean": 2.0, "deviation": pytest.approx(2**0.5)}
    assert len(base["folders"]) == 2 and base["baseline"] is None
    assert second["baseline"] == tenth["baseline"] == "base"
    assert tenth["differences"]["smoothed_bleu"]["high"] < second["differences"]["smoothed_bleu"]["low"] < 0
    assert tenth["differences"]["smoothed_bleu"]["p"] < 0.01
    assert list(found["signatures"]) == ["smoothed_bleu", "exact_match"]  # what picks checkpoints comes first
    text = (tmp_path / "report" / "report.md").read_text()
    assert (
        "| 10 | 2 | 5.00 | 2.0 ± 0.0 |" not in text and "| 10 | 2 | 5.00 | 2.0 | 6.0 | 2.00 ± 1.41 |" in text
    )
    latex = (tmp_path / "report" / "report.tex").read_text()
    assert r"10 & 2 & 5.00 & 2.0 & 6.0 & 2.00 $\pm$ 1.41" in latex and r"smoothed\_bleu" in latex


def test_published_rows_stand_beside(report, tmp_path):
    for number, k in enumerate(("base", "0", "11")):
        write_job(tmp_path / "sweep", number, [f"k={k}"], score=20.0 - number, wrong=number)
    found = report(tmp_path / "sweep")
    there = published_runs(task="summarization", model="unixcoder", lang="python")
    assert len(found["published"]) == len(there) == 13
    rows = list(csv.DictReader((tmp_path / "report" / "report.csv").open()))
    assert len(rows) == 3 + 13 and [row["k"] for row in rows[:5]] == ["base", "0", "11", "base", "0"]
    assert float(rows[3]["smoothed_bleu"]) == there[0].scores["smoothed_bleu"]
    assert float(rows[3]["to_best_s"]) == there[0].epoch_s * there[0].epochs_to_best
    text = (tmp_path / "report" / "report.md").read_text()
    assert "## published" in text and "| telly k=6 | codesearchnet | 42.53 |" in text
    assert "arXiv 2304.05216" in text
    picture = (tmp_path / "report" / "report.svg").read_text()
    assert "published (codesearchnet)" in picture and "time an epoch, baseline = 1" in picture
    assert (tmp_path / "report" / "report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("width", "is_that_model"), [(768, True), (96, False)])
def test_published_rows_are_of_that_size(report, tmp_path, width, is_that_model):
    for number, k in enumerate(("base", "0")):
        folder = write_job(tmp_path / "sweep", number, [f"k={k}"])
        sizes = f"{{hidden_size: {width}, num_hidden_layers: 12}}"
        (folder / "config.yaml").write_text(f"model: {{architecture: {sizes}}}\n")
    assert bool(report(tmp_path / "sweep")["published"]) == is_that_model


def test_further_keys_make_lines_each_with_its_own_baseline(report, tmp_path):
    number = 0
    for lang in ("java", "ruby"):
        for k in ("base", "3"):
            words = [f"lang={lang}", f"k={k}"]
            write_job(tmp_path / "sweep", number, words, lang=lang, wrong=number, rows=20 + 5 * number)
            number += 1
    found = report(tmp_path / "sweep")
    assert [(c["line"], c["x"]) for c in found["cells"]] == [
        ({"lang": lang}, k) for lang in ("java", "ruby") for k in ("base", "3")
    ]
    assert found["published"] == []
    assert found["cells"][1]["not_tested"] == "the runs weren't scored on the same rows"  # theirs differ
    other = report(tmp_path / "sweep", "by=lang", "baseline=java", "scores=[exact_match]", "bootstrap=false")
    assert [(c["x"], c["line"]) for c in other["cells"]][:2] == [
        ("java", {"k": "base"}),
        ("ruby", {"k": "base"}),
    ]
    assert list(other["signatures"]) == ["exact_match"] and other["bootstrap_signature"] is None


def test_a_method_is_compared_with_full_at_the_same_place(report, tmp_path):
    number = 0
    for method in ("full", "[sat,telly]"):
        for limit in ("100", "1000"):
            write_job(
                tmp_path / "sweep", number, [f"method={method}", f"data.train_limit={limit}"], wrong=number
            )
            number += 1
    found = report(tmp_path / "sweep")
    assert found["by"] == "data.train_limit"
    assert [cell["baseline"] for cell in found["cells"]] == [None, None, "100", "1000"]
    assert "[sat,telly]" in (tmp_path / "report" / "report.md").read_text()


def test_seeds_that_one_of_two_lacks_are_told(report, tmp_path):
    """The difference is one of the seeds in common, and so not that of the means in the table."""
    for number, (k, seed) in enumerate([("base", 1), ("base", 2), ("1", 2), ("2", 1), ("2", 2)]):
        write_job(tmp_path / "sweep", number, [f"k={k}", f"seed={seed}"], wrong=number)
    report(tmp_path / "sweep")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "1 against base: only of seed 2, which both have" in text
    assert "2 against base" not in text


def test_what_can_t_be_tested_says_why(report, tmp_path):
    sweep = tmp_path / "sweep"
    write_job(sweep, 0, ["k=base"])
    (write_job(sweep, 1, ["k=1"]) / "predictions.jsonl").unlink()
    (write_job(sweep, 2, ["k=2"]) / "predictions.jsonl").write_text('{"prediction": 5}\n')
    write_job(sweep, 3, ["k=3"], task="unheard")
    write_job(sweep, 4, ["k=4"], seed=77)
    reasons = {cell["x"]: cell["not_tested"] for cell in report(sweep)["cells"]}
    assert reasons["base"] == "" and "there is no" in reasons["1"] and "predictions.jsonl" in reasons["2"]
    assert "task=unheard has no scores" in reasons["3"] and reasons["4"] == "no seed is in both"
    assert "no seed is in both" in (tmp_path / "report" / "report.md").read_text()


def test_jobs_that_aren_t_finished_are_listed(report, tmp_path, capsys):
    sweep = tmp_path / "sweep"
    write_job(sweep, 0, ["k=base"])
    write_job(sweep, 1, ["k=1"], score=None)
    write_job(sweep, 2, ["k=2"], score=None)
    (write_job(sweep, 3, ["k=3"]) / "metrics.json").write_text("[" * 3000)
    (write_job(sweep, 4, ["k=4"], score=None) / ".hydra" / "overrides.yaml").write_text("{")
    told = "job,k,status,folder,error\n2,2,failed,2_k-2,too [bold]hot[/] | far\n"
    (sweep / "comparison.csv").write_text(told)
    asked = {"hydra": {"overrides": {"task": ["k=base,1,2,3,4,5"]}}}
    (sweep / "multirun.yaml").write_text(yaml.safe_dump(asked))
    found = report(sweep)
    assert [cell["x"] for cell in found["cells"]] == ["base"]
    status = {job["job"]: (job["status"], job["error"]) for job in found["jobs"]}
    assert status["k=1"] == ("unfinished", "") and status["k=2"] == ("failed", "too [bold]hot[/] | far")
    assert status["k=3"][0] == status["4_k-4"][0] == "unreadable"
    assert "expected a run's scores" in status["k=3"][1] and "can't be read" in status["4_k-4"][1]
    assert "too [bold]hot[/]" in " ".join(capsys.readouterr().out.split())
    assert r"\| far" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    "changes",
    [{"signatures": 3}, {"signatures": {"smoothed_bleu": 1}}, {"best": [1]}, {"time": [1, 2]},
     {"params": "x"}, {"time": {"epoch_s": "long"}}, {"params": {"trainable": None}}, {"k_choice": "garbage"},
     {"k_choice": {"seconds": "abc"}}, {"best": {"epoch": "first"}}],
)  # fmt: skip
def test_a_job_whose_numbers_are_damaged_is_no_obstacle(report, tmp_path, changes):
    write_job(tmp_path / "s", 0, ["k=base"])
    write_job(tmp_path / "s", 1, ["k=3"], **changes)
    write_job(tmp_path / "s", 2, ["k=6"])
    told = report(tmp_path / "s", "bootstrap=false")
    assert [cell["x"] for cell in told["cells"]] == ["base", "6"]
    assert [job["status"] for job in told["jobs"]] == ["unreadable"]


def test_jobs_that_never_began_are_listed(report, tmp_path):
    sweep = tmp_path / "sweep"
    write_job(sweep, 0, ["method=telly", "k=base", "seed=1"])
    write_job(sweep, 1, ["method=telly", "k=base", "seed=2"])
    asked = {"hydra": {"overrides": {"task": ["method=telly", "k=base,1", "seed=1,2"]}}}
    (sweep / "multirun.yaml").write_text(yaml.safe_dump(asked))
    jobs = report(sweep)["jobs"]
    assert [(job["job"], job["status"]) for job in jobs] == [
        ("k=1 seed=1", "not started"),
        ("k=1 seed=2", "not started"),
    ]
    for broken in (
        "[",
        "{}",
        "hydra: 5",
        "hydra: {overrides: {task: [k=]}}",
        "hydra: {overrides: {task: 7}}",
    ):
        (sweep / "multirun.yaml").write_text(broken)
        assert report(sweep)["jobs"] == []


def test_nothing_but_the_seed_varies(report, tmp_path):
    for seed in (1, 2, 3):
        write_job(tmp_path / "sweep", seed, ["method=telly", f"seed={seed}"], score=float(seed))
    found = report(tmp_path / "sweep")
    [cell] = found["cells"]
    assert found["by"] is None and cell["scores"]["smoothed_bleu"] == {"mean": 2.0, "deviation": 1.0}
    assert report(tmp_path / "sweep", "by=method")["cells"][0]["x"] == "telly"


def test_numbers_that_a_job_lacks(report, tmp_path):
    write_job(tmp_path / "sweep", 0, ["k=base"], best={}, time={}, params={}, signatures={})
    write_job(tmp_path / "sweep", 1, ["k=1"], test={"corpus_bleu": 4.0})
    write_job(tmp_path / "sweep", 2, ["k=2"], time={"epoch_s": 2.0, "cache_s": 0.5})
    first, second, third = report(tmp_path / "sweep")["cells"]
    assert third["to_best_s"]["mean"] == 6.5  # three epochs, and what was computed before them
    assert first["epoch_s"] is first["to_best_s"] is first["trainable"] is None
    assert first["scores"]["corpus_bleu"] is None and second["scores"]["corpus_bleu"]["mean"] == 4.0


def test_a_chosen_k(report, tmp_path):
    """What was chosen is told, and what choosing took counts."""
    write_job(tmp_path / "sweep", 0, ["k=base", "seed=1"])
    for seed in (1, 2):
        choice = {"k": 4 + seed, "seconds": 30.0 * seed}
        write_job(tmp_path / "sweep", seed, ["k=auto", f"seed={seed}"], k=4 + seed, k_choice=choice)
    base, auto = report(tmp_path / "sweep")["cells"]
    assert (base["to_best_s"]["mean"], auto["to_best_s"]["mean"]) == (6.0, 6.0 + 45.0)
    assert "auto: K is 5, 6" in (tmp_path / "report" / "report.md").read_text()


def test_runs_from_before_stand_beside_others_by_the_score_that_picked_them(report, tmp_path):
    """Of a run without validation scores the best of the one that picks checkpoints is known, and no rows."""
    sweep, scores = tmp_path / "sweep", {"smoothed_bleu": 8.0, "exact_match": 0.0}
    new = write_job(sweep, 0, ["k=base"], valid=scores)
    (new / "predictions.jsonl").rename(new / "valid_predictions.jsonl")
    metrics = json.loads((new / "metrics.json").read_text())
    del metrics["test"]
    (new / "metrics.json").write_text(json.dumps(metrics))
    write_job(sweep, 1, ["k=1"], score=10.0)
    found = report(sweep)
    base, before = found["cells"]
    assert found["split"] == "valid"
    assert (base["scores"]["smoothed_bleu"]["mean"], before["scores"]["smoothed_bleu"]["mean"]) == (8.0, 9.0)
    assert base["test_scores"]["smoothed_bleu"] is None
    assert before["test_scores"]["smoothed_bleu"]["mean"] == 10.0
    assert "there is no" in before["not_tested"] and "valid_predictions.jsonl" in before["not_tested"]
    assert sorted(found["test_reads"].values()) == [0, 1], "a run from before has read it, whoever noted that"
    text = (tmp_path / "report" / "report.md").read_text()
    assert "scores of validation rows; test read once by 1 of 2 runs" in text
    picture = (tmp_path / "report" / "report.svg").read_text()
    assert "smoothed_bleu, validation" in picture and "published, test rows" in picture


def test_validation_rows_are_what_differences_are_tested_on(report, tmp_path):
    for number, (k, wrong) in enumerate((("base", 0), ("1", 4))):
        folder = write_job(
            tmp_path / "sweep", number, [f"k={k}"], wrong=0, valid={"smoothed_bleu": 9.0 - wrong}
        )
        rows = [{"reference": sentence(row), "prediction": sentence(row, wrong=wrong)} for row in range(30)]
        text = "".join(json.dumps({**row, "id": "x", "source": "x"}) + "\n" for row in rows)
        (folder / "valid_predictions.jsonl").write_text(text)
    difference = report(tmp_path / "sweep")["cells"][1]["differences"]["smoothed_bleu"]
    assert difference["high"] < 0, "on test rows both are the same"


def test_errors(fails, finished_run, tmp_path):
    sweep = tmp_path / "sweep"
    assert "report needs run=" in fails()
    assert "isn't one" in fails(f"run={sweep}")
    sweep.mkdir()
    assert "there is no job in" in fails(f"run={sweep}")
    assert "is one run's folder" in fails(f"run={finished_run}")
    write_job(sweep, 0, ["k=base", "lr=1"], score=None)
    assert "is finished: unfinished" in fails(f"run={sweep}")
    write_job(sweep, 1, ["k=0", "lr=1"])
    assert "by=alpha: the sweep's jobs weren't given it; they were: k, lr" in fails(
        f"run={sweep}", "by=alpha"
    )
    assert "no run has the score 'mrr'" in fails(f"run={sweep}", "scores=[mrr]")
    assert "no run has the score" in fails(f"run={sweep}", "scores=[]")
    assert "bootstrap must be true or false" in fails(f"run={sweep}", "bootstrap=7")
    for number in range(2):
        write_job(tmp_path / "other", number, [f"size={number}", f"width={number}"])
    assert "differ in size, width: say which" in fails(f"run={tmp_path}/other")


def test_help_loads_nothing_slow():
    code = """
import sys
sys.argv = ["codeft report", "--help"]
import codeft.report
codeft.report.main()
slow = {"torch", "transformers", "hydra", "omegaconf", "matplotlib"}
print(sorted(slow & set(sys.modules)))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]" and "run=outputs/my-sweep" in said


def test_a_baseline_that_is_not_there_is_told(report, fails, tmp_path):
    for number, k in enumerate((0, 3)):
        write_job(tmp_path / "sweep", number, [f"k={k}"])
    report(tmp_path / "sweep")
    told = (tmp_path / "report" / "report.md").read_text()
    assert "no differences: no run has k=base to compare with; baseline= names another value" in told
    report(tmp_path / "sweep", "baseline=0")
    assert "no differences" not in (tmp_path / "report" / "report.md").read_text()
    report(tmp_path / "sweep", "bootstrap=false")
    assert "no differences" not in (tmp_path / "report" / "report.md").read_text()
    said = fails(f"run={tmp_path}/sweep", "baseline=9")
    assert "no finished run has k=9, which baseline= names; there are: 0, 3" in said
