"""K chosen by a short training: from what, and that nothing else of the run changes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from codeft.data.datamodule import EncodedDataset
from codeft.k_choice import KChoice, _split
from codeft.methods.layer_freeze import LayerFreezeCallback
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.module import FineTuneModule
from codeft.rewinding import RewindingCallback, largest_k
from codeft.tasks.clone_detection import CloneRetrievalTask
from codeft.tasks.summarization import SummarizationTask
from codeft.types import CodeftError, Example
from one_device import ONE_DEVICE
from resuming import Killed, interrupt

TELLY = ["method=telly", "trainer.max_epochs=2", "callbacks.layer_freeze.auto_steps=4", "optimizer.lr=3e-3"]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("tolerance", [1, 0])
def test_the_run_is_the_one_that_typing_k_gives(command, tiny, tmp_path, tolerance):
    words = [*tiny, *TELLY, f"callbacks.layer_freeze.auto_tolerance={tolerance}"]
    command("train", *words, "k=auto", f"hydra.run.dir={tmp_path}/auto")
    choice = read(tmp_path / "auto" / "k_choice.json")
    assert choice["k"] == {1: 2, 0: "base"}[tolerance]
    assert choice["loss"] < choice["initial_loss"]
    assert len(choice["rewound"]) == 3
    assert (choice["steps"], choice["rows"]) == (4, 4)
    command("train", *words, f"k={choice['k']}", f"hydra.run.dir={tmp_path}/typed")
    auto, typed = (read(tmp_path / name / "metrics.json") for name in ("auto", "typed"))
    assert auto["k_choice"] == choice
    for key in ("k", "params", "test", "test_loss", "best"):
        assert auto[key] == typed[key]
    rows = [(tmp_path / name / "predictions.jsonl").read_text() for name in ("auto", "typed")]
    assert rows[0] == rows[1]
    assert (tmp_path / "auto" / "k_choice.png").is_file()
    log = (tmp_path / "auto" / "train.log").read_text(encoding="utf-8")
    assert f"k=auto: {choice['k']}, because 4 steps of full training" in log
    assert "only 4 held-out rows and 4 steps to go by" in log


def test_a_run_that_was_cut_off_keeps_its_choice(command, tiny, monkeypatch, tmp_path):
    words = [*tiny, *TELLY, "k=auto", "callbacks.layer_freeze.auto_tolerance=1", f"hydra.run.dir={tmp_path}"]
    interrupt(monkeypatch, "on_validation_end", 1)
    with pytest.raises(Killed):
        command("train", *words)
    choice = read(tmp_path / "k_choice.json")
    command("train", f"resume={tmp_path}")
    metrics = read(tmp_path / "metrics.json")
    assert (metrics["k"], metrics["k_choice"]) == (2, choice)


@pytest.mark.parametrize("dry_run", [True, False])
def test_auto_as_the_callbacks_own_value(command, tiny, tmp_path, dry_run):
    own = ["callbacks.layer_freeze.k=auto", "callbacks.layer_freeze.auto_tolerance=1"]
    command("train", *tiny, *TELLY, *own, f"dry_run={dry_run}".lower(), f"hydra.run.dir={tmp_path}")
    k = "base" if dry_run else 2
    assert read(tmp_path / "metrics.json")["k"] == k
    assert OmegaConf.load(tmp_path / "config.yaml").callbacks.layer_freeze.k == k


def test_a_choice_that_another_run_left_isnt_told(command, tiny, tmp_path):
    (tmp_path / "k_choice.json").write_text('{"k": 2}')
    command("train", *tiny, *TELLY, "trainer.max_epochs=1", "k=1", f"hydra.run.dir={tmp_path}")
    assert "k_choice" not in read(tmp_path / "metrics.json")


def test_an_interrupt_of_the_measurement_is_told(command, tiny, monkeypatch, tmp_path):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(RewindingCallback, "_measure", interrupted)
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


def test_only_training_by_the_verb_chooses(tiny_module):
    module = tiny_module()
    with pytest.raises(CodeftError, match=r"codeft\.train; here k must be base or .* 0 to 3"):
        LayerFreezeCallback(k="auto").setup(ONE_DEVICE, module, "fit")


def test_rows_that_belong_together_are_held_out_together():
    task = CloneRetrievalTask()
    examples = [Example(str(i), f"f{i}", target=f"p{i % 10}") for i in range(21)]
    dataset = EncodedDataset(examples, encodings=examples, features=examples, task=task, seed=1, fresh=True)
    train, held_out = _split(dataset, seed=3)
    assert (len(train), len(held_out)) == (16, 4)
    assert set(Counter(e.target for e in held_out.examples).values()) == {2}
    assert not {e.id for e in train.examples} & {e.id for e in held_out.examples}


def test_a_dry_run_tells_what_the_measurement_needs(command, tiny, tmp_path):
    command("train", *tiny, *TELLY, "k=auto", "dry_run=true", f"hydra.run.dir={tmp_path}")
    metrics = read(tmp_path / "metrics.json")
    assert metrics["k"] == "base"
    assert metrics["params"]["trainable"] == metrics["params"]["total"]


@pytest.mark.parametrize("word", ["auto_steps=0", "auto_tolerance=1.5", "auto_tolerance=some"])
def test_what_cant_be_measured(command, tiny, tmp_path, word):
    with pytest.raises(SystemExit, match=word.partition("=")[0]):
        command(
            "train", *tiny, *TELLY, "k=auto", f"callbacks.layer_freeze.{word}", f"hydra.run.dir={tmp_path}"
        )


def test_a_layer_is_left_for_the_structure_loss(command, tiny, tmp_path):
    words = [*tiny, *TELLY, "method=[sat,telly]", "callbacks.layer_freeze.auto_tolerance=1"]
    command("train", *words, "trainer.max_epochs=1", "k=auto", f"hydra.run.dir={tmp_path}")
    assert read(tmp_path / "metrics.json")["k"] == 1


def test_one_row(command, tiny, tmp_path):
    with pytest.raises(SystemExit, match="at least 2"):
        command("train", *tiny, *TELLY, "k=auto", "data.train_limit=1", f"hydra.run.dir={tmp_path}")


def test_losses_are_those_of_a_model_whose_layers_were_never_trained(tiny_module, tiny_batches):
    """The slow way: another training to the same weights, in which the lowest layers are then exchanged."""
    module, untrained = tiny_module(), tiny_module()
    batches = tiny_batches(module)
    rewinding = RewindingCallback(batches)
    fit(module, batches, rewinding)
    trained = tiny_module()
    fit(trained, batches)
    expected = [loss_of(untrained, batches), loss_of(trained, batches)]
    model, source = trained.model, untrained.model
    for k in range(len(model.blocks()) + 1):
        exchanged = [*model.embeddings(), *model.blocks()[:k]]
        for mine, its in zip(exchanged, [*source.embeddings(), *source.blocks()[:k]], strict=True):
            mine.load_state_dict(its.state_dict())
        expected.append(loss_of(trained, batches))
    found = [rewinding.initial_loss, rewinding.loss, *rewinding.rewound]
    assert found == pytest.approx(expected, rel=1e-6)
    assert len(set(found)) == len(found)


@pytest.fixture
def tiny_module(tiny_tokenizer, _one_thread):
    sizes = {"vocab_size": 400, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_heads": 4, "dropout_rate": 0.1}
    layers = {"num_layers": 3, "num_decoder_layers": 2}

    def make():
        pl.seed_everything(0, verbose=False)
        model = EncoderDecoderModel(
            weights="random", tokenizer=str(tiny_tokenizer), architecture=sizes | layers
        )
        return FineTuneModule(
            model=model,
            task=SummarizationTask(max_target_length=8, num_beams=1),
            optimizer=partial(torch.optim.AdamW, lr=0.01),
        )

    return make


@pytest.fixture
def tiny_batches():
    def make(module):
        generator = torch.Generator().manual_seed(1)
        found = []
        for size in (3, 2):
            ids = torch.randint(3, 290, (size, 12), generator=generator)
            labels = torch.randint(3, 290, (size, 6), generator=generator)
            mask = torch.ones_like(ids)
            found.append(
                {"input_ids": ids, "attention_mask": mask, "labels": labels, "index": torch.arange(size)}
            )
        return found

    return make


def fit(module, batches, *callbacks):
    torch.manual_seed(2)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
        max_steps=4, max_epochs=-1, callbacks=list(callbacks),
    )  # fmt: skip
    trainer.fit(module, train_dataloaders=DataLoader(batches, batch_size=None))


@torch.no_grad()
def loss_of(module, batches):
    module.eval()
    losses = [module.task.loss(module.model(batch), batch).item() * len(batch["index"]) for batch in batches]
    return sum(losses) / sum(len(batch["index"]) for batch in batches)


SLOW = """
import sys, time
from codeft.rewinding import RewindingCallback
import codeft.train

calls = []

def measure(self, trainer, module):
    calls.append(1)
    if len(calls) == {call}:
        print("measuring", file=sys.stderr, flush=True)
        time.sleep(120)
    return 1.0

RewindingCallback._measure = measure
codeft.train.main()
"""


@pytest.mark.parametrize(("call", "sent"), [(1, "SIGTERM"), (2, "SIGTERM"), (1, "SIGINT"), (3, "SIGINT")])
def test_a_signal_ends_the_measurement_at_once_and_with_a_word(tiny, tmp_path, call, sent):
    words = [*tiny, *TELLY, "k=auto", f"hydra.run.dir={tmp_path}/run"]
    command = [sys.executable, "-c", SLOW.format(call=call), *words]
    number = signal.Signals[sent]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as run:  # fmt: skip
        try:
            lines = iter(run.stderr.readline, "")
            assert any("measuring" in line for line in lines)
            start = time.monotonic()
            run.send_signal(number)
            said = run.stderr.read()
            assert run.wait(30) == 128 + number
        finally:
            run.kill()
    assert time.monotonic() - start < 20
    assert {"SIGTERM": "codeft: choosing K was stopped", "SIGINT": "codeft: train was interrupted"}[
        sent
    ] in said
    assert "Traceback" not in said


def test_the_first_layer_that_costs_too_much_ends_it():
    assert largest_k(5, 4, [4.05, 4.08, 4.2, 4.0], tolerance=0.1) == 1
    assert largest_k(5, 4, [4.05, 4.08, 4.2, 4.0], tolerance=0.01) is None
    assert largest_k(5, 4, [3.9, 3.8], tolerance=0) == 1
    assert largest_k(4, 4, [4, 4], tolerance=1) is None
    assert largest_k(float("nan"), 4, [4], tolerance=1) is None


@pytest.mark.parametrize(
    ("k", "rewound", "expected"),
    [
        (1, [4.05, 4.1, 4.2], "k=auto: 1, .* lowest 1 layers put back 90.0% of it stays, with 2 80.0%"),
        (2, [4.0, 4.0, 4.0], r"k=auto: 2, .* 100.0% of it stays \(at least 90%"),
        (None, [4.5, 4.6, 4.6], "k=auto: base, because .* 50.0% of it stays"),
    ],
)
def test_the_sentence(k, rewound, expected):
    choice = KChoice(
        k=k, steps=9, rows=5, tolerance=0.1, initial_loss=5.0, loss=4.0, rewound=rewound, seconds=1
    )
    assert re.match(expected, choice.sentence())
    assert choice.kept[0] == pytest.approx(5 - rewound[0])
