"""Which rows stand for a split."""

from __future__ import annotations

import pytest

from codeft.data.datamodule import CodeDataModule
from codeft.data.sources import LocalReader
from codeft.data.splits import SplitPart, parse_part, parse_splits
from codeft.models.loading import load_tokenizer
from codeft.tasks.summarization import SummarizationTask
from codeft.types import CodeftError


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("test", SplitPart("test")),
        ("valid[:]", SplitPart("valid")),
        ("valid[:7]", SplitPart("valid", 0, 7)),
        ("train[3:7]", SplitPart("train", 3, 7)),
    ],
)
def test_parts(text, part):
    assert parse_part(text, key="data.splits.train") == part


@pytest.mark.parametrize(
    "text",
    ["dev", "valid[5]", "valid[-5:]", "valid[:10%]", "valid[5:5]", "", "valid[a:]", f"valid[:{10**40}]"],
)
def test_what_is_no_part(text):
    with pytest.raises(CodeftError, match=r"data\.splits\.test(=| must be one of train, valid, test)"):
        parse_splits({"test": text})


@pytest.mark.parametrize(
    "splits",
    [
        {"train": "valid"},
        {"train": "valid[500:]", "valid": "valid[:501]"},
        {"valid": "test[3:4]"},
        {"train": "test[:4]"},
    ],
)
def test_no_row_stands_in_two_splits(splits):
    with pytest.raises(CodeftError, match=r"share rows of (valid|test): cut it in two"):
        parse_splits(splits)


def test_only_splits_are_named():
    with pytest.raises(CodeftError, match="for 'dev'"):
        parse_splits({"dev": "valid"})
    with pytest.raises(CodeftError, match="takes a text"):
        parse_splits({"train": 5})


def test_the_data_module_takes_the_rows_that_stand_for_a_split(tiny_data, tiny_tokenizer):
    data = CodeDataModule(
        task=SummarizationTask(),
        tokenizer=load_tokenizer(tiny_tokenizer),
        reader=LocalReader(dir=tiny_data),
        splits={"train": "valid[2:]", "valid": "valid[:2]"},
        batch_size=2,
    )
    whole = [row.fields["code"] for row in data.reader.rows("valid", task="summarization", lang=None)]
    assert [example.source for example in data.read("train")] == whole[2:]
    assert [example.source for example in data.read("valid")] == whole[:2]
    assert len(data.read("test")) == 7


def test_splits_are_typed_as_they_are(command, tiny, tmp_path):
    splits = ["data.splits.train=valid[2:]", "data.splits.valid=valid[:2]"]
    command("train", *tiny, *splits, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/run")
    assert '"train": 4,' in (tmp_path / "run" / "metrics.json").read_text()
    with pytest.raises(SystemExit, match=r"data\.splits\.train and data\.splits\.valid share rows of valid"):
        command("train", *tiny, "data.splits.train=valid", f"hydra.run.dir={tmp_path}/other")
    with pytest.raises(SystemExit, match=r"data\.splits must be mapping or null"):
        command("train", *tiny, "data.splits=valid", f"hydra.run.dir={tmp_path}/text")
