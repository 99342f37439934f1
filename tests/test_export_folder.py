"""An exported folder is whole or not there, nothing is lost for it, and it is read with suspicion."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codeft.export_folder import ExportFolder, check_free, check_takes_folder, write_about, written_whole
from codeft.types import CodeftError


def write_export(folder: Path, text: str = "new") -> None:
    (folder / "config.json").write_text(text)
    write_about(folder, {"format": 1})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_is_written_and_replaced(tmp_path):
    target = tmp_path / "deep" / "model"
    for text in ("old", "new"):
        with written_whole(target, overwrite=True) as new:
            write_export(new, text)
    assert (target / "config.json").read_text() == "new"
    assert names(target.parent) == {"model"}


def test_an_empty_folder_and_a_link_to_one_will_do(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with written_whole(tmp_path / "link", overwrite=False) as new:
        write_export(new)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "config.json").is_file()


def test_what_is_there_is_not_lost(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "thesis.tex").write_text("x")
    with pytest.raises(CodeftError, match="isn't empty"):
        check_free(target, overwrite=True)
    (target / "thesis.tex").unlink()
    write_export(target)
    with pytest.raises(CodeftError, match="overwrite=true"):
        check_free(target, overwrite=False)
    check_free(target, overwrite=True)
    (target / "notes").mkdir()
    (target / "notes" / "mine.txt").write_text("x")
    with pytest.raises(CodeftError, match=r"didn't write \(notes/mine.txt\)"):
        check_free(target, overwrite=True)
    (target / "codeft.json").write_text("[]")
    with pytest.raises(CodeftError, match="expected an object"):
        check_free(target, overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CodeftError, match="is none"):
        check_free(tmp_path / "file", overwrite=True)


def test_an_error_leaves_what_was_there(tmp_path):
    target = tmp_path / "model"
    with written_whole(target, overwrite=True) as new:
        write_export(new, "old")
    with pytest.raises(RuntimeError), written_whole(target, overwrite=True) as new:
        write_export(new)
        raise RuntimeError
    with pytest.raises(CodeftError, match="No space left"), written_whole(target, overwrite=True) as new:
        raise OSError(28, os.strerror(28))
    assert (target / "config.json").read_text() == "old"
    assert names(tmp_path) == {"model"}


def test_a_rename_that_fails_brings_the_old_one_back(tmp_path, monkeypatch):
    target = tmp_path / "model"
    with written_whole(target, overwrite=True) as new:
        write_export(new, "old")
    rename = Path.rename

    def fail_once(self, other):
        if self.name.endswith(".new"):
            raise OSError(5, "broken")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(CodeftError, match="broken"), written_whole(target, overwrite=True) as new:
        write_export(new)
    assert (target / "config.json").read_text() == "old"
    assert names(tmp_path) == {"model"}


def test_a_kill_between_the_renames_is_mended(tmp_path):
    target = tmp_path / "model"
    with written_whole(target, overwrite=True) as new:
        write_export(new, "old")
    target.rename(tmp_path / ".model.codeft-export.old")
    (tmp_path / ".model.codeft-export.new").mkdir()
    with pytest.raises(CodeftError, match="overwrite=true"), written_whole(target, overwrite=False):
        pass
    assert (target / "config.json").read_text() == "old"
    with written_whole(target, overwrite=True) as new:
        write_export(new)
    assert names(tmp_path) == {"model"}


KILLED = """
import sys, time
from pathlib import Path
from codeft.export_folder import written_whole
with written_whole(Path(sys.argv[1]), overwrite=True) as new:
    (new / "model.safetensors").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(3600)
"""


def test_a_kill_leaves_no_half_folder(tmp_path):
    target = tmp_path / "model"
    process = subprocess.Popen([sys.executable, "-c", KILLED, target], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    with written_whole(target, overwrite=False) as new:
        write_export(new)
    assert names(tmp_path) == {"model"}


def fails(command, *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        command("export", *words)
    return str(stopped.value)


def test_a_full_disk_leaves_nothing(command, finished_run, tmp_path):
    """No file may grow beyond what the small ones need, as on a disk that fills up."""
    words = [f"run={finished_run}", f"to={tmp_path}/model", f"hydra.run.dir={tmp_path}/log"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (2_000, 30_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            assert "can't write" in fails(command, *words)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not [path for path in tmp_path.iterdir() if "model" in path.name]


def test_a_disk_that_is_too_full_is_told_before(command, finished_run, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    words = [f"run={finished_run}", f"to={tmp_path}/model", f"hydra.run.dir={tmp_path}/log"]
    assert "GB free" in fails(command, *words)


def test_errors_of_the_verb(command, finished_run, tmp_path):
    log, run, to = f"hydra.run.dir={tmp_path}/log", f"run={finished_run}", f"to={tmp_path}/model"
    assert "no run=" in fails(command, to, log)
    assert "no to=" in fails(command, run, log)
    assert "true or false" in fails(command, run, to, "overwrite=maybe", log)
    assert "isn't one" in fails(command, f"run={tmp_path}/nowhere", to, log)
    assert "isn't empty" in fails(command, run, f"to={finished_run}", log)
    assert "must be best or last" in fails(command, run, to, "checkpoint=first", log)
    assert not (tmp_path / "model").exists()
    (tmp_path / "model").mkdir()
    write_export(tmp_path / "model")
    assert "already" in fails(command, f"run={tmp_path}/model", f"to={tmp_path}/other", log)


@pytest.fixture
def about(finished_run) -> dict:
    from omegaconf import OmegaConf

    from codeft.export_folder import describe_export
    from codeft.run_folder import RunFolder

    run = OmegaConf.to_container(RunFolder(finished_run).load_config(), resolve=True)
    assert isinstance(run, dict)
    return describe_export(run, untied=True, metrics={}, versions={})


def read(folder: Path, about: dict) -> None:
    folder.mkdir(exist_ok=True)
    write_about(folder, about)
    ExportFolder.read(folder).load_config()


def test_what_it_says_is_read_as_data_alone(about, tmp_path):
    read(tmp_path / "good", about)
    for section in ("task", "model", "data"):
        broken = json.loads(json.dumps(about))
        broken[section]["evil"] = {"_target_": "os.system", "command": "true"}
        with pytest.raises(CodeftError, match=r"os\.system"):
            read(tmp_path / "evil", broken)
    for change in ({"task": 5}, {"model": None}, {"choices": []}, {"data": {}}, {"format": 2}, {"seed": [1]}):
        with pytest.raises(CodeftError, match=r"codeft\.json"):
            read(tmp_path / "broken", {**about, **change})
    for text in ("{", "[" * 3000, "[1]", "\xff"):
        (tmp_path / "broken" / "codeft.json").write_text(text, encoding="latin-1")
        with pytest.raises(CodeftError, match=r"codeft\.json"):
            ExportFolder.read(tmp_path / "broken")


def test_it_names_no_place(about, finished_run):
    assert about["data"]["dir"] == about["data"]["reader"]["dir"] == "elsewhere"
    assert about["data"]["splits"] == {"train": "train", "valid": "valid", "test": "test"}
    assert str(finished_run.parent) not in json.dumps(about) and "/" not in json.dumps(about["data"])
    assert "weights" not in about["model"] and about["data"]["features"] == {}


def test_only_a_run_has_two_checkpoints(about, tmp_path):
    folder = ExportFolder(tmp_path, about)
    assert folder.weights("best") == tmp_path / "model.safetensors"
    with pytest.raises(CodeftError, match="one checkpoint"):
        folder.weights("last")


def test_a_link_to_a_folder_is_somebody_s(tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "data").symlink_to(tmp_path / "big")
    with pytest.raises(CodeftError, match="isn't empty"):
        check_free(tmp_path / "to", overwrite=False)


@pytest.mark.parametrize("below", ["x", "not/there/x"])
def test_where_no_folder_can_be_made_is_told(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(
        CodeftError, match=r"can't write an export into .*x': no folder can be made in .*file'"
    ):
        check_takes_folder(tmp_path / "file" / below)
    check_takes_folder(tmp_path / below)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
