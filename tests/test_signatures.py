"""A config's values by the types that constructors name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest

from codeft.signatures import check_value, check_values
from codeft.types import CodeftError

if TYPE_CHECKING:
    from nowhere import Unknown

T = TypeVar("T")


class Thing:
    def __init__(
        self,
        *,
        count: int,
        share: float = 0.5,
        name: str | None = None,
        flag: bool = False,
        mode: Literal["a", "b"] | int = "a",
        folder: str | Path = ".",
        sizes: Mapping[str, int] | None = None,
        pair: tuple[int, int] = (1, 2),
        anything: Any = None,
        generic: T | None = None,
        other: Unknown = None,
        typed_object: object = None,
        implicit: int = None,  # noqa: RUF013
        bare=None,
    ) -> None: ...


GOOD = [
    {"count": 1, "share": 1, "name": None, "flag": True, "mode": "b", "folder": "x", "sizes": None},
    {"share": float("nan"), "mode": 3, "sizes": {"a": 1}, "folder": Path("x")},
    {"anything": 1, "generic": "x", "other": 1, "typed_object": "x", "bare": 2, "implicit": None},
    {"unknown": 1, "pair": [1, 2]},
]
BAD = [
    ({"count": 1.0}, "count must be a whole number, not 1.0"),
    ({"count": True}, "count must be a whole number, not True"),
    ({"count": None}, "count must be a whole number, not None"),
    ({"share": "0.1"}, "share must be a number, not '0.1'"),
    ({"name": 1}, "name must be text or null, not 1"),
    ({"flag": "maybe"}, "flag must be true or false, not 'maybe'"),
    ({"flag": 1}, "flag must be true or false, not 1"),
    ({"mode": "c"}, "mode must be a or b or a whole number, not 'c'"),
    ({"name": ["x"]}, "name must be text or null, not ['x']"),
    ({"sizes": "x"}, "sizes must be mapping or null, not 'x'"),
    (
        {"count": "x", "flag": "y"},
        "count must be a whole number, not 'x'; flag must be true or false, not 'y'",
    ),
]


@pytest.mark.parametrize("values", GOOD)
def test_values_that_fit(values):
    check_values(Thing, values)


@pytest.mark.parametrize(("values", "said"), BAD)
def test_values_that_do_not(values, said):
    with pytest.raises(CodeftError) as error:
        check_values(Thing, values)
    assert str(error.value) == said


@pytest.mark.parametrize("value", ["x", None, True, 1.5, -1, 11, float("nan")])
def test_a_number_in_a_range(value):
    check_value("n", 10, kind=int, low=0, high=10)
    with pytest.raises(CodeftError, match="n must be a whole number from 0 to 10, not"):
        check_value("n", value, kind=int, low=0, high=10)
