"""What is kept under version control: small, portable, licensed, and in step with itself."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "src" / "codeft" / "assets"
MAX_BYTES = 20_000_000

MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:work|root|opt|home)/\w")
REGISTRY_HOST = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org|deb\.debian\.org|snapshot\.debian\.org|proxy\.golang\.org)\b"
)


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """Every file under version control that is still there."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True)
    if listed.returncode:
        pytest.skip("this isn't a git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.fixture(scope="module")
def texts(tracked: list[Path]) -> dict[Path, str]:
    """What people wrote: no weights, vocabularies or rows of data."""
    found = {}
    for path in tracked:
        if path.is_relative_to(ASSETS) and path.suffix != ".md":
            continue
        try:
            found[path.relative_to(ROOT)] = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue
    return found


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {plain_name(name): version for name, version in pairs}


def plain_name(requirement: str) -> str:
    """Return a requirement's package name as the registries compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def test_no_file_is_large(tracked):
    assert [path for path in tracked if path.stat().st_size > MAX_BYTES] == []


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["machine path", "registry host"])
def test_nothing_ties_it_to_a_machine(texts, pattern):
    assert {str(path): pattern.findall(text) for path, text in texts.items() if pattern.search(text)} == {}


def test_texts_end_with_one_line_end(texts):
    assert [str(p) for p, text in texts.items() if text and (text[-1] != "\n" or text.endswith("\n\n"))] == []


def test_every_dependency_is_pinned(project, pins):
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    wanted = [requirement for group in groups for requirement in group]
    assert {plain_name(requirement) for requirement in wanted} - set(pins) == set()


def test_pins_install_anywhere(pins):
    assert {name: version for name, version in pins.items() if not re.fullmatch(r"[\w.]+", version)} == {}


def test_versions_agree(project, pins):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["project"]["version"]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert hooks["repos"][0]["rev"] == f"v{pins['ruff']}"


def test_every_licence_of_the_sample_is_named():
    files = sorted((ASSETS / "sample").rglob("*.jsonl.gz"))
    if not files:
        pytest.skip("no sample is embedded")
    licences = set()
    for path in files:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            licences |= {json.loads(line)["licence"] for line in file}
    named = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    assert {licence for licence in licences if not licence or licence not in named} == set()
