"""The mini's card says what made it, and nothing of the machine that did."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TYPED = (
    "codeft pretrain data.train=/disk/corpus/pretrain.jsonl.gz data.valid=/disk/corpus/valid.jsonl.gz "
    "'hydra.run.dir=/disk/my runs/mini' model.tokenizer=../tokenizer trainer.max_steps=12 seed=1"
)
METRICS = {
    "params": {"total": 4_000_000, "trainable": 4_000_000},
    "pretraining": {
        "steps": 12,
        "source_tokens": 3456,
        "target_tokens": 789,
        "best_val_loss": 2.5,
        "examples": {"spans": 1200, "pairs": 30, "left_open": 7},
    },
    "time": {"fit_s": 600.0},
}
CONFIG = """
task: {mask_share: 0.25, max_source_length: 256}
scheduler: {_target_: codeft.schedules.constant_with_decay}
optimizer: {_target_: codeft.optimizers.MuonWithAdamW, lr: 0.002, embedding_lr: 0.05}
trainer: {precision: bf16-mixed, devices: 2}
data: {batch_tokens: 4096}
seed: 1234
"""


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("mini_card", ROOT / "recipes/mini/card.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def write(module, tmp_path, monkeypatch):
    """Write the card of a run of these metrics and return its text."""

    def run(metrics: dict, *options: str) -> str:
        (tmp_path / "run/model").mkdir(parents=True, exist_ok=True)
        (tmp_path / "run/model/model.safetensors").write_bytes(b"weights")
        (tmp_path / "run/metrics.json").write_text(json.dumps(metrics))
        (tmp_path / "run/config.yaml").write_text(CONFIG)
        monkeypatch.setattr(module, "ASSET", tmp_path / "asset")
        monkeypatch.setattr(sys, "argv", ["card.py", str(tmp_path / "run"), *options])
        module.main()
        assert (tmp_path / "asset/model.safetensors").read_bytes() == b"weights"
        return (tmp_path / "asset/README.md").read_text(encoding="utf-8")

    return run


def test_it_says_commands_precision_and_facts(write):
    resumed = "codeft pretrain resume=/disk/mini"
    text = write({**METRICS, "command": [TYPED, resumed], "precision": "32-true"})
    assert (
        "codeft pretrain data.train=OUT/pretrain.jsonl.gz data.valid=OUT/valid.jsonl.gz "
        "hydra.run.dir=OUT/mini model.tokenizer=OUT/tokenizer trainer.max_steps=12 seed=1\n"
        "codeft pretrain resume=OUT/mini\n"
    ) in text
    assert "32-true, 1234" in text and "3,456 in sources, 789 in targets" in text and "2.500 nats" in text
    assert "Muon for the layers' matrices, learning rate 0.002; AdamW for the rest, 0.05" in text
    assert "spans (1,200 examples), pairs (30 examples);\n25% of a piece's sub-tokens" in text
    assert "left_open" not in text and "constant_with_decay" in text
    assert not re.search(r"/disk|(?<![\w.])~/|\.\./", text)


def test_a_run_that_noted_less_is_told_how_it_was_made(write, capsys):
    text = write(METRICS, "--command", TYPED, "--command", "codeft pretrain resume=/x/mini")
    assert "hydra.run.dir=OUT/mini" in text and "resume=OUT/mini" in text and "bf16-mixed, 1234" in text
    with pytest.raises(SystemExit):
        write(METRICS)
    assert "give --command" in capsys.readouterr().err
