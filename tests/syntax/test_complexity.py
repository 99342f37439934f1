"""McCabe's complexity, counted by hand in each language, and compared with other counters of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.syntax import LANGUAGES
from codeft.syntax.complexity import COMPLEXITY_CLASSES, complexity_class, cyclomatic_complexity
from syntax_snippets import SNIPPETS

CASES = {
    "python": [
        ("def f():\n    with a:\n        assert b\n", 1),
        (
            "if x:\n    a()\nelif y:\n    b()\nelse:\n    c()\n",
            3,
        ),
        ("for i in a:\n    while b:\n        pass\nelse:\n    pass\n", 3),
        ("try:\n    f()\nexcept A:\n    pass\nexcept B:\n    pass\nelse:\n    pass\nfinally:\n    pass\n", 3),
        ("x = 1 if a and b or not c else 2", 4),
        ("[i for i in a for j in b if i if j]", 5),
        (
            "match x:\n    case 1 | 2:\n        a\n    case y if y > 1:\n        b\n    case _:\n        c\n",
            4,
        ),
        ("match x:\n    case _ if a:\n        pass\n", 3),
        ("if a == 'if and while':  # or for\n    pass\n", 2),
    ],
    "java": [
        ("int f() { return 1; }", 1),
        ("void f() { if (a) b(); else if (c) d(); else e(); }", 3),
        ("void f() { for (int i = 0; i < 3; i++) while (a) do b(); while (c); for (int x : y) z(); }", 5),
        ("int f() { switch (a) { case 1: case 2: return 1; default: return a ? b : c; } }", 4),
        ("int f() { return switch (a) { case 1, 2 -> 3; case 4 -> 5; default -> 6; }; }", 3),
        ("void f() { try { a(); } catch (A e) {} catch (B | C e) {} finally {} }", 3),
        ("boolean f() { return a && b || c & d; }", 3),
    ],
    "javascript": [
        ("const f = () => 1", 1),
        ("function f() { if (a) b(); else if (c) d(); else e(); }", 3),
        ("for (;;) { while (a) do b(); while (c) } for (x in y) z(); for (x of y) z()", 6),
        ("switch (a) { case 1: case 2: b(); break; default: c() }", 3),
        ("try { a() } catch (e) { b() } finally { c() }", 2),
        ("x = a && b || c ?? d ? e?.f : g", 5),
        ("a ||= b; a &&= c; a ??= d; a += e", 4),
    ],
    "go": [
        ("func f() int { return 1 }", 1),
        ("func f() { if a { b() } else if c { d() } else { e() } }", 3),
        ("func f() { for { g() }; for i := range x { g(i) }; for a { g() } }", 4),
        ("func f() { switch a { case 1, 2: b(); case 3: c(); default: d() } }", 3),
        ("func f() { switch a.(type) { case int: b(); default: d() } }", 2),
        ("func f() { select { case <-a: b(); case c <- d: e(); default: g() } }", 3),
        ("func f() bool { return a && b || !c }", 3),
    ],
    "php": [
        ("function f() { return 1; }", 1),
        ("function f() { if ($a) b(); elseif ($c) d(); else if ($e) g(); else h(); }", 4),
        ("function f() { for (;;) while ($a) do b(); while ($c); foreach ($x as $y) z(); }", 5),
        ("function f() { switch ($a) { case 1: case 2: b(); break; default: c(); } }", 3),
        ("function f() { return match($a) { 1, 2 => 3, 4 => 5, default => 6 }; }", 3),
        ("function f() { try { a(); } catch (A | B $e) { } finally { } }", 2),
        ("function f() { return $a && $b || ($c and $d or $e) ?: ($x ?? $y xor $z); }", 7),
        ("function f() { $a ??= 1; $b .= 2; return $a ? 1 : 2; }", 3),
    ],
    "ruby": [
        ("def f\n  a.each { |x| x }\nend", 1),
        ("def f\n  if a\n    1\n  elsif b\n    2\n  else\n    3\n  end\nend", 3),
        ("unless a\n  b\nend\nwhile c\n  d\nend\nuntil e\n  g\nend\nfor x in y\n  z\nend", 5),
        ("a if b\nc unless d\ne while g\nh until i", 5),
        ("case a\nwhen 1, 2 then b\nwhen 3 then c\nelse d\nend", 3),
        ("case a\nin [x] if x then b\nelse d\nend", 3),
        ("begin\n  a\nrescue A\n  b\nrescue B => e\n  c\nelse\n  d\nensure\n  g\nend", 3),
        ("x = (a rescue b) ? c : d", 3),
        ("a && b || (c and d or e)", 5),
        ("a ||= b\nc &&= d\ne += g", 3),
    ],
    "csharp": [
        ("int F() { return 1; }", 1),
        ("void F() { if (a) B(); else if (c) D(); else E(); }", 3),
        ("void F() { for (;;) while (a) do B(); while (c); foreach (var x in y) Z(); }", 5),
        (
            "void F() { switch (a) { case 1: case 2: B(); break; case 3 when d: break; default: break; } }",
            5,
        ),
        ("int F() => a switch { 1 => 2, 3 when b => 4, _ => 5 };", 4),
        ("void F() { try { A(); } catch (B e) when (c) { } catch { } finally { } }", 4),
        ("int F() => a && b || c ? d ?? e : g;", 5),
        ("void F() { a ??= b; c?.D(); }", 2),
        ("#if A && B\nint F() { return 1; }\n#endif\n", 1),
    ],
    "c": [
        ("int f(void) { return 1; }", 1),
        ("void f() { if (a) b(); else if (c) d(); else e(); }", 3),
        ("void f() { for (;;) while (a) do b(); while (c); }", 4),
        ("void f() { switch (a) { case 1: case 2: b(); break; default: c(); } }", 3),
        ("int f() { return a && b || c & d ? e : g; }", 4),
        ("#if defined(A) && B || C\nint f() { return a && b; }\n#endif\n", 2),
    ],
    "cpp": [
        ("int A::f() const { return 1; }", 1),
        ("void f() { if (a) b(); else if (c) d(); else e(); }", 3),
        ("void f() { for (;;) while (a) do b(); while (c); for (auto &&x : y) z(); }", 5),
        ("void f() { switch (a) { case 1: case 2: b(); break; default: c(); } }", 3),
        ("void f() { try { a(); } catch (B &e) { } catch (...) { } }", 3),
        ("bool f(T &&x) { return a and b or c && d ? e : g; }", 5),
    ],
}


@pytest.mark.parametrize(
    ("lang", "source", "complexity"),
    [(lang, *case) for lang, cases in CASES.items() for case in cases],
    ids=[f"{lang}{number}" for lang, cases in CASES.items() for number in range(len(cases))],
)
def test_counted_by_hand(lang: str, source: str, complexity: int) -> None:
    assert cyclomatic_complexity(source, lang) == complexity


def test_every_language_has_cases() -> None:
    assert CASES.keys() == LANGUAGES.keys()


@pytest.mark.parametrize("lang", LANGUAGES)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_text_has_one(lang: str, data: st.DataObject) -> None:
    text = data.draw(st.text(max_size=60))
    code = SNIPPETS[lang]
    cut = data.draw(st.integers(0, len(code)))
    complexity = cyclomatic_complexity(code[:cut] + text + code[cut:], lang)
    assert complexity >= 1
    assert 0 <= complexity_class(complexity) < len(COMPLEXITY_CLASSES)


def python_functions(shared_data) -> list[str]:
    from codeft.data.jsonl import read_rows

    path = shared_data / "summarization" / "csn_python_small" / "test.jsonl"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return [row.fields["code"] for row in read_rows(path)]


def test_python_as_radon_counts(shared_data) -> None:
    """radon counts assertions, lambdas and a loop's else, too; functions without them agree."""
    visitors = pytest.importorskip("radon.visitors")
    import ast
    import textwrap

    compared = 0
    for code in python_functions(shared_data):
        try:
            tree = ast.parse(textwrap.dedent(code))
        except SyntaxError:
            continue
        special = any(
            isinstance(node, ast.Assert | ast.Lambda | ast.Match)
            or (isinstance(node, ast.For | ast.While | ast.Try) and node.orelse)
            for node in ast.walk(tree)
        )
        inner = sum(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(tree))
        if special or inner != 1:
            continue
        [found] = visitors.ComplexityVisitor.from_ast(tree).functions
        assert cyclomatic_complexity(code, "python") == found.complexity, code
        compared += 1
    assert compared > 80


@pytest.mark.parametrize(("lang", "suffix"), [("java", "java"), ("csharp", "cs")])
def test_methods_as_lizard_counts(shared_data, lang: str, suffix: str) -> None:
    """lizard matches words and signs: generics and nullable types can look like conditions to it."""
    lizard = pytest.importorskip("lizard")
    path = shared_data / "translation" / f"test.java-cs.txt.{suffix}"
    if not path.is_file():
        pytest.skip(f"no {path}")
    compared = same = 0
    for code in path.read_text(encoding="utf-8").splitlines()[:400]:
        found = lizard.analyze_file.analyze_source_code(f"a.{suffix}", "class A {\n" + code + "\n}\n")
        if len(found.function_list) == 1:
            compared += 1
            ours, theirs = cyclomatic_complexity(code, lang), found.function_list[0].cyclomatic_complexity
            same += ours == theirs
            if ours != theirs:
                print(ours, theirs, code)
    assert compared > 300
    assert same / compared > 0.97
