"""What a resumed run takes from its folder: config, tokenizer, and classes that the user vouches for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from resuming import SETTINGS, Killed, assert_same_end, interrupt, load


def test_trainer_may_be_changed_and_more_epochs_follow(command, reference, tmp_path):
    shutil.copytree(reference(), tmp_path / "copy")
    command("train", f"resume={tmp_path / 'copy'}", "trainer.max_epochs=4")
    assert load(tmp_path / "copy/checkpoints/last.ckpt")["epoch"] == 3
    assert "max_epochs: 4" in (tmp_path / "copy/config.yaml").read_text()


@pytest.mark.parametrize("argument", ["k=3", "data.batch_size=1", "+trainerx.y=1", "-m", "trainer=ddp"])
def test_only_trainer_may_be_changed(command, reference, argument):
    with pytest.raises(SystemExit, match=r"only trainer\.\* can be changed"):
        command("train", f"resume={reference()}", argument)


def test_errors_of_a_resume(command, reference, tmp_path):
    with pytest.raises(SystemExit, match="expected a run's folder"):
        command("train", f"resume={tmp_path / 'nowhere'}")
    with pytest.raises(SystemExit, match=r"expected a run's config at .*config\.yaml"):
        command("train", f"resume={tmp_path}")
    with pytest.raises(SystemExit, match=r"can't read 'trainer\.max_epochs=\['"):
        command("train", f"resume={reference()}", "trainer.max_epochs=[")
    copy = tmp_path / "copy"
    shutil.copytree(reference(), copy)
    (copy / "metrics.json").unlink()  # as if it weren't finished
    last = copy / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:-2000])
    with pytest.raises(SystemExit, match=r"last\.ckpt is damaged"):
        command("train", f"resume={copy}")
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("seed: 1234", "seed: 2020-01-01"), encoding="utf-8")
    with pytest.raises(SystemExit, match="neither text nor number"):
        command("train", f"resume={copy}")


def test_a_checkpoint_that_does_not_fit(command, reference, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(reference(), copy)
    (copy / "metrics.json").unlink()  # as if it weren't finished
    last = copy / "checkpoints/last.ckpt"
    whole = torch.load(last, weights_only=True)
    weights = whole["state_dict"]
    for broken, said in (
        ({**whole, "state_dict": dict(list(weights.items())[1:])}, "another model: 1 missing"),
        ({**whole, "state_dict": {name: [1] for name in weights}}, "no state_dict of tensors"),
        ({"state_dict": 5}, "no state_dict of tensors"),
        ({"state_dict": weights}, "holds weights only"),
        ({**whole, "callbacks": {}}, "lacks states"),
        ({**whole, "callbacks": [1]}, "lacks states"),
        ({**whole, "loops": {}}, "lacks states"),
        ({**whole, "optimizer_states": []}, "lacks states"),
    ):
        torch.save(broken, last)
        with pytest.raises(SystemExit, match=said):
            command("train", f"resume={copy}")


@pytest.fixture
def own_class(tmp_path, monkeypatch):
    """A module of the user's own with a callback; returns its dotted name."""
    (tmp_path / "my_callbacks.py").write_text(
        "import pytorch_lightning as pl\n\n\nclass Mine(pl.Callback):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "my_callbacks.Mine"


def test_a_class_of_the_users_own_is_vouched_for(command, tiny, own_class, tmp_path):
    folder = tmp_path / "a run, k=1 ${x}"
    own = f"+callbacks.mine._target_={own_class}"
    command("train", *tiny, own, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/run")
    (tmp_path / "run").rename(folder)
    with pytest.raises(SystemExit, match=rf"trust_targets=\[{own_class}\]"):
        command("train", f"resume={folder}")
    (folder / "metrics.json").unlink()
    command("train", f"resume={folder}", "trainer.max_epochs=2", f"trust_targets=[{own_class}]")
    assert (folder / "metrics.json").is_file()
    with pytest.raises(SystemExit, match=r"names 'my_callbacks\.Mine'"):
        command("train", f"resume={folder}", "trust_targets=[another.Name]")


def test_the_original_weights_and_tokenizer_may_be_gone(command, tiny, tmp_path, monkeypatch):
    first = tmp_path / "first"
    command("train", *tiny, "trainer.max_epochs=1", f"hydra.run.dir={first}")
    weights = save_weights(first, tmp_path / "weights")
    settings = [*tiny, *SETTINGS, "model.tokenizer=null", f"model.weights={weights}"]
    command("train", *settings, f"hydra.run.dir={tmp_path}/whole")
    interrupt(monkeypatch, "on_train_epoch_start", 3)
    with pytest.raises(Killed):
        command("train", *settings, f"hydra.run.dir={tmp_path}/run")
    weights.rename(tmp_path / "elsewhere")
    moved = (tmp_path / "run").rename(tmp_path / "moved ${x}")
    command("train", f"resume={moved}")
    assert_same_end(moved, tmp_path / "whole")
    stored = yaml.safe_load((moved / "config.yaml").read_text(encoding="utf-8"))["model"]
    assert (stored["weights"], stored["tokenizer"]) == (str(weights), None)
    (moved / "checkpoints/last.ckpt").unlink()
    (moved / "metrics.json").unlink()
    with pytest.raises(SystemExit, match="there is no model folder"):  # nothing to go on from but these
        command("train", f"resume={moved}")


def save_weights(run: Path, folder: Path) -> Path:
    """Write a run's best weights and its tokenizer as a model folder."""
    from codeft.build import build_parts
    from codeft.checkpoints import load_weights
    from codeft.config import load_config
    from codeft.run_folder import RunFolder

    parts = build_parts(load_config(run / "config.yaml"))
    load_weights(parts.module, RunFolder(run).best)
    parts.model.save(folder)
    return folder
