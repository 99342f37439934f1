"""Which sub-trees are alike, compared with the parser's own S-expressions."""

from __future__ import annotations

import re

import pytest
import tree_sitter
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.syntax import LANGUAGES
from codeft.syntax.code_tree import SubtreeKeys, parse_code, subtree_ids
from codeft.syntax.comments import strip_java_comments, strip_python_comments
from codeft.syntax.languages import load_grammar
from syntax_snippets import SNIPPETS


def expressions(code: str, lang: str) -> list[str]:
    language = LANGUAGES[lang]
    grammar = tree_sitter.Language(load_grammar(language, language.file_function or language.function))
    found, waiting = [], [tree_sitter.Parser(grammar).parse(code.encode()).root_node]
    while waiting:
        node = waiting.pop()
        if node.children or node.parent is None:
            found.append(str(node))
        waiting += reversed(node.children)
    return found


@pytest.mark.parametrize("lang", LANGUAGES)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_alike_where_the_expressions_are(lang: str, data: st.DataObject) -> None:
    """Cut snippets, so that trees hold errors, missing tokens and unexpected text."""
    keys: SubtreeKeys = {}
    by_expression: dict[str, int] = {}
    for _ in range(2):
        code = SNIPPETS[lang]
        for _ in range(data.draw(st.integers(0, 2))):
            start = data.draw(st.integers(0, len(code)))
            code = (
                code[:start]
                + data.draw(st.sampled_from(["", "(", "}", "é", " if ", "\n"]))
                + code[start + 3 :]
            )
        ids = subtree_ids(parse_code(code, lang, as_file=True), keys)
        texts = expressions(code, lang)
        assert len(ids) == len(texts)
        for number, text in zip(reversed(ids), texts, strict=True):
            # Told by expressions alone: some missing tokens without a name (`source_file_token1`), and where
            # in unexpected text the parser gave up.
            if not re.search(r'\(MISSING "\w+_token\d+"\)|\(UNEXPECTED ', text):
                assert by_expression.setdefault(text, number) == number
    assert len(set(by_expression.values())) == len(by_expression)


def test_unexpected_characters_count() -> None:
    keys: SubtreeKeys = {}
    first, again, other = (
        subtree_ids(parse_code(code, "c", as_file=True), keys) for code in ("@", " @", "`")
    )
    assert first == again != other
    assert expressions("@", "c")[1] == "(ERROR (UNEXPECTED '@'))"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_without_comments(lang: str) -> None:
    tree = parse_code(SNIPPETS[lang], lang, comments=False)
    reached, waiting = set(), [0]
    while waiting:
        node = waiting.pop()
        reached.add(tree.types[node])
        waiting += tree.children[node]
    assert "comment" in " ".join(tree.types)
    assert "comment" not in " ".join(reached)


def test_docstrings_are_comments_in_python_alone() -> None:
    keys: SubtreeKeys = {}
    plain, documented, named = (
        sorted(subtree_ids(parse_code(code, "python", comments=False), keys))
        for code in ("def f():\n  g()", "def f():\n  'Doc.'\n  g()", "def f():\n  d = 'Doc.'\n  g()")
    )
    assert plain == documented != named
    assert len(parse_code("'x'", "ruby", comments=False).children[0]) == 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = '//' // y\nz", "x = '//'  \nz"),
        ("a /* b\nc */ d", "a   d"),
        ("/* open", "/* open"),
        ("it's // kept\n' // gone", "it's // kept\n'  "),
        ("'\\'//' // x", "'\\'//'  "),
    ],
)
def test_java_comments(source: str, expected: str) -> None:
    assert strip_java_comments(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'''Doc.'''\nx = 'a' # b\n", "x = 'a' "),
        ("def f():\n    '''Doc.'''\n    return 'a'\n", "def f():\n    return 'a'"),
        ("x = (1,\n'a')", "x = (1,\n)"),  # a string at a line's beginning is lost
        ("x = (", "x = ("),
    ],
)
def test_python_comments(source: str, expected: str) -> None:
    assert strip_python_comments(source) == expected
