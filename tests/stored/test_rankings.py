"""Rankings as CodeXGLUE stores them: one target (AdvTest), R relevant items (POJ-104)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeft.stored.base import Files
from codeft.stored.rankings import StoredRetrieval, StoredSearch
from codeft.types import CodeftError


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def values(scored) -> dict[str, float]:
    return {name: score.value for name, score in scored.scores.items()}


TARGETS = [{"url": "a", "idx": 1}, {"url": "b", "idx": 2}, {"url": "c", "idx": 3}]


def search(tmp_path: Path, *rankings: dict, sources: Path | None = None):
    files = Files(write(tmp_path / "p.jsonl", *rankings), write(tmp_path / "r.jsonl", *TARGETS), sources)
    return StoredSearch().score(files)


def test_whole_rankings(tmp_path):
    """In any order of queries; ids as texts or numbers."""
    scored = search(
        tmp_path,
        {"url": "c", "answers": [1, 2, 3]},
        {"url": "a", "answers": ["1", "2", "3"]},
        {"url": "b", "answers": [1, 2, 3]},
    )
    assert values(scored) == pytest.approx({"mrr": 11 / 18, "mrr_cut1000": 11 / 18, "r_at_1": 1 / 3})
    assert "|protocol:full|ties:as-stored|" in scored.scores["mrr"].signature
    assert StoredSearch().fits(tmp_path / "p.jsonl")
    assert not StoredSearch().fits(tmp_path / "r.jsonl")
    assert not StoredSearch().fits(tmp_path / "labels.txt")


def test_short_rankings_say_so(tmp_path):
    """What isn't stored counts 0, and no protocol of the field is claimed."""
    codes = write(tmp_path / "codes.jsonl", *({"idx": idx} for idx in range(20)))
    rankings = [{"url": url, "answers": [1, 5, 6, 7, 8]} for url in "abc"]
    scored = search(tmp_path, *rankings, sources=codes)
    assert values(scored) == pytest.approx({"mrr": 1 / 3, "r_at_1": 1 / 3, "r_at_5": 1 / 3})
    assert "|protocol:top5|" in scored.scores["mrr"].signature


@pytest.mark.parametrize(
    ("rankings", "expected"),
    [
        ([{"url": "a", "answers": [1]}], r"each of 3 queries, got 1 in .*: b is the first"),
        ([{"url": "z", "answers": [1]}], r"p\.jsonl:1: expected a query of .*r\.jsonl, got z"),
        ([{"url": "a", "answers": [1]}, {"url": "a", "answers": [1]}], r"p\.jsonl:2: .* a again"),
        ([{"url": "a", "answers": [1, 1]}], r"p\.jsonl:1: expected each answer once"),
        ([{"url": "a", "answers": "1"}], r"p\.jsonl:1: expected a list of ids"),
        ([{"url": "a", "answers": [None]}], r"p\.jsonl:1: expected a text or a number"),
        ([{"query": "a", "answers": [1]}], r"p\.jsonl:1: expected a field 'url'"),
        ([{"url": url, "answers": [7]} for url in "abc"], "do both files spell ids alike"),
        ([], "expected rows in"),
    ],
)
def test_rankings_that_do_not_fit(tmp_path, rankings, expected):
    with pytest.raises(CodeftError, match=expected):
        search(tmp_path, *rankings)


def test_an_answer_that_is_no_candidate(tmp_path):
    codes = write(tmp_path / "codes.jsonl", {"idx": 9})
    rankings = [{"url": "a", "answers": [1, 9]}, {"url": "b", "answers": [8]}, {"url": "c", "answers": []}]
    with pytest.raises(CodeftError, match=r"p\.jsonl:2: expected answers out of .*codes\.jsonl, got 8"):
        search(tmp_path, *rankings, sources=codes)


LABELS = [{"index": "0", "label": "x"}, {"index": "1", "label": "x"}, {"index": "2", "label": "x"}]


def retrieve(tmp_path: Path, answers: dict[str, list], references: list[dict] = LABELS):
    rows = ({"index": index, "answers": found} for index, found in answers.items())
    files = Files(write(tmp_path / "p.jsonl", *rows), write(tmp_path / "r.jsonl", *references))
    return StoredRetrieval().score(files)


def test_order_counts_in_map_at_r_alone(tmp_path):
    more = [*LABELS, {"index": 3, "label": "y"}, {"index": 4, "label": "y"}]
    answers = {"0": [3, 1], "1": [0, 3], "2": [0, 1], "3": [4], "4": [3]}
    scored = retrieve(tmp_path, answers, more)
    assert values(scored) == pytest.approx({"map_at_r": (0.25 + 0.5 + 3) / 5, "r_precision": 4 / 5})


@pytest.mark.parametrize(
    ("answers", "references", "expected"),
    [
        ({"0": [1], "1": [0, 2], "2": [0, 1]}, LABELS, r"p\.jsonl:1: .* got 1 for 2"),
        ({"0": [0, 1], "1": [0, 2], "2": [0, 1]}, LABELS, r"p\.jsonl:1: .* itself among them"),
        ({"0": [1, 2], "1": [0, 7], "2": [0, 1]}, LABELS, r"p\.jsonl:2: expected answers out of .* got 7"),
        ({"0": [1, 2]}, LABELS, "1 is the first of"),
        ({"0": []}, [{"index": 0, "label": "x"}], r"r\.jsonl:1: expected something relevant"),
        ({"0": []}, [{"index": 0}], r"r\.jsonl:1: expected a text or a number"),
    ],
)
def test_answers_that_do_not_fit(tmp_path, answers, references, expected):
    with pytest.raises(CodeftError, match=expected):
        retrieve(tmp_path, answers, references)


def test_references_are_a_file_of_their_own(tmp_path):
    path = write(tmp_path / "p.jsonl", {"index": 0, "answers": []})
    for layout in (StoredSearch(), StoredRetrieval()):
        with pytest.raises(CodeftError, match="expected a file of references"):
            layout.score(Files(path))


def test_only_the_first_row_tells_whether_a_file_holds_rankings(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"url": "a", "answers": []}\n{ no JSON\n')
    assert StoredSearch().fits(path)
    with pytest.raises(CodeftError, match=r"p\.jsonl:2: expected one JSON object"):
        StoredSearch().score(Files(path, path))
