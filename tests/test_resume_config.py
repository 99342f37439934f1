"""What a resumed run takes from its folder: config, tokenizer, and classes that the user vouches for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml


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
    settings = [*tiny, "model.tokenizer=null", f"model.weights={weights}", "patience=null"]
    command("train", *settings, f"hydra.run.dir={tmp_path}/whole")
    command("train", *settings, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/run")
    weights.rename(tmp_path / "elsewhere")
    moved = (tmp_path / "run").rename(tmp_path / "moved ${x}")
    command("train", f"resume={moved}", "trainer.max_epochs=2")
    stored = yaml.safe_load((moved / "config.yaml").read_text(encoding="utf-8"))["model"]
    assert (stored["weights"], stored["tokenizer"]) == (str(weights), None)
    (moved / "checkpoints/last.ckpt").unlink()
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
