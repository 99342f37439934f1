"""Labels of functions and of pairs: layouts, scores, and rows that don't fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeft.stored.base import Files
from codeft.stored.labels import StoredLabels
from codeft.types import CodeftError


def write(path: Path, *lines: object, end: str = "\n") -> Path:
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_bytes("".join(text + end for text in texts).encode())
    return path


def score(predictions: Path, references: Path | None, sources: Path | None = None):
    return StoredLabels().score(Files(predictions, references, sources))


def test_pairs_in_any_order_with_any_line_end(tmp_path):
    predictions = write(tmp_path / "p.txt", "3\t4\t0", "1\t2\t1", "5\t6\t1", end="\r\n")
    references = write(tmp_path / "r.txt", "1 2 1", "3 4 1", "5 6 0", "1 2 1")
    scored = score(predictions, references)
    values = {name: found.value for name, found in scored.scores.items()}
    assert values == pytest.approx({"accuracy": 100 / 3, "f1": 0.5, "precision": 0.5, "recall": 0.5})
    assert scored.floors["majority"]["accuracy"] == pytest.approx(200 / 3)  # a pair twice counts once
    assert len(scored.references) == 3
    assert "threshold:>0.5" in scored.scores["f1"].signature


def test_json_rows_and_probabilities(tmp_path):
    references = write(tmp_path / "r.jsonl", {"idx": 7, "target": 1}, {"idx": 8, "target": 0})
    predictions = write(tmp_path / "p.txt", "7 0.61", "8 0.2")
    assert score(predictions, references).scores["accuracy"].value == 100
    one = write(
        tmp_path / "both.jsonl",
        {"id": "a b", "prediction": 0.5, "reference": "1"},
        {"idx1": "b", "idx2": "c", "prediction": True, "reference": 1},
    )
    assert score(one, None).scores["recall"].value == 0.5


def test_an_empty_field_hides_no_full_one(tmp_path):
    references = write(tmp_path / "r.jsonl", {"id": None, "idx": 7, "target": None, "label": 1})
    predictions = write(tmp_path / "p.jsonl", {"id": "", "index": 7, "prediction": "", "label": 1})
    assert score(predictions, references).scores["accuracy"].value == 100


def test_a_tuned_threshold_has_names_of_its_own(tmp_path):
    files = Files(
        write(tmp_path / "p.txt", "1 0.4", "2 0.2", "3 0.7"),
        write(tmp_path / "r.txt", "1 1", "2 0", "3 1"),
        threshold=0.3,
    )
    scores = StoredLabels().score(files).scores
    assert (scores["f1"].value, scores["f1_tuned"].value) == (pytest.approx(2 / 3), 1.0)
    assert scores["recall_tuned"].signature.startswith("recall_tuned|class:1|threshold:>0.3(dev-tuned)")
    assert "accuracy_tuned" not in scores


@pytest.mark.parametrize(
    ("predictions", "references", "expected"),
    [
        (["1 2"], ["1 1"], r"p\.txt:1: expected a label out of 0, 1 or a probability.*'2'"),
        (["1 yes"], ["1 1"], r"p\.txt:1: .*'yes'"),
        (["1 0\x00"], ["1 1"], r"p\.txt:1: .*x00"),
        (["1 1"], ["1 clone"], r"r\.txt:1: expected a label out of 0, 1, got 'clone'"),
        (["1 0.5"], ["1 0.5"], r"r\.txt:1: .*'0\.5'"),
        (["1 1", "9 1"], ["1 1"], r"p\.txt:2: names 9, which isn't in .*r\.txt"),
        (["1 2 1", "2 1 1"], ["1 2 1"], r"p\.txt:2: names 2 and 1"),
        (["1 1"], ["1 1", "2 0"], r"each of 2 rows, got 1: .*r\.txt:2 \(2\) is the first"),
        (["1 1", "1 0"], ["1 1"], r"p\.txt:2: expected one label for 1, got 0 after 1 at .*p\.txt:1"),
        (["1 1", ""], ["1 1"], r"p\.txt:2: expected an id or two"),
        (["1 1", "1 2 1"], ["1 1"], r"p\.txt:2: expected an id or two"),
        ([], ["1 1"], r"expected rows in .*p\.txt"),
        (["1 1"], [], r"expected rows in .*r\.txt"),
    ],
)
def test_rows_that_do_not_fit(tmp_path, predictions, references, expected):
    with pytest.raises(CodeftError, match=expected):
        score(write(tmp_path / "p.txt", *predictions), write(tmp_path / "r.txt", *references))


def test_a_pair_names_a_function_that_is_not_there(tmp_path):
    functions = write(tmp_path / "data.jsonl", {"idx": "1", "func": "f"}, {"idx": 2, "func": "g"})
    good = write(tmp_path / "p.txt", "1\t2\t1")
    assert score(good, good, functions).scores["f1"].value == 1
    with pytest.raises(CodeftError, match=r"r\.txt:2: names function 3, which isn't in .*data\.jsonl"):
        score(good, write(tmp_path / "r.txt", "1\t2\t1", "1\t3\t0"), functions)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prediction": 1}, r":1: expected an id in"),
        ({"id": 1}, r":1: expected a label in 'prediction' or 'label'"),
        ({"id": 1, "prediction": None}, r":1: expected a text or a number"),
        ({"id": 1, "prediction": "\ud800"}, r":1: expected a label out of"),
        ("[1]", "got no object"),
    ],
)
def test_json_rows_that_do_not_fit(tmp_path, row, expected):
    references = write(tmp_path / "r.jsonl", {"id": 1, "target": 1})
    with pytest.raises(CodeftError, match=expected):
        score(write(tmp_path / "p.jsonl", row), references)


def test_line_files_need_references(tmp_path):
    with pytest.raises(CodeftError, match="expected a file of references"):
        score(write(tmp_path / "p.txt", "1 1"), None)


def test_cosqa_s_list_of_questions_is_the_reference(shared_data, tmp_path):
    """604 questions, each with a function that answers it or doesn't; one JSON list, not lines."""
    path = shared_data / "search" / "cosqa" / "cosqa-dev.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    said = tmp_path / "p.txt"
    said.write_text("".join(f"{row['idx']}\t1\n" for row in rows))
    scored = StoredLabels().score(Files(said, path))
    share = sum(row["label"] for row in rows) / len(rows)
    assert scored.scores["accuracy"].value == pytest.approx(100 * share)
    assert len(scored.references) == 604


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "expected one JSON object a line, or one list"),
        ('[\n{"idx": "a", "label": 1},\n5\n]', "row 2: expected one JSON object"),
        ('[{"idx": "a", "label": 1}]\n{}', "or one list"),
        ('\n[{"idx": "a", "label": 2}]', "row 1: expected a label out of 0, 1, got '2'"),
    ],
)
def test_a_damaged_list(tmp_path, text, said):
    (tmp_path / "r.json").write_text(text)
    (tmp_path / "p.txt").write_text("a 1\n")
    with pytest.raises(CodeftError, match=said):
        StoredLabels().score(Files(tmp_path / "p.txt", tmp_path / "r.json"))
