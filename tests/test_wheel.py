"""The wheel works where the checkout isn't: configs, assets and licences are inside."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("codeft-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed package and its console command."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    return target


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def run(installed: Path, folder: Path, *command: str) -> str:
    """Run a command in an empty folder; the path's first package is the only `codeft` that Python sees."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "PATH": f"{installed / 'bin'}:{os.environ['PATH']}",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_code_configs_assets_licences_and_citation(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        prefix + path.relative_to(folder).as_posix()
        for prefix, folder in (("codeft/", ROOT / "src" / "codeft"), ("codeft/conf/", ROOT / "conf"))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert expected - names == set()
    licences = {name.rpartition("/")[2] for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "THIRD_PARTY.md", "CITATION.cff"}


def test_it_holds_nothing_else(wheel: Path):
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"codeft"}


def test_configs_lie_inside_the_package(installed: Path, tmp_path: Path):
    out = run(installed, tmp_path, sys.executable, "-c", "from codeft.cli import conf_dir; print(conf_dir())")
    assert Path(out.strip()) == (installed / "codeft" / "conf").resolve()


def test_train_composes_in_an_empty_folder(installed: Path, tmp_path: Path):
    out = run(
        installed, tmp_path, sys.executable, "-m", "codeft.train", "method=telly", "k=6", "--cfg", "job"
    )
    assert "codeft.methods.layer_freeze.LayerFreezeCallback" in out


def test_help(installed: Path, tmp_path: Path):
    assert "telly" in run(installed, tmp_path, sys.executable, "-m", "codeft.train", "--help")
    assert "codeft VERB --help" in run(installed, tmp_path, "codeft", "--help")


def test_the_console_command_composes(installed: Path, tmp_path: Path):
    assert "codeft.tasks" in run(installed, tmp_path, "codeft", "train", "--cfg", "job")
