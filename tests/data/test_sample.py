"""The sample that comes with codeft keeps its promises."""

import gzip
import json
from collections import Counter
from importlib import resources

import pytest

from codeft.data.near_duplicates import NearDuplicateIndex
from codeft.syntax import LANGUAGES, find_docstring, parse
from codeft.syntax.prose import docstring_tokens

SAMPLE = resources.files("codeft") / "assets" / "sample"
SPLITS = ("train", "valid", "test")
LICENCES = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "PSF-2.0", "PostgreSQL"),
    *("Unlicense", "Zlib", "blessing", "zlib-acknowledgement"),
}


def read(task, split):
    packed = (SAMPLE / task / f"{split}.jsonl.gz").read_bytes()
    return [json.loads(line) for line in gzip.decompress(packed).decode().splitlines()]


@pytest.fixture(scope="module")
def summarization():
    return {split: read("summarization", split) for split in SPLITS}


@pytest.fixture(scope="module")
def translation():
    return {split: read("translation", split) for split in SPLITS}


def test_counts(summarization, translation):
    assert [len(summarization[split]) for split in SPLITS] == [2000, 200, 200]
    for split in SPLITS:
        counts = Counter(row["language"] for row in summarization[split])
        assert set(counts) == set(LANGUAGES)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert len(translation["train"]) >= 400
    assert min(len(translation["valid"]), len(translation["test"])) >= 50


def test_it_is_at_most_two_megabytes():
    sizes = [
        len((SAMPLE / task / f"{split}.jsonl.gz").read_bytes())
        for task in ("summarization", "translation")
        for split in SPLITS
    ]
    assert sum(sizes) <= 2 * 1024 * 1024


def test_schema(summarization):
    for split, rows in summarization.items():
        for row in rows:
            strings = {key for key, value in row.items() if isinstance(value, str) and value.strip()}
            assert strings >= {"repo", "path", "func_name", "language", "licence", "code", "docstring"}
            assert row["partition"] == split
            assert row["licence"] in LICENCES
            assert row["docstring_tokens"] == docstring_tokens(row["docstring"])
            assert 3 <= len(row["docstring_tokens"]) <= 256
            assert row["code"].count("\n") >= 2
            assert len(row["code_tokens"]) <= 400


def test_places_are_unique(summarization, translation):
    for rows in summarization.values():
        places = [(row["repo"], row["path"], row["func_name"], row["start_line"]) for row in rows]
        assert len(set(places)) == len(places)
    for rows in translation.values():
        assert len({row["id"] for row in rows}) == len(rows)


@pytest.mark.parametrize("task", ["summarization", "translation"])
def test_no_repository_is_in_two_splits(task, request):
    splits = request.getfixturevalue(task)
    repos = [{row["repo"].lower() for row in rows} for rows in splits.values()]
    assert len(set.union(*repos)) == sum(map(len, repos))


def test_no_docstring_is_left_in_the_code(summarization):
    for rows in summarization.values():
        for row in rows:
            assert find_docstring(row["code"], row["language"]) is None, row["path"]
            assert row["docstring"] not in row["code"], row["path"]


def test_translation_rows_parse_in_their_languages(translation):
    rows = [row for split in SPLITS for row in translation[split]]
    for row in rows:
        assert row["licence"] in LICENCES
        assert row["java"].strip() and row["cs"].strip()
    errors = [parse(row["java"], "java").has_errors or parse(row["cs"], "csharp").has_errors for row in rows]
    assert sum(errors) <= 0.02 * len(rows)


def test_no_near_duplicates(summarization):
    index = NearDuplicateIndex(threshold=0.75)
    for rows in summarization.values():
        for row in rows:
            assert index.add_unless_duplicate(row["path"], f"{row['language']}\n{row['code']}") is None


def test_no_near_duplicate_pairs_across_splits(translation):
    for side in ("java", "cs"):
        index = NearDuplicateIndex(threshold=0.75)
        for row in translation["train"]:
            index.add(row["id"], row[side])
        for split in ("valid", "test"):
            assert not [row["id"] for row in translation[split] if index.query(row[side])]
