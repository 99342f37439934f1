"""Where rows come from, in each published layout, and what is said where they aren't."""

from __future__ import annotations

import gzip
import json
import time

import pytest

from codeft.data.sources import (
    CodeSearchNetReader,
    CodeXGLUEReader,
    CorpusReader,
    LocalReader,
    SampleReader,
    parallel_rows,
)
from codeft.types import CodeftError
from rows import function_rows, write_jsonl


def read(reader, split="train", *, task="summarization", lang=None) -> list[dict]:
    return [row.fields for row in reader.rows(split, task=task, lang=lang)]


def write_gzip(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def test_a_local_folder_in_its_spellings(tmp_path):
    rows = function_rows(0, 3)
    write_jsonl(tmp_path / "train.jsonl", rows)
    write_jsonl(tmp_path / "dev.jsonl", rows[:2])
    write_gzip(tmp_path / "test.jsonl.gz", rows[:1])
    reader = LocalReader(dir=tmp_path)
    assert [len(read(reader, split)) for split in ("train", "valid", "test")] == [3, 2, 1]
    assert read(reader) == rows


def test_a_local_source_tree_is_mined_and_each_file_is_in_one_split(tmp_path):
    for i in range(40):
        (tmp_path / f"m{i}.py").write_text(
            f'def run_{i}(x):\n    """Run the thing number {i} on x."""\n    y = x + {i}\n    return y\n'
        )
    reader = LocalReader(source=tmp_path)
    paths = [{fields["path"] for fields in read(reader, split)} for split in ("train", "valid", "test")]
    assert sum(map(len, paths)) == len(set.union(*paths)) > 0
    assert len(paths[0]) > len(paths[1]) + len(paths[2])


@pytest.mark.parametrize("settings", [{}, {"dir": "a", "source": "b"}])
def test_a_local_reader_needs_one_place(settings):
    with pytest.raises(CodeftError, match=r"needs one of data\.dir=.* and data\.source="):
        LocalReader(**settings)


@pytest.mark.parametrize("make", [LocalReader, CodeXGLUEReader, CodeSearchNetReader])
def test_folders_that_are_not_there(make, tmp_path):
    with pytest.raises(CodeftError, match=r"expected data\.dir to be a folder, but .*nowhere' doesn't exist"):
        read(make(dir=tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(CodeftError, match=r"expected data\.dir to be a folder, but .*file' is a file"):
        read(make(dir=tmp_path / "file"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CodeftError, match=r"expected train\.jsonl in .*empty', which holds nothing"):
        read(make(dir=tmp_path / "empty"))


def test_codexglue_summarization_by_language_or_flat(tmp_path):
    write_jsonl(tmp_path / "python" / "train.jsonl", function_rows(0, 2))
    write_jsonl(tmp_path / "java" / "train.jsonl", function_rows(0, 3))
    reader = CodeXGLUEReader(dir=tmp_path)
    assert len(read(reader)) == 5
    assert len(read(reader, lang="java")) == 3
    assert len(read(CodeXGLUEReader(dir=tmp_path / "python"), lang="py")) == 2
    with pytest.raises(CodeftError, match="not task=pretraining"):
        read(reader, task="pretraining")


def test_codexglue_refinement_files(tmp_path):
    (tmp_path / "valid.buggy-fixed.buggy").write_text("int a ;  \nint b ;\n")
    (tmp_path / "valid.buggy-fixed.fixed").write_text("int A ;\nint B ;\n")
    rows = read(CodeXGLUEReader(dir=tmp_path), "valid", task="refinement")
    assert rows[1] == {"id": "1", "buggy": "int b ;", "fixed": "int B ;"}
    with pytest.raises(CodeftError, match=r"expected train\.buggy-fixed\.buggy .* data\.splits\.train="):
        read(CodeXGLUEReader(dir=tmp_path), "train", task="refinement")


@pytest.mark.parametrize("task", ["generation", "completion"])
def test_codexglue_has_one_file_a_split(tmp_path, task):
    write_jsonl(tmp_path / "dev.json", [{"nl": "add", "code": "int f ( ) ;"}])
    reader = CodeXGLUEReader(dir=tmp_path)
    assert read(reader, "valid", task=task) == [{"nl": "add", "code": "int f ( ) ;"}]
    with pytest.raises(CodeftError, match=r"which holds dev\.json; .* data\.splits\.train="):
        read(reader, "train", task=task)


def test_the_hub_has_no_splits_of_line_completion():
    with pytest.raises(CodeftError, match=r"the hub has no splits for task=completion; .*data\.dir="):
        read(CodeXGLUEReader(), task="completion")


@pytest.mark.parametrize(
    ("task", "folder", "split", "rows"),
    [
        ("refinement", "refinement/bugs2fix_small", "valid", 5835),
        ("refinement", "refinement/codereview_tufano", "train", 13756),
        ("generation", "concode", "valid", 2000),
        ("generation", "concode", "test", 2000),
        ("completion", "completion/javaCorpus", "valid", 3000),
        ("completion", "completion/py150", "valid", 3819),
    ],
)
def test_published_files(shared_data, task, folder, split, rows):
    reader = CodeXGLUEReader(dir=shared_data / folder)
    assert sum(1 for _ in reader.rows(split, task=task, lang=None)) == rows


def test_codexglue_translation_files(tmp_path):
    (tmp_path / "test.java-cs.txt.java").write_text("int a ;\r\nint b ;\n")
    (tmp_path / "test.java-cs.txt.cs").write_text("int A ;\nint B\u2028 ;\n")
    rows = read(CodeXGLUEReader(dir=tmp_path), "test", task="translation")
    assert rows == [
        {"id": "0", "java": "int a ;", "cs": "int A ;"},
        {"id": "1", "java": "int b ;", "cs": "int B\u2028 ;"},
    ]
    with pytest.raises(CodeftError, match=r"expected train\.java-cs\.txt\.java .* data\.splits\.train="):
        read(CodeXGLUEReader(dir=tmp_path), "train", task="translation")


def test_parallel_files_must_match_and_be_text(tmp_path):
    a, b = tmp_path / "x.java", tmp_path / "x.cs"
    a.write_text("1\n2\n")
    b.write_text("1\n")
    with pytest.raises(CodeftError, match=r"as many lines .* but they have 2 and 1"):
        list(parallel_rows(a, b))
    b.write_bytes(b"1\n\xff\n")
    with pytest.raises(CodeftError, match=r"x\.cs:2: expected UTF-8"):
        list(parallel_rows(a, b))
    a.write_text("")
    b.write_text("")
    assert list(parallel_rows(a, b)) == []


@pytest.mark.parametrize("bad", ["java", "cs"])
def test_a_pair_with_a_line_that_is_no_text_is_left_out_where_asked(tmp_path, bad):
    for suffix in ("java", "cs"):
        second = b"\xff" if suffix == bad else b"b"
        (tmp_path / f"train.java-cs.txt.{suffix}").write_bytes(b"a\n" + second + b"\nc\n")
    reader = CodeXGLUEReader(dir=tmp_path, on_bad_row="skip")
    rows = read(reader, task="translation")
    assert [(row["id"], row["java"], row["cs"]) for row in rows] == [("0", "a", "a"), ("2", "c", "c")]
    [skipped] = reader.skipped
    assert skipped.where.endswith(f".{bad}:2") and "expected UTF-8" in skipped.reason
    with pytest.raises(CodeftError, match=rf"\.{bad}:2: expected UTF-8 .*data\.on_bad_row=skip"):
        read(CodeXGLUEReader(dir=tmp_path), task="translation")


def test_the_published_translation_split(shared_data):
    folder = shared_data / "translation"
    found = sorted(folder.rglob("test.java-cs.txt.java"))
    if not found:
        pytest.skip(f"no published translation files in {folder}")
    reader = CodeXGLUEReader(dir=found[0].parent)
    assert [len(read(reader, split, task="translation")) for split in ("train", "valid", "test")] == [
        10300,
        500,
        1000,
    ]


def test_codesearchnet_layout(tmp_path):
    for language, count in (("python", 2), ("go", 1)):
        folder = tmp_path / language / "final" / "jsonl" / "valid"
        write_gzip(folder / f"{language}_valid_0.jsonl.gz", function_rows(0, count))
        write_gzip(folder / f"{language}_valid_1.jsonl.gz", function_rows(5, 1))
    reader = CodeSearchNetReader(dir=tmp_path)
    assert len(read(reader, "valid", lang="python")) == 3
    assert len(read(reader, "valid")) == 5
    with pytest.raises(CodeftError, match="functions and their docstrings; take data=codexglue"):
        read(reader, task="translation")


@pytest.mark.parametrize("reader", [CodeXGLUEReader(), CodeSearchNetReader()])
def test_a_hub_that_cannot_be_reached_is_told_quickly(reader, monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    with pytest.raises(CodeftError, match=r"give their folder: data\.dir=/path/to/folder"):
        read(reader, lang="python")
    assert not waited, "it tried again"


def test_unknown_languages_of_a_hub_data_set():
    with pytest.raises(CodeftError, match=r"this data set has python, java, .* not lang=csharp"):
        read(CodeSearchNetReader(), lang="cs")


def test_a_corpus_has_two_files(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}])
    reader = CorpusReader(train=str(path), valid=str(path))
    assert read(reader) == read(reader, "valid") == [{"text": "x"}]
    with pytest.raises(CodeftError, match="no test split"):
        read(reader, "test")


def test_a_tree_as_a_corpus_says_how_many_rows_it_made(tmp_path, caplog):
    caplog.set_level("INFO")
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(f"def {name}(x):\n    return x\n", encoding="utf-8")
    reader = CorpusReader(source=tmp_path)
    assert len(read(reader)) == len(read(reader, "valid")) == 1
    assert "read 2 rows out of 2 functions of 2 files" in caplog.text


def test_the_sample_says_what_it_has():
    with pytest.raises(CodeftError, match=r"nothing for task=pretraining; it has clone_detection, "):
        read(SampleReader(), task="pretraining")


@pytest.mark.parametrize(
    ("task", "lang", "there"), [("refinement", "py", "java"), ("completion", "go", "java, python")]
)
def test_the_sample_says_which_languages_a_task_has(task, lang, there):
    with pytest.raises(CodeftError, match=rf"data=sample has task={task} in {there}, not in \w+"):
        read(SampleReader(), task=task, lang=lang)


def test_the_sample_keeps_to_a_language():
    rows = read(SampleReader(), task="completion", lang="py")
    assert {row["language"] for row in rows} == {"python"}


@pytest.mark.parametrize("reader", [SampleReader(), CodeXGLUEReader(), CodeXGLUEReader(dir="nowhere")])
def test_a_pair_that_a_data_set_lacks(reader):
    said = r"translation between java and csharp: lang=java-cs or lang=cs-java, not lang=java-python"
    with pytest.raises(CodeftError, match=said):
        read(reader, task="translation", lang="java-python")


def test_the_sample_has_both_directions():
    assert read(SampleReader(), task="translation", lang="c#-java")[0].keys() >= {"java", "cs"}


def test_bad_rows_are_counted_by_the_reader(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"code": "x"}\n{\n')
    reader = LocalReader(dir=tmp_path, on_bad_row="skip")
    assert read(reader) == [{"code": "x"}]
    assert [row.where.rsplit(":")[-1] for row in reader.skipped] == ["2"]
    with pytest.raises(CodeftError, match=r"train\.jsonl:2"):
        read(LocalReader(dir=tmp_path))
    with pytest.raises(CodeftError, match="error or skip"):
        LocalReader(dir=tmp_path, on_bad_row="drop")
