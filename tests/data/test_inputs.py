"""Functions and rows to predict for, in their order."""

from __future__ import annotations

import pytest

from codeft.data.inputs import InputReport, read_inputs
from codeft.data.source_tree import SourceSelection
from codeft.types import CodeftError


def read(path, on_bad_row="error", **selection):
    report = InputReport()
    chosen = SourceSelection.of(**selection)
    return list(read_inputs(path, on_bad_row=on_bad_row, report=report, selection=chosen)), report


def test_functions_come_in_the_order_of_paths_and_lines(tmp_path):
    (tmp_path / "z.py").write_text(
        "def a():\n    pass\n\n\nclass B:\n    def c(self):\n        '''Doc.'''\n        return 1\n"
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.go").write_text("package p\n\nfunc Do() int { return 1 }\n")
    (tmp_path / "a.rb").write_text("def go\n  1\nend\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hook.py").write_text("def hidden(): pass\n")
    rows, report = read(tmp_path)
    assert [(row.path, row.name, row.start_line, row.language) for row in rows] == [
        ("a.rb", "go", 1, "ruby"),
        ("z.py", "a", 1, "python"),
        ("z.py", "B.c", 6, "python"),
        ("tests/test_it.go", "Do", 3, "go"),
    ]
    assert "Doc" not in rows[2].fields["code"]
    assert rows[2].where == "z.py:6"
    assert report.num_files == 3


def test_two_functions_of_a_line_have_two_ids(tmp_path):
    (tmp_path / "a.js").write_text("function f() { return 1; } function f() { return 2; }\n")
    rows, _ = read(tmp_path / "a.js")
    assert [row.fields["id"] for row in rows] == ["a.js:1:f", "a.js:1:f:2"]


def test_rows_say_where_they_are_from(tmp_path):
    (tmp_path / "r.jsonl").write_text(
        '{"code": "x", "path": "p.py", "func_name": "f", "start_line": 3}\n{]\n{"code": "y"}\n'
    )
    rows, report = read(tmp_path / "r.jsonl", on_bad_row="skip")
    assert [(row.path, row.name, row.start_line) for row in rows] == [("p.py", "f", 3), (None, None, None)]
    assert [row.where.rpartition(":")[2] for row in report.skipped_rows] == ["2"]
    with pytest.raises(CodeftError, match=r"r\.jsonl:2"):
        read(tmp_path / "r.jsonl")


def test_what_is_no_text_is_counted(tmp_path):
    (tmp_path / "a.py").write_bytes(b"def f():\n    return '\xff'\n")
    (tmp_path / "b.py").write_bytes(b"def f():\n    return '\0'\n")
    (tmp_path / "c.py").write_bytes(b"")
    (tmp_path / "d.bin").write_bytes(b"")
    (tmp_path / "e.py").symlink_to("c.py")
    rows, report = read(tmp_path)
    assert rows == []
    assert report.left_out() == {"not UTF-8": 1, "binary": 1, "unknown suffix": 1, "link or device": 1}
    with pytest.raises(CodeftError, match="binary"):
        read(tmp_path / "b.py")


def test_deep_source_is_used(tmp_path):
    (tmp_path / "deep.py").write_text("def f():\n    return " + "(" * 5000 + "1" + ")" * 5000 + "\n")
    rows, _ = read(tmp_path)
    assert rows[0].name == "f"


def test_a_file_that_nobody_wrote_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("codeft.data.inputs.MAX_FILE_BYTES", 2_000_000)
    (tmp_path / "a.py").write_text("def f():\n    return 1\n")
    (tmp_path / "b.py").write_text("x = 1\n" * 400_000)
    rows, report = read(tmp_path)
    assert [row.path for row in rows] == ["a.py"]
    assert report.left_out() == {"larger than 2 MB": 1}
    with pytest.raises(CodeftError, match=r"can't use .*b\.py': larger than 2 MB"):
        read(tmp_path / "b.py")


def test_tokens_are_made_where_they_are_wanted(tmp_path):
    (tmp_path / "a.py").write_text("def f():\n    return 1\n")
    for tokens in (True, False):
        [row] = read_inputs(tmp_path, on_bad_row="error", report=InputReport(), tokens=tokens)
        assert ("code_tokens" in row.fields) is tokens


def test_others_code_is_counted_and_not_read_unless_asked_for(tmp_path):
    folders = ["app", "node_modules/app", "env/lib/python3/site-packages/app", "build/lib/app"]
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text("def f():\n    return 1\n")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "app" / "b.ts").write_text("function g() {}\n")
    rows, report = read(tmp_path)
    assert [row.path for row in rows] == ["app/a.py"]
    assert report.left_out() == {".ts file": 1, "vendored folder": 2, "build folder": 1}
    assert {folder for folder, _ in report.skipped.folders} == {"node_modules", "env", "build"}
    rows, _ = read(tmp_path, ignored=True)
    assert sorted(row.path for row in rows) == sorted(f"{folder}/a.py" for folder in folders)
    rows, _ = read(tmp_path / "node_modules")
    assert [row.path for row in rows] == ["app/a.py"]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.py", "def f(a):\n    b = a\n    return b\n", "def f(a):\n    b = a\n    return b"),
        ("A.java", "class A {\n  int f() {\n    // one\n    return 1;\n  }\n}\n", None),
        ("a.rb", "x = 1\ndef f(a)\n  a\nend\n", "def f(a)\n  a\nend"),
        ("a.go", "package a\n\nfunc F() int {\n\treturn 1\n}\n", "func F() int {\n\treturn 1\n}"),
    ],
)
def test_all_line_ends_are_alike(tmp_path, name, text, code, end):
    (tmp_path / name).write_bytes(text.replace("\n", end).encode())
    [row], _ = read(tmp_path)
    assert row.fields["code"] == (code or "int f() {\n  // one\n  return 1;\n}")
    assert row.start_line == 1 + text[: text.lower().index(" f(") + 1].count("\n")


def test_a_header_that_holds_cpp_is_read_as_cpp(tmp_path):
    (tmp_path / "a.h").write_text("namespace n {\ntemplate <class T>\nT f(T t) {\n  return t;\n}\n}\n")
    [row], _ = read(tmp_path)
    assert (row.name, row.language) == ("f", "cpp")
