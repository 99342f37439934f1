"""Which span is a function's body."""

from __future__ import annotations

import pytest

from codeft.syntax.bodies import find_body

FUNCTIONS = {
    "a lambda as default": ("python", "def f(g=lambda x: x):\n    return g(1)", "return g(1)"),
    "a function as default": (
        "javascript",
        "function f(g = () => { return 1; }) { return g; }",
        "{ return g; }",
    ),
    "a wrapped method": ("java", "int f() { return 1; }", "{ return 1; }"),
}


@pytest.mark.parametrize(("lang", "code", "body"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_body_is_the_functions_own(lang, code, body):
    span = find_body(code, lang)
    assert span is not None and code[slice(*span)] == body


def test_code_without_a_body_has_none():
    assert find_body("x = 1", "python") is None
