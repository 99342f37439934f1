"""CodeXGLUE's rows on the hub, as its data cards describe them, read by their tasks."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from codeft.data import hub_rows
from codeft.data.codexglue_hub import HUB
from codeft.data.sources import CodeXGLUEReader
from codeft.tasks.clone_detection import ClonePairsTask, CloneRetrievalTask
from codeft.tasks.code_search import CodeSearchTask
from codeft.tasks.defect_detection import DefectDetectionTask
from codeft.tasks.refinement import RefinementTask
from codeft.types import CodeftError

ADVTEST = {
    "id": 3,
    "code": "def Func(arg_0):\n    return arg_0 + 1",
    "code_tokens": ["def", "Func"],
    "docstring": "Add one.",
    "url": "https://example.org/f.py#L1",
    "language": "",
    "docstring_tokens": [],
    "score": -1.0,
    "nwo": "",
}
ROWS = {
    "clone_detection": {
        "id": 0,
        "id1": 2381663,
        "id2": 4458076,
        "func1": "void f() {\n}",
        "func2": "int g() { return 1; }",
        "label": False,
    },
    "clone_detection_poj104": {"id": 0, "code": "int main() {}", "label": "1"},
    "defect_detection": {"id": 8, "func": "int f();", "target": True, "project": "p", "commit_id": "c"},
    "code_search": ADVTEST,
    "refinement": {"id": 0, "buggy": "int a ;", "fixed": "int b ;"},
}


@pytest.fixture
def asked(monkeypatch):
    """What was asked of a hub that has these rows, a list of (name, config, split)."""
    calls = []

    def load_dataset(name, config, *, split):
        calls.append((name, config, split))
        task = next(task for task, known in HUB.items() if known == name)
        return [ROWS[task]]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setattr(hub_rows, "_go_offline_where_the_hub_is_silent", lambda: None)
    return calls


def read(task, **settings):
    reader = CodeXGLUEReader(**settings)
    [row] = reader.rows("valid", task=task.name, lang=task.lang)
    return task.read(row.fields, where=row.where, input="code", labelled=True)


def test_a_pair_goes_by_its_functions_ids(asked):
    example = read(ClonePairsTask())
    assert (example.id, example.target) == ("2381663 4458076", "0")
    assert example.source == "void f() { }" and example.others[0].source == "int g() { return 1; }"
    assert asked == [("google/code_x_glue_cc_clone_detection_big_clone_bench", None, "validation")]


def test_a_program_and_its_problem(asked):
    example = read(CloneRetrievalTask())
    assert (example.id, example.source, example.target) == ("0", "int main() {}", "1")
    assert asked[0][0] == "google/code_x_glue_cc_clone_detection_poj104"


def test_a_vulnerable_function(asked):
    example = read(DefectDetectionTask())
    assert (example.id, example.source, example.target) == ("8", "int f();", "1")
    assert asked[0][0] == "google/code_x_glue_cc_defect_detection"


def test_advtest_s_rows_lack_what_their_file_does(asked):
    """The hub fills a field that the file hasn't with an empty one."""
    for lang in (None, "python"):
        example = read(CodeSearchTask(lang=lang))
        assert example.others[0].source == "Add one ." and example.lang == "python"
        assert (example.id, example.meta["code_id"]) == ("3", ADVTEST["url"])
    assert asked[0][0] == "google/code_x_glue_tc_nl_code_search_adv"
    with pytest.raises(CodeftError, match="this data set has python, not lang=java"):
        read(CodeSearchTask(lang="java"))


@pytest.mark.parametrize("size", ["small", "medium"])
def test_refinement_has_two_sets(asked, tmp_path, size):
    task = RefinementTask(max_source_length=8, max_target_length=8, num_beams=1)
    assert read(task, size=size).target == "int b ;"
    assert asked == [("google/code_x_glue_cc_code_refinement", size, "validation")]
    for name in ("small", "medium"):
        (tmp_path / name).mkdir()
        for side in ("buggy", "fixed"):
            (tmp_path / name / f"valid.buggy-fixed.{side}").write_text(f"{name} {side}\n")
    assert read(task, size=size, dir=tmp_path).source == f"{size} buggy"
    assert read(task, size=size, dir=tmp_path / "small").source == "small buggy"


def test_there_are_no_other_sizes():
    with pytest.raises(CodeftError, match=r"data\.size must be one of small, medium, not 'large'"):
        CodeXGLUEReader(size="large")
