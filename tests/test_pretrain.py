"""Pre-training on a tiny corpus: what it leaves behind, that it resumes, and what stops it."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import safetensors.torch
import torch
from omegaconf import OmegaConf

import codeft.fitting
from codeft.build import build_parts
from codeft.config import load_config
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.types import IGNORED_LABEL
from rows import function_rows, write_jsonl

SIZES = [
    "vocab_size=400", "d_model=32", "d_kv=8", "num_heads=4", "d_ff=64", "num_layers=2",
    "num_decoder_layers=1",
]  # fmt: skip
SETTINGS = [
    "trainer.accelerator=cpu", "trainer.max_steps=12", "trainer.val_check_interval=4",
    "trainer.log_every_n_steps=1", "data.batch_tokens=400", "task.max_source_length=48",
    "task.max_target_length=24", "checkpoint.every_n_steps=1", "optimizer.lr=0.01",
]  # fmt: skip


def corpus_rows(start: int, count: int) -> list[dict]:
    """Functions, every second one with a docstring to generate."""
    rows = function_rows(start, count)
    return [{"text": row["code"]} | row | ({} if i % 2 else {"docstring": ""}) for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_jsonl(folder / "train.jsonl", corpus_rows(0, 40))
    write_jsonl(folder / "valid.jsonl", corpus_rows(100, 6))
    return folder


@pytest.fixture(scope="module")
def small(corpus) -> list[str]:
    """Overrides for a pre-training of seconds: 12 steps, 3 validations."""
    architecture = [f"model.architecture.{size}" for size in SIZES]
    return [*SETTINGS, *architecture, f"data.train={corpus}/train.jsonl", f"data.valid={corpus}/valid.jsonl"]


@pytest.fixture(scope="module")
def done() -> dict[str, Path]:
    """The folder of the run that several tests look at."""
    return {}


@pytest.fixture
def whole(command, small, done, tmp_path_factory) -> Path:
    """A folder that holds `run` and, by `to=`, `weights`."""
    if not done:
        done["whole"] = tmp_path_factory.mktemp("pretraining")
        command("pretrain", *small, f"to={done['whole']}/weights", f"hydra.run.dir={done['whole']}/run")
    return done["whole"]


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def loss_rows(folder: Path) -> list[tuple[str, int, float]]:
    with (folder / "loss.csv").open(encoding="utf-8", newline="") as file:
        return [(row["curve"], int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]


def test_weights_are_half_on_disk_and_whole_in_memory(whole):
    stored = safetensors.torch.load_file(whole / "weights/model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    model = EncoderDecoderModel(weights=str(whole / "weights"))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    best = torch.load(whole / "run/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    shared = model.network.shared.weight.detach()
    assert torch.equal(shared, best["model.network.shared.weight"].half().float())
    assert model.architecture["num_layers"] == 2


def test_the_tokenizer_learned_from_the_corpus_lies_with_run_and_weights(whole):
    model = EncoderDecoderModel(weights=str(whole / "weights"))
    assert len(model.tokenizer) == 400
    code = function_rows(0, 1)[0]["code"]
    assert len(model.tokenizer(code)["input_ids"]) < 0.6 * len(code)
    name = "tokenizer.json"
    assert (whole / "run/tokenizer" / name).read_bytes() == (whole / "weights" / name).read_bytes()
    assert load_config(whole / "run/config.yaml").model.tokenizer == str(whole / "run/tokenizer")


def test_fine_tuning_starts_from_the_weights(command, whole, tiny, tmp_path):
    shorter = [word for word in tiny if not word.startswith("model.")]
    command("train", *shorter, f"model.weights={whole}/weights", "dry_run=true", f"hydra.run.dir={tmp_path}")
    assert metrics_of(tmp_path)["params"] == metrics_of(whole / "run")["params"]


def test_losses_are_written_as_numbers_and_as_a_picture(whole):
    rows = loss_rows(whole / "weights")
    curves = {
        name: [step for curve, step, _ in rows if curve == name] for name in ("train/loss_step", "val/loss")
    }
    assert curves == {"train/loss_step": list(range(12)), "val/loss": [3, 7, 11]}
    assert (whole / "weights/loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_facts_are_right(whole):
    metrics = metrics_of(whole / "run")
    facts = metrics["pretraining"]
    assert facts["steps"] == 12
    validations = [loss for curve, _, loss in loss_rows(whole / "weights") if curve == "val/loss"]
    assert facts["best_val_loss"] == pytest.approx(min(validations), abs=1e-4)
    assert min(validations) < 5.9 < np.log(400)  # below that of guessing
    assert (facts["source_tokens"], facts["target_tokens"]) == counted(whole / "run", num_batches=12)
    assert metrics["rows"] == {"train": 40, "valid": 6, "skipped": 0}
    assert metrics["precision"] == "32-true" and len(metrics["command"]) == 1


def counted(run: Path, *, num_batches: int) -> tuple[int, int]:
    """Count a run's training sub-tokens without a trainer."""
    data = build_parts(load_config(run / "config.yaml")).data
    data.setup("fit")
    batches = list(itertools.islice(data.train_dataloader(), num_batches))
    sources = sum(int(batch["attention_mask"].sum()) for batch in batches)
    targets = sum(int((batch["labels"] != IGNORED_LABEL).sum()) for batch in batches)
    return sources, targets


class Killed(BaseException):
    """Stands for `kill -9`."""


class KillCallback(pl.Callback):
    """Kills when a step has been made and its checkpoint written or not."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            raise Killed


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real: Callable[..., list[pl.Callback]] = codeft.fitting.run_callbacks

    def with_kill(*arguments: object) -> list[pl.Callback]:
        monkeypatch.setattr(codeft.fitting, "run_callbacks", real)  # only this run
        return [*real(*arguments), KillCallback(step)]

    monkeypatch.setattr(codeft.fitting, "run_callbacks", with_kill)


@pytest.mark.parametrize("kills", [(5, 6), (8,), (9,), (12,)], ids=str)
def test_a_killed_run_goes_on_bit_for_bit_and_counts_once(
    command, small, whole, monkeypatch, tmp_path, kills
):
    """Checkpoints lie at every third step, and at the end."""
    typed = [*small, "checkpoint.every_n_steps=3", f"to={tmp_path}/weights", f"hydra.run.dir={tmp_path}/run"]
    resume = f"resume={tmp_path}/run"
    for step, arguments in zip(kills, (typed, [resume]), strict=False):
        kill_at(monkeypatch, step)
        with pytest.raises(Killed):
            command("pretrain", *arguments)
    command("pretrain", resume)
    ours, theirs = metrics_of(tmp_path / "run"), metrics_of(whole / "run")
    assert ours["pretraining"] == theirs["pretraining"]
    name = "model.safetensors"
    assert (tmp_path / "weights" / name).read_bytes() == (whole / "weights" / name).read_bytes()
    assert loss_rows(tmp_path / "weights") == loss_rows(whole / "weights")
    assert ours["command"][1:] == [f"codeft pretrain {resume}"] * len(kills)
    assert ours["command"][0].startswith("codeft pretrain trainer.accelerator=cpu ")


def test_a_tokenizer_of_ones_own_and_no_logger(command, small, tiny_tokenizer, tmp_path):
    further = [f"model.tokenizer={tiny_tokenizer}", "logger=none", "trainer.max_steps=4"]
    command("pretrain", *small, *further, f"hydra.run.dir={tmp_path}")
    own = (tiny_tokenizer / "tokenizer.json").read_text()
    assert json.loads((tmp_path / "model/tokenizer.json").read_text())["model"] == json.loads(own)["model"]
    assert loss_rows(tmp_path / "model") == []


def test_weights_bring_their_tokenizer(command, small, whole, tmp_path):
    more = ["trainer.max_steps=4", f"model.weights={whole}/weights", f"hydra.run.dir={tmp_path}"]
    command("pretrain", *small, *more)
    assert OmegaConf.load(tmp_path / "config.yaml").model.tokenizer is None
    name = "tokenizer.json"
    assert (tmp_path / "model" / name).read_bytes() == (whole / "weights" / name).read_bytes()


BAD_ROWS = {
    "no text": ({"language": "python"}, r'train\.jsonl:3: expected a field "text" or "code"'),
    "text is a number": ({"text": 1, "language": "go"}, r'train\.jsonl:3: expected "text" to be text'),
    "no language": ({"text": "x = 1"}, r'train\.jsonl:3: expected a field "language"'),
    "unknown language": ({"text": "x = 1", "language": "cobol"}, r"train\.jsonl:3: .*cobol"),
    "a docstring of nothing": (
        {"text": "x", "docstring": "X.", "language": "go"},
        r'train\.jsonl:3: expected a field "code"',
    ),
}


def test_adapters_are_merged_into_the_weights(command, small, tiny_tokenizer, tmp_path):
    words = [*small, f"model.tokenizer={tiny_tokenizer}", f"hydra.run.dir={tmp_path}/run"]
    with pytest.raises(SystemExit, match="pre-training saves weights"):
        command("pretrain", *words, "method=prefix")
    command("pretrain", *words, "method=lora")
    best = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    name = "encoder.block.0.layer.0.SelfAttention.q"
    down, up = (best[f"model.network.{name}.lora_{part}.default.weight"] for part in "AB")
    whole = best[f"model.network.{name}.base_layer.weight"] + 16 / 8 * up @ down
    saved = safetensors.torch.load_file(tmp_path / "run/model/model.safetensors")
    torch.testing.assert_close(saved[f"{name}.weight"].float(), whole, rtol=1e-3, atol=1e-3)
    assert up.abs().max() > 1e-3 and not any("lora" in key or "base_layer" in key for key in saved)


@pytest.mark.parametrize(("row", "said"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_rows_are_errors_with_file_and_line(command, small, corpus, tmp_path, row, said):
    rows = corpus_rows(0, 40)
    write_jsonl(tmp_path / "train.jsonl", [*rows[:2], row, *rows[2:]])
    folders = [f"data.train={tmp_path}/train.jsonl", f"hydra.run.dir={tmp_path}/run"]
    with pytest.raises(SystemExit, match=said):
        command("pretrain", *small, *folders)


def test_bad_rows_can_be_skipped(command, small, tmp_path):
    rows = [*corpus_rows(0, 40), *(row for row, _ in BAD_ROWS.values())]
    write_jsonl(tmp_path / "train.jsonl", rows)
    further = ["data.on_bad_row=skip", "trainer.max_steps=4", f"hydra.run.dir={tmp_path}/run"]
    command("pretrain", *small, f"data.train={tmp_path}/train.jsonl", *further)
    assert metrics_of(tmp_path / "run")["rows"] == {"train": 40, "valid": 6, "skipped": len(BAD_ROWS)}


def test_a_source_tree_is_read_and_one_file_held_out(command, small, tmp_path):
    for i in range(4):
        functions = "\n\n".join(row["code"] for row in function_rows(10 * i, 10))
        (tmp_path / f"file{i}.py").write_text(functions)
    words = [word for word in small if not word.startswith(("data.train", "data.valid"))]
    command(
        "pretrain", *words, f"data.source={tmp_path}", "trainer.max_steps=4", f"hydra.run.dir={tmp_path}/run"
    )
    assert metrics_of(tmp_path / "run")["rows"] == {"train": 30, "valid": 10, "skipped": 0}


@pytest.mark.parametrize("objective", ["span", "ast_t5", "mixture"])
def test_each_objective_trains(command, small, tiny_tokenizer, tmp_path, objective):
    further = [f"objective={objective}", f"model.tokenizer={tiny_tokenizer}", "trainer.max_steps=4"]
    command("pretrain", *small, *further, f"hydra.run.dir={tmp_path}")
    parts = {part for part, count in metrics_of(tmp_path)["pretraining"]["examples"].items() if count}
    expected = {"span": {"spans"}, "ast_t5": {"subtrees"}}
    assert parts == expected.get(objective, parts) and (objective != "mixture" or len(parts) > 3)


def test_what_else_is_told_before_training(command, small, tmp_path):
    (tmp_path / "file").touch()
    cases = {
        f"data.train={tmp_path}/none.jsonl": "none.jsonl",
        f"to={tmp_path}/file": "can't write into .*file.*set another to=",
        "tokenizer_rows=1": "give more text or lower vocab_size",
        "trainer.max_steps=-1": "set trainer.max_steps=",
    }
    for i, (argument, said) in enumerate(cases.items()):
        with pytest.raises(SystemExit, match=said):
            command("pretrain", *small, argument, f"hydra.run.dir={tmp_path}/{i}")
        assert not list(tmp_path.glob("*/checkpoints/*.ckpt"))
