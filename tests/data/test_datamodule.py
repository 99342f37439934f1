"""From a folder of rows to batches, and what is said of rows that aren't right."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from codeft.data.datamodule import CodeDataModule
from codeft.data.sources import CodeSearchNetReader, CodeXGLUEReader, LocalReader, SampleReader
from codeft.models.loading import load_tokenizer
from codeft.tasks.clone_detection import ClonePairsTask, CloneRetrievalTask
from codeft.tasks.code_search import CodeSearchTask
from codeft.tasks.pretraining import PretrainingTask
from codeft.tasks.summarization import SummarizationTask
from codeft.types import CodeftError, Encoding
from rows import function_rows, write_jsonl


@pytest.fixture(scope="session")
def tokenizer(tiny_tokenizer):
    return load_tokenizer(tiny_tokenizer)


@pytest.fixture
def build(tokenizer, tiny_data):
    def make(folder=tiny_data, *, lang=None, task=None, **settings):
        task = task or SummarizationTask(lang=lang, max_source_length=48, max_target_length=16)
        reader = LocalReader(dir=folder, on_bad_row=settings.get("on_bad_row", "error"))
        settings = {"batch_size": 4} | settings
        return CodeDataModule(task=task, tokenizer=tokenizer, reader=reader, **settings)

    return make


def indices(loader) -> list[int]:
    return [i for batch in loader for i in batch["index"].tolist()]


def test_each_split_is_served_whole(build):
    data = build()
    data.setup("fit")
    assert set(data.datasets) == {"train", "valid"}
    data.setup("test")
    assert data.num_rows() == {"train": 22, "valid": 6, "test": 7, "skipped": 0}
    assert sorted(indices(data.train_dataloader())) == list(range(22))
    assert sorted(indices(data.val_dataloader())) == list(range(6))
    assert sorted(indices(data.test_dataloader())) == list(range(7))
    batch = next(iter(data.test_dataloader()))
    assert batch["input_ids"].shape[1] == max(len(e.input_ids) for e in data.datasets["test"].encodings)


def test_a_split_is_read_once(build, monkeypatch):
    data = build()
    data.setup("fit")
    train = data.datasets["train"]
    data.setup("fit")
    assert data.datasets["train"] is train


def test_shares_and_limits_of_rows(build):
    data = build(train_fraction=0.5, val_limit=2, test_limit=3)
    data.setup("fit")
    data.setup("test")
    assert data.num_rows() == {"train": 11, "valid": 2, "test": 3, "skipped": 0}
    chosen = [e.id for e in data.datasets["train"].examples]
    other = build(train_fraction=0.5, seed=9)
    other.setup("fit")
    assert chosen != [e.id for e in other.datasets["train"].examples]
    assert [e.id for e in build(train_limit=11).read("train")] == chosen


BAD = {
    "not JSON": (b"{", r"train\.jsonl:3: "),
    "not an object": (b"[1]", r"train\.jsonl:3: "),
    "no code": (
        b'{"docstring": "x", "language": "python"}',
        r':3: expected a field "code" or "source"',
    ),
    "code is a number": (
        b'{"code": 1, "docstring": "x", "language": "go"}',
        r':3: expected "code" to be text',
    ),
    "no docstring": (
        b'{"code": "x", "language": "go"}',
        r'train\.jsonl:3: expected a field "docstring" or "target"',
    ),
    "no language": (b'{"code": "x", "docstring": "y"}', r'train\.jsonl:3: expected a field "language"'),
    "unknown language": (b'{"code": "x", "docstring": "y", "language": "cobol"}', r"train\.jsonl:3: .*cobol"),
    "not UTF-8": (b'{"code": "\xff", "docstring": "x"}', r"train\.jsonl:3: .*UTF-8"),
}


@pytest.mark.parametrize(("line", "said"), BAD.values(), ids=BAD)
def test_bad_rows_are_errors_with_file_and_line_or_are_left_out(build, tmp_path, caplog, line, said):
    good = [json.dumps(row).encode() for row in function_rows(0, 4)]
    (tmp_path / "train.jsonl").write_bytes(b"\n".join([*good[:2], line, *good[2:]]) + b"\n")
    with pytest.raises(CodeftError, match=said) as caught:
        build(tmp_path).read("train")
    assert "on_bad_row=skip" in str(caught.value)
    data = build(tmp_path, on_bad_row="skip")
    with caplog.at_level("WARNING"):
        assert len(data.read("train")) == 4
    assert data.num_rows()["skipped"] == 1
    assert caplog.text.count("train.jsonl:3") == 1


def test_empty_splits_are_errors(build, tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [])
    with pytest.raises(CodeftError, match="the train split is empty: 0 rows were read"):
        build(tmp_path).read("train")
    write_jsonl(tmp_path / "train.jsonl", function_rows(0, 3))
    with pytest.raises(
        CodeftError,
        match="train split is empty for lang=java: 3 rows were read, none is left; they are in python",
    ):
        build(tmp_path, lang="java").read("train")


def test_a_language_filters_rows(build, tmp_path):
    rows = function_rows(0, 3)
    rows[1]["language"] = "Java"
    write_jsonl(tmp_path / "train.jsonl", rows)
    assert [example.lang for example in build(tmp_path, lang="java").read("train")] == ["java"]
    assert len(build(tmp_path).read("train")) == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": None}, "not both or none"),
        ({"batch_tokens": 100}, "not both or none: .*data.batch_tokens=100 data.batch_size=null"),
        ({"train_fraction": 0}, "above 0 and at most 1, not 0"),
        ({"on_bad_row": "ignore"}, "error or skip, not 'ignore'"),
    ],
)
def test_impossible_settings_are_errors(build, settings, said):
    with pytest.raises(CodeftError, match=said):
        build(**settings)


def test_bare_sources_and_targets_are_taken_as_they_are(build, tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [{"source": "let x", "target": "Declare x."}])
    [example] = build(tmp_path).read("train")
    assert (example.source, example.target, example.lang) == ("let x", "Declare x.", "")


def test_source_that_does_not_parse_or_is_very_long_is_used(build, tmp_path):
    rows = [
        {"code": "def (((", "docstring": "A", "language": "python"},
        {"code": "x = " + "(" * 20000 + ")" * 20000, "docstring": "B", "language": "python"},
        {"code": "", "docstring": "C", "language": "python"},
    ]
    write_jsonl(tmp_path / "train.jsonl", rows)
    data = build(tmp_path)
    encoded = data.encode(data.read("train"))
    assert [encoding.truncated for encoding in encoded.encodings] == [False, True, False]
    assert len(encoded.encodings[1].input_ids) == 48


def test_randomness_is_a_function_of_seed_epoch_and_index(build):
    class Drawing(SummarizationTask.__mro__[1]):  # its base, for the class itself is final
        name, monitor, lang = "drawing", "loss", None
        read = SummarizationTask.read

        def metrics(self):
            return {}

        def augment(self, encoding, rng):
            return Encoding(rng.integers(3, 99, size=4).astype(np.int32), encoding.offsets, encoding.labels)

    def drawn(epoch, index, **settings):
        data = build(task=Drawing(max_source_length=48, max_target_length=8, num_beams=1), **settings)
        data.setup("fit")
        np.random.seed(index)  # has no say
        return [
            data.datasets[split][epoch, index].encoding.input_ids.tolist() for split in ("train", "valid")
        ]

    first = drawn(1, 2)
    assert drawn(1, 2) == first
    assert drawn(1, 3)[0] != first[0] != drawn(1, 2, seed=5)[0]
    assert drawn(2, 2)[0] != first[0] and drawn(2, 2)[1] == first[1]  # validation sees the same every epoch


@pytest.mark.parametrize("batch_tokens", [64, 100, 250])
def test_batch_tokens_bounds_what_pre_training_sees(build, batch_tokens):
    task = PretrainingTask(parts={"spans": 1}, max_source_length=48, max_target_length=16)
    data = build(task=task, batch_size=None, batch_tokens=batch_tokens)
    data.setup("fit")
    batches = itertools.islice(data.train_dataloader(), 30)
    sizes = [batch["input_ids"].numel() + batch["labels"].numel() for batch in batches]
    assert batch_tokens / 2 < max(sizes) <= batch_tokens


def test_a_limit_is_one_of_queries_not_of_candidates(build, tmp_path):
    for split in ("train", "valid"):
        write_jsonl(tmp_path / f"{split}.jsonl", function_rows(0, 8))
    data = build(tmp_path, task=CodeSearchTask(), val_limit=3, train_limit=3)
    data.setup("fit")
    asked = {
        name: [e.target is not None for e in data.datasets[name].examples] for name in ("train", "valid")
    }
    assert asked == {"train": [True] * 3, "valid": [True] * 3 + [False] * 5}


def test_a_limit_of_clone_retrieval_takes_rows_from_everywhere(build, tmp_path):
    write_jsonl(tmp_path / "test.jsonl", [{"code": f"int f{i}() {{}}", "label": i // 10} for i in range(40)])
    data = build(tmp_path, task=CloneRetrievalTask(), test_limit=8)
    data.setup("test")
    assert {example.target for example in data.datasets["test"].examples} == {"0", "1", "2", "3"}


def test_a_program_shares_its_batch_with_another_of_its_problem(build, tmp_path):
    rows = [{"code": f"int f{i}() {{}}", "label": f"p{i // 4}"} for i in range(40)]
    for split in ("train", "valid"):
        write_jsonl(tmp_path / f"{split}.jsonl", rows)
    data = build(tmp_path, task=CloneRetrievalTask(), batch_size=8)
    data.setup("fit")
    batches = [batch["labels"][:, 0].tolist() for batch in data.train_dataloader()]
    assert [len(batch) for batch in batches] == [8] * 5
    assert all(batch.count(label) >= 2 for batch in batches for label in batch)
    assert sorted(indices(data.val_dataloader())) == list(range(40))
    data.longest_first = True
    assert len(data.train_dataloader()) == 5, "a dry run asks for the longest, whatever they are"


def test_each_node_trains_on_rows_of_its_own(build, tmp_path):
    for split in ("train", "valid"):
        write_jsonl(tmp_path / f"{split}.jsonl", function_rows(0, 21))
    seen = {True: [], False: []}
    for node in (0, 1):
        data = build(tmp_path, batch_size=4)
        data.trainer = SimpleNamespace(
            num_nodes=2, node_rank=node, num_devices=1, local_rank=0, global_rank=node, world_size=2
        )
        data.setup("fit")
        for first in (False, True):
            data.longest_first = first
            seen[first].append(indices(data.train_dataloader()))
    assert not set(seen[False][0]) & set(seen[False][1])
    assert {*seen[False][0], *seen[False][1]} == set(range(21))
    lengths = data.datasets["train"].lengths().sum(axis=1)
    assert lengths[seen[True][0][0]] == lengths.max(), "in a dry run the first rank has the longest of all"


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_problems_with_one_program_each(build, tmp_path, split):
    write_jsonl(tmp_path / f"{split}.jsonl", [{"code": "int f;", "label": i} for i in range(30)])
    said = rf"in the {split} split, but its 30 rows are of 30 problems.* data\.[a-z]+_limit"
    with pytest.raises(CodeftError, match=said):
        build(tmp_path, task=CloneRetrievalTask()).read(split)


def test_a_limit_that_leaves_one_program_a_problem(build, tmp_path):
    write_jsonl(tmp_path / "valid.jsonl", [{"code": "int f;", "label": i // 10} for i in range(30)])
    with pytest.raises(CodeftError, match=r"its 3 rows are of 3 problems.* data\.val_limit"):
        build(tmp_path, task=CloneRetrievalTask(), val_limit=3).read("valid")


def test_labels_that_a_copy_has_lost(build, tmp_path):
    write_jsonl(tmp_path / "test.jsonl", [{"code": "int f;", "label": "home"} for _ in range(6)])
    with pytest.raises(CodeftError, match="in the test split, but all 6 rows have the \"label\" 'home'"):
        build(tmp_path, task=CloneRetrievalTask()).read("test")


def test_fewer_queries_than_the_protocol_ranks_together(build, tmp_path):
    for split in ("train", "valid", "test"):
        write_jsonl(tmp_path / f"{split}.jsonl", function_rows(0, 8))
    data = build(tmp_path, task=CodeSearchTask(protocol="distractors999"))
    assert len(data.read("train")) == 8
    for split in ("valid", "test"):
        with pytest.raises(CodeftError, match=rf"the {split} split has 8 queries, .* task\.protocol=full"):
            data.read(split)
    full = build(tmp_path, task=CodeSearchTask())
    assert len(full.read("valid")) == 8


@pytest.mark.parametrize("task", [SummarizationTask, CodeSearchTask, ClonePairsTask])
def test_rows_go_by_the_same_names_wherever_the_data_lies(build, tmp_path, task):
    rows = [row | {"code1": "int f;", "code2": "int g;", "label": 1} for row in function_rows(0, 3)]
    read = []
    for folder in (tmp_path / "here", tmp_path / "there, a#b"):
        write_jsonl(folder / "test.jsonl", [rows[0], rows[1], rows[2] | {"id": "own"}])
        settings = {"max_target_length": 8, "num_beams": 1} if task is SummarizationTask else {}
        read.append(build(folder, task=task(max_source_length=48, **settings)).read("test"))
    assert read[0] == read[1]
    assert [example.id for example in read[0]] == ["test.jsonl:1", "test.jsonl:2", "own"]
    assert str(tmp_path) not in repr(read)
    write_jsonl(tmp_path / "here" / "test.jsonl", [{"code": 1}])
    with pytest.raises(CodeftError, match=f"^{tmp_path}/here/test.jsonl:1: "):
        build(tmp_path / "here", task=task(max_source_length=48, **settings)).read("test")


def test_rows_of_a_language_s_folder_and_of_the_sample_have_short_names(tmp_path):
    write_jsonl(tmp_path / "java" / "test.jsonl", function_rows(0, 1))
    for reader in (CodeXGLUEReader(dir=f"{tmp_path}/"), CodeSearchNetReader(dir=tmp_path / "java" / "..")):
        folder = reader.dir
        [row] = reader._read([folder / "java" / "test.jsonl"])
        assert reader.name(row) == "java/test.jsonl:1"
    sample = SampleReader()
    row = next(sample.rows("test", task="summarization", lang=None))
    assert sample.name(row) == "summarization/test.jsonl.gz:1"
