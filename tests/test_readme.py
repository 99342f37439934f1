"""What the documents tell people to type can be typed, and what they point to is there."""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from codeft.cli import VERBS
from codeft.metrics import TEXT_SCORERS
from codeft.overrides import quote_literal

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHER_PROGRAMS = {".", "pip", "tensorboard", "wandb", ".venv/bin/pre-commit"}


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
