"""When the test split is read, what stands there where it isn't, and the ledger of who read which."""

from __future__ import annotations

import csv
import json
import logging
import shutil
import threading
from pathlib import Path

import pytest
import torch
import yaml

from codeft.metrics import corpus_bleu, exact_match, smoothed_bleu
from codeft.run_folder import RunFolder
from codeft.split_reads import TEST, count_reads, note_read, read_ledger

AUTO = ["method=telly", "k=auto", "callbacks.layer_freeze.auto_steps=2", "trainer.max_epochs=1"]


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def untested(tiny_data, tmp_path_factory) -> Path:
    """The rows without a test split."""
    folder = tmp_path_factory.mktemp("untested")
    for split in ("train", "valid"):
        shutil.copy(tiny_data / f"{split}.jsonl", folder)
    return folder


@pytest.fixture(scope="module")
def done() -> dict[str, Path]:
    return {}


@pytest.fixture
def blind(command, tiny, untested, done, tmp_path_factory) -> Path:
    """A run that didn't read the test split, which wasn't there."""
    if "blind" not in done:
        done["blind"] = tmp_path_factory.mktemp("blind")
        words = [*tiny, f"data.dir={untested}", "test=false", "optimizer.lr=1e-2"]
        command("train", *words, f"hydra.run.dir={done['blind']}")
    return done["blind"]


def test_a_single_run_reads_the_test_once_at_its_end(command, tiny, tmp_path, capsys):
    command("train", *tiny, f"hydra.run.dir={tmp_path}")
    metrics, reads = metrics_of(tmp_path), lines_of(tmp_path / "split_reads.jsonl")
    assert [(read["split"], read["rows"]) for read in reads] == [("valid", 6), ("test", 7)]
    for read in reads:
        split = read["split"]
        assert read["scores"] == {**metrics[split], "loss": metrics[f"{split}_loss"]}
        assert read["command"] == metrics["command"] and read["time"].endswith("+00:00")
    assert "test read once" in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["test"] is True


def test_validation_scores_are_of_the_best_checkpoint_and_all_rows(blind, untested, capsys):
    metrics, rows = metrics_of(blind), lines_of(blind / "valid_predictions.jsonl")
    inputs = lines_of(untested / "valid.jsonl")
    assert [row["source"] for row in rows] == [row["code"] for row in inputs]
    predictions, references = [row["prediction"] for row in rows], [row["reference"] for row in rows]
    scores = {"smoothed_bleu": smoothed_bleu, "corpus_bleu": corpus_bleu, "exact_match": exact_match}
    for name, score in scores.items():
        assert metrics["valid"][name] == pytest.approx(score(predictions, references), abs=1e-4)
        assert metrics["signatures"][name].startswith(name)
    best = metrics["best"]
    assert metrics["valid"]["smoothed_bleu"] == pytest.approx(best["val_smoothed_bleu"], rel=1e-6)
    assert not {"test", "test_loss"} & metrics.keys() and metrics["floors"].keys() == {"valid"}
    assert metrics["rows"] == {"train": 22, "valid": 6, "skipped": 0}
    assert not (blind / "predictions.jsonl").exists()
    assert read_ledger(RunFolder(blind))[0]["split"] == "valid"


def test_predictions_are_of_the_best_epoch_not_the_last(command, tiny, tmp_path):
    """After the first epoch the learning rate is so high that the weights are spoilt."""
    words = [*tiny, "optimizer.lr=1e-2", "trainer.max_epochs=6", "test=false"]
    command("train", *words, f"hydra.run.dir={tmp_path}/run")
    command("evaluate", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/again")
    again = metrics_of(tmp_path / "again")
    assert again["reproduced"] is True and "test" not in again  # null: what the run scored
    name = "valid_predictions.jsonl"
    assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_sweep_never_opens_the_test(command, tiny, untested, tmp_path, capsys):
    words = [*tiny, f"data.dir={untested}", "seed=1,2,3", "trainer.max_epochs=1", "optimizer.lr=1e-2"]
    command("train", "-m", *words, f"hydra.sweep.dir={tmp_path}")
    folders = sorted(path.parent for path in tmp_path.glob("*/metrics.json"))
    assert len(folders) == 3
    for folder in folders:
        metrics = metrics_of(folder)
        assert metrics["valid"].keys() == metrics["signatures"].keys() and "test" not in metrics
        assert (folder / "valid_predictions.jsonl").is_file()
        assert not (folder / "predictions.jsonl").exists()
        assert [read["split"] for read in read_ledger(RunFolder(folder))] == ["valid"]
        assert yaml.safe_load((folder / "config.yaml").read_text())["test"] is False
    rows = list(csv.DictReader((tmp_path / "comparison.csv").open()))
    scores = [float(row["val_smoothed_bleu"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert {f"val_{name}" for name in metrics["valid"]} < rows[0].keys()
    assert not [name for name in rows[0] if name.startswith("test")]
    said = capsys.readouterr().out
    assert "the test split is read, once, by" in said and "split=test" in said


def test_a_sweep_that_asks_for_it_shows_the_test_behind_validation(command, tiny, tmp_path):
    words = [*tiny, "seed=1,2", "trainer.max_epochs=1", "test=true"]
    command("train", "-m", *words, f"hydra.sweep.dir={tmp_path}/sweep")
    rows = list(csv.DictReader((tmp_path / "sweep" / "comparison.csv").open()))
    names = [name for name in rows[0] if "smoothed_bleu" in name]
    assert names == ["val_smoothed_bleu", "val_smoothed_bleu_floor", "test_smoothed_bleu"]
    command("report", f"run={tmp_path}/sweep", f"hydra.run.dir={tmp_path}/report")
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    [cell] = found["cells"]
    runs = [metrics_of(Path(folder)) for folder in cell["folders"]]
    for key, split in (("scores", "valid"), ("test_scores", "test")):
        mean = sum(run[split]["smoothed_bleu"] for run in runs) / 2
        assert cell[key]["smoothed_bleu"]["mean"] == pytest.approx(mean)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "test_smoothed_bleu" in text
    assert "scores of validation rows; test read 2 times by 2 of 2 runs" in text


def test_k_auto_never_opens_the_test(command, tiny, untested, tmp_path, monkeypatch):
    from codeft.data.datamodule import CodeDataModule

    read = []
    real = CodeDataModule.read
    monkeypatch.setattr(CodeDataModule, "read", lambda self, split: read.append(split) or real(self, split))
    command("train", *tiny, *AUTO, f"data.dir={untested}", f"hydra.run.dir={tmp_path}/run")
    assert set(read) == {"train", "valid"}
    metrics = metrics_of(tmp_path / "run")
    assert "k_choice" in metrics and metrics["valid"] and "test" not in metrics
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["test"] is False


@pytest.mark.parametrize("words", [AUTO, ["method=telly", "callbacks.layer_freeze.k=auto", *AUTO[2:]]])
def test_k_auto_tests_where_it_is_asked_to(command, tiny, tmp_path, words):
    command("train", *tiny, *words, "test=true", f"hydra.run.dir={tmp_path}")
    assert metrics_of(tmp_path)["test"]


def test_a_resumed_run_is_as_blind_as_it_was(command, blind, tmp_path):
    run = Path(shutil.copytree(blind, tmp_path / "run"))
    command("train", f"resume={run}", "trainer.max_epochs=3")
    metrics = metrics_of(run)
    assert metrics["training"]["epochs"] == 3 and metrics["valid"] and "test" not in metrics


def test_the_test_is_read_by_one_deliberate_command(command, tiny_data, blind, tmp_path, capsys):
    run = Path(shutil.copytree(blind, tmp_path / "run"))
    folder = RunFolder(run)
    assert count_reads(folder, split=TEST, metrics=folder.load_metrics()) == 0
    command("evaluate", f"run={run}", f"hydra.run.dir={tmp_path}/valid")
    assert "test not read" in capsys.readouterr().out
    for number, said in ((1, "test read once"), (2, "test read 2 times")):
        out = tmp_path / f"test{number}"
        command("evaluate", f"run={run}", "split=test", f"data.dir={tiny_data}", f"hydra.run.dir={out}")
        metrics = metrics_of(out)
        assert metrics["test_reads"] == number and said in capsys.readouterr().out
        read = read_ledger(folder)[-1]
        assert (read["split"], read["rows"]) == ("test", 7) and "split=test" in read["command"][0]
        assert read["scores"] == {**metrics["test"], "loss": metrics["test_loss"]}
    assert "test" not in metrics_of(run), "the run's own scores stay as they are"
    stored = f"predictions={run}/valid_predictions.jsonl"
    command("evaluate", stored, "task=summarization", f"hydra.run.dir={tmp_path}/stored")
    assert [read["split"] for read in read_ledger(folder)][-3:] == ["test", "test", "valid"]


def test_settings_of_a_tested_run_are_compared_on_validation_rows(command, finished_run, tmp_path):
    """A sweep of `evaluate` is a sweep, though the run was tested at its own end."""
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    before = count_reads(RunFolder(run), split=TEST, metrics=metrics_of(run))
    words = [f"run={run}", "task.num_beams=1,2"]
    command("evaluate", "-m", *words, f"hydra.sweep.dir={tmp_path}/sweep")
    found = [json.loads(path.read_text()) for path in (tmp_path / "sweep").glob("*/metrics.json")]
    assert len(found) == 2
    assert all(metrics["valid"] and "test" not in metrics for metrics in found)
    assert count_reads(RunFolder(run), split=TEST, metrics=metrics_of(run)) == before
    command("evaluate", "-m", *words, "split=test", f"hydra.sweep.dir={tmp_path}/asked")
    assert count_reads(RunFolder(run), split=TEST, metrics=metrics_of(run)) == before + 2


def test_a_run_from_before_is_still_read(command, finished_run, tiny_data, tmp_path, capsys):
    """Its config has no key `test`, its metrics no validation scores, its checkpoint none, and no ledger."""
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    for name in ("split_reads.jsonl", "valid_predictions.jsonl"):
        (run / name).unlink()
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["test"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    metrics = metrics_of(run)
    for key in ("valid", "valid_loss", "valid_empty_predictions", "mode"):
        metrics.pop(key)
    (run / "metrics.json").write_text(json.dumps(metrics))
    for name in ("best", "last"):
        checkpoint = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
        del checkpoint["valid"]
        torch.save(checkpoint, run / "checkpoints" / f"{name}.ckpt")
    folder = RunFolder(run)
    assert count_reads(folder, split=TEST, metrics=metrics) == 1, "it has been, whoever noted it"
    command("evaluate", f"run={run}", f"hydra.run.dir={tmp_path}/again")
    again = metrics_of(tmp_path / "again")
    assert again["reproduced"] is True and again["test_reads"] == 2, "its own, which it didn't note, and this"
    command("train", f"resume={run}", "trainer.max_epochs=13")
    again = metrics_of(run)
    assert again["training"]["epochs"] == 13 and again["test"] and again["best"]["epoch"] >= 1


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path):
    folder = RunFolder(tmp_path)
    note_read(folder, split="valid", command=["codeft train"], rows=6, scores={"f1": 0.5})
    whole = folder.split_reads.read_bytes()
    folder.split_reads.write_bytes(whole + whole[: len(whole) // 2])
    note_read(folder, split="test", command=["codeft evaluate"], rows=7, scores={"f1": 0.25})
    assert [read["split"] for read in read_ledger(folder)] == ["valid", "test", "test"]
    assert read_ledger(folder)[-1]["scores"] == {"f1": 0.25}
    assert count_reads(folder, split="test", metrics={}) == 2, "what can't be read counts as a reading"


@pytest.mark.parametrize(
    ("noted", "scored", "expected"),
    [
        (["codeft train a"], True, 1),
        (["codeft train a", "codeft evaluate b"], True, 2),
        (["codeft evaluate b"], True, 2),  # a run from before there were ledgers noted none of its own
        (["codeft evaluate b"], False, 1),
        (["codeft evaluate b", "codeft train a", "codeft evaluate b"], True, 3),
        ([], True, 1),
    ],
)
def test_a_run_s_own_test_counts_once_whether_it_noted_it_or_not(tmp_path, noted, scored, expected):
    folder = RunFolder(tmp_path)
    for command in noted:
        note_read(folder, split=TEST, command=[command], rows=7, scores={"f1": 0.25})
    note_read(folder, split="valid", command=["codeft train a"], rows=7, scores={"f1": 0.25})
    metrics = {TEST: {"f1": 0.25}} if scored else {}
    assert count_reads(folder, split=TEST, metrics=metrics) == expected


def test_lines_that_are_added_at_once_stay_whole(tmp_path):
    folder, each = RunFolder(tmp_path), 25

    def note(name: str) -> None:
        for number in range(each):
            note_read(folder, split=name, command=[name * 500], rows=number, scores={})

    threads = [threading.Thread(target=note, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reads = lines_of(folder.split_reads)
    for name in "abcd":
        assert [read["rows"] for read in reads if read["split"] == name] == list(range(each))


def test_a_folder_that_takes_no_ledger_is_no_obstacle(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        note_read(RunFolder(tmp_path / "gone"), split="test", command=[], rows=7, scores={})
    assert "this reading isn't noted" in caplog.text
