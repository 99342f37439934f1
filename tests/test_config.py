"""Configs: the project's own, which all compose, and strangers', which may not do as they like."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from codeft.build import build_trainer
from codeft.cli import conf_dir
from codeft.config import instantiate, load_config
from codeft.overrides import folder_name
from codeft.run_folder import RunFolder
from codeft.targets import ALLOWED_TARGETS
from codeft.types import CodeftError

FILES = sorted(conf_dir().rglob("*.yaml"))
TOP_KEYS = {
    "k", "alpha", "seed", "lang", "resume", "test", "dry_run", "patience", "callbacks", "optimizer",
    "scheduler", "cache", "cache_dir", "cache_limit_gb",
    "checkpoint", "task", "model", "data", "trainer", "logger",
}  # fmt: skip
INTERPOLATIONS = r"k|alpha|seed|lang|(task|data|model|callbacks)\.[\w.]+"


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


@pytest.fixture
def composer():
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield lambda *overrides: compose("train", overrides=list(overrides))


def load_yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


@pytest.mark.parametrize(
    "override",
    [f"{group}={name}" for group in ("task", "model", "data", "method", "trainer", "logger", "experiment")
     for name in choices(group)],
)  # fmt: skip
def test_every_choice_composes_and_adds_no_key_at_the_top(composer, override):
    cfg = composer(override)
    assert set(cfg) <= TOP_KEYS, "a mistyped key in an overlay composes silently"


def test_all_methods_compose_with_one_another(composer):
    names = [name for name in choices("method") if name != "sat_reference"]
    cfg = composer(f"method=[{','.join(names)}]", "k=1", "alpha=0.5")
    assert set(cfg) <= TOP_KEYS
    assert {"layer_freeze", "structure_loss"} <= set(cfg.callbacks)


def targets_of(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["_target_"]] if "_target_" in node else []
        return own + [target for value in node.values() for target in targets_of(value)]
    return [target for value in node for target in targets_of(value)] if isinstance(node, list) else []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(conf_dir())))
def test_every_target_is_allowed_and_there(path):
    for target in targets_of(load_yaml(path)):
        assert target in ALLOWED_TARGETS
    if path.parent.name == "hydra":  # it speaks of Hydra's own keys
        return
    for target in re.findall(r"\$\{([^}:]+)\}", re.sub(r"#.*", "", path.read_text(encoding="utf-8"))):
        assert re.fullmatch(INTERPOLATIONS, target), f"{path} reads {target}"


@pytest.mark.parametrize("target", sorted(ALLOWED_TARGETS))
def test_every_allowed_target_resolves_to_what_it_names(target, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"x: {{_target_: {target}}}")
    module, _, name = target.rpartition(".")
    if importlib.util.find_spec(module) is None:
        pytest.skip("not there yet")
    assert load_config(path).x._target_ == target
    assert getattr(importlib.import_module(module), name).__name__ == name


@pytest.mark.parametrize("name", choices("trainer"))
def test_trainers_build(composer, name, tmp_path):
    cfg = composer(f"trainer={name}", "trainer.accelerator=cpu", "trainer.devices=1", "logger=none")
    trainer = build_trainer(cfg, RunFolder(tmp_path), [])
    assert trainer.num_devices == 1
    assert trainer.precision in ("32-true", "bf16-mixed")


def test_the_default_model_builds_from_random_weights(composer, tiny_tokenizer):
    cfg = composer("model.weights=random", f"model.tokenizer={tiny_tokenizer}")
    model = instantiate(cfg.model)
    assert len(model.blocks()) == 12  # so that every k from 0 to 11 means something


STRANGERS = {
    "a shell": "callbacks: {a: {_target_: os.system, command: touch PWNED}}",
    "torch.hub": "model: {_target_: torch.hub.load, repo_or_dir: x/y}",
    "inline C++": "a: {_target_: torch.utils.cpp_extension.load_inline}",
    "the command line": "a: {_target_: codeft.cli.main}",
    "in a nested list": "a: [[{b: [{_target_: subprocess.run, args: [touch, PWNED]}]}]]",
    "a prefix of an allowed name": "a: {_target_: torch.optim}",
    "a longer name": "a: {_target_: torch.optim.AdamW.__init__}",
    "no text": "a: {_target_: [torch.optim.AdamW]}",
    "a partial": "a: {_target_: functools.partial, _args_: [os.system, x]}",
}


@pytest.mark.parametrize("text", STRANGERS.values(), ids=STRANGERS)
def test_a_strangers_target_is_refused(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(CodeftError, match="codeft doesn't run from a file"):
        load_config(tmp_path / "config.yaml")


def test_a_stranger_is_run_by_no_verb(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(STRANGERS["a shell"])
    for verb, key in (("train", "resume"), ("evaluate", "run"), ("predict", "run")):
        with pytest.raises(SystemExit, match="codeft doesn't run from a file"):
            command(verb, f"{key}={tmp_path}", *(["input=x", "output=y"] if verb == "predict" else []))
    assert not (tmp_path / "PWNED").exists()


def test_an_allowed_name_that_leads_elsewhere_is_refused(tmp_path, monkeypatch):
    import os

    import torch

    monkeypatch.setattr(torch.optim, "AdamW", os.system)
    (tmp_path / "config.yaml").write_text("a: {_target_: torch.optim.AdamW}")
    with pytest.raises(CodeftError, match="isn't what its name says"):
        load_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "setting",
    ["name: ../../x", "name: /tmp/x", "version: ..", "sub_dir: a/../..", "name: 'a\\b'", "name: [/]"],
)
def test_a_stored_logger_stays_in_the_run_folder(tmp_path, setting):
    target = "_target_: pytorch_lightning.loggers.TensorBoardLogger"
    path = tmp_path / "config.yaml"
    path.write_text(f"logger:\n  mine:\n    {target}\n    {setting}\n")
    with pytest.raises(CodeftError, match=r"logger\.mine\.(name|version|sub_dir) .* isn't a plain name"):
        load_config(path)
    path.write_text(f"logger: {{none: null, mine: {{{target}, name: my..run, version: 3, sub_dir: null}}}}")
    assert load_config(path).logger.mine.name == "my..run"


def test_a_target_can_be_vouched_for(tmp_path):
    (tmp_path / "config.yaml").write_text("a: {_target_: my.Own}")
    assert load_config(tmp_path / "config.yaml", trust_targets=["my.Own"]).a._target_ == "my.Own"


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        "a: !!python/object/apply:os.system [touch PWNED]",
        "a: !!python/name:os.system",
        "- a list",
        "just text",
        "a: [",
        "[" * 3000,
    ],
    ids=["aliases", "python/object", "python/name", "list", "text", "broken", "deep"],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(CodeftError):
        load_config(tmp_path / "config.yaml")
    assert not (tmp_path / "PWNED").exists()


def test_a_folder_named_random_isnt_what_the_word_means(command, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "random").mkdir()
    command("train", *tiny, "dry_run=true", f"hydra.run.dir={tmp_path}/run")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["params"]["total"] > 0


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(CodeftError, match="no YAML"):
        load_config(tmp_path / "config.yaml")


def test_interpolations_of_a_stranger_stay_text(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "hidden")
    (tmp_path / "config.yaml").write_text(r"""{a: "${oc.env:SECRET}", b: ["\\${oc.env:SECRET}", "${a}"]}""")
    cfg = load_config(tmp_path / "config.yaml")
    assert cfg.a == "${oc.env:SECRET}"
    assert OmegaConf.to_container(cfg, resolve=True)["b"] == ["\\${oc.env:SECRET}", "${a}"]


def test_a_refused_value_says_what_was_built():
    with pytest.raises(CodeftError, match=r"can't build torch\.optim\.AdamW: .*"):
        instantiate(OmegaConf.create({"_target_": "torch.optim.AdamW", "learning": 1}))
