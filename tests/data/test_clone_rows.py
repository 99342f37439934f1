"""BigCloneBench's layout, and CoSQA's."""

from __future__ import annotations

import json

import pytest

from codeft.data.sources import CodeXGLUEReader
from codeft.types import CodeftError
from rows import write_jsonl


@pytest.fixture
def clones(tmp_path):
    write_jsonl(tmp_path / "data.jsonl", [{"idx": str(i), "func": f"void f{i}() {{}}"} for i in range(3)])
    (tmp_path / "train.txt").write_text("0\t1\t1\n1\t2\t0\n", encoding="utf-8")
    return tmp_path


def rows(folder, task, split="train", **settings):
    reader = CodeXGLUEReader(dir=folder, **settings)
    return [row.fields for row in reader.rows(split, task=task, lang=None)], reader.skipped


def test_pairs_hold_their_functions(clones):
    found, _ = rows(clones, "clone_detection")
    assert found[0] == {"id": "0 1", "code1": "void f0() {}", "code2": "void f1() {}", "label": "1"}
    assert [row["label"] for row in found] == ["1", "0"]


def test_the_published_sample_is_found(clones):
    (clones / "test_sampled.txt").write_text("2 0 1", encoding="utf-8")
    assert rows(clones, "clone_detection", "test")[0][0]["id"] == "2 0"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 7 1", "names function 7, which isn't in data.jsonl"),
        ("0 1", "got 2 words"),
        ("0\t1\t1\t1", "got 4 words"),
        ("0 1 2", "expected a label out of 0, 1, got '2'"),
        ("0 1 true", "expected a label out of 0, 1, got 'true'"),
        ("0 \0 1", "names function \0, which"),
    ],
)
def test_a_bad_pair_names_file_and_line(clones, line, said):
    (clones / "train.txt").write_text(f"0 1 1\n{line}\n", encoding="utf-8")
    with pytest.raises(CodeftError) as caught:
        rows(clones, "clone_detection")
    assert str(caught.value).startswith(f"{clones}/train.txt:2: ") and said in str(caught.value)
    found, skipped = rows(clones, "clone_detection", on_bad_row="skip")
    assert len(found) == 1 and said in skipped[0].reason


def test_a_split_that_is_not_there(clones):
    with pytest.raises(CodeftError, match=r"expected valid\.txt or valid_sampled\.txt"):
        rows(clones, "clone_detection", "valid")


@pytest.mark.parametrize("line", ["2\t0\t1", "2 0 1", "  2  \t0 1\t", "2\t0\t1\r"])
def test_tabs_blanks_and_line_ends_part_the_same(clones, line):
    (clones / "train.txt").write_bytes(b"\xef\xbb\xbf0 1 0\r\n" + line.encode())
    found, _ = rows(clones, "clone_detection")
    assert [(row["id"], row["label"]) for row in found] == [("0 1", "0"), ("2 0", "1")]
    assert (found[1]["code1"], found[1]["code2"]) == ("void f2() {}", "void f0() {}")


def test_functions_that_are_two_or_none(clones):
    with (clones / "data.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"idx": 1, "func": "void f1() {}"}\n')  # the same again
    assert len(rows(clones, "clone_detection")[0]) == 2
    with (clones / "data.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"idx": 1, "func": "int other;"}\n')
    with pytest.raises(CodeftError, match=r"data\.jsonl:5: expected one function for idx 1"):
        rows(clones, "clone_detection")
    found, skipped = rows(clones, "clone_detection", on_bad_row="skip")
    assert found[0]["code2"] == "void f1() {}" and "idx 1" in skipped[0].reason
    (clones / "data.jsonl").write_text("")
    with pytest.raises(CodeftError, match=r"expected functions in .*data\.jsonl', found none"):
        rows(clones, "clone_detection")


@pytest.fixture
def cosqa(tmp_path):
    codes = {f"def f{i}(): pass": i for i in range(4)}
    (tmp_path / "code_idx_map.txt").write_text(json.dumps(codes), encoding="utf-8")
    queries = [{"idx": "q1", "doc": "call f2", "code": "def f2(): pass", "retrieval_idx": 2}]
    (tmp_path / "cosqa-retrieval-dev-500.json").write_text(json.dumps(queries), encoding="utf-8")
    return tmp_path


def candidates(folder, **settings):
    reader = CodeXGLUEReader(dir=folder, **settings)
    return [row.fields for row in reader.candidates("valid", task="code_search", lang=None)]


def test_queries_and_functions_are_apart(cosqa):
    found, _ = rows(cosqa, "code_search", "valid")
    assert [row["doc"] for row in found] == ["call f2"]
    assert [row["retrieval_idx"] for row in candidates(cosqa)] == [0, 1, 2, 3]


def test_pairs_that_do_not_match_are_left_out(cosqa):
    path = cosqa / "cosqa-retrieval-dev-500.json"
    [row] = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps([{**row, "label": 0}, {**row, "label": 1}]), encoding="utf-8")
    assert len(rows(cosqa, "code_search", "valid")[0]) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"label": 2}, 'row 1: expected "label" to be 0 or 1, got 2'),
        ({"retrieval_idx": None, "code": "def g(): pass"}, 'row 1: expected "retrieval_idx", or "code" as'),
    ],
)
def test_a_query_that_answers_nothing(cosqa, fields, said):
    path = cosqa / "cosqa-retrieval-dev-500.json"
    [row] = json.loads(path.read_text(encoding="utf-8"))
    bad = {key: value for key, value in (row | fields).items() if value is not None}
    path.write_text(json.dumps([bad, row]), encoding="utf-8")
    with pytest.raises(CodeftError) as caught:
        rows(cosqa, "code_search", "valid")
    assert said in str(caught.value)
    found, skipped = rows(cosqa, "code_search", "valid", on_bad_row="skip")
    assert len(found) == 1 and said.removeprefix("row 1: ") in skipped[0].reason


def test_a_query_may_name_its_function_by_its_text(cosqa):
    path = cosqa / "cosqa-retrieval-dev-500.json"
    [row] = json.loads(path.read_text(encoding="utf-8"))
    del row["retrieval_idx"]
    path.write_text(json.dumps([row]), encoding="utf-8")
    assert rows(cosqa, "code_search", "valid")[0][0]["retrieval_idx"] == 2


def test_lone_surrogates_and_a_byte_order_mark(cosqa):
    """JSON can spell half a character, which no tokenizer takes."""
    path = cosqa / "cosqa-retrieval-dev-500.json"
    text = path.read_text(encoding="utf-8").replace("call f2", "call \\ud800 f2")
    path.write_text(text, encoding="utf-8-sig")
    assert rows(cosqa, "code_search", "valid")[0][0]["doc"] == "call \ufffd f2"


@pytest.mark.parametrize("text", ["[1]", "{", "{}", ""])
def test_a_damaged_file_of_queries(cosqa, text):
    (cosqa / "cosqa-retrieval-dev-500.json").write_text(text, encoding="utf-8")
    with pytest.raises(CodeftError, match="cosqa-retrieval-dev"):
        rows(cosqa, "code_search", "valid")


def test_a_codebase_holds_further_candidates(tmp_path):
    row = {"code": "def f(): pass", "docstring": "Do it.", "language": "python"}
    for name in ("train", "valid", "codebase"):
        write_jsonl(tmp_path / f"{name}.jsonl", [row])
    assert len(rows(tmp_path, "code_search", "valid")[0]) == 1
    assert candidates(tmp_path) == [row]


def test_a_blank_line_is_no_pair_and_a_bad_function_can_be_skipped(clones):
    (clones / "train.txt").write_text("0 1 1\n\n", encoding="utf-8")
    assert len(rows(clones, "clone_detection")[0]) == 1
    with (clones / "data.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"idx": "9"}\n')
    with pytest.raises(CodeftError, match=r"data\.jsonl:4"):
        rows(clones, "clone_detection")
    found, skipped = rows(clones, "clone_detection", on_bad_row="skip")
    assert len(found) == 1 and len(skipped) == 1
