"""What a resumed run takes from its folder: config, tokenizer, and classes that the user vouches for."""

from __future__ import annotations

import pytest


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
