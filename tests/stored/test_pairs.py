from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from codeft.stored.pairs import read_pairs, read_texts
from codeft.stored.reading import read_lines
from codeft.types import CodeftError


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_only_line_ends_end_a_line(tmp_path: Path) -> None:
    content = "\ufeff a \r\n\nb\u2028c\x0bd\x0ce\x85f\x1c\rg\x00\nlast"
    texts = [" a ", "", "b\u2028c\x0bd\x0ce\x85f\x1c\rg\x00", "last"]
    assert read_lines(write(tmp_path / "with.txt", content)) == texts
    assert read_lines(write(tmp_path / "end.txt", content + "\n")) == texts
    assert read_lines(write(tmp_path / "nothing.txt", "")) == []


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodeftError, match=r"bad\.txt:2: expected UTF-8"):
        read_lines(write(tmp_path / "bad.txt", b"fine\n\xff\n"))
    with pytest.raises(CodeftError, match="No such file"):
        read_lines(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"prediction": ', "one JSON object a line"),
        ("[" * 100_000, "one JSON object a line"),
        ('["prediction"]', "got no object"),
        ('{"id": "1", "text": ""}', "got the fields id, text"),
        ('{"prediction": null}', "a text in the field 'prediction'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, expected: str) -> None:
    path = write(tmp_path / "p.jsonl", '{"prediction": "a"}\n\n' + line + "\n")
    with pytest.raises(CodeftError, match=expected) as caught:
        read_texts(path, fields=("prediction",))
    assert f"{path}:3: " in str(caught.value)


def test_pairs_of_one_file(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "prediction": "a\nb", "reference": "c"},
        {"id": "2", "prediction": "", "reference": "\ud800"},
    ]
    path = write(tmp_path / "predictions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert read_pairs(path) == (["a\nb", ""], ["c", "\ud800"])
    with pytest.raises(CodeftError, match="expected a file of references"):
        read_pairs(write(tmp_path / "predictions.txt", "a\n"))


def test_an_empty_field_hides_no_full_one(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", '{"prediction": "", "reference": "", "code": "int a;"}\n')
    assert read_pairs(path, reference_fields=("reference", "code")) == ([""], ["int a;"])


def test_pairs_of_two_files(tmp_path: Path) -> None:
    predictions = write(tmp_path / "predictions.txt", "1\ta\n\n")
    references = write(tmp_path / "answers.json", '{"code": "x"}\n{"code": "y"}\n')
    assert read_pairs(predictions, references, reference_fields=("code",)) == (["1\ta", ""], ["x", "y"])
    with pytest.raises(CodeftError, match="got 2 in"):
        read_pairs(predictions, write(tmp_path / "short.txt", "x\n"))


def test_numbered_files_pair_by_number(tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.txt", "1\tb\n0\ta\tc\n2\n")
    references = write(tmp_path / "r.txt", "0\tA\n1\tB\n2\tC\n")
    assert read_pairs(predictions, references, numbered=True) == (["a\tc", "b", ""], ["A", "B", "C"])
    assert read_pairs(predictions, references)[0][0] == "1\tb"  # only where the task says so


def test_files_without_numbers_stay_as_they_are(tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.txt", "3\nwords\n")
    references = write(tmp_path / "r.txt", "3\nother words\n")
    assert read_pairs(predictions, references, numbered=True) == (["3", "words"], ["3", "other words"])


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ("0\ta\n", "got 1 that stand"),
        ("0\ta\n0\tb\n", "p.txt:2: expected each number once"),
        ("0\ta\nwords\n", "p.txt:2: expected a number and a tab"),
    ],
)
def test_numbers_must_agree(tmp_path: Path, predictions: str, expected: str) -> None:
    references = write(tmp_path / "r.txt", "0\tA\n1\tB\n")
    with pytest.raises(CodeftError, match=expected):
        read_pairs(write(tmp_path / "p.txt", predictions), references, numbered=True)


def test_json_lines_pair_by_id(tmp_path: Path) -> None:
    predictions = write(
        tmp_path / "p.jsonl", '{"id": 2, "prediction": "b\\nc"}\n{"id": 1, "prediction": "a"}\n'
    )
    references = write(tmp_path / "r.jsonl", '{"id": "1", "gt": "A"}\r\n{"id": "2", "gt": "B"}\r\n')
    assert read_pairs(predictions, references, reference_fields=("reference", "gt")) == (
        ["a", "b\nc"],
        ["A", "B"],
    )


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([1, 3], r"p\.jsonl:2: expected an id that the references have, got 3"),
        ([1], r"r\.jsonl:2: expected a prediction for id 2"),
        ([1, 1], r"p\.jsonl:2: expected each id once, got 1 again"),
        ([1, None], r"p\.jsonl:2: expected a text or a number"),
    ],
)
def test_ids_must_agree(tmp_path: Path, ids: list, expected: str) -> None:
    rows = "".join(json.dumps({"id": id_, "prediction": "x"}) + "\n" for id_ in ids)
    references = write(tmp_path / "r.jsonl", '{"id": 1, "reference": "A"}\n{"id": 2, "reference": "B"}\n')
    with pytest.raises(CodeftError, match=expected):
        read_pairs(write(tmp_path / "p.jsonl", rows), references)


GOLD = [f"public int get{i} ( ) {{ return field{i} ; }}" for i in range(50)]


def parting(tmp_path: Path, texts: list[str], references: list[str]) -> str:
    paths = [
        write(tmp_path / name, "".join(f"{line}\n" for line in lines))
        for name, lines in (("p.txt", texts), ("r.txt", references))
    ]
    with pytest.raises(CodeftError) as caught:
        read_pairs(*paths)
    return str(caught.value)


def test_files_of_unequal_length_say_where_they_part(tmp_path: Path) -> None:
    broken = [*GOLD[:30], *GOLD[30].split(" { "), *GOLD[31:]]  # a line break inside row 31
    message = parting(tmp_path, broken, GOLD)
    assert "got 51 in" in message
    assert "50 in" in message
    assert any(f"up to row {row} they go together" in message for row in (30, 31))
    lacking = [*GOLD[:20], *GOLD[23:]]
    assert "up to row 20 they go together" in parting(tmp_path, lacking, GOLD)
    assert f"r.txt:21 ({GOLD[20]!r})" in parting(tmp_path, lacking, GOLD)
    assert "up to row 40 they go together" in parting(tmp_path, GOLD[:40], GOLD)
    assert "has no partner" in parting(tmp_path, GOLD[:40], GOLD)
    assert "got 0 in" in parting(tmp_path, [], GOLD)
    assert "are empty" in parting(tmp_path, [], [])


def test_compressed_rows_are_read_as_rows(tmp_path: Path) -> None:
    content = gzip.compress(b'{"prediction": "a", "reference": "b"}\n')
    assert read_pairs(write(tmp_path / "p.jsonl.gz", content)) == (["a"], ["b"])


def test_a_line_that_would_fill_the_memory_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("codeft.data.jsonl.MAX_LINE_BYTES", 20)
    with pytest.raises(CodeftError, match=r"p\.txt:2: expected a line of at most 20 bytes"):
        read_lines(write(tmp_path / "p.txt", "a\n" + "b" * 21 + "\n"))
