"""Which files of a tree are meant, and what is said of the others."""

from __future__ import annotations

import logging

import pytest

from codeft.data.left_out import LeftOut
from codeft.data.source_tree import SourceSelection, walk_sources
from codeft.types import CodeftError


def walk(root, *, tests=False, languages=None, **selection):
    left_out = LeftOut()
    chosen = SourceSelection.of(**selection)
    found = walk_sources(root, selection=chosen, tests=tests, left_out=left_out, languages=languages)
    return [relative for _, relative in found], left_out


def put(root, *names, text="x = 1\n"):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_source_files_in_other_languages_are_counted_by_suffix(tmp_path, caplog):
    put(tmp_path, "a.py", "b.ts", "c/d.TS", "e.ipynb", "f.cu", "g.inl", "README.md", "data.csv")
    with caplog.at_level(logging.INFO):
        found, left_out = walk(tmp_path)
    assert found == ["a.py"]
    assert left_out.suffixes == {".ts": 2, ".ipynb": 1, ".cu": 1, ".inl": 1}
    assert left_out.others == 2 and not left_out.reasons
    assert "not read: c/d.TS (TypeScript)" in caplog.messages
    assert not any("README" in message for message in caplog.messages)
    assert all(record.file_only for record in caplog.records)


def test_folders_are_told_with_what_lies_in_them(tmp_path):
    put(
        tmp_path,
        "a.py",
        "vendor/b.py",
        "vendor/c/d.go",
        "tests/e.py",
        "x/test_f.py",
        ".git/g.py",
        ".tox/h.py",
    )
    put(tmp_path, "node_modules/readme.md")
    found, left_out = walk(tmp_path)
    assert found == ["a.py"]
    assert left_out.reasons == {"vendored folder": 2, "test": 2, "hidden folder": 1}
    assert left_out.folders == {
        ("vendor", "vendored folder"): 2,
        ("tests", "test"): 1,
        (".tox", "hidden folder"): 1,
    }
    assert walk(tmp_path, tests=True)[0] == ["a.py", "tests/e.py", "x/test_f.py"]


@pytest.mark.parametrize(
    ("files", "built"),
    [
        (["pyproject.toml", "sub/setup.py", "sub/build/x.py"], True),
        (["build/lib/x.py"], True),
        (["build/x.py"], True),
        (["go/build/x.go"], False),
        (["build/build.go"], False),
        (["web/package.json", "web/build/x.js"], True),
        (["pom.xml", "target/x.java"], True),
        (["target/x.java"], False),
        (["A.csproj", "obj/x.cs"], True),
        (["docs/_build/x.js"], True),
        (["tools/build/x.py"], False),
    ],
)
def test_what_was_built_is_left_out(tmp_path, files, built):
    put(tmp_path, *files)
    found, left_out = walk(tmp_path)
    assert (files[-1] not in found) is built
    assert bool(left_out.reasons["build folder"]) is built


def test_gitignore_holds_for_what_lies_below_it(tmp_path):
    put(tmp_path, "a.py", "out/b.py", "sub/c.py", "sub/gen.py", "sub/keep/gen.py", "gen.py", "deep/out/e.py")
    (tmp_path / ".gitignore").write_text("out/\n# a comment\n[\n*.log\n")
    (tmp_path / "sub" / ".gitignore").write_text("gen.py\n!keep/gen.py\n")
    found, left_out = walk(tmp_path)
    assert found == ["a.py", "gen.py", "sub/c.py", "sub/keep/gen.py"]
    assert left_out.reasons == {"in .gitignore": 3}
    assert left_out.folders == {("out", "in .gitignore"): 1, ("deep/out", "in .gitignore"): 1}
    assert "out/b.py" in walk(tmp_path, ignored=True)[0]


def test_gitignore_of_the_repository_around_a_tree_holds(tmp_path):
    put(tmp_path, ".git/HEAD", "src/a.py", "src/gen/b.py", "gen/c.py")
    (tmp_path / ".gitignore").write_text("gen/\n/a.py\n")
    assert walk(tmp_path / "src")[0] == ["a.py"]
    assert walk(tmp_path / "gen")[0] == ["c.py"]  # who names an ignored folder wants it
    (tmp_path / ".git" / "HEAD").unlink()
    (tmp_path / ".git").rmdir()
    assert walk(tmp_path / "src")[0] == ["a.py", "gen/b.py"]


def test_include_and_exclude(tmp_path):
    put(tmp_path, "a.py", "src/b.py", "src/old/c.py", "src/d.js", "lib/e.py")
    found, left_out = walk(tmp_path, include=["src/"], exclude=["old/", "*.js"])
    assert found == ["src/b.py"]
    assert left_out.reasons == {"not in data.include": 2, "in data.exclude": 2}
    assert walk(tmp_path, include="*.js")[0] == ["src/d.js"]
    assert walk(tmp_path, exclude=["/src/**", "lib"])[0] == ["a.py"]
    with pytest.raises(CodeftError, match=r"data\.exclude to be patterns"):
        walk(tmp_path, exclude=[1])


def test_other_languages_than_asked_for_are_counted(tmp_path):
    put(tmp_path, "a.py", "b.go", "c.h", "vendor/d.go")
    found, left_out = walk(tmp_path, languages=["cpp"])
    assert found == ["c.h"]
    assert left_out.reasons == {"another language": 2}


def test_counts_as_a_line_and_as_json(tmp_path):
    put(tmp_path, "a.kt", "vendor/b.py")
    _, left_out = walk(tmp_path)
    assert str(left_out) == "1 .kt, vendored folder: 1"
    assert left_out.as_dict() == {
        "reasons": {"vendored folder": 1},
        "suffixes": {".kt": 1},
        "folders": [{"folder": "vendor", "reason": "vendored folder", "files": 1}],
        "other_files": 0,
    }
    assert str(LeftOut()) == ""
