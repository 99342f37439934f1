"""What the documents tell people to type can be typed, and what they point to is there."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from codeft.cli import VERBS
from codeft.metrics import TEXT_SCORERS
from codeft.overrides import quote_literal

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHER_PROGRAMS = {".", "pip", "tensorboard", "wandb", ".venv/bin/pre-commit", ".venv/bin/mutmut"}


def fenced(path: Path, language: str) -> list[str]:
    """Return a document's fenced blocks of a language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def commands(path: Path) -> list[list[str]]:
    """Return a document's commands as words, comments and leading assignments of variables left out."""
    lines = [line for block in fenced(path, "bash") for line in block.replace("\\\n", " ").splitlines()]
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        if words:
            found.append(words)
    return found


def is_verb(words: list[str]) -> bool:
    return words[0] == "codeft" or (words[:2] == ["python", "-m"] and words[2].startswith("codeft."))


def verb_and_arguments(words: list[str]) -> tuple[str, list[str]]:
    return (words[1], words[2:]) if words[0] == "codeft" else (words[2].removeprefix("codeft."), words[3:])


ALL = [(path, words) for path in DOCUMENTS for words in commands(path)]
TYPED = sorted({shlex.join(words) for _, words in ALL if is_verb(words)})


ASSET = ROOT / "src" / "codeft" / "assets" / "mini" / "model.safetensors"
LIGHT = ["dry_run=true", "data.train_limit=8", "data.val_limit=4", "data.test_limit=4"]
ELSEWHERE = ("data.dir=", "data.source=", "data=local", "model.weights=path", "resume=")
"""What needs a user's own files; such commands are composed only, and so are those that ask a hub."""


def is_run(words: list[str]) -> bool:
    """Return whether a command trains what comes with codeft."""
    verb, arguments = verb_and_arguments(words)
    hub = any(a.startswith("model=") and a != "model=mini" for a in arguments)
    random = "model.weights=random" in arguments
    return verb == "train" and not any(a.startswith(ELSEWHERE) for a in arguments) and (random or not hub)


RUN = sorted(
    {
        shlex.join(a for a in verb_and_arguments(words)[1] if not a.startswith("hydra.run.dir="))
        for path, words in ALL
        if is_verb(words) and is_run(words) and path.name in ("README.md", "getting-started.md")
    }
)
"""Their arguments, each once."""


def first_job(arguments: list[str]) -> list[str]:
    """Return the overrides of a sweep's first job."""
    parser = OverridesParser.create()
    first = []
    for argument in arguments:
        override = parser.parse_override(quote_literal(argument))
        swept = override.is_sweep_override()
        first.append(
            f"{override.get_key_element()}={next(override.sweep_string_iterator())}" if swept else argument
        )
    return first


@pytest.mark.parametrize("line", TYPED)
def test_a_command_composes(line: str, command: Callable[..., None], capsys: pytest.CaptureFixture[str]):
    verb, arguments = verb_and_arguments(shlex.split(line))
    assert verb in VERBS
    if "--help" in arguments:
        return
    if any(argument.startswith("resume=") for argument in arguments):
        assert all(argument.startswith(("resume=", "trainer.")) for argument in arguments)
        return
    if "-m" in arguments:
        arguments.remove("-m")
        arguments = first_job(arguments)
    command(verb, *arguments, "--cfg", "job", "--resolve")
    assert capsys.readouterr().out


SMALL = ["d_model=64", "d_kv=32", "num_heads=2", "d_ff=64", "num_layers=1", "num_decoder_layers=1"]


def light_model(arguments: list[str], tokenizer: Path) -> list[str]:
    """Return what makes a large model small, and stands in for the embedded weights where there are none."""
    large = any(a.startswith("model=") for a in arguments)
    replaced = [f"model.architecture.{size}" for size in SMALL] if large else []
    if not ASSET.is_file():
        replaced += ["model.weights=random", f"model.tokenizer={tokenizer}"]
        replaced += [] if large else ["model.architecture.vocab_size=400"]
    return replaced


@pytest.mark.parametrize("line", RUN)
def test_a_command_runs_in_a_light_form(line: str, command: Callable[..., None], tiny_tokenizer, tmp_path):
    arguments = shlex.split(line)
    if "-m" in arguments:
        arguments.remove("-m")
        arguments = first_job(arguments)
    replaced = light_model(arguments, tiny_tokenizer)
    command("train", *arguments, *replaced, *LIGHT, "trainer=cpu", f"hydra.run.dir={tmp_path}")
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["rows"]["train"] == 8 and metrics["dry_run"]["longest_batch_tokens"] > 0


@pytest.fixture
def where_a_first_run_lies(finished_run, tmp_path, monkeypatch) -> Path:
    """A folder with what the commands of getting-started.md name: `outputs/first` and a `src`."""
    shutil.copytree(finished_run, tmp_path / "outputs" / "first")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "shapes.py").write_text("def area(r):\n    return 3.14 * r * r\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed_in_getting_started(verb: str) -> list[str]:
    """Return the arguments of the guide's first command of a verb."""
    words = commands(ROOT / "docs" / "getting-started.md")
    return next(found[1] for w in words if is_verb(w) and (found := verb_and_arguments(w))[0] == verb)


def test_a_first_run_is_evaluated_as_the_guide_says(
    command: Callable[..., None], where_a_first_run_lies: Path
):
    command("evaluate", *typed_in_getting_started("evaluate"))
    first = where_a_first_run_lies / "outputs" / "first"
    [path] = set(where_a_first_run_lies.rglob("metrics.json")) - {first / "metrics.json"}
    assert json.loads(path.read_text(encoding="utf-8"))["reproduced"] is True


def test_a_first_run_predicts_as_the_guide_says(command: Callable[..., None], where_a_first_run_lies: Path):
    command("predict", *typed_in_getting_started("predict"))
    [row] = (where_a_first_run_lies / "summaries.jsonl").read_text(encoding="utf-8").splitlines()
    assert "prediction" in json.loads(row)


def test_what_the_first_screens_run_is_run():
    assert len(RUN) >= 6 and any("method=[sat,telly]" in line for line in RUN)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_other_commands_exist(path: Path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", path.read_text(encoding="utf-8")))
    for words in commands(path):
        if words[0] == "make":
            named |= set(words[1:])
        elif words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file(), words
        elif not is_verb(words):
            assert words[0] in OTHER_PROGRAMS or (ROOT / words[0]).is_file(), words
    assert named - targets == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_linked_files_exist(path: Path):
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_named_files_exist(path: Path):
    named = re.findall(r"`((?:src|conf|docs|tests|recipes)/[\w./-]+)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_python_examples_hold(path: Path):
    names: dict[str, object] = {}
    for number, block in enumerate(fenced(path, "pycon")):
        test = doctest.DocTestParser().get_doctest(
            block, names, f"{path.name}, example {number + 1}", str(path), 0
        )
        runner = doctest.DocTestRunner()
        runner.run(test, clear_globs=False)
        names = test.globs
        assert runner.failures == 0


def test_the_readme_names_the_two_commands():
    words = commands(ROOT / "README.md")
    assert words[:2] == [["make", "demo"], ["make", "test"]]
    assert ["make", "test"] in words


def test_every_signature_is_documented():
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert [name for name, scorer in TEXT_SCORERS.items() if f"`{scorer.signature}`" not in text] == []


def test_every_choice_is_documented():
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    files = [path for path in (ROOT / "conf").glob("*/*.yaml") if path.parent.name != "hydra"]
    choices = {path.stem for path in files} - {"base"}
    assert {choice for choice in choices if f"`{choice}`" not in text} == set()
