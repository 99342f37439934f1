from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.data.jsonl import read_rows
from codeft.syntax import LANGUAGES, align, parse, token_leaves
from codeft.syntax.tree import walk_leaves
from syntax_snippets import SNIPPETS

PIECES = [
    *("x", "foo", "é", " ", "\n", "  ", "=", "(", ")", '"', "'", "\\n", "#", "//c\n", "/* c */", "{", "}"),
    *(
        ":",
        "def f(a):\n  return a\n",
        "return x;",
        "1.5",
        "+",
        '"a\\tb c"',
        "int f(int a) { return a; }",
        "\0",
    ),
    *("class A { }", "<?php ", "?>", "func f() {}", "\x1c", "\x85", "\u2028", "$a", "end\n", ";"),
]


def assert_same(source: str, lang: str, offsets: np.ndarray) -> None:
    tree, found = parse(source, lang), token_leaves(source, lang, offsets)
    np.testing.assert_array_equal(found.leaf, align(tree, offsets))
    np.testing.assert_array_equal(found.depths, tree.depths)
    np.testing.assert_array_equal(found.lca_depths, tree.lca_depths)
    assert found.has_errors == tree.has_errors


@settings(deadline=None, max_examples=300)
@given(
    source=st.lists(st.sampled_from(PIECES), max_size=20).map("".join),
    lang=st.sampled_from(sorted(LANGUAGES)),
    data=st.data(),
)
def test_any_text_in_any_language(source: str, lang: str, data: st.DataObject) -> None:
    place = st.integers(-2, len(source) + 3)
    spans = data.draw(st.lists(st.tuples(place, place), max_size=20))
    assert_same(source, lang, np.array(spans, dtype=np.int32).reshape(-1, 2))


@pytest.mark.parametrize("lang", sorted(SNIPPETS))
@pytest.mark.parametrize("ascii_only", [False, True])
def test_snippets(lang: str, ascii_only: bool) -> None:
    source = SNIPPETS[lang]
    source = source.encode("ascii", "replace").decode() if ascii_only else source
    for width in (1, 3, 7):
        starts = np.arange(0, len(source), width)
        assert_same(source, lang, np.stack([starts, starts + width], axis=1))


def test_real_functions_take_the_short_way(shared_data) -> None:
    java = (shared_data / "translation" / "test.java-cs.txt.java").read_text(encoding="utf-8").splitlines()
    path = shared_data / "summarization" / "csn_python_small" / "test.jsonl"
    python = [row.fields["code"] for row in read_rows(path, on_bad_row="error", skipped=[])]
    for lang, sources in (("java", java[:300]), ("python", python)):
        for source in sources:
            starts = np.arange(0, len(source), 4)
            assert_same(source, lang, np.stack([starts, starts + 4], axis=1))
    assert sum(walk_leaves(source, "java") is not None for source in java[:300]) > 280
