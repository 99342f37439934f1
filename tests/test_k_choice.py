"""K chosen by short trainings: from what, and that nothing else of the run changes."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf

from codeft import k_choice, k_trials
from codeft.k_choice import KChoice, _num_steps
from codeft.k_trials import Trial, Verdict, judge
from codeft.methods.layer_freeze import LayerFreezeCallback
from codeft.metrics.bootstrap import mean_of_rows
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.module import FineTuneModule
from codeft.tasks.summarization import SummarizationTask
from codeft.types import CodeftError
from one_device import ONE_DEVICE
from resuming import Killed, interrupt
from waiting import LONGEST_WAIT

TELLY = ["method=telly", "trainer.max_epochs=2", "callbacks.layer_freeze.auto_steps=4", "optimizer.lr=3e-3"]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def verdict(monkeypatch):
    """Let short trainings run, and say of some K that they cost nothing."""

    def say(*free):
        def judged(ks, trials, *, tolerance):
            return [
                Verdict(k, 1.0, 0.0, 0.1, 2.0, costs_nothing=k in free)
                for k, _ in zip(ks, trials, strict=True)
            ]

        monkeypatch.setattr(k_choice, "judge", judged)

    return say


@pytest.mark.parametrize("k", [1, "base"])
def test_the_run_is_the_one_that_typing_k_gives(command, tiny, tmp_path, verdict, k):
    verdict(0, k)
    if k == "base":
        verdict()
    words = [*tiny, *TELLY]
    command("train", *words, "k=auto", f"hydra.run.dir={tmp_path}/auto")
    choice = read(tmp_path / "auto" / "k_choice.json")
    assert choice["k"] == k
    assert [trial["k"] for trial in choice["trials"]] == ["base", 0, 1]
    assert (choice["steps"], choice["rows"]) == (4, 6)
    command("train", *words, f"k={choice['k']}", f"hydra.run.dir={tmp_path}/typed")
    auto, typed = (read(tmp_path / name / "metrics.json") for name in ("auto", "typed"))
    assert auto["k_choice"] == choice
    for key in ("k", "params", "valid", "valid_loss", "best"):
        assert auto[key] == typed[key]
    assert "test" not in auto and "test" in typed
    rows = [(tmp_path / name / "valid_predictions.jsonl").read_text() for name in ("auto", "typed")]
    assert rows[0] == rows[1]
    assert (tmp_path / "auto" / "k_choice.png").is_file()
    log = (tmp_path / "auto" / "train.log").read_text(encoding="utf-8")
    assert f"k=auto: {choice['k']}, because after 4 steps each" in log
    assert "only 6 validation rows and 4 steps to go by" in log


def test_a_short_training_comes_to_what_a_run_of_as_many_steps_does(command, tiny, tmp_path):
    epoch = ["trainer.max_epochs=1", "callbacks.layer_freeze.auto_steps=6"]
    command("train", *tiny, *TELLY, *epoch, "k=auto", f"hydra.run.dir={tmp_path}/auto")
    choice = read(tmp_path / "auto" / "k_choice.json")
    for trial in choice["trials"]:
        folder = tmp_path / f"k{trial['k']}"
        words = [*tiny, *TELLY, "trainer.max_epochs=1", "logger=csv", "cache=off"]
        command("train", *words, f"k={trial['k']}", f"hydra.run.dir={folder}")
        assert trial["score"] == pytest.approx(read(folder / "metrics.json")["best"]["val_smoothed_bleu"])
        with next(folder.rglob("metrics.csv")).open() as file:
            losses = [float(row["val/loss"]) for row in csv.DictReader(file) if row.get("val/loss")]
        assert trial["loss"] == pytest.approx(losses[-1], rel=1e-6)
    assert len({trial["loss"] for trial in choice["trials"]}) == 3


def test_a_run_that_was_cut_off_keeps_its_choice(command, tiny, monkeypatch, tmp_path, verdict):
    verdict(1)
    words = [*tiny, *TELLY, "k=auto", f"hydra.run.dir={tmp_path}"]
    interrupt(monkeypatch, "on_validation_end", 1)
    with pytest.raises(Killed):
        command("train", *words)
    choice = read(tmp_path / "k_choice.json")
    command("train", f"resume={tmp_path}")
    metrics = read(tmp_path / "metrics.json")
    assert (metrics["k"], metrics["k_choice"]) == (1, choice)


@pytest.mark.parametrize("dry_run", [True, False])
def test_auto_as_the_callbacks_own_value(command, tiny, tmp_path, verdict, dry_run):
    verdict(1)
    own = ["callbacks.layer_freeze.k=auto"]
    command("train", *tiny, *TELLY, *own, f"dry_run={dry_run}".lower(), f"hydra.run.dir={tmp_path}")
    k = "base" if dry_run else 1
    assert read(tmp_path / "metrics.json")["k"] == k
    assert OmegaConf.load(tmp_path / "config.yaml").callbacks.layer_freeze.k == k


def test_a_choice_that_another_run_left_isnt_told(command, tiny, tmp_path):
    (tmp_path / "k_choice.json").write_text('{"k": 2}')
    command("train", *tiny, *TELLY, "trainer.max_epochs=1", "k=1", f"hydra.run.dir={tmp_path}")
    assert "k_choice" not in read(tmp_path / "metrics.json")


def test_a_training_that_diverges_comes_to_nothing(command, tiny, monkeypatch, tmp_path):
    real = LayerFreezeCallback.setup
    diverging = []

    def setup(self, trainer, module, stage):
        real(self, trainer, module, stage)
        if self.k == 1 and not diverging:
            diverging.append(1)
            with torch.no_grad():
                next(module.model.parameters()).fill_(float("nan"))

    monkeypatch.setattr(LayerFreezeCallback, "setup", setup)
    words = ["trainer.max_epochs=1", "optimizer.lr=1e-9", "k=auto", f"hydra.run.dir={tmp_path}"]
    command("train", *tiny, *TELLY, *words)
    choice = read(tmp_path / "k_choice.json")
    assert choice["k"] == 0
    assert [(t["score"] is None, t["loss"] is None) for t in choice["trials"]] == [
        (False, False), (False, False), (True, True),
    ]  # fmt: skip
    assert "isn't finite" in (tmp_path / "train.log").read_text(encoding="utf-8")
    assert (tmp_path / "k_choice.png").is_file()


def test_a_trial_s_model_is_gone_before_the_next_is_built(command, tiny, tmp_path, monkeypatch):
    built, alive = [], []
    real = k_trials.build_parts

    def build(cfg):
        alive.append(sum(model() is not None for model in built))
        parts = real(cfg)
        built.append(weakref.ref(parts.model))
        return parts

    monkeypatch.setattr(k_trials, "build_parts", build)
    command("train", *tiny, *TELLY, "trainer.max_epochs=1", "k=auto", f"hydra.run.dir={tmp_path}")
    assert alive == [0, 0, 0]
    assert not any(model() for model in built)


def test_rows_of_one_id_are_told_apart_by_the_loss(command, tiny, tmp_path, monkeypatch):
    def refuse(path, *, task):
        raise CodeftError("expected one label for 7")

    monkeypatch.setattr("codeft.k_trials.score_own_predictions", refuse)
    words = ["trainer.max_epochs=1", "k=auto", f"hydra.run.dir={tmp_path}"]
    command("train", *tiny, *TELLY, *words)
    assert [trial["score"] for trial in read(tmp_path / "k_choice.json")["trials"]] == [None] * 3
    said = (tmp_path / "train.log").read_text(encoding="utf-8")
    assert "goes by the loss alone: expected one label for 7" in said


def test_trials_have_none_of_a_run_s_watchers(command, tiny, tmp_path):
    """The log of learning rates needs a logger, which trials haven't."""
    watcher = "+callbacks.lr={_target_:pytorch_lightning.callbacks.LearningRateMonitor}"
    words = ["trainer.max_epochs=1", "logger=csv", watcher, "k=auto", f"hydra.run.dir={tmp_path}"]
    command("train", *tiny, *TELLY, *words)
    assert len(read(tmp_path / "k_choice.json")["trials"]) == 3


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        ({"max_epochs": 2}, 20),
        ({"max_epochs": 2, "devices": 2, "num_nodes": 2}, 6),
        ({"max_epochs": 2, "devices": "0,1"}, 10),
        ({"max_epochs": 2, "limit_train_batches": 3}, 6),
        ({"max_epochs": 2, "limit_train_batches": 0.5, "accumulate_grad_batches": 2}, 6),
        ({"max_epochs": 50}, 100),
        ({"max_epochs": -1, "max_steps": 7}, 7),
    ],
)
def test_trials_are_no_longer_than_the_run(words, steps):
    trainer = {"devices": 1, "accumulate_grad_batches": 1} | words
    assert _num_steps(OmegaConf.create({"trainer": trainer}), 10, limit=100) == steps


def test_an_interrupt_of_the_measurement_is_told(command, tiny, monkeypatch, tmp_path):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("codeft.module.FineTuneModule.test_step", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as end:
            command("train", *tiny, *TELLY, "k=auto", f"hydra.run.dir={tmp_path}")
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores further ones
    assert end.value.code == 128 + signal.SIGINT


def test_no_logger_is_made_for_the_measurement(command, tiny, monkeypatch, tmp_path):
    made = []
    real = pl.loggers.CSVLogger.__init__
    monkeypatch.setattr(
        pl.loggers.CSVLogger, "__init__", lambda *a, **values: (made.append(1), real(*a, **values))[1]
    )
    words = ["trainer.max_epochs=1", "logger=csv", "k=auto", f"hydra.run.dir={tmp_path}"]
    command("train", *tiny, *TELLY, *words)
    assert len(made) == 1


def test_only_training_by_the_verb_chooses(tiny_tokenizer):
    sizes = {"vocab_size": 400, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_heads": 4}
    layers = {"num_layers": 3, "num_decoder_layers": 2}
    model = EncoderDecoderModel(weights="random", tokenizer=str(tiny_tokenizer), architecture=sizes | layers)
    module = FineTuneModule(model=model, task=SummarizationTask(max_target_length=8))
    with pytest.raises(CodeftError, match=r"codeft\.train; here k must be base or .* 0 to 3"):
        LayerFreezeCallback(k="auto").setup(ONE_DEVICE, module, "fit")


def test_a_dry_run_tells_what_the_measurement_needs(command, tiny, tmp_path):
    command("train", *tiny, *TELLY, "k=auto", "dry_run=true", f"hydra.run.dir={tmp_path}")
    metrics = read(tmp_path / "metrics.json")
    assert metrics["k"] == "base"
    assert metrics["params"]["trainable"] == metrics["params"]["total"]


@pytest.mark.parametrize("word", ["auto_steps=0", "auto_tolerance=-1", "auto_tolerance=some"])
def test_what_cant_be_measured(command, tiny, tmp_path, word):
    with pytest.raises(SystemExit, match=word.partition("=")[0]):
        command(
            "train", *tiny, *TELLY, "k=auto", f"callbacks.layer_freeze.{word}", f"hydra.run.dir={tmp_path}"
        )


def test_the_tolerance_that_is_asked_for_is_the_one_that_judges(command, tiny, tmp_path, monkeypatch):
    asked = []

    def judged(ks, trials, *, tolerance):
        asked.append(tolerance)
        return judge(ks, trials, tolerance=tolerance)

    monkeypatch.setattr(k_choice, "judge", judged)
    words = [*tiny, *TELLY, "trainer.max_epochs=1", "callbacks.layer_freeze.auto_tolerance=0.25"]
    command("train", *words, "k=auto", f"hydra.run.dir={tmp_path}")
    assert asked == [0.25] and read(tmp_path / "k_choice.json")["tolerance"] == 0.25


def test_a_layer_is_left_for_the_structure_loss(command, tiny, tmp_path, verdict):
    verdict(0)
    words = [*tiny, *TELLY, "method=[sat,telly]", "callbacks.structure_loss.layer=0", "trainer.max_epochs=1"]
    command("train", *words, "k=auto", f"hydra.run.dir={tmp_path}")
    assert [trial["k"] for trial in read(tmp_path / "k_choice.json")["trials"]] == ["base", 0]
    assert read(tmp_path / "metrics.json")["k"] == 0


SLOW = """
import sys, time
from codeft.module import FineTuneModule
import codeft.train

def slow(self, batch, number):
    print("measuring", file=sys.stderr, flush=True)
    time.sleep(3600)

FineTuneModule.{step} = slow
codeft.train.main()
"""


@pytest.mark.parametrize("step", ["training_step", "test_step"])
@pytest.mark.parametrize("sent", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_measurement_at_once_and_with_a_word(tiny, tmp_path, step, sent):
    words = [*tiny, *TELLY, "k=auto", f"hydra.run.dir={tmp_path}/run"]
    command = [sys.executable, "-c", SLOW.format(step=step), *words]
    number = signal.Signals[sent]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as run:  # fmt: skip
        try:
            lines = iter(run.stderr.readline, "")
            assert any("measuring" in line for line in lines)
            run.send_signal(number)
            _, said = run.communicate(timeout=LONGEST_WAIT)  # far below the step's hour
            assert run.returncode == 128 + number
        finally:
            run.kill()
    assert {"SIGTERM": "codeft: choosing K was stopped", "SIGINT": "codeft: train was interrupted"}[
        sent
    ] in said
    assert "Traceback" not in said


BASE_ROWS = 5 + np.random.default_rng(0).normal(size=400)


def shifted(shift, noise=0.0, seed=1):
    """Rows like base's, better by `shift` in the mean, and else by chance."""
    chance = np.random.default_rng(seed).normal(size=400)
    return mean_of_rows(BASE_ROWS + shift + noise * (chance - chance.mean()))


def free(*trials, tolerance=1.0):
    """Return which of some trials, of K = 0, 1, …, cost nothing, beside a base with a loss of 2."""
    ks = [None, *range(len(trials))]
    verdicts = judge(ks, [Trial(shifted(0), 2.0), *trials], tolerance=tolerance)
    assert not verdicts[0].costs_nothing
    return [verdict.k for verdict in verdicts if verdict.costs_nothing]


def test_what_is_worse_than_base_costs_something():
    shifts = (0.01, -0.01, 0.02)
    assert free(*(Trial(shifted(shift, 1, seed), 2.0) for seed, shift in enumerate(shifts))) == [0, 2]


def test_what_is_worse_than_the_best_by_more_than_chance_costs_something():
    trials = [Trial(shifted(1.0, noise=2), 2.0), Trial(shifted(0.95), 2.0), Trial(shifted(0.8), 2.0)]
    assert free(*trials) == [0, 1]  # a standard error of 0.1
    assert free(*trials, tolerance=3) == [0, 1, 2]


def test_a_loss_above_bases_costs_something():
    assert free(Trial(shifted(0), 2.01), Trial(shifted(0), 2.03), Trial(shifted(0), 1.0)) == [0, 2]


def test_where_base_came_to_nothing_the_others_are_compared():
    ks, nothing = [None, 0, 1, 2], Trial(None, None)
    trials = [nothing, Trial(shifted(0), 2.0), Trial(shifted(-1), 2.0), Trial(shifted(1, 30), 2.5)]
    assert [v.k for v in judge(ks, trials, tolerance=1) if v.costs_nothing] == [0]
    assert not any(v.costs_nothing for v in judge(ks, [nothing] * 4, tolerance=1))


def test_what_has_neither_score_nor_loss_is_never_free():
    assert free(Trial(None, None)) == []
    assert free(Trial(None, 2.0), Trial(shifted(0), None)) == [1]
    by_loss = judge([None, 0, 1], [Trial(None, loss) for loss in (2.0, 2.01, 2.1)], tolerance=1)
    assert [verdict.costs_nothing for verdict in by_loss] == [False, True, False]


def test_trials_that_say_nothing_are_told(tmp_path, caplog):
    alike = [Verdict(k, 39.0, 0.0, 0.0, None, costs_nothing=k is not None) for k in (None, 0, 1)]
    apart = [*alike[:2], Verdict(1, 40.0, 0.0, 0.0, None, costs_nothing=True)]
    for trials in (apart, alike):
        caplog.clear()
        choice = KChoice(k=1, steps=99, rows=99, tolerance=2.0, metric="f1", trials=trials, seconds=1.0)
        k_choice._write(choice, tmp_path)
        assert ("couldn't tell one K from another" in caplog.text) == (trials is alike)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (0, "k=auto: 0, .* comes to bleu 9.5, 0.5 ± 0.2 behind the best and loss 4.500, base to bleu 9,"
            " 1 ± 0.2 .*, and with K = 1 bleu 10 and loss 5.500"),
        (1, "k=auto: 1, because after 9 steps each, on 5 validation rows, it comes to bleu 10 and loss 5"),
        (None, "k=auto: base, because .* K = 0, 1 cost something: base comes to bleu 9, .* and loss 5.000"),
    ],
)  # fmt: skip
def test_the_sentence(k, expected):
    trials = [
        Verdict(None, 9.0, 1.0, 0.2, 5.0, costs_nothing=False),
        Verdict(0, 9.5, 0.5, 0.2, 4.5, costs_nothing=True),
        Verdict(1, 10.0, 0.0, 0.0, 5.5, costs_nothing=True),
    ]
    choice = KChoice(k=k, steps=9, rows=5, tolerance=1.0, metric="bleu", trials=trials, seconds=1.0)
    assert re.match(expected, choice.sentence())
