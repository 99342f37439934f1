"""The sample that comes with codeft keeps its promises."""

import gzip
import json
from collections import Counter
from importlib import resources

import pytest

from codeft.data.near_duplicates import NearDuplicateIndex
from codeft.data.sources import SampleReader
from codeft.syntax import LANGUAGES, find_docstring, parse
from codeft.syntax.prose import docstring_tokens

SAMPLE = resources.files("codeft") / "assets" / "sample"
SPLITS = ("train", "valid", "test")
LICENCES = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "PSF-2.0", "PostgreSQL"),
    *("Unlicense", "Zlib", "blessing", "zlib-acknowledgement"),
}

SNIPPET_TASKS = {
    "refinement": ("java", ["buggy", "fixed"]),
    "generation": ("java", ["nl", "code"]),
    "completion": ("java python", ["source", "target"]),
    "clone_detection": ("java", ["code1", "code2"]),
    "clone_detection_poj104": ("cpp", ["code"]),
    "defect_detection": ("c", ["func"]),
}
"""Each task's languages and texts."""
LEAST_ROWS = {"train": 500, "valid": 50, "test": 100}


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


def test_it_is_at_most_three_megabytes():
    sizes = {
        folder.name: sum(len(path.read_bytes()) for path in folder.iterdir()) for folder in SAMPLE.iterdir()
    }
    assert sizes.keys() == {"summarization", "translation", *SNIPPET_TASKS}
    assert sum(sizes.values()) <= 3 * 1024 * 1024
    assert max(sizes[task] for task in SNIPPET_TASKS) <= 400 * 1024


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


@pytest.fixture(scope="module")
def snippets():
    return {task: {split: read(task, split) for split in SPLITS} for task in SNIPPET_TASKS}


@pytest.mark.parametrize("task", SNIPPET_TASKS)
def test_snippets_say_where_they_are_from_and_how_they_were_made(snippets, task):
    languages, texts = SNIPPET_TASKS[task]
    for split, rows in snippets[task].items():
        assert len(rows) >= LEAST_ROWS[split]
        for row in rows:
            assert row["licence"] in LICENCES
            assert row["language"] in languages.split()
            for key in ("id", "repo", "version", "path", "func_name", *texts):
                assert isinstance(row[key], str) and row[key].strip(), key
            if task != "completion":  # its rows are cut, and nothing else
                assert row["made"]
        assert len({row["id"] for row in rows}) == len(rows)


@pytest.mark.parametrize("task", SNIPPET_TASKS)
def test_no_repository_of_snippets_is_in_two_splits(snippets, task):
    repos = [{row["repo"].lower() for row in rows} for rows in snippets[task].values()]
    assert len(set.union(*repos)) == sum(map(len, repos))


@pytest.mark.parametrize("task", SNIPPET_TASKS)
def test_no_snippet_is_nearly_in_two_splits(snippets, task):
    texts = SNIPPET_TASKS[task][1]
    index = NearDuplicateIndex(threshold=0.75)
    for row in snippets[task]["train"]:
        for text in texts[:1] if task in ("refinement", "generation", "completion") else texts:
            index.add(row["id"], row[text])
    for split in ("valid", "test"):
        assert not [row["id"] for row in snippets[task][split] if index.query(row[texts[0]])]


@pytest.mark.parametrize("split", SPLITS)
def test_a_function_is_not_both_defective_and_sound(snippets, split):
    rows = snippets["defect_detection"][split]
    assert len({(row["repo"], row["path"], row["start_line"]) for row in rows}) == len(rows)
    assert sum(row["target"] for row in rows) == len(rows) / 2
    by_kind = Counter((row["kind"], row["target"]) for row in rows)
    assert all(by_kind[kind, 0] == by_kind[kind, 1] for kind, _ in by_kind)
    for kind, opposite in (("<", "<="), (">", ">="), ("&&", "||"), ("==", "!="), ("+", "-")):
        assert by_kind[kind, 1] == by_kind[opposite, 1], "else the operator's frequency tells"
    for row in rows:
        assert row["made"].startswith("synthetic: ") == bool(row["target"])


@pytest.mark.parametrize("split", SPLITS)
def test_each_method_is_in_one_pair_of_either_kind(snippets, split):
    rows = snippets["clone_detection"][split]
    methods = [{row["id"].rpartition("#")[0] for row in rows if row["label"] == label} for label in (0, 1)]
    assert methods[0] == methods[1] and 2 * len(methods[0]) == len(rows)
    for row in rows:
        assert (row["rewritten_id"] == row["id"].rpartition("#")[0]) == bool(row["label"])
        assert row["made"].startswith("synthetic: ")
        assert '"' not in row["code1"] + row["code2"], "a string would tell clones"


@pytest.mark.parametrize("split", SPLITS)
def test_groups_have_five_functions_of_one_origin(snippets, split):
    rows = snippets["clone_detection_poj104"][split]
    groups = {}
    for row in rows:
        groups.setdefault(row["label"], []).append(row)
    for members in groups.values():
        assert len({row["code"] for row in members}) == len(members) == 5
        assert len({(row["repo"], row["path"], row["start_line"]) for row in members}) == 1
        assert sum(row["made"].startswith("synthetic: ") for row in members) == 4


@pytest.mark.parametrize("split", SPLITS)
def test_refinements_are_changes_between_versions(snippets, split):
    for row in snippets["refinement"][split]:
        assert row["buggy"] != row["fixed"]
        assert row["version"] != row["fixed_version"]


def test_code_search_reads_each_documentation_once(summarization):
    for split, rows in summarization.items():
        found = [row.fields for row in SampleReader().rows(split, task="code_search", lang=None)]
        queries = [" ".join(row["docstring_tokens"]).lower() for row in found]
        assert len(set(queries)) == len(queries)
        assert set(queries) == {" ".join(row["docstring_tokens"]).lower() for row in rows}
