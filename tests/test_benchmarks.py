"""What is timed elsewhere still fits the code, and one script that fails costs no other its results."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="a source distribution has no benchmarks")


@pytest.fixture
def benchmarks(monkeypatch, tmp_path):
    """Load a module of the benchmarks, its results kept in a folder of their own."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in ("_race", "_table"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    race = importlib.import_module("_race")
    monkeypatch.setattr(race, "RESULTS", tmp_path / "results")
    return importlib.import_module


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_it_imports_is_there(script):
    """Many imports stand in functions, so that only the processes that need them pay."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "codeft":
            module = importlib.import_module(node.module)
            for name in [alias.name for alias in node.names]:
                try:
                    getattr(module, name)
                except AttributeError:
                    importlib.import_module(f"{node.module}.{name}")


@pytest.mark.parametrize("typed", [[], ["--quick"]])
def test_a_quick_run_leaves_the_results_alone(benchmarks, monkeypatch, tmp_path, capsys, typed):
    monkeypatch.setattr(sys, "argv", ["script.py", *typed])
    race = benchmarks("_race")
    race.write("one", [race.Result("this", "that", 2.0, "x", ">= 1x", True)], data="nothing")
    assert (tmp_path / "results" / "one.json").is_file() == (not typed)
    assert "this: 2x against that" in capsys.readouterr().out


def test_what_was_not_measured_stands_in_the_table(benchmarks, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    race, table = benchmarks("_race"), benchmarks("_table")
    monkeypatch.setattr(table, "PAGE", tmp_path / "page.md")
    race.write("one", [], data="nothing", missing=["CodeBLEU: codebleu isn't installed"])
    table.main()
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "## `one`" in page and "Not measured: CodeBLEU: codebleu isn't installed" in page


def test_numbers_are_written_out(benchmarks, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    race, table = benchmarks("_race"), benchmarks("_table")
    monkeypatch.setattr(table, "PAGE", tmp_path / "page.md")
    seconds = {"codeft": [0.0173], "rival": [17_300.0]}
    row = race.Result("this", "that", 1130.0, " bytes", "<= 2", False, race.spread(seconds))
    race.write("one", [row], data="x")
    table.main()
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| 1,130 bytes |" in page and "rival 17,300 (17,300 to 17,300) s" in page and "0.0173" in page


def test_a_gpu_s_goals_stand_there_until_that_script_ran_on_one(benchmarks, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    race, table = benchmarks("_race"), benchmarks("_table")
    monkeypatch.setattr(table, "PAGE", tmp_path / "page.md")
    race.write("decoding", [], data="nothing")
    (tmp_path / "results" / "decoding.json").rename(tmp_path / "results" / "decoding_gpu.json")
    table.main()
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "structure loss on a GPU" in page and "`generate` at batch 1" not in page


def test_one_that_fails_costs_no_other_its_results(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("no make")
    for folder in (".venv/bin", "benchmarks"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / ".venv" / ".ready").touch()
    for name, text in {
        "a": "raise SystemExit(3)",
        "b": "open('ran', 'w')",
        "_table": "open('table', 'w')",
    }.items():
        (tmp_path / "benchmarks" / f"{name}.py").write_text(text)
    done = subprocess.run(["make", "bench"], cwd=tmp_path, capture_output=True, text=True)
    assert (tmp_path / "ran").exists() and (tmp_path / "table").exists()
    assert done.returncode and "benchmarks/a.py" in done.stderr and "benchmarks/b.py" not in done.stderr
