"""What `trainer.precision=auto` becomes, is stored as, and is used as on another machine."""

from __future__ import annotations

import pytest
import torch
import yaml

from codeft.precision import resolve_precision


@pytest.fixture
def machine(monkeypatch):
    """Make it have an accelerator beside the CPU, and bf16 or not."""

    def make(*, kind=None, cpu=False, gpu=False):
        names = {"cuda": "CUDA", "mps": "MPS", "tpu": "XLA"}
        for name, prefix in names.items():
            monkeypatch.setattr(
                f"pytorch_lightning.accelerators.{prefix}Accelerator.is_available",
                lambda name=name: name == kind,
            )
        monkeypatch.setattr(torch.cuda, "is_available", lambda: kind == "cuda")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
        monkeypatch.setattr("codeft.precision.cpu_has_bf16", lambda: cpu)

    return make


@pytest.mark.parametrize(
    ("accelerator", "has", "expected"),
    [
        ("cpu", {"cpu": True}, "bf16-mixed"),
        ("cpu", {"cpu": False}, "32-true"),
        ("cpu", {"kind": "cuda", "gpu": True}, "32-true"),
        ("auto", {"cpu": True}, "bf16-mixed"),
        ("auto", {"cpu": False}, "32-true"),
        *((name, {"kind": "cuda", "gpu": True}, "bf16-mixed") for name in ("auto", "gpu", "cuda")),
        *((name, {"kind": "cuda", "cpu": True}, "32-true") for name in ("auto", "gpu", "cuda")),
        *((name, {"kind": "mps", "cpu": True}, "32-true") for name in ("auto", "gpu", "mps")),
        *((name, {"kind": "tpu", "cpu": True}, "32-true") for name in ("auto", "tpu")),
        ("hpu", {"cpu": True}, "32-true"),
        (None, {"cpu": True}, "32-true"),
        ({"_target_": "own.Accelerator"}, {"cpu": True}, "32-true"),
    ],
)
def test_auto_is_what_the_device_computes_in(machine, accelerator, has, expected):
    machine(**has)
    assert resolve_precision("auto", accelerator=accelerator) == expected
    assert resolve_precision("16-mixed", accelerator=accelerator) == "16-mixed"


def config(run):
    return yaml.safe_load((run / "config.yaml").read_text())


def words(tiny, run):
    return [word for word in tiny if "precision" not in word] + [f"hydra.run.dir={run}"]


def test_what_auto_was_is_stored_and_gone_on_with(machine, command, tiny, tmp_path, capsys):
    run = tmp_path / "run"
    machine(cpu=True)
    command("train", *words(tiny, run), "trainer.precision=auto", "trainer.max_epochs=1")
    assert config(run)["trainer"]["precision"] == "bf16-mixed"
    machine(cpu=False)
    command("train", f"resume={run}", "trainer.max_epochs=2")
    assert (
        config(run)["trainer"]["precision"] == "bf16-mixed" and "only emulates it" in capsys.readouterr().err
    )


def test_another_machine_says_that_it_uses_another(machine, command, tiny, tmp_path, capsys):
    run, again = tmp_path / "run", ["evaluate", f"run={tmp_path}/run", "trainer.accelerator=cpu"]
    machine(cpu=False)
    command("train", *words(tiny, run), "trainer.precision=auto", "trainer.max_epochs=1")
    assert config(run)["trainer"]["precision"] == "32-true"
    stored = run / "config.yaml"
    stored.write_text(stored.read_text().replace("precision: 32-true", "precision: bf16-mixed"))
    precisions = {}
    for name, cpu, typed in (
        ("a", True, []),
        ("b", False, []),
        ("c", False, ["trainer.precision=bf16-mixed"]),
    ):
        machine(cpu=cpu)
        capsys.readouterr()
        command(*again, *typed, f"hydra.run.dir={tmp_path}/{name}")
        metrics = yaml.safe_load((tmp_path / name / "metrics.json").read_text())
        precisions[name] = (metrics["precision"], "32-true is used" in capsys.readouterr().err)
    assert precisions == {"a": ("bf16-mixed", False), "b": ("32-true", True), "c": ("bf16-mixed", False)}
