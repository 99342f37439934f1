"""Whole runs with adapters: trained, resumed, scored again, used, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch

from resuming import SETTINGS, Killed, assert_same_end, interrupt, load

METHODS = {
    "lora": [],
    "dora": [],
    "ia3": [],
    "prefix": ["callbacks.adapter.config.num_virtual_tokens=4"],
    "[sat,lora]": ["alpha=0.1"],
    "[telly,lora]": ["k=1"],
}


def metrics_of(folder) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def moved(folder) -> set[str]:
    """Return the names of the weights in which the best and the last checkpoint differ."""
    best, last = (load(folder / "checkpoints" / f"{name}.ckpt")["state_dict"] for name in ("best", "last"))
    return {name for name, value in best.items() if not torch.equal(value, last[name])}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_trains_and_is_scored_again_and_used(command, tiny, tmp_path, method):
    command("train", *tiny, f"method={method}", *METHODS[method], f"hydra.run.dir={tmp_path}/run")
    metrics = metrics_of(tmp_path / "run")
    assert metrics["params"]["trainable"] < metrics["params"]["total"] / 4
    parts = ("lora_", "ia3_", "prefix.", "loss_terms.")
    assert all(any(part in name for part in parts) for name in moved(tmp_path / "run"))
    command("evaluate", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/again")
    again = metrics_of(tmp_path / "again")
    assert again["reproduced"] is True and again["params"] == metrics["params"]
    source = tmp_path / "a.py"
    source.write_text("def add(a, b):\n    return a + b\n")
    words = [f"input={source}", f"output={tmp_path}/out.jsonl", f"hydra.run.dir={tmp_path}/used"]
    command("predict", f"run={tmp_path}/run", *words)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("method", ["[sat,lora]", "prefix"])
def test_killed_and_resumed_ends_as_if_never_stopped(command, tiny, reference, monkeypatch, tmp_path, method):
    overrides = (f"method={method}", *METHODS[method])
    whole = reference(*overrides)
    interrupt(monkeypatch, "on_train_batch_end", 14)
    with pytest.raises(Killed):
        command("train", *tiny, *SETTINGS, *overrides, f"hydra.run.dir={tmp_path}")
    command("train", f"resume={tmp_path}")
    assert_same_end(tmp_path, whole)


@pytest.mark.parametrize("method", ["lora", "dora", "ia3"])
def test_another_run_begins_with_what_was_merged(command, tiny, tmp_path, method):
    command("train", *tiny, f"method={method}", f"hydra.run.dir={tmp_path}/run")
    words = ["dry_run=true", f"hydra.run.dir={tmp_path}/next"]
    with pytest.raises(SystemExit, match=r"holds adapters apart.*codeft\.export run=.*checkpoint=<that"):
        command("train", *tiny, *words, f"model.checkpoint={tmp_path}/run/checkpoints/best.ckpt")
    command("export", f"run={tmp_path}/run", f"to={tmp_path}/merged", f"hydra.run.dir={tmp_path}/export")
    command("train", *tiny, *words, f"model.checkpoint={tmp_path}/merged")


def test_a_dry_run_counts_what_trains(command, tiny, tmp_path):
    words = ["method=lora", "callbacks.adapter.config.r=3", "dry_run=true"]
    command("train", *tiny, *words, f"hydra.run.dir={tmp_path}")
    # 2 encoder layers and a decoder layer of self- and cross-attention: queries and values, 32 wide
    assert metrics_of(tmp_path)["params"]["trainable"] == 4 * 2 * 3 * (32 + 32)


def test_adapters_have_a_learning_rate_of_their_own(command, tiny, tmp_path):
    command("train", *tiny, "method=ia3", f"hydra.run.dir={tmp_path}/own")
    command("train", *tiny, "method=ia3", "optimizer.lr=1e-5", f"hydra.run.dir={tmp_path}/typed")
    for name, rate in (("own", 3e-3), ("typed", 1e-5)):
        groups = load(tmp_path / name / "checkpoints/last.ckpt")["optimizer_states"][0]["param_groups"]
        assert all(group["initial_lr"] == rate and group["weight_decay"] == 0 for group in groups)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=lora", "+callbacks.adapter.config.rank=4"], "rank"),
        (["method=[lora,ia3]"], r"lora and ia3 exclude one another, both are callbacks\.adapter: keep one"),
        (["method=lora", "callbacks.adapter.config.target_modules=[qq]"], "matches nothing in this model"),
        (["method=lora", "callbacks.adapter.config.r=0"], r"callbacks\.adapter\.config: .*`r`"),
        (["method=[sat,lora]", "callbacks.adapter.config.target_modules=[v]"], "moves their attention"),
        (["method=[sat,prefix]"], "a prefix in the decoder doesn't move the encoder's attention"),
    ],
)
def test_what_is_wrong_is_told(command, tiny, tmp_path, words, said):
    with pytest.raises(SystemExit, match=said):
        command("train", *tiny, *words, f"hydra.run.dir={tmp_path}")
    assert not (tmp_path / "checkpoints").exists() or not list((tmp_path / "checkpoints").iterdir())
