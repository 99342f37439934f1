"""Functions inside calls that are assigned to a name or exported."""

from __future__ import annotations

import pytest

from codeft.syntax import extract_functions


@pytest.mark.parametrize(
    ("lang", "source", "expected"),
    [
        ("javascript", "/** Doc. */\nconst A = memo(({ a }) => {\n  return a;\n});", [("A", "Doc.")]),
        (
            "javascript",
            "/** Doc. */\nexport const A = React.memo(forwardRef(function B(p, ref) {\n}));",
            [("A", "Doc.")],
        ),
        (
            "javascript",
            "/** Doc. */\nexport default memo(function Row(p) {\n  return p;\n});",
            [("Row", "Doc.")],
        ),
        (
            "javascript",
            "/** Doc. */\nexport default defineComponent((p) => {\n  return p;\n});",
            [("default", "Doc.")],
        ),
        ("javascript", "/** Doc. */\nexport default function () {\n  return 1;\n}", [("default", "Doc.")]),
        ("javascript", "/** Doc. */\nexport default async (a) => {\n  return a;\n};", [("default", "Doc.")]),
        (
            "javascript",
            "/** Doc. */\nmodule.exports = debounce((a) => {\n  f(a);\n}, 100);",
            [("module.exports", "Doc.")],
        ),
        (
            "javascript",
            "/** Doc. */\nexports.f = wrap(async function (a) {\n  return a;\n});",
            [("exports.f", "Doc.")],
        ),
        (
            "javascript",
            "/** Doc. */\nconst D = styled(({ a }) => {\n  return a;\n})`color: red`;",
            [("D", "Doc.")],
        ),
        (
            "javascript",
            "class A {\n  /** Doc. */\n  f = throttle(() => {\n    g();\n  }, 10);\n}",
            [("A.f", "Doc.")],
        ),
        (
            "javascript",
            "const api = {\n  /** Doc. */\n  f: once(() => {\n    g();\n  }),\n};",
            [("f", "Doc.")],
        ),
        ("javascript", "const E = memo((a) => {\n  return a.long;\n}, (a, b) => a === b);", [("E", "")]),
        ("javascript", "const xs = items.map((a) => {\n  return a;\n});", []),
        ("javascript", "const t = setTimeout(() => {\n  f();\n}, 1);", []),
        ("javascript", "const x = useMemo(() => {\n  return 1;\n}, []);", []),
        ("javascript", "(function () {\n  /** Doc. */\n  function f() {}\n})();", [("f", "Doc.")]),
        ("javascript", "define(['a'], function (a) {\n  function f() {}\n  return f;\n});", [("f", "")]),
        (
            "go",
            "package a\n\n// F adds.\nvar F = wrap(func(a int) int {\n\treturn a\n})\n",
            [("F", "F adds.")],
        ),
        (
            "go",
            "package a\n\nvar (\n\t// G adds.\n\tG = func(a int) int {\n\t\treturn a\n\t}\n)\n",
            [("G", "G adds.")],
        ),
        ("php", "<?php\n/** Doc. */\n$f = memoize(function ($x) {\n  return $x;\n});\n", [("f", "Doc.")]),
        (
            "java",
            "class A {\n  /** Doc. */\n  F<A> f = wrap(x -> {\n    return x;\n  });\n}",
            [("A.f", "Doc.")],
        ),
        (
            "csharp",
            "class A {\n  /// Doc.\n  Func<int> F = Wrap((int x) => {\n    return x;\n  });\n}",
            [("A.F", "Doc.")],
        ),
        ("cpp", "// Adds.\nauto f = [](int a) {\n  return a;\n};", [("f", "Adds.")]),
        ("ruby", "# Doc.\nmemoize def f(a)\n  a\nend", [("f", "Doc.")]),
    ],
)
def test_functions_of_a_name(lang, source, expected):
    found = extract_functions(source, lang)
    assert [(each.qualified_name, each.docstring) for each in found] == expected


def test_the_code_of_a_wrapped_function_is_its_statement():
    source = "export const A = memo(({ a }) => {\n  return a;\n});"
    [found] = extract_functions(source, "javascript")
    assert found.code == source.removeprefix("export ")
