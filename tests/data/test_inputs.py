"""Functions and rows to predict for, in their order."""

from __future__ import annotations

import pytest

from codeft.data.inputs import InputReport, read_inputs
from codeft.types import CodeftError


def read(path, on_bad_row="error"):
    report = InputReport()
    return list(read_inputs(path, on_bad_row=on_bad_row, report=report)), report


def test_functions_come_in_the_order_of_paths_and_lines(tmp_path):
    (tmp_path / "z.py").write_text(
        "def a():\n    pass\n\n\nclass B:\n    def c(self):\n        '''Doc.'''\n        return 1\n"
    )
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "test_it.go").write_text("package p\n\nfunc Do() int { return 1 }\n")
    (tmp_path / "a.rb").write_text("def go\n  1\nend\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hook.py").write_text("def hidden(): pass\n")
    rows, report = read(tmp_path)
    assert [(row.path, row.name, row.start_line, row.language) for row in rows] == [
        ("a.rb", "go", 1, "ruby"),
        ("z.py", "a", 1, "python"),
        ("z.py", "B.c", 6, "python"),
        ("dist/test_it.go", "Do", 3, "go"),
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
    assert +report.skipped_files == {"not UTF-8": 1, "binary": 1, "unknown suffix": 1, "link": 1}
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
    assert +report.skipped_files == {"larger than 2 MB": 1}
    with pytest.raises(CodeftError, match=r"can't use .*b\.py': larger than 2 MB"):
        read(tmp_path / "b.py")


def test_tokens_are_made_where_they_are_wanted(tmp_path):
    (tmp_path / "a.py").write_text("def f():\n    return 1\n")
    for tokens in (True, False):
        [row] = read_inputs(tmp_path, on_bad_row="error", report=InputReport(), tokens=tokens)
        assert ("code_tokens" in row.fields) is tokens
