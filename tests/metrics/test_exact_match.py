from __future__ import annotations

import pytest

from codeft.metrics.exact_match import exact_match, exact_match_split
from codeft.types import CodeftError


@pytest.mark.parametrize(
    ("prediction", "reference", "stripped", "split"),
    [
        ("a b", "a b", True, True),
        (" a b\r\n", "a b", True, True),
        ("a  b", "a b", False, True),
        ("a\nb", "a b", False, True),
        ("A b", "a b", False, False),
        ("ab", "a b", False, False),
        ("", " ", True, True),
        ("a\x00", "a", False, False),
        ("\ud800", "\ud800", True, True),
    ],
)
def test_the_two_rules(prediction: str, reference: str, stripped: bool, split: bool) -> None:
    assert exact_match([prediction], [reference]) == 100.0 * stripped
    assert exact_match_split([prediction], [reference]) == 100.0 * split


def test_is_a_share_of_rows() -> None:
    assert exact_match(["a", "b", "c", "d"], ["a", "x", "x", "x"]) == 25.0


@pytest.mark.parametrize("metric", [exact_match, exact_match_split])
def test_refuses_unequal_numbers(metric) -> None:
    with pytest.raises(CodeftError, match="1 predictions and 2 references"):
        metric(["a"], ["a", "b"])
