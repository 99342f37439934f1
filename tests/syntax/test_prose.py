import pytest

from codeft.syntax import docstring_tokens, first_paragraph
from codeft.syntax.prose import clean_docstring


@pytest.mark.parametrize(
    ("lang", "raw", "expected"),
    [
        ("python", '"""\n    Doc.\n\n      More.\n    """', "Doc.\n\n  More."),
        ("python", "Rb'Doc.'", "Doc."),
        ("python", '"""\\\nDoc."""', "Doc."),
        (
            "java",
            "/**\n  * See {@link A#b} <b>now</b>.\n  * <p>\n  * More.\n  * @return x\n  */",
            "See A#b now.\n\nMore.",
        ),
        ("java", "/** @return x */", ""),
        ("java", "/** a < b && List<String> stays */", "a < b && List<String> stays"),
        ("javascript", "/**\n * @description Adds.\n * @param {x} y\n */", "Adds."),
        ("php", "/**\n * Mail bob@example.org.\n * @param $x\n */", "Mail bob@example.org."),
        (
            "csharp",
            '/// <summary>\n/// Gets <see cref="X"/>.\n/// </summary>\n/// <returns>y</returns>',
            "Gets X.",
        ),
        ("go", "// F does.\n//\n// More.\n//go:noinline", "F does.\n\nMore."),
        ("ruby", "# F does.\n#   indented\n# rubocop:disable X", "F does.\n  indented"),
        ("ruby", "=begin\nDoc.\n=end", "Doc."),
        ("c", "/*\n * call-seq:\n *   f(a) -> b\n *   f -> c\n *\n * Doc.\n */", "Doc."),
        ("ruby", "# Doc.\n# --\n# hidden\n# ++\n# more", "Doc.\nmore"),
        ("c", "/* Doc\n * more. */", "Doc\nmore."),
        ("cpp", "/// \\brief Adds.\n/// \\param x y", "Adds."),
        ("cpp", "//! Adds.", "Adds."),
        ("c", "", ""),
    ],
)
def test_marks_and_tags_go(lang, raw, expected):
    assert clean_docstring(raw, lang) == expected


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("", ""),
        ("\n\n  One\n  two.\n\nThree.", "One two."),
        ("One.\n:param x: y", "One."),
        ("One.\n@param x y", "One."),
        ("One::\n  two", "One:: two"),
    ],
)
def test_first_paragraph(docstring, expected):
    assert first_paragraph(docstring) == expected


def test_tokens():
    assert docstring_tokens("Größe_1 (m²)!") == ["Größe_1", "(", "m²", ")", "!"]
    assert docstring_tokens("") == []
