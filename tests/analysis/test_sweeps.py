"""Cells, baselines and paired bootstraps of a sweep's runs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.analysis.sweeps import (
    Cell,
    choose_key,
    find_baseline,
    make_cells,
    value_order,
)
from codeft.types import CodeftError


def cell(x, *, method="telly", **line):
    return Cell(x, tuple(line.items()), [{"method": method}])


@settings(deadline=None)
@given(st.permutations(["base", "0", "1", "2", "10", "11", "auto", "nan"]))
def test_k_stands_in_its_order(values):
    expected = ["base", "0", "1", "2", "10", "11", "auto", "nan"]
    assert sorted(values, key=value_order) == expected
    cells = make_cells([({"k": value}, {}) for value in values], by="k")
    assert [cell.x for cell in cells] == expected


def test_which_key_is_meant():
    assert choose_key(["seed"], asked=None, typed=["seed"]) is None
    assert choose_key(["alpha", "seed"], asked=None, typed=["alpha"]) == "alpha"
    assert choose_key(["width"], asked=None, typed=["width"]) == "width"
    assert choose_key(["lang", "k"], asked="lang", typed=["lang", "k"]) == "lang"
    with pytest.raises(CodeftError, match="differ in width, depth: say which"):
        choose_key(["width", "depth"], asked=None, typed=["width", "depth"])
    with pytest.raises(CodeftError, match="by=alpha"):
        choose_key(["k"], asked="alpha", typed=["k"])


def test_what_each_is_compared_with():
    def baseline(cells, *, by, asked=None):
        found = [find_baseline(each, cells, by=by, asked=asked) for each in cells]
        return [None if other is None else cells.index(other) for other in found]

    assert baseline([cell("base"), cell("0"), cell("6")], by="k") == [None, 0, 0]
    assert baseline([cell("0"), cell("6")], by="k") == [None, None]
    assert baseline([cell("0"), cell("6")], by="k", asked="6") == [1, None]
    assert baseline([cell("0", method="sat"), cell("0.1", method="sat")], by="alpha") == [None, 0]
    lines = [cell(k, lang=lang) for lang in ("java", "ruby") for k in ("base", "1")]
    assert baseline(lines, by="k") == [None, 0, None, 2]
    methods = [cell("full", method="full"), cell("sat", method="sat")]
    assert baseline(methods, by="method") == [None, 0]
    both = [
        Cell(share, (("method", method),), [{"method": method}])
        for method in ("full", "sat")
        for share in ("0.1", "1")
    ]
    assert baseline(both, by="data.train_fraction") == [None, None, 0, 1]
    assert baseline([both[0], both[3]], by="data.train_fraction") == [None, None]
