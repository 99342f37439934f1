from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeft.data.jsonl import Row, SkippedRows, read_rows, write_rows
from codeft.types import CodeftError

BAD_LINES = [
    (b'{"a": 1', "malformed JSON"),
    (b'{"a": 1} {"b": 2}', "malformed JSON"),
    (b"{'a': 1}", "malformed JSON"),
    (b'{"a": "\xff"}', "expected UTF-8"),
    (b'{"a": "\xed\xa0\x80"}', "expected UTF-8"),  # a surrogate encoded as if it were a character
    (b'{"a": NaN}', "NaN is no JSON number"),
    (b'{"a": -Infinity}', "-Infinity is no JSON number"),
    (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    (b'{"a": ' + b"9" * 5000 + b"}", "malformed JSON"),
    (b"[1]", "got a JSON array"),
    (b'"a"', "got a JSON string"),
    (b"3", "got a JSON number"),
    (b"true", "got a JSON boolean"),
    (b"null", "got a JSON null"),
]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_rows_know_where_they_stand(tmp_path: Path, name: str) -> None:
    content = b'\xef\xbb\xbf{"a": 1}\r\n\n \t\r\n' + '{"a": "é\u2028\x85 b"}'.encode() + b'\n{"a": "\\u0000"}'
    path = write(tmp_path / name, content)
    assert list(read_rows(path)) == [
        Row(where=f"{path}:1", fields={"a": 1}),
        Row(where=f"{path}:4", fields={"a": "é\u2028\x85 b"}),
        Row(where=f"{path}:5", fields={"a": "\x00"}),
    ]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows(tmp_path: Path, content: bytes) -> None:
    assert list(read_rows(write(tmp_path / "rows.jsonl", content))) == []


@pytest.mark.parametrize(("line", "expected"), BAD_LINES)
def test_a_bad_row_is_named(tmp_path: Path, line: bytes, expected: str) -> None:
    path = write(tmp_path / "rows.jsonl", b'{"a": 1}\n\n' + line + b"\n")
    rows = read_rows(path)
    assert next(rows).fields == {"a": 1}
    with pytest.raises(CodeftError, match=expected) as caught:
        next(rows)
    assert str(caught.value).startswith(f"{path}:3: expected ")
    assert str(caught.value).endswith("mend the row or set data.on_bad_row=skip")


def test_bad_rows_are_skipped_and_kept_for_the_log(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", b"\n".join([*(line for line, _ in BAD_LINES), b'{"a": 1}']))
    skipped: SkippedRows = []
    assert [row.fields for row in read_rows(path, on_bad_row="skip", skipped=skipped)] == [{"a": 1}]
    assert [row.where for row in skipped] == [f"{path}:{number}" for number in range(1, len(BAD_LINES) + 1)]
    for row, (_, expected) in zip(skipped, BAD_LINES, strict=True):
        assert expected in row.reason
    assert len(list(read_rows(path, on_bad_row="skip"))) == 1


def test_surrogates(tmp_path: Path) -> None:
    line = rb'{"\udc00": ["\ud83d\ude00", {"b": "x\uD800y"}], "c": "\\ud800", "n": 1}'
    (row,) = read_rows(write(tmp_path / "rows.jsonl", line))
    assert row.fields == {"\ufffd": ["😀", {"b": "x\ufffdy"}], "c": "\\ud800", "n": 1}


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-4] + b"\0\0\0\0",
        lambda data: data[:40] + bytes(byte ^ 255 for byte in data[40:80]) + data[80:],
        lambda data: b"plain text",
    ],
)
def test_a_damaged_gzip_stream(tmp_path: Path, damage, on_bad_row: str) -> None:
    path = tmp_path / "rows.jsonl.gz"
    write_rows(path, ({"n": os.urandom(50).hex()} for _ in range(1000)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CodeftError, match=r"rows\.jsonl\.gz:\d+: expected a whole gzip stream"):
        list(read_rows(path, on_bad_row=on_bad_row))


def test_errors_of_the_file_and_the_caller(tmp_path: Path) -> None:
    with pytest.raises(CodeftError, match=r"absent\.jsonl: No such file"):
        list(read_rows(tmp_path / "absent.jsonl"))
    with pytest.raises(CodeftError, match="directory"):
        list(read_rows(tmp_path))
    with pytest.raises(CodeftError, match="'error' or 'skip', got 'ignore'"):
        read_rows(tmp_path, on_bad_row="ignore")


def test_reading_is_lazy(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", b'{"a": 1}\nbroken\n')
    assert next(read_rows(path)).fields == {"a": 1}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=5))
def test_what_is_written_is_read(tmp_path: Path, name: str, rows: list[dict[str, object]]) -> None:
    path = tmp_path / name
    assert write_rows(path, rows) == len(rows)
    assert [row.fields for row in read_rows(path)] == rows


def test_writes_text_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "rows.jsonl"
    assert write_rows(path, [{"a": "é\n"}, {"b": "\ud800"}]) == 2
    assert path.read_bytes().decode("utf-8") == '{"a": "é\\n"}\n{"b": "\ufffd"}\n'


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"
    for path in (first, second):
        write_rows(path, [{"a": 1}])
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == b"\0\0\0\0"  # the header's time
    assert json.loads(gzip.decompress(first.read_bytes())) == {"a": 1}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_an_error_leaves_the_older_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_rows(path, [{"a": "old"}])
    with pytest.raises(CodeftError, match="row 2: expected numbers that JSON knows"):
        write_rows(path, [{"a": 1.0}, {"a": float("nan")}])
    with pytest.raises(TypeError):
        write_rows(path, [{"a": object()}])
    assert [row.fields for row in read_rows(path)] == [{"a": "old"}]
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CodeftError, match="expected a place to write to"):
        write_rows(tmp_path / "file" / "rows.jsonl", [])
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(CodeftError, match="expected a place to write to"):
        write_rows(tmp_path / "folder.jsonl", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.jsonl"]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_line_that_would_fill_the_memory_is_a_bad_row(tmp_path: Path, name: str, monkeypatch) -> None:
    monkeypatch.setattr("codeft.data.jsonl.MAX_LINE_BYTES", 20)
    exact = b'{"a": "' + b"x" * 10 + b'"}\n'  # 20 bytes with its line end
    path = write(tmp_path / name, exact + b'{"a": "' + b"x" * 5_000_000 + b'"}\n{"a": "b"}\n' + b" " * 99)
    skipped: SkippedRows = []
    rows = list(read_rows(path, on_bad_row="skip", skipped=skipped))
    assert [row.where for row in rows] == [f"{path}:1", f"{path}:3"]
    assert [row.where for row in skipped] == [f"{path}:2", f"{path}:4"]
    with pytest.raises(CodeftError, match=r":2: expected a line of at most 20 bytes, got a longer one; mend"):
        list(read_rows(path))


def test_a_small_compressed_file_does_not_fill_the_memory(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("codeft.data.jsonl.MAX_LINE_BYTES", 1_000_000)
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(30):
            file.write(b" " * 1_000_000)
    tracemalloc.start()
    assert list(read_rows(path, on_bad_row="skip")) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("name", ["pipe", "zero"])
def test_what_may_have_no_end_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(CodeftError, match=r"expected a readable file, got .*: a device or a pipe; write"):
        list(read_rows(tmp_path / name))
