"""What `--help` says, and that all of it can be typed."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from codeft.cli import VERBS, conf_dir
from codeft.usage import EXAMPLES, OFTEN


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_usage(command, verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    command(verb, "--help")
    said = capsys.readouterr().out
    assert said.startswith(f"codeft {verb}: ")
    assert max(len(line.rstrip()) for line in said.splitlines() if "python -m" not in line) <= 80


def test_choices_and_keys_of_train(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    command("train", "--help")
    said = capsys.readouterr().out
    for word in ("telly", "codet5p_220m", "cs-java", "k ", "alpha ", "seed ", "lang ", "resume ", "dry_run ",
                 "trainer.max_epochs ", "data.dir ", "bottom encoder layers"):  # fmt: skip
        assert word in said, word


@pytest.mark.parametrize(("verb", "typed"), [(verb, typed) for verb in VERBS for typed in EXAMPLES[verb]])
def test_an_example_composes(command, verb, typed, capsys):
    words = shlex.split(typed.replace("-m ", "").replace("0,3,6", "0"))
    words = [word for word in words if not word.startswith("resume=")]
    command(verb, *words, "--cfg", "job")
    assert capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_defaults_that_are_told_are_the_config_s(verb):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose(verb, overrides=["data=local"] if verb == "train" else [])
    for key, default, _ in OFTEN[verb]:
        if key.startswith(("trainer.", "task.", "data.")):
            assert str(OmegaConf.select(cfg, key, throw_on_missing=False)) == default.replace(
                "null", "None"
            ), key


def test_it_comes_at_once():
    code = """
import sys, codeft.train
sys.argv = ["codeft.train", "--help"]
codeft.train.main()
print({"torch", "hydra", "transformers"} & set(sys.modules))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.endswith("set()\n")
