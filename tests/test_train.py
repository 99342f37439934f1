"""Whole runs on a tiny model: what they leave behind, and what stops them."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

import codeft.fitting
from codeft.metrics import codebleu, codebleu_signature, corpus_bleu, exact_match, smoothed_bleu
from rows import write_codexglue, write_jsonl

KEYS = {
    "task", "model", "method", "data", "k", "alpha", "seed", "lang",
    "params", "best", "training", "valid", "test", "signatures", "constants", "floors", "below_floor", "time",
    "rows",
    "precision", "command", "versions", "commit",
}  # fmt: skip
CODEBLEU = {f"codebleu{part}" for part in ("", "_ngram", "_weighted_ngram", "_ast", "_dataflow")}
TIMES = {"epoch_s", "first_epoch_s", "val_s", "cache_s", "fit_s", "test_s"}


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def rows_of(folder: Path) -> list[dict]:
    return [
        json.loads(line)
        for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    ]


@pytest.fixture(scope="module")
def done() -> dict[str, Path]:
    """The folders of runs that several tests look at."""
    return {}


@pytest.fixture
def summarization(command, tiny, done, tmp_path_factory) -> Path:
    if "summarization" not in done:
        done["summarization"] = tmp_path_factory.mktemp("summarization")
        command("train", *tiny, "logger=csv", f"hydra.run.dir={done['summarization']}")
    return done["summarization"]


def test_a_run_folder_holds_everything(summarization, tiny_data):
    folder = summarization
    files = ("config.yaml", "metrics.json", "predictions.jsonl", "valid_predictions.jsonl",
             "split_reads.jsonl", "train.log", "tokenizer/tokenizer.json",
             "checkpoints/best.ckpt", "checkpoints/last.ckpt", "csv/version_0/metrics.csv")  # fmt: skip
    for name in files:
        assert (folder / name).is_file(), name
    metrics = metrics_of(folder)
    assert metrics.keys() >= KEYS
    assert metrics["time"].keys() >= TIMES
    assert all(metrics["time"][name] > 0 for name in TIMES - {"cache_s"})
    assert (metrics["task"], metrics["model"], metrics["method"]) == ("summarization", "mini", "full")
    assert metrics["k"] is None and metrics["alpha"] is None and metrics["seed"] == 1234
    assert metrics["rows"] == {"train": 22, "valid": 6, "test": 7, "skipped": 0}
    assert metrics["params"]["total"] == metrics["params"]["trainable"] > 0
    assert metrics["precision"] == "32-true"
    [command] = metrics["command"]
    assert shlex.split(command)[:2] == ["codeft", "train"] and f"hydra.run.dir={folder}" in command
    assert metrics["versions"]["torch"] == torch.__version__.partition("+")[0] or metrics["versions"]["torch"]
    assert all(math.isfinite(score) for score in metrics["test"].values())
    assert metrics["training"] == {"epochs": 2, "steps": 12, "stopped_early": False}
    assert metrics["best"]["val_rows"] == 6


def test_the_log_tells_the_scores(summarization):
    log, metrics = (summarization / "train.log").read_text(), metrics_of(summarization)
    assert "train: 22 rows (22 python)" in log
    scores = re.findall(r"epoch (\d), step (\d+): val loss \d+\.\d+, smoothed_bleu (\d+\.\d+)", log)
    best = max(scores, key=lambda found: float(found[2]))
    assert [found[:2] for found in scores] == [("1", "6"), ("2", "12")]
    assert best == (
        *(str(metrics["best"][key]) for key in ("epoch", "step")),
        f"{metrics['best']['val_smoothed_bleu']:.4f}",
    )
    assert (
        f"test loss {metrics['test_loss']:.4f}, smoothed_bleu {metrics['test']['smoothed_bleu']:.4f}" in log
    )


def test_scores_are_those_of_the_written_predictions(summarization, tiny_data):
    rows, metrics = rows_of(summarization), metrics_of(summarization)
    inputs = [json.loads(line) for line in (tiny_data / "test.jsonl").read_text().splitlines()]
    assert [row["source"] for row in rows] == [row["code"] for row in inputs]
    predictions, references = [row["prediction"] for row in rows], [row["reference"] for row in rows]
    for name, score in (
        ("smoothed_bleu", smoothed_bleu),
        ("corpus_bleu", corpus_bleu),
        ("exact_match", exact_match),
    ):
        assert metrics["test"][name] == pytest.approx(score(predictions, references), abs=1e-4)
        assert metrics["signatures"][name].startswith(name)


def test_translation_runs_in_both_directions(command, tiny_model, tiny_pairs, tmp_path):
    arguments = [*tiny_model, "task=translation", "data=local", f"data.dir={tiny_pairs}", "logger=none"]
    for lang in ("java-cs", "cs-java"):
        folder = tmp_path / lang
        command("train", *arguments, f"lang={lang}", "trainer.max_epochs=1", f"hydra.run.dir={folder}")
        metrics, rows = metrics_of(folder), rows_of(folder)
        assert metrics["lang"] == lang
        assert metrics["test"].keys() == {"corpus_bleu", "exact_match", "sacrebleu", *CODEBLEU} - {
            "codebleu_dataflow"  # no reference has any
        }
        assert metrics["signatures"].keys() == metrics["test"].keys()
        assert metrics["signatures"]["codebleu_ast"] == codebleu_signature(lang.split("-")[1])
        sources, references = [row["source"] for row in rows], [row["reference"] for row in rows]
        assert sources[0].startswith("public int get200()" if lang == "java-cs" else "public int Get200 =>")
        copied = codebleu(sources, references, lang=lang.split("-")[1])
        copy = metrics["floors"]["test"]["naive_copy"]
        assert copy.keys() == metrics["test"].keys()
        assert copy["corpus_bleu"] == pytest.approx(corpus_bleu(sources, references))
        assert copy["exact_match"] == pytest.approx(exact_match(sources, references))
        assert copy["codebleu"] == pytest.approx(copied.codebleu)


@pytest.mark.parametrize(
    ("task", "scores", "floors"),
    [
        ("refinement", {"corpus_bleu", "exact_match", *CODEBLEU}, {"naive_copy"}),
        ("generation", {"corpus_bleu", "exact_match_split", *CODEBLEU}, set()),
        ("completion", {"edit_similarity", "exact_match_split"}, set()),
    ],
)
def test_published_layouts_run_where_there_is_no_training_split(
    command, tiny_model, tmp_path, task, scores, floors
):
    write_codexglue(tmp_path / "data", task, split="valid", start=0, count=12)
    write_codexglue(tmp_path / "data", task, split="test", start=50, count=4)
    data = ["data=codexglue", f"data.dir={tmp_path}/data", "data.splits.train=valid[4:]"]
    arguments = [*tiny_model, f"task={task}", *data, "data.splits.valid=valid[:4]", "logger=none"]
    folder = tmp_path / "run"
    command("train", *arguments, "trainer.max_epochs=1", f"hydra.run.dir={folder}")
    metrics = metrics_of(folder)
    assert metrics["rows"] == {"train": 8, "valid": 4, "test": 4, "skipped": 0}
    assert metrics["test"].keys() == metrics["signatures"].keys() == scores
    assert metrics["floors"]["test"].keys() == {"best_target", "grown_words"} | floors
    assert metrics["floors"]["valid"].keys() == metrics["floors"]["test"].keys()
    assert all(found.keys() == scores for found in metrics["floors"]["test"].values())
    command("evaluate", f"run={folder}", f"hydra.run.dir={tmp_path}/again")
    again = metrics_of(tmp_path / "again")
    assert again["reproduced"] is True
    assert again["constants"] == metrics["constants"]
    for floor, found in metrics["floors"]["test"].items():
        assert again["floors"]["test"][floor] == pytest.approx(found), floor
    lang = [] if task == "completion" else ["lang=java"]
    predictions = f"predictions={folder}/predictions.jsonl"
    command("evaluate", predictions, f"task={task}", *lang, f"hydra.run.dir={tmp_path}/scored")
    scored = metrics_of(tmp_path / "scored")
    for name, value in metrics["test"].items():
        assert scored["test"][name] == pytest.approx(value, abs=1e-9), name
        assert scored["signatures"][name] == metrics["signatures"][name]
    for floor in floors:
        for name, value in metrics["floors"]["test"][floor].items():
            assert scored["floors"]["test"][floor][name] == pytest.approx(value, abs=1e-9), name


BAD_FILES = {
    "unequal": (b"int a ;\nint b ;\n", b"int c ;\n", "as many lines .* but they have 2 and 1"),
    "empty": (b"", b"", "the train split is empty"),
    "not UTF-8": (b"int \xed\xa0\x80 ;\n", b"int c ;\n", r"train\.buggy-fixed\.buggy:1: expected UTF-8"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_of_a_published_layout(command, tiny_model, tmp_path, name):
    buggy, fixed, message = BAD_FILES[name]
    for split in ("train", "valid", "test"):
        write_codexglue(tmp_path, "refinement", split=split, start=0, count=3)
    (tmp_path / "train.buggy-fixed.buggy").write_bytes(buggy)
    (tmp_path / "train.buggy-fixed.fixed").write_bytes(fixed)
    arguments = [*tiny_model, "task=refinement", "data=codexglue", f"data.dir={tmp_path}", "logger=none"]
    with pytest.raises(SystemExit, match=message):
        command("train", *arguments, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/run")


def test_odd_characters_are_trained_on(command, tiny_model, tmp_path):
    odd = ["a\0b", "x \ud800 y", "c\r\nd", "e\nf", "\u2028"]
    rows = [{"nl": text, "code": f"{text} = {text} ;"} for text in odd]
    for split in ("train", "valid", "test"):
        write_jsonl(tmp_path / f"{split}.jsonl", rows)
    arguments = [*tiny_model, "task=generation", "data=local", f"data.dir={tmp_path}", "logger=none"]
    command("train", *arguments, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/run")
    assert [row["source"] for row in rows_of(tmp_path / "run")] == [
        "a\0b", "x \ufffd y", "c\r\nd", "e\nf", "\u2028"
    ]  # fmt: skip


@pytest.mark.parametrize("task", ["translation", "refinement", "generation", "completion"])
def test_a_misspelt_language_is_told(command, tiny_model, tmp_path, task):
    lang = "java-rubby" if task == "translation" else "rubby"
    with pytest.raises(SystemExit, match=r"out of python, .*got 'rubby'. Did you mean 'ruby'"):
        command("train", *tiny_model, f"task={task}", f"lang={lang}", f"hydra.run.dir={tmp_path}/run")


@pytest.mark.parametrize(("task", "lang"), [("translation", "java-kotlin"), ("generation", "sql")])
def test_a_language_without_a_grammar_is_text(command, tiny_model, tmp_path, task, lang, capsys):
    sides = ("java", "kotlin") if task == "translation" else ("nl", "code")
    for split in ("train", "valid", "test"):
        rows = [dict(zip(sides, (f"int a{i};", f"val a{i}"), strict=True)) for i in range(4)]
        write_jsonl(tmp_path / f"{split}.jsonl", rows)
    arguments = [*tiny_model, f"task={task}", f"lang={lang}", "data=local", f"data.dir={tmp_path}"]
    command(
        "train", *arguments, "method=sat", "alpha=0.1", "trainer.max_epochs=1", "logger=none",
        f"hydra.run.dir={tmp_path}/run",
    )  # fmt: skip
    assert (
        f"no grammar for {lang.rpartition('-')[2]}: its code is read and written as text"
        in capsys.readouterr().err
    )
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["lang"] == lang and "corpus_bleu" in metrics["test"]
    scored = [metrics["test"], *metrics["floors"]["test"].values()]
    assert len(scored) > 1 and not any("codebleu" in name for scores in scored for name in scores)
    command("evaluate", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/again")
    assert json.loads((tmp_path / "again" / "metrics.json").read_text(encoding="utf-8"))["reproduced"]


def test_the_same_seed_gives_the_same_run_and_another_another(command, tiny, summarization, tmp_path):
    for seed, same in ((1234, True), (1, False)):
        folder = tmp_path / str(seed)
        command("train", *tiny, f"seed={seed}", f"hydra.run.dir={folder}")
        ours, theirs = (
            torch.load(f / "checkpoints/last.ckpt", weights_only=True) for f in (folder, summarization)
        )
        equal = [torch.equal(ours["state_dict"][k], v) for k, v in theirs["state_dict"].items()]
        assert all(equal) if same else not any(equal)


def test_the_best_checkpoint_is_tested_not_the_last(command, tiny, tmp_path, monkeypatch):
    """Weights are ruined after the first validation; the test must not see it."""
    sizes: list[float] = []

    class Ruin(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                with torch.no_grad():
                    pl_module.model.network.shared.weight.zero_()

    def score_by_size(module: codeft.module.FineTuneModule, split: str, examples: object) -> None:
        sizes.append(module.model.network.shared.weight.norm().item())
        module.scores = {"loss": 0.0, module.task.monitor: sizes[-1]}
        module.signatures = {module.task.monitor: "a size"}
        module.log(f"{split}/{module.task.monitor}", sizes[-1])

    monkeypatch.setattr(codeft.module.FineTuneModule, "_finish", score_by_size)
    real = codeft.fitting.run_callbacks
    monkeypatch.setattr(codeft.fitting, "run_callbacks", lambda *arguments: [*real(*arguments), Ruin()])
    command("train", *tiny, f"hydra.run.dir={tmp_path}")
    first, second, tested = sizes
    assert tested == first > 2 * second
    assert metrics_of(tmp_path)["test"] == {"smoothed_bleu": tested}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("scheduler.warmup=nan", r"scheduler\.warmup must be a finite number"),
        ("trainer.gradient_clip_val=nan", r"trainer\.gradient_clip_val must be"),
        ("trainer.gradient_clip_val=-1", r"trainer\.gradient_clip_val must be"),
    ],
)
def test_a_number_that_is_none(command, tiny, tmp_path, override, said):
    with pytest.raises(SystemExit, match=said):
        command("train", *tiny, override, f"hydra.run.dir={tmp_path}/run")


def test_a_folder_in_a_files_place_is_told_before_training(command, tiny, tmp_path):
    (tmp_path / "run" / "metrics.json").mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"metrics\.json' to be free for a file"):
        command("train", *tiny, f"hydra.run.dir={tmp_path}/run")


def test_batch_tokens_instead_of_batch_size(command, tiny, tmp_path):
    command("train", *tiny, "data.batch_size=null", "data.batch_tokens=200", f"hydra.run.dir={tmp_path}")
    assert metrics_of(tmp_path)["test"]


def test_dry_run_trains_nothing_and_says_what_a_run_needs(command, tiny, tmp_path, capfd):
    command("train", *tiny, "dry_run=true", "method=telly", "k=1", f"hydra.run.dir={tmp_path}")
    metrics = metrics_of(tmp_path)
    assert not {"test", "valid"} & metrics.keys() and metrics["k"] == 1
    assert 0 < metrics["params"]["trainable"] < metrics["params"]["total"]
    assert {"longest_batch_memory_bytes", "estimated_epoch_s", "estimated_fit_s"} <= metrics["dry_run"].keys()
    assert all(value > 0 for value in metrics["dry_run"].values())
    assert not list(tmp_path.glob("checkpoints/*.ckpt"))
    assert "longest batch" in capfd.readouterr().out


def test_a_nan_loss_stops_the_run_and_names_the_last_good_checkpoint(command, tiny, tmp_path, monkeypatch):
    class Poison(pl.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            if trainer.global_step == 8:
                next(pl_module.parameters()).grad.fill_(math.nan)

    real = codeft.fitting.run_callbacks
    monkeypatch.setattr(codeft.fitting, "run_callbacks", lambda *arguments: [*real(*arguments), Poison()])
    for steps in (1, 1000):  # found when a checkpoint would be written, or at the next loss
        folder = tmp_path / str(steps)
        with pytest.raises(SystemExit, match=r"finite.*last good checkpoint: .*last\.ckpt"):
            command("train", *tiny, f"checkpoint.every_n_steps={steps}", f"hydra.run.dir={folder}")
        last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
        assert all(torch.isfinite(value).all() for value in last["state_dict"].values())
        assert not (folder / "metrics.json").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told_before_training(command, tiny, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(SystemExit, match="can't write into"):
        command("train", *tiny, f"hydra.run.dir={tmp_path / 'closed' / 'run'}")


def test_a_file_in_the_folders_place_is_told(command, tiny, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(SystemExit, match="can't write into"):
        command("train", *tiny, f"hydra.run.dir={tmp_path / 'run'}")


def test_a_full_disk_is_told_before_training(command, tiny, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(SystemExit, match=r"the checkpoints need .* GB"):
        command("train", *tiny, f"hydra.run.dir={tmp_path}")
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize(
    ("logger", "found"), [("tensorboard", "tensorboard/*/events*"), ("wandb", "wandb/offline-run*")]
)
def test_loggers_write_into_the_run_folder(command, tiny, tmp_path, monkeypatch, logger, found):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no account there
    command("train", *tiny, f"logger={logger}", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path / 'run'}")
    assert list((tmp_path / "run").glob(found))


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("data.batch_size=abc", "data.batch_size must be a whole number"),
        ("data.val_limit=-1", "data.val_limit must be at least 1, not -1"),
        ("data.pad_to_max=maybe", "data.pad_to_max must be true or false"),
        ("task.num_beams=1.5", "task.num_beams must be a whole number, not 1.5"),
        ("lang=[python]", "lang must be one value"),
        ("optimizer=null", "needs optimizer with keys of its own, not None"),
        ("callbacks=null", "needs callbacks with keys of its own"),
        ("+callbacks.mine={a: 1}", "callbacks.mine needs a _target_"),
        ("data.reader=null", "needs data.reader with keys of its own"),
        ("seed=-1", "seed must be a whole number from 0"),
        ("patience=0", "patience must be a whole number of at least 1"),
        ("dry_run=maybe", "dry_run must be true or false"),
        ("optimizer.lr=-1", "can't build torch.optim.AdamW: Invalid learning rate"),
        ("checkpoint.every_n_steps=x", "checkpoint.every_n_steps must be a whole number or null"),
        ("trainer.max_epochs=0", "trainer.max_epochs must be a whole number of at least 1"),
        ("trainer.max_epochs=-1", "trainer.max_epochs=-1 needs trainer.max_steps"),
        ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches must be"),
        ("test=maybe", "test must be true, false or null, not 'maybe'"),
        ("test=1", "test must be true, false or null, not 1"),
        ("trainer.precision=foo", "can't build pytorch_lightning.Trainer: Precision 'foo'"),
    ],
)
def test_a_value_of_a_wrong_type_or_size_is_told(command, tiny, tmp_path, argument, said):
    with pytest.raises(SystemExit, match=said):
        command("train", *tiny, argument, f"hydra.run.dir={tmp_path}")


def test_a_test_split_that_cannot_be_read_is_told_before_training(command, tiny, tiny_data, tmp_path):
    folder = shutil.copytree(tiny_data, tmp_path / "data")
    (folder / "test.jsonl").write_text("")
    with pytest.raises(SystemExit, match="the test split is empty"):
        command("train", *tiny, f"data.dir={folder}", f"hydra.run.dir={tmp_path}/run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_finished_run_is_not_overwritten(command, tiny, tmp_path):
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.parent.mkdir()
    best.write_bytes(b"of hours")
    (tmp_path / "metrics.json").write_text("scores")
    for argument in ("seed=1", "dry_run=true"):
        with pytest.raises(SystemExit, match=r"holds a run already.*resume="):
            command("train", *tiny, argument, f"hydra.run.dir={tmp_path}")
    assert best.read_bytes() == b"of hours"
    assert (tmp_path / "metrics.json").read_text() == "scores"


def test_a_relative_folder_is_found_from_another_one(command, tiny, tiny_data, tmp_path, monkeypatch):
    shutil.copytree(tiny_data, tmp_path / "here" / "rows, k=${1}")
    monkeypatch.chdir(tmp_path / "here")
    command(
        "train", *tiny, "data.dir=rows, k=${1}", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/r=1, (é)"
    )
    monkeypatch.chdir(tmp_path)
    command("evaluate", "run=r=1, (é)", "hydra.run.dir=again")
    assert json.loads((tmp_path / "again" / "metrics.json").read_text())["reproduced"] is True


def test_a_disk_that_holds_no_tokenizer_is_told_in_a_line(command, tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tokenizer").write_text("in the way", encoding="utf-8")
    with pytest.raises(SystemExit, match="can't write the tokenizer"):
        command("train", *tiny, f"hydra.run.dir={tmp_path}/run")


@pytest.mark.parametrize(
    ("model", "config", "limit"),
    [
        ("codebert", {"model_type": "roberta", "max_position_embeddings": 66, "pad_token_id": 1}, 64),
        ("unixcoder", {"model_type": "roberta", "max_position_embeddings": 66, "pad_token_id": 1}, 64),
        ("plbart_base", {"model_type": "plbart", "max_position_embeddings": 64}, 64),
        ("codegpt_java", {"model_type": "gpt2", "n_positions": 64}, 64),
    ],
)
def test_sources_beyond_the_positions_are_told_before_a_weight_is_read(
    command, tmp_path, model, config, limit
):
    """There are neither weights nor a tokenizer to be read."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    words = [
        "task=summarization",
        f"model={model}",
        "task.max_source_length=2000",
        "task.max_target_length=8",
    ]
    said = rf"max_source_length=2000 is more than the model's {limit} positions"
    with pytest.raises(SystemExit, match=said):
        command("train", *words, f"model.weights={tmp_path}/model", f"hydra.run.dir={tmp_path}/run")
    random = ["model.weights=random", f"model.tokenizer={tmp_path}/nowhere"]
    with pytest.raises(
        SystemExit, match=r"max_source_length=2000 is more than the model's (512|1024) positions"
    ):
        command("train", *words, *random, f"hydra.run.dir={tmp_path}/run")
