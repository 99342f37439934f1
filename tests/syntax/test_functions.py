import ast
import fileinput
import heapq
import inspect
import queue
import re
import shelve
import types
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syntax_snippets import SNIPPETS

from codeft.syntax import LANGUAGES, extract_functions

FILES = {
    "java": (
        "class A {\n  /**\n   * Doc.\n   * @param a x\n   */\n  @B public int f(@C int a, String... b) {\n"
        "    return 1;\n  }\n\n  // no doc comment\n  A(int x) {}\n  abstract int g();\n}",
        [
            ("A.f", 6, 8, "@B public int f(@C int a, String... b) {\n  return 1;\n}", "Doc.", ("a", "b")),
            ("A.A", 11, 11, "A(int x) {}", "", ("x",)),
        ],
    ),
    "javascript": (
        "/** Doc h. */\nexport const h = async (a, {b}, ...c) => a;\n/** Doc z. */\n"
        "B.prototype.z = function (q) {\n  return x => x;\n};\nclass A { m(b = 1) {} }\n"
        "(function () { function inner() {} })();",
        [
            ("h", 2, 2, "const h = async (a, {b}, ...c) => a;", "Doc h.", ("a", "c")),
            ("B.prototype.z", 4, 6, "B.prototype.z = function (q) {\n  return x => x;\n};", "Doc z.", ("q",)),
            ("A.m", 7, 7, "m(b = 1) {}", "", ("b",)),
            ("inner", 8, 8, "function inner() {}", "", ()),
        ],
    ),
    "go": (
        "package a\n\n// Push pushes.\n//go:noinline\nfunc (s *Stack[T]) Push(a, b int, c ...string) {\n}\n\n"
        "// far\n\nfunc F() {}",
        [
            (
                "Stack.Push",
                5,
                6,
                "func (s *Stack[T]) Push(a, b int, c ...string) {\n}",
                "Push pushes.",
                ("a", "b", "c"),
            ),
            ("F", 10, 10, "func F() {}", "", ()),
        ],
    ),
    "php": (
        "<?php\nclass C {\n    /** Doc. */\n    public function f(int $a, &$b, ...$c)\n    {\n    }\n}\n"
        "function g($x = 1) {}",
        [
            ("C.f", 4, 6, "public function f(int $a, &$b, ...$c)\n{\n}", "Doc.", ("a", "b", "c")),
            ("g", 8, 8, "function g($x = 1) {}", "", ("x",)),
        ],
    ),
    "ruby": (
        "module M\n  class A::B\n    # Doc\n    # more\n    def f(a, b = 1, *c, k:, &d)\n      1\n    end\n"
        "    # Doc g\n    private def self.g; end\n  end\nend",
        [
            (
                "M.A.B.f",
                5,
                7,
                "def f(a, b = 1, *c, k:, &d)\n  1\nend",
                "Doc\nmore",
                ("a", "b", "c", "k", "d"),
            ),
            ("M.A.B.g", 9, 9, "def self.g; end", "Doc g", ()),
        ],
    ),
    "csharp": (
        "namespace N {\n  class A {\n    /// <summary>\n    /// Doc.\n    /// </summary>\n    [T]\n"
        "    public int F(int a, ref string b) => 1;\n    A(int x) {}\n  }\n}",
        [
            ("A.F", 6, 7, "[T]\npublic int F(int a, ref string b) => 1;", "Doc.", ("a", "b")),
            ("A.A", 8, 8, "A(int x) {}", "", ("x",)),
        ],
    ),
    "c": (
        "/* Licence */\n\n#include <x.h>\nint y; // trailing\n"
        "static char *f(int a, char **b, void (*cb)(int)) { return 0; }\n"
        "/*\n * Doc g.\n */\nvoid g(struct s *x) {}\nint h(void);",
        [
            (
                "f",
                5,
                5,
                "static char *f(int a, char **b, void (*cb)(int)) { return 0; }",
                "",
                ("a", "b", "cb"),
            ),
            ("g", 9, 9, "void g(struct s *x) {}", "Doc g.", ("x",)),
        ],
    ),
    "cpp": (
        "namespace n {\n  /// Doc h.\n  template <class U>\n  U h(const U &u) {\n    return u;\n  }\n}\n"
        "struct S { ~S() {} S &operator=(const S &o) { return *this; } S() = default; };\n"
        "int A::g(void) { return 0; }",
        [
            ("h", 3, 6, "template <class U>\nU h(const U &u) {\n  return u;\n}", "Doc h.", ("u",)),
            ("S.~S", 8, 8, "~S() {}", "", ()),
            ("S.operator=", 8, 8, "S &operator=(const S &o) { return *this; }", "", ("o",)),
            ("A.g", 9, 9, "int A::g(void) { return 0; }", "", ()),
        ],
    ),
}


@pytest.mark.parametrize("lang", FILES)
def test_hand_worked_files(lang):
    source, expected = FILES[lang]
    found = extract_functions(source, lang)
    assert [
        (each.qualified_name, each.start_line, each.end_line, each.code, each.docstring, each.parameters)
        for each in found
    ] == expected
    assert all(each.qualified_name.endswith(each.name) for each in found)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_language_has_functions(lang):
    assert extract_functions(SNIPPETS[lang], lang)


def outermost_functions(node, scope=()):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ".".join((*scope, child.name)), child
        else:
            yield from outermost_functions(
                child, (*scope, child.name) if isinstance(child, ast.ClassDef) else scope
            )


def bare(function):
    """Return a function's dump as it is without decorators and docstring."""
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:] or [ast.Pass()]
    function.decorator_list = []
    return ast.dump(function)


@pytest.mark.parametrize(
    "module", [ast, fileinput, heapq, inspect, queue, shelve, types], ids=lambda m: m.__name__
)
def test_python_agrees_with_its_own_parser(module):
    source = Path(module.__file__).read_text(encoding="utf-8")
    expected = list(outermost_functions(ast.parse(source)))
    found = extract_functions(source, "python")
    assert [each.qualified_name for each in found] == [name for name, _ in expected]
    for each, (_, function) in zip(found, expected, strict=True):
        spec = function.args
        order = [*spec.posonlyargs, *spec.args, spec.vararg, *spec.kwonlyargs, spec.kwarg]
        assert each.start_line == function.lineno
        assert each.parameters == tuple(argument.arg for argument in order if argument is not None)
        docstring = re.sub(r":[a-z]+:`[~!]?([^`]+)`", r"\1", ast.get_docstring(function) or "")
        assert " ".join(each.docstring.split()) == " ".join(docstring.split())
        assert ast.dump(ast.parse(each.code).body[0]) == bare(function)


def test_functions_inside_functions_stay_there():
    source = "def f():\n    def g():\n        pass\n    class A:\n        def h(self): pass\n    return g\n"
    (only,) = extract_functions(source, "python")
    assert only.code == source.rstrip()


def test_snippets_and_broken_files():
    (method,) = extract_functions("/** Doc. */\npublic function f($a) { return $a; }", "php")
    assert (method.name, method.docstring, method.start_line) == ("f", "Doc.", 2)
    names = [each.name for each in extract_functions("def f(:\n\n\ndef g():\n    return 1\n", "python")]
    assert "g" in names


@settings(deadline=None, max_examples=100)
@given(
    source=st.lists(
        st.sampled_from(
            [*SNIPPETS["cpp"].split(" "), *SNIPPETS["javascript"].split(" "), "\n", "{", "}", "é"]
        ),
        max_size=30,
    ).map(" ".join),
    lang=st.sampled_from(list(LANGUAGES)),
)
def test_never_raises(source, lang):
    for each in extract_functions(source, lang):
        assert each.name and each.code
        assert 1 <= each.start_line <= each.end_line <= source.count("\n") + 1
