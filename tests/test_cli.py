"""From typed words to a checked config."""

from __future__ import annotations

import csv
import importlib
import json
import re
import signal
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

import codeft.train
from codeft.cli import conf_dir
from codeft.config import load_config
from codeft.overrides import LITERAL_KEYS, check_choices, folder_name, quote_literal
from codeft.types import CodeftError, RunStopped

LITERALS = st.text(st.characters(exclude_characters="\0\n\r\x85", exclude_categories=["Cs"]), min_size=1)


@settings(deadline=None, max_examples=300)
@given(key=st.sampled_from(LITERAL_KEYS), value=LITERALS)
@example(key="run", value="it's ${HOME}\\")
@example(key="data.dir", value="\\${x}")
@example(key="data.dir", value="a\\\\'b\\${c},d=[e] ")
@example(key="input", value=" leading, trailing ")
@example(key="output", value="???")
@example(key="predictions", value="[a]")
@example(key="output", value="'quoted'")
@example(key="output", value='"${oc.env:HOME}"')
@example(key="output", value="données/文件.py")
def test_literal_values_come_through_hydra_and_omegaconf_unchanged(tmp_path_factory, key, value):
    if value == "null":  # still none
        return
    override = OverridesParser.create().parse_override(quote_literal(f"{key}={value}"))
    assert not override.is_sweep_override()
    cfg = OmegaConf.create({})
    OmegaConf.update(cfg, key, override.value(), force_add=True)
    literal = "./???" if value == "???" else value  # the same path, which doesn't mean "not given yet"
    assert OmegaConf.select(cfg, key) == literal
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    path.write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")
    assert OmegaConf.select(load_config(path), key) == literal


@given(st.text())
def test_folder_names_are_plain(overrides):
    name = folder_name(overrides)
    assert name and not set(name) & set("=,'\"[]{}$*? /\\") and not name.startswith((".", "-"))


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (
            "task=sumarization",
            r"unknown task 'sumarization'; did you mean 'summarization'\? There are: .*translation",
        ),
        ("model=minni", r"unknown model 'minni'; did you mean 'mini'\?"),
        ("method=[sat,tely]", r"unknown method 'tely'; did you mean 'telly'\?"),
        ("method=telly,stat", r"unknown method 'stat'; did you mean 'sat'\?"),
        ("data=sampel", r"unknown data 'sampel'; did you mean 'sample'\?"),
        ("trainer=dpp", r"unknown trainer 'dpp'; did you mean 'ddp'\?"),
        ("logger=qqq", r"unknown logger 'qqq'\. There are: csv"),
        ("method=[sat,sat]", r"method=\[sat,sat\] chooses sat and sat: keep one"),
        ("method=[sat,telly,sat_reference]", r"chooses sat and sat_reference: keep one"),
        ("method=[lora,dora]", r"lora and dora exclude one another, both are callbacks\.adapter: keep one"),
        ("method=[lora,prefix]", r"lora and prefix exclude one another"),
        ("method=[sat,dora,ia3]", r"dora and ia3 exclude one another"),
        ("trainer.qqq=1", r"unknown key trainer\.qqq\. Known here: .*\+trainer\.qqq"),
        ("+trainer.max_epochs=1", r"trainer\.max_epochs is there already; leave out the \+: trainer\.max_e"),
        ("alhpa=0.1", r"unknown key alhpa; did you mean 'alpha'\? .*\+alhpa=… adds it"),
        ("trainer.max_epoch=3", r"unknown key trainer\.max_epoch; did you mean 'max_epochs'\?"),
        ("metod=telly", r"unknown key metod; did you mean 'method'\?"),
        ("data.dir=rows", r"doesn't read data\.dir; choose data=local"),
        ("k=[", r"codeft: can't read 'k=\['.*needs quotes"),
        ("method=null", r"method can't be null; leave it away, or choose of: data_flow"),
    ],
)
def test_mistyped_words_are_answered_with_the_nearest(command, tmp_path, capfd, argument, said):
    with pytest.raises(SystemExit, match=said) as ended:
        command("train", argument, f"hydra.run.dir={tmp_path}")
    assert "\n" not in str(ended.value)
    assert "Traceback" not in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("verb", "words", "said"),
    [
        ("train", ["lang=[java]"], r"lang must be one value, not \['java'\]"),
        ("train", ["lang=7"], r"lang must be text or null, not 7"),
        ("train", ["k=[1]"], r"k must be one value, not \[1\]"),
        ("train", ["dry_run=[true]"], r"dry_run must be one value, not \[True\]"),
        ("evaluate", ["predictions=p", "lang=[java]"], r"lang must be one value, not \['java'\]"),
        ("evaluate", ["predictions=p", "task=generation", "lang=[java]"], r"lang must be one value"),
        ("evaluate", ["predictions=p", "+lang={a: b}"], r"lang must be one value, not \{'a': 'b'\}"),
        ("evaluate", ["run=r", "split=[test]"], r"split must be one value"),
        ("evaluate", ["run=r", "trust_targets=x"], r"expected trust_targets=\[<dotted name>, …\], not 'x'"),
        ("predict", ["run=r", "top=[1]"], r"top must be one value, not \[1\]"),
        ("prepare", ["data.source=s", "seed=[1]"], r"seed must be one value"),
        ("export", ["run=r", "overwrite=[true]"], r"overwrite must be one value"),
        ("pretrain", ["data.train=t"], r"^codeft: pre-training needs data\.train=<file> and data\.valid="),
    ],
)
def test_one_value_is_no_list(command, tmp_path, verb, words, said):
    with pytest.raises(SystemExit, match=said) as ended:
        command(verb, *words, f"hydra.run.dir={tmp_path}")
    assert "\n" not in str(ended.value)


def test_a_method_that_changes_another_goes_with_it(tmp_path):
    (tmp_path / "method").mkdir()
    body = "# @package _global_\ncallbacks:\n  adapter:\n    config:\n      r: 2\n"
    (tmp_path / "method" / "small.yaml").write_text(body)
    folders = [conf_dir(), tmp_path]
    check_choices(["method=[lora,small]"], folders=folders)
    (tmp_path / "method" / "smaller.yaml").write_text(f"defaults: [lora, _self_]\n{body}")
    with pytest.raises(CodeftError, match="lora and smaller exclude one another"):
        check_choices(["method=[lora,smaller]"], folders=folders)


def test_choices_of_a_users_own_folder_are_known(tmp_path):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("# @package _global_\n")
    check_choices(["method=mine"], folders=[conf_dir(), tmp_path])
    with pytest.raises(CodeftError):
        check_choices(["method=mine"], folders=[conf_dir()])


def test_the_console_command(monkeypatch, capsys):
    from codeft import cli

    monkeypatch.setattr("sys.argv", ["codeft"])
    cli.main()
    said = capsys.readouterr().out
    assert all(f"  {verb} " in said for verb in cli.VERBS)
    monkeypatch.setattr("sys.argv", ["codeft", "trian"])
    with pytest.raises(SystemExit, match=r"unknown verb 'trian'; did you mean 'train'\?"):
        cli.main()


@pytest.fixture
def composed(command, tmp_path, monkeypatch):
    """Return the configs that jobs of a command line would train with, and their folders."""

    def run(*arguments: str) -> list:
        seen = []
        monkeypatch.setattr(codeft.train, "train", lambda cfg, folder: seen.append((cfg, folder)))
        command(
            "train", *arguments, f"hydra.run.dir={tmp_path / 'run'}", f"hydra.sweep.dir={tmp_path / 'sweep'}"
        )
        return seen

    return run


def test_a_method_is_named_by_what_was_typed(composed):
    for typed, name in (("method=telly", "telly"), ("method=[telly,sat]", "sat+telly"), ("k=null", "full")):
        [(cfg, _)] = composed(typed)
        assert cfg.choices.method == name


def test_c_sharp_needs_no_quotes(composed):
    for typed, lang in (("lang=c#", "c#"), ("lang=java-c#", "java-c#"), ("lang='c#'", "c#")):
        [(cfg, _)] = composed(typed)
        assert cfg.lang == lang


def test_keys_that_no_method_reads_are_warned_about_and_forgotten(composed, capfd):
    [(cfg, _)] = composed("k=3", "alpha=0.5")
    assert cfg.k is None and cfg.alpha is None
    said = capfd.readouterr().err
    assert "k=3 has no effect: method=full doesn't read it" in said
    assert "alpha=0.5 has no effect" in said
    [(cfg, _)] = composed("method=[sat,telly]", "k=3", "alpha=0.5")
    assert (cfg.k, cfg.alpha) == (3, 0.5)
    assert (cfg.callbacks.layer_freeze.k, cfg.callbacks.structure_loss.alpha) == (3, 0.5)
    assert "no effect" not in capfd.readouterr().err


def test_paths_are_taken_literally_by_the_whole_command_line(composed, tmp_path):
    odd = str(tmp_path / "a=b, it's ${HOME} (données)")
    [(cfg, _)] = composed("data=local", f"data.dir={odd}")
    assert cfg.data.reader.dir == odd


def test_jobs_of_a_multirun_have_plain_folders(composed):
    jobs = composed("-m", "method=telly", "k=0,1", "data=local", "data.dir=with, comma")
    assert [cfg.k for cfg, _ in jobs] == [0, 1]
    for cfg, _ in jobs:
        assert cfg.data.dir == str(Path("with, comma").absolute())
    assert [folder.name for _, folder in jobs] == ["0_k-0", "1_k-1"]


def test_a_folder_is_named_by_its_verb(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for verb in ("train", "evaluate", "predict", "prepare"):
        module, seen = importlib.import_module(f"codeft.{verb}"), []
        monkeypatch.setattr(module, verb, lambda cfg, folder, seen=seen: seen.append(folder))
        command(verb, "data.val_limit=1") if verb in ("train", "evaluate") else command(verb)
        assert re.fullmatch(rf"[\d-]+_{verb}_[\w.-]+", seen[0].name)


def test_what_fails_before_it_begins_leaves_no_folder(command, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["+data.dir=rows"], [*tiny, "method=telly", "k=9"], ["dry_run=maybe"]):
        with pytest.raises(SystemExit):
            command("train", *words)
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_the_data_does_not_read_is_an_error(command, tmp_path):
    with pytest.raises(SystemExit, match=r"data=sample doesn't read data\.dir; choose data=local"):
        command("train", "+data.dir=rows", f"hydra.run.dir={tmp_path}")


def test_a_bad_k_is_told_before_the_data_is_read(command, tiny, tmp_path):
    with pytest.raises(SystemExit, match=r"k must be .* 0 to 2"):
        command("train", *tiny, "method=telly", "k=9", f"data.dir={tmp_path / 'nowhere'}")


def test_a_multirun_leaves_complete_folders_and_one_bad_job_takes_no_other_down(
    command, tiny, tmp_path, capfd
):
    with pytest.raises(SystemExit, match=r"1 of 3 jobs failed; the first: k must be .* 0 to 2"):
        command(
            "train",
            *tiny,
            "-m",
            "method=telly",
            "k=0,9,1",
            "trainer.max_epochs=1",
            f"hydra.sweep.dir={tmp_path}",
        )
    folders = sorted(path.parent for path in tmp_path.glob("*/metrics.json"))
    assert [json.loads((folder / "metrics.json").read_text())["k"] for folder in folders] == [0, 1]
    for folder in folders:
        names = ("config.yaml", "valid_predictions.jsonl", "train.log", "checkpoints/best.ckpt")
        assert all((folder / name).is_file() for name in names)
    said = capfd.readouterr()
    assert "job 1 failed: k must be" in said.err
    with (tmp_path / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["k"], row["status"], row["folder"]) for row in rows} == {
        ("0", "done", "0_k-0"), ("9", "failed", "1_k-9"), ("1", "done", "2_k-1")
    }  # fmt: skip
    first, second, failed = rows
    assert failed["error"].startswith("k must be") and not failed["val_smoothed_bleu"]
    assert float(first["val_smoothed_bleu"]) >= float(second["val_smoothed_bleu"])
    assert not [name for name in failed if name.startswith("test_")]
    for row, folder in zip(sorted((first, second), key=lambda row: row["k"]), folders, strict=True):
        metrics = json.loads((folder / "metrics.json").read_text())
        assert float(row["val_exact_match"]) == metrics["valid"]["exact_match"]
        assert int(row["trainable"]) == metrics["params"]["trainable"]
    table = said.out[said.out.rindex("summarization mini telly: 3 jobs") :]
    assert re.search(r"1_k-9 +9 +failed", table) and re.search(r"2_k-1 +1 +done", table)


def test_a_stopped_sweep_shows_what_was_done(command, tmp_path, monkeypatch, capsys):
    def stop_second(cfg, folder):
        if cfg.seed == 2:
            raise RunStopped(signal.SIGTERM, folder=folder)
        return {"test": {}}

    monkeypatch.setattr(codeft.train, "train", stop_second)
    with pytest.raises(SystemExit):
        command("train", "-m", "seed=1,2,3", f"hydra.sweep.dir={tmp_path}")
    with (tmp_path / "comparison.csv").open() as file:
        assert [(row["seed"], row["status"]) for row in csv.DictReader(file)] == [
            ("1", "done"),
            ("2", "stopped"),
        ]
    assert f"resume={tmp_path}/1_seed-2" in capsys.readouterr().err
