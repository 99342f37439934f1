"""What the parser made out of an error is no function, and those inside it are found."""

from __future__ import annotations

import pytest

from codeft.syntax import extract_functions
from codeft.syntax.preprocessor import without_conditions, without_macros


def names(source, lang):
    return [each.qualified_name for each in extract_functions(source, lang)]


@pytest.mark.parametrize(
    ("lang", "source", "expected"),
    [
        (
            "cpp",
            "NS_BEGIN\nNS_EXPORT\n\n// A pool.\nclass Pool {\n public:\n  int take() {\n"
            "    return n_;\n  }\n};\nNS_END\n",
            ["Pool.take"],
        ),
        (
            "cpp",
            "class LIB_API Pool : public Base {\n public:\n  int take() { return n_; }\n};\n",
            ["Pool.take"],
        ),
        ("cpp", "class LIB_API Pool {};\nint f() { return 1; }\n", ["f"]),
        ("cpp", "struct pool_api(1) Pool final {\n  int take() { return 1; }\n};\n", None),
        ("cpp", "class Box {\n  Q_OBJECT\n public:\n  int f() { return 1; }\n};\n", ["Box.f"]),
        ("cpp", "namespace a {\nLIB_INLINE LIB_CONST auto f(int a) -> int { return a; }\n}\n", ["f"]),
        ("cpp", "LIB_TRY {\n  int a = 1;\n} catch (...) {\n  g();\n}\nint f() { return 1; }\n", ["f"]),
        ("c", "static FORCE_INLINE int f(int a) { return a; }\n", ["f"]),
        ("c", "EXTERN_BEGIN\n\nint f(int a) { return a; }\n\nEXTERN_END\n", ["f"]),
        (
            "c",
            "int f(int a) {\n#ifdef X\n  if (a) {\n#else\n  if (!a) {\n#endif\n    a++;\n  }\n"
            "  return a;\n}\n"
            "int g(void) { return 1; }\n",
            ["f", "g"],
        ),
        ("c", "#ifdef A\nint f(int a)\n#else\nint f(long a)\n#endif\n{\n  return 1;\n}\n", ["f"]),
        (
            "csharp",
            "class A {\n  int P {\n    get {\n      if (a) { return 1; }\n#if X\n"
            "      else if (b) { return 2; }\n#endif\n"
            "      else { return 3; }\n    }\n  }\n  void F() { g(); }\n}\n",
            ["A.F"],
        ),
        (
            "csharp",
            "class A {\n  public static A operator +(A a, A b) { return a; }\n  ~A() { }\n}\n",
            ["A.operator+", "A.~A"],
        ),
        ("cpp", "A<int, char>::operator bool() const { return true; }\n", ["A.operator bool"]),
        ("cpp", "template <> int B<int, char>::f<long>(int a) { return 1; }\n", ["B.f"]),
        ("javascript", "class A {\n  f() {\n    g();\n  }}\n  if (a) {\n    h();\n  }\n}\n", ["A.f"]),
        (
            "javascript",
            "class A {\n  delete() { return 1; }\n  catch(e) { return e; }\n}\n",
            ["A.delete", "A.catch"],
        ),
        ("python", "def f(:\n    pass\n\n\ndef g():\n    return 1\n", ["g"]),
        ("ruby", "def f\n  if a\n    b\nend\n\nclass C\n  def g\n    1\n  end\nend\n", ["C.g"]),
    ],
)
def test_functions_around_what_is_no_code(lang, source, expected):
    found = names(source, lang)
    assert not any(" " in name.replace("operator ", "") or "\n" in name for name in found)
    assert not {name.rpartition(".")[2] for name in found} & {"if", "namespace", "class"}
    if expected is not None:
        assert found == expected
    else:
        assert any(name.endswith(("take", "g")) for name in found)


def test_the_code_keeps_what_the_parser_was_spared():
    source = "LIB_API int f(int a) {\n#if X\n  if (a) {\n#else\n  {\n#endif\n    a++;\n  }\n  return a;\n}\n"
    [found] = extract_functions(source, "c")
    assert found.code == source.rstrip()


@pytest.mark.parametrize(
    "source",
    [
        "enum {\n  RED,\n  GREEN\n};",
        "int a = ONE +\n  TWO\n  + THREE;",
        "TEST(Pool, Take)\n{\n  f();\n}",
        "FILE *f(void);\nDWORD g(void);",
        '// LIB_BEGIN\nchar *s = "LIB_API int";',
        "enum class Color { RED };",
        "enum color c : 3;",
    ],
)
def test_what_is_no_macro_before_something_stays(source):
    assert without_macros(source) == source


def test_conditions_around_whole_statements_stay():
    source = "#ifdef A\nint f(void);\n#else\nint g(void);\n#endif\n#if B\nint h() { return 1; }\n#endif\n"
    assert without_conditions(source) == source
    cut = without_conditions("int f() {\n#if 0\n  if (a) {\n#else\n  if (b) {\n#endif\n  }\n}\n")
    assert "if (b)" in cut and "if (a)" not in cut and "#" not in cut
