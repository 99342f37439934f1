"""Data flow by hand, one function a language, and what a text of any kind gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.syntax import LANGUAGES
from codeft.syntax.code_tree import parse_code
from codeft.syntax.dataflow import data_flow, rename_variables
from codeft.syntax.dataflow_rules import PUBLISHED_RULES, RULES
from syntax_snippets import SNIPPETS


def links(code: str, lang: str, *, published: bool = False) -> list[str]:
    """Each linked occurrence with what it comes from: by which occurrences of which names."""
    edges = data_flow(parse_code(code, lang, as_file=published, comments=False), lang, published=published)
    order = {edge.place: number for number, edge in enumerate(edges)}
    mark = {"comesFrom": "<-", "computedFrom": "<="}
    return [
        f"{edge.name} {mark[edge.relation]} {','.join(edge.sources)}@"
        + ",".join(str(order[place]) for place in sorted(edge.source_places))
        for edge in edges
        if edge.sources
    ]


@pytest.mark.parametrize(
    ("lang", "code", "expected"),
    [
        (
            "python",
            "def f(xs, n=2):\n  t = n\n  for x in xs: t = t + x\n  a, b = t, n\n  return [y for y in b]",
            "n <- 2@2 | t <= n@4 | n <- n@1 | x <= xs@6 | xs <- xs@0 | t <= t,x@8,9 | t <- t@3,7 | "
            "x <- x@5 | a <= t@12 | b <= n@13 | t <- t@7 | n <- n@1 | y <- y@15 | y <= b@16 | "
            "b <- b@11",
        ),
        (
            "java",
            "int f(int x) { int t = x; if (x > 1) t = 2; else t++; return t; }",
            "t <- x@2 | x <- x@0 | x <- x@0 | t <= 2@5 | t <= t@6 | t <- t@4,6",
        ),
        (
            "javascript",
            "function f(x) { let t = x; while (t) { t = t - x; } return t; }",
            "t <- x@2 | x <- x@0 | t <- t@1,4 | t <= t,x@5,6 | t <- t@1,4 | x <- x@0 | t <- t@4",
        ),
        (
            "go",
            "func f(x int) { a, b := x, 1; for i := 0; i < a; i++ { b = i } }",
            "a <= x@3 | b <= 1@4 | x <- x@0 | i <= 0@6 | i <- i@5 | a <- a@1 | i <= i@9 | b <= i@11 | "
            "i <- i@9",
        ),
        (
            "php",
            "function f($x, $n = 1) { foreach ($x as $k => $v) { $n = $v; } }",
            "n <- 1@2 | x <- x@0 | k <= x@3 | v <= x@3 | n <= v@7 | v <- v@5",
        ),
        (
            "ruby",
            "def f(x, n = 1)\n  t = n if x\n  t\nend",
            "n <- 1@2 | t <= n@4 | n <- n@1 | x <- x@0 | t <- t@3",
        ),
        (
            "csharp",
            "int F(int[] xs) { int t = 0; foreach (var x in xs) t = x; return t; }",
            "t <- 0@2 | x <= xs@4 | xs <- xs@0 | t <= x@6 | x <- x@3 | t <- t@5",
        ),
        (
            "c",
            "int f(int n) { int t = n; if (n) t = 1; return t; }",
            "t <- n@2 | n <- n@0 | n <- n@0 | t <= 1@5 | t <- t@1,4",
        ),
        (
            "cpp",
            "int f(std::vector<int> xs) { for (auto& x : xs) g(x); return xs; }",
            "x <= xs@2 | xs <- xs@0 | g <- g@3 | x <- x@1 | xs <- xs@0",
        ),
    ],
)
def test_by_hand(lang: str, code: str, expected: str) -> None:
    assert " | ".join(links(code, lang)) == expected


def test_published_rules_miss_what_grammars_have_renamed() -> None:
    assert links("int t = 0; t = u;", "c", published=True) == ["t <= u@1"]
    assert links("int t = 0; t = u;", "c") == ["t <- 0@1", "t <= u@3"]


def test_published_rules_give_up_as_a_whole() -> None:
    code = "<?php $a = $b; foreach ($a as $k => $v) {}"
    assert links(code, "php", published=True) == []
    assert links(code, "php")[0] == "a <= b@1"


def test_published_names_are_cut_by_bytes() -> None:
    assert links('s = "é"; b = a', "python") == ['s <= "é"@1', "b <= a@3"]
    assert links('s = "é"; b = a', "python", published=True)[1] == "  <= @3"  # one byte too far
    assert links("s = '''a\nb'''", "python", published=True) == ["s <= '''ab'''@1"]


def test_renaming_is_by_appearance() -> None:
    one, two, other = (
        data_flow(parse_code(c, "python"), "python") for c in ("b = a + 1", "y = z + 7", "b = a + a")
    )
    assert rename_variables(one) == rename_variables(two) != rename_variables(other)


def test_every_language_has_rules() -> None:
    assert set(RULES) == set(PUBLISHED_RULES) == set(LANGUAGES)
    assert not any(rules.strict for rules in RULES.values())


pieces = st.lists(
    st.sampled_from(
        [line for code in SNIPPETS.values() for line in code.split(" ")] + ["\n", "\0", "\ud800", "\r\n"]
    ),
    max_size=25,
).map(" ".join)


@pytest.mark.parametrize("lang", LANGUAGES)
@settings(deadline=None, max_examples=25)
@given(code=pieces)
def test_any_text(lang: str, code: str) -> None:
    for published in (False, True):
        tree = parse_code(code, lang, as_file=published)
        edges = data_flow(tree, lang, published=published)
        places = [edge.place for edge in edges]
        assert places == sorted(set(places))
        if (
            not published and "ERROR" not in tree.types
        ):  # where text fails to parse, a token read may have none
            assert set().union(*(edge.source_places for edge in edges)) <= set(places)


def test_deep_nesting() -> None:
    code = "x = y\n" + "".join(" " * depth + "while x:\n" for depth in range(40)) + " " * 40 + "x = x\n"
    edges = data_flow(parse_code(code, "python"), "python")
    assert len(edges) == 44
    assert edges[-1].sources == ("x",)
    assert data_flow(parse_code("x = " + "-" * 5000 + "y", "python"), "python")[0].sources == ("y",)
