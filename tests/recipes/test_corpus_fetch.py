"""Archives from a registry are unpacked without trusting them."""

import csv
import importlib.util
import io
import sys
import tarfile
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest

from codeft.syntax.languages import LANGUAGES

CORPUS = Path(__file__).parents[2] / "recipes" / "corpus"


@pytest.fixture(scope="module")
def fetch():
    spec = importlib.util.spec_from_file_location("corpus_fetch", CORPUS / "fetch.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def tar_with(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def names_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_hostile_tar_writes_only_source_files_below_its_folder(fetch, tmp_path):
    link = tarfile.TarInfo("pkg/link.py")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard = tarfile.TarInfo("pkg/hard.py")
    hard.type, hard.linkname = tarfile.LNKTYPE, "pkg/ok.py"
    device = tarfile.TarInfo("pkg/device.py")
    device.type = tarfile.CHRTYPE
    names = ["../escape.py", "/absolute.py", "pkg/../../up.py", "pkg/ok.py", "pkg/run.sh", "pkg/LICENSE"]
    members = [(tarfile.TarInfo(name), b"x = 1\n") for name in names]
    members += [(link, b""), (hard, b""), (device, b"")]
    tar_with(tmp_path / "a.tar.gz", members)
    folder = tmp_path / "out" / "deep"
    folder.mkdir(parents=True)
    fetch.unpack(tmp_path / "a.tar.gz", folder=folder)
    assert names_below(folder) == ["pkg", "pkg/LICENSE", "pkg/ok.py"]
    assert names_below(tmp_path) == [
        "a.tar.gz",
        "out",
        "out/deep",
        *(f"out/deep/{n}" for n in names_below(folder)),
    ]
    assert not (folder / "pkg/ok.py").is_symlink()


def test_a_wheel_is_read_as_an_archive(fetch, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("pkg/a.py", "x = 1\n")
        wheel.writestr("pkg/lib.so", "binary")
        wheel.writestr("../b.py", "x = 1\n")
        wheel.writestr("pkg.dist-info/METADATA", "License: MIT\n")
    fetch.unpack(tmp_path / "a.whl", folder=tmp_path / "out")
    assert names_below(tmp_path / "out") == ["pkg", "pkg.dist-info", "pkg.dist-info/METADATA", "pkg/a.py"]


def test_a_bomb_is_refused(fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_PACKAGE_BYTES", 10)
    tar_with(tmp_path / "a.tar.gz", [(tarfile.TarInfo(f"{n}.py"), b"123456") for n in range(3)])
    with pytest.raises(ValueError, match="more than 10 bytes"):
        fetch.unpack(tmp_path / "a.tar.gz", folder=tmp_path / "out")


def test_the_table_of_sources():
    with (CORPUS / "sources.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    roles = {"train": set(), "valid": set(), "test": set()}
    for row in rows:
        assert row["registry"] in {"cpython", "debian", "debian-binary", "npm", "pypi"}
        assert all(row[key] for key in ("package", "version", "languages", "licence", "upstream", "role"))
        assert "GPL" not in row["licence"] and "MPL" not in row["licence"]
        for role in row["role"].split():
            if role.startswith("sample-"):
                roles[role.removeprefix("sample-")].add(row["upstream"].lower())
            held_out = role in {"held-out", "sample-valid", "sample-test"} or role.startswith("parallel")
            assert not (held_out and "pretrain" in row["role"]), row["package"]
    assert not roles["train"] & roles["valid"] and not roles["valid"] & roles["test"]
    assert not roles["train"] & roles["test"]


def test_every_language_has_packages_that_are_held_out(fetch):
    trained = set()
    held_out = defaultdict(set)
    for row in fetch.read_sources():
        for language in row["languages"].split():
            if "pretrain" in row["role"].split():
                trained.add(row["upstream"].lower())
            elif row["role"] == "held-out":
                held_out[language].add(row["upstream"].lower())
    assert set(held_out) == set(LANGUAGES)
    assert all(len(upstreams) >= 2 for upstreams in held_out.values())
    assert not trained & set().union(*held_out.values())


def test_a_package_stands_in_the_table_once(fetch):
    rows = [(row["registry"], row["package"], row["folder"]) for row in fetch.read_sources()]
    assert len(rows) == len(set(rows))
