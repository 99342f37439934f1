import pytest

from codeft.data.mining import MiningReport, code_tokens, find_functions, mine_functions
from codeft.types import CodeftError

DOC = "Return the area of a box."
FILES = {
    "python": ("shapes.py", f'def area(w, h):\n    """{DOC}"""\n    size = w * h\n    return size\n'),
    "java": (
        "Shapes.java",
        f"class Shapes {{\n  /** {DOC} */\n  int area(int w) {{\n    return w;\n  }}\n}}\n",
    ),
    "javascript": ("shapes.js", f"/** {DOC} */\nfunction area(w, h) {{\n  return w * h;\n}}\n"),
    "go": ("shapes.go", f"package s\n\n// {DOC}\nfunc area(w, h int) int {{\n\treturn w * h\n}}\n"),
    "php": ("shapes.php", f"<?php\n/** {DOC} */\nfunction area($w, $h) {{\n  return $w * $h;\n}}\n"),
    "ruby": ("shapes.rb", f"# {DOC}\ndef area(w, h)\n  w * h\nend\n"),
    "csharp": (
        "Shapes.cs",
        f"class Shapes {{\n  /// <summary>{DOC}</summary>\n  int area(int w) {{\n    return w;\n  }}\n}}\n",
    ),
    "c": ("shapes.c", f"/* {DOC} */\nint area(int w, int h) {{\n  return w * h;\n}}\n"),
    "cpp": ("shapes.cpp", f"// {DOC}\nint area(int w, int h) {{\n  return w * h;\n}}\n"),
}


def python_file(docstring, *, name="area", body="    size = w * h\n    return size\n"):
    return f'def {name}(w, h):\n    """{docstring}"""\n{body}'


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.values():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_one_function_in_each_of_nine_languages(tree):
    report = MiningReport()
    rows = list(mine_functions(tree, report=report))
    assert {row["language"] for row in rows} == set(FILES)
    for row in rows:
        assert row["docstring"] == DOC
        assert row["docstring_tokens"] == ["Return", "the", "area", "of", "a", "box", "."]
        assert "area of a box" not in row["code"]
        assert "area" in row["code_tokens"]
        assert row["func_name"].endswith("area")
        assert row["path"] == FILES[row["language"]][0]
        assert row["partition"] == ""
    assert report.rows == dict.fromkeys(FILES, 1)
    assert report.files == dict.fromkeys(FILES, 1)
    assert not report.skipped_files and not report.skipped_functions


def test_rows_carry_what_the_caller_says(tree):
    rows = list(mine_functions(tree, languages=["C#", "go"], repo="a/b", licence="MIT", partition="test"))
    assert [row["language"] for row in rows] == ["csharp", "go"]
    assert {(row["repo"], row["licence"], row["partition"]) for row in rows} == {("a/b", "MIT", "test")}


def test_two_runs_agree(tree):
    assert list(mine_functions(tree)) == list(mine_functions(tree))


def test_a_single_file_is_a_tree_too(tree):
    assert [row["path"] for row in mine_functions(tree / "shapes.rb")] == ["shapes.rb"]


def test_a_missing_root_is_a_users_error(tmp_path):
    with pytest.raises(CodeftError, match="doesn't exist"):
        list(mine_functions(tmp_path / "nowhere"))


def test_progress_sees_every_file(tree):
    seen = []
    list(find_functions(tree, progress=seen.append))
    assert seen == sorted(name for name, _ in FILES.values())


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("no docstring", "def area(w, h):\n    size = w * h\n    return size\n"),
        ("short docstring", python_file("Area.")),
        ("long docstring", python_file("word " * 300)),
        ("short code", 'def area(w, h):\n    """Return the area of a box."""\n    return w * h\n'),
        ("constructor or standard method", python_file("Make a box of that size.", name="__init__")),
        ("test", python_file("Check the area of a box.", name="test_area")),
        ("boilerplate docstring", python_file("Deprecated since the third version.")),
        ("boilerplate docstring", python_file("See https://example.org/ for the details.")),
        ("docstring isn't English prose", python_file("返回盒子的面积 和 高度 的 乘积 而已")),
    ],
)
def test_functions_that_make_no_row(tmp_path, reason, text):
    (tmp_path / "shapes.py").write_text(text, encoding="utf-8")
    report = MiningReport()
    assert list(mine_functions(tmp_path, report=report)) == []
    assert report.skipped_functions == {reason: 1}


def test_only_the_first_paragraph_is_the_docstring(tmp_path):
    text = python_file("Return the area.\n\n    It is exact.\n    ")
    (tmp_path / "shapes.py").write_text(text, encoding="utf-8")
    (row,) = mine_functions(tmp_path)
    assert row["docstring"] == "Return the area."
    assert "exact" not in row["code"]


@pytest.mark.parametrize("language", FILES)
def test_the_whole_text_keeps_the_documentation(tree, language):
    (found,) = find_functions(tree, languages=[language])
    assert DOC in found.text
    assert found.text[0] != " "
    assert found.text.splitlines()[-1] == found.function.code.splitlines()[-1]


def test_text_of_a_c_function_leaves_directives_alone(tmp_path):
    text = "#include <a.h>\n#define B 1\nint area(int w) {\n  return w;\n}\n"
    (tmp_path / "a.c").write_text(text, encoding="utf-8")
    (found,) = find_functions(tmp_path)
    assert found.text.startswith("int area")


def test_code_tokens_leave_comments_out():
    tokens = code_tokens("def f(a):  # why\n    return a\n", "python")
    assert " ".join(tokens) == "def f ( a ) : return a"


def test_the_whole_text_counts_lines_as_functions_do(tmp_path):
    above = "import os\n\f\nX = 1\u2028\x0b\n\n\n"  # none of these characters ends a line
    (tmp_path / "shapes.py").write_text(above + python_file("Return the area."), encoding="utf-8")
    (found,) = find_functions(tmp_path)
    assert found.text == python_file("Return the area.").rstrip("\n")
