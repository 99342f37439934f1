"""Rows that hold what nobody expects in code: each stays with its own label, and nothing is left out."""

from __future__ import annotations

import json

import pytest

from codeft.data.datamodule import CodeDataModule
from codeft.data.sources import CodeXGLUEReader, LocalReader
from codeft.models.loading import load_tokenizer
from codeft.tasks.clone_detection import ClonePairsTask, CloneRetrievalTask
from codeft.tasks.code_search import CodeSearchTask
from codeft.tasks.defect_detection import DefectDetectionTask
from codeft.types import CodeftError

TEXTS = [
    "int a;\0int b;",
    "\0",
    "",
    " \t\n",
    "int f() {\r\n\treturn 1;\r\n}\r\n",
    "// \u2028\u0085\x0c\x1c",
    "\ud800 \udfff int g;",  # two halves of characters
    "\U0001f600 = 'ü'",
    "int " + "x" * 5000 + ";",
    "((((((((",
]
"""Every second one is labelled 1."""


def fields_of(task, i: int) -> dict:
    text = TEXTS[i]
    return {
        DefectDetectionTask: {"func": text, "target": i % 2},
        ClonePairsTask: {"code1": text, "code2": TEXTS[-1 - i], "label": i % 2},
        CloneRetrievalTask: {"code": text, "label": f"problem {i % 2}"},
        CodeSearchTask: {"code": text, "docstring": f"Do {i}.", "language": "c"},
    }[type(task)]


@pytest.fixture
def build(tiny_tokenizer):
    def make(reader, task, **settings):
        tokenizer = load_tokenizer(tiny_tokenizer)
        return CodeDataModule(task=task, tokenizer=tokenizer, reader=reader, batch_size=4, **settings)

    return make


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("make", [DefectDetectionTask, ClonePairsTask, CloneRetrievalTask, CodeSearchTask])
def test_odd_text_stays_with_its_label(build, tmp_path, make, line_end):
    task = make(max_source_length=32)
    lines = [json.dumps(fields_of(task, i)) for i in range(len(TEXTS))]
    (tmp_path / "test.jsonl").write_bytes((f"{line_end}{line_end}".join(lines)).encode())
    data = build(LocalReader(dir=tmp_path), task)
    data.setup("test")
    examples = data.datasets["test"].examples
    assert [example.id for example in examples] == [f"test.jsonl:{2 * i + 1}" for i in range(len(TEXTS))]
    seen = {}
    for batch in data.test_dataloader():
        texts = batch["input_ids"].reshape(task.num_texts, len(batch["index"]), -1)
        for row, index in enumerate(batch["index"].tolist()):
            assert batch["labels"][row, 0] == task.label(examples[index])
            seen[index] = texts[:, row]
    assert sorted(seen) == list(range(len(TEXTS)))
    if make is not CodeSearchTask:
        targets = [example.target for example in examples]
        assert [target[-1] for target in targets] == [str(i % 2) for i in range(len(TEXTS))]


@pytest.mark.parametrize("make", [DefectDetectionTask, ClonePairsTask])
@pytest.mark.parametrize("label", [2, -1, "yes", None, 0.5, "01", [1]])
def test_a_label_that_is_none_names_file_and_line(build, tmp_path, make, label):
    task = make(max_source_length=32)
    rows = [fields_of(task, 0), {**fields_of(task, 1), "label": label, "target": label}]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(CodeftError, match=r'test\.jsonl:2: expected "(label|target)" to be 0 or 1, got'):
        build(LocalReader(dir=tmp_path), task).read("test")
    kept = build(LocalReader(dir=tmp_path, on_bad_row="skip"), task, on_bad_row="skip")
    assert [example.id for example in kept.read("test")] == ["test.jsonl:1"]
    assert kept.skipped[0].where == f"{tmp_path}/test.jsonl:2"


@pytest.mark.parametrize("text", ["", "\n", "\r\n\r\n"])
@pytest.mark.parametrize("make", [DefectDetectionTask, ClonePairsTask, CloneRetrievalTask, CodeSearchTask])
def test_empty_files(build, tmp_path, make, text):
    (tmp_path / "test.jsonl").write_text(text, newline="")
    with pytest.raises(CodeftError, match="the test split is empty"):
        build(LocalReader(dir=tmp_path), make(max_source_length=32)).read("test")


def test_an_empty_file_of_pairs(build, tmp_path):
    (tmp_path / "data.jsonl").write_text('{"idx": 1, "func": "int f;"}\n')
    (tmp_path / "test.txt").write_text("")
    with pytest.raises(CodeftError, match="the test split is empty"):
        build(CodeXGLUEReader(dir=tmp_path), ClonePairsTask()).read("test")


def test_problems_with_many_names_stay_apart():
    """31 bits would merge two of so many problems."""
    task = CloneRetrievalTask()
    names = [f"problem {i}" for i in range(100_000)]
    numbers = {
        task.label(task.read({"code": "", "label": name}, where="", input="code", labelled=True))
        for name in names
    }
    assert len(numbers) == len(names)
