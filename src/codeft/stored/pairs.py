"""Stored texts and their references, paired record by record; where files differ, by how much and where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from codeft.data.jsonl import is_rows
from codeft.stored.reading import StoredRow, name_of, read_json_rows, read_lines, text_of
from codeft.types import CodeftError

_NUMBERED_LINE = re.compile(r"([0-9]+)(?:\t|$)")
_SHOWN = 60


def read_texts(path: Path, *, fields: Sequence[str]) -> list[str]:
    """Read one text a record out of a line file or a JSON Lines file.

    Args:
        path: `.jsonl` and `.json` are read as JSON Lines, anything else by `read_lines`.
        fields: Where a JSON row holds its text; the first that it has.

    Returns:
        The texts in the file's order; blank lines of a JSON Lines file are skipped.

    Raises:
        CodeftError: The file can't be read, isn't UTF-8, or a row isn't an object with a text in a field.
    """
    if not is_rows(path):
        return read_lines(path)
    return [text_of(row, fields) for row in read_json_rows(path)]


def read_pairs(
    predictions: Path,
    references: Path | None = None,
    *,
    reference_fields: Sequence[str] = ("reference",),
    numbered: bool = False,
) -> tuple[list[str], list[str]]:
    """Read stored predictions with their references and pair them by record.

    Two JSON Lines files whose rows all have an `id` are paired by it, all others by order.

    Args:
        predictions: A line file, or a JSON Lines file with texts in `prediction`.
        references: The same of references; None where `predictions` is JSON Lines and holds both.
        reference_fields: Where a JSON row holds its reference; the first that it has.
        numbered: Whether line files may begin each line with a number and a tab, as code summarization's
            published files do. Where both do, they are paired by number.

    Returns:
        Predictions and references of equal number, at least one, in the references' order.

    Raises:
        CodeftError: A file can't be read, only one file is numbered, a number or id stands twice or in one
            file only, the numbers of rows differ, or there are none.
    """
    if references is None:
        if not is_rows(predictions):
            raise CodeftError(
                f"expected a file of references beside {predictions}, got none: it holds one text a line"
            )
        return pairs_of(read_json_rows(predictions), path=predictions, reference_fields=reference_fields)
    if is_rows(predictions) and is_rows(references):
        rows, reference_rows = read_json_rows(predictions), read_json_rows(references)
        if rows and reference_rows and all("id" in row.fields for row in rows + reference_rows):
            rows = _in_order_of(rows, reference_rows, path=predictions)
        texts = [text_of(row, ("prediction",)) for row in rows]
        reference_texts = [text_of(row, reference_fields) for row in reference_rows]
    else:
        texts = read_texts(predictions, fields=("prediction",))
        reference_texts = read_texts(references, fields=reference_fields)
    if numbered and (_is_numbered(texts) or _is_numbered(reference_texts)):
        return _pair_by_number(texts, reference_texts, predictions=predictions, references=references)
    check_rows(texts, reference_texts, predictions=predictions, references=references)
    return texts, reference_texts


def pairs_of(
    rows: Sequence[StoredRow], *, path: Path, reference_fields: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the predictions and references of rows that hold both, in their order.

    Args:
        rows: Of a JSON Lines file.
        path: The file.
        reference_fields: Where a row holds its reference; the first that it has.

    Raises:
        CodeftError: A row lacks one of them, or there are no rows.
    """
    texts = [text_of(row, ("prediction",)) for row in rows]
    references = [text_of(row, reference_fields) for row in rows]
    check_rows(texts, references, predictions=path, references=path)
    return texts, references


def check_rows(
    texts: Sequence[str], reference_texts: Sequence[str], *, predictions: Path, references: Path
) -> None:
    """Refuse files of unequal length, or without rows; the message says where they seem to part.

    Args:
        texts: What `predictions` holds.
        reference_texts: What `references` holds.
        predictions: The file.
        references: The other file.

    Raises:
        CodeftError: The numbers of rows differ, or there are none.
    """
    if not texts and not reference_texts:
        raise CodeftError(f"expected rows to score, got none: {predictions} and {references} are empty")
    if len(texts) == len(reference_texts):
        return
    counts = f"got {len(texts):,} in {predictions} and {len(reference_texts):,} in {references}"
    if not texts or not reference_texts:
        raise CodeftError(f"expected as many rows in both files, {counts}")
    pairs = find_parting(texts, reference_texts)
    longer, path = (
        (texts, predictions) if len(texts) > len(reference_texts) else (reference_texts, references)
    )
    if pairs < min(len(texts), len(reference_texts)):
        hint = "a line break inside a text there, or a line left out in the other file?"
    else:
        hint = "has no partner, nor has what follows"
    raise CodeftError(
        f"expected as many rows in both files, {counts}: up to row {pairs:,} they go together; "
        f"{path}:{pairs + 1} ({longer[pairs][:_SHOWN]!r}) {hint}"
    )


def find_parting(texts: Sequence[str], others: Sequence[str]) -> int:
    """Return after how many rows one of two files seems to hold something extra.

    Rows are likened by their words. Up to the parting row i stands by row i, after it by the row that is as
    much further on as the files differ in length; the parting is where that fits best.

    Args:
        texts: One file's rows.
        others: The other's, in another number.

    >>> find_parting(["a b", "c", "d e", "f"], ["a b", "c d e", "f"])
    1
    """
    short, long = sorted((texts, others), key=len)
    shift = len(long) - len(short)
    straight = accumulate((_likeness(a, b) for a, b in zip(short, long, strict=False)), initial=0.0)
    shifted = [_likeness(a, b) for a, b in zip(short, long[shift:], strict=True)]
    behind = [*accumulate(reversed(shifted), initial=0.0)][::-1]
    fits = [before + after for before, after in zip(straight, behind, strict=True)]
    best = max(fits)
    # The last place as good as any but for rounding: as little as possible is called into question.
    return max(place for place, fit in enumerate(fits) if fit >= best - 1e-9)


def _likeness(text: str, other: str) -> float:
    words, other_words = set(text.split()), set(other.split())
    return len(words & other_words) / max(len(words | other_words), 1)


def _in_order_of(
    rows: Sequence[StoredRow], references: Sequence[StoredRow], *, path: Path
) -> list[StoredRow]:
    """Return rows in the order of the references' ids."""
    by_id, wanted = _rows_by_id(rows), _rows_by_id(references)
    for id_, row in by_id.items():
        if id_ not in wanted:
            raise CodeftError(f"{row.where}: expected an id that the references have, got {id_}")
    for id_, row in wanted.items():
        if id_ not in by_id:
            raise CodeftError(f"{row.where}: expected a prediction for id {id_}, but {path} has none")
    return [by_id[id_] for id_ in wanted]


def _rows_by_id(rows: Sequence[StoredRow]) -> dict[str, StoredRow]:
    found: dict[str, StoredRow] = {}
    for row in rows:
        id_ = name_of(row.fields["id"], where=row.where)
        if id_ in found:
            raise CodeftError(f"{row.where}: expected each id once, got {id_} again")
        found[id_] = row
    return found


def _pair_by_number(
    texts: Sequence[str], reference_texts: Sequence[str], *, predictions: Path, references: Path
) -> tuple[list[str], list[str]]:
    by_number = _split_numbers(texts, path=predictions)
    references_by_number = _split_numbers(reference_texts, path=references)
    unpaired = by_number.keys() ^ references_by_number.keys()
    if unpaired:
        raise CodeftError(
            f"expected the same numbers in {predictions} and {references}, got {len(unpaired)} that "
            f"stand in one of them only, {min(unpaired, key=int)} the first"
        )
    return [by_number[number] for number in references_by_number], list(references_by_number.values())


def _is_numbered(lines: Sequence[str]) -> bool:
    # A number alone is an empty text whose tab an editor has stripped.
    return all(_NUMBERED_LINE.match(line) for line in lines) and any("\t" in line for line in lines)


def _split_numbers(lines: Sequence[str], *, path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for row, line in enumerate(lines, start=1):
        match = _NUMBERED_LINE.match(line)
        if match is None:
            raise CodeftError(
                f"{path}:{row}: expected a number and a tab before the text, as in the other file"
            )
        if match[1] in texts:
            raise CodeftError(f"{path}:{row}: expected each number once, got {match[1]} again")
        texts[match[1]] = line[match.end() :]
    return texts
