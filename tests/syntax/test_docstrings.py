import json
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.syntax import LANGUAGES, find_docstring, parse, remove_docstring

PYTHON = {
    'def f():\n    """Doc."""\n    return 1': "def f():\n    return 1",
    'def f():\n    r"""Doc \'\'\' "x"\n\n    é."""\n\n\n    return 1': "def f():\n    return 1",
    "def f():\n    b'Doc.'  # noqa\n    return 1": "def f():\n    return 1",
    "def f(self):\n        'Doc'\n        return 1": "def f(self):\n        return 1",
    "    def f(self):\n        'Doc'\n        return 1": "    def f(self):\n        return 1",
    "def f():\r\n\t'Doc'\r\n\treturn 1\r\n": "def f():\r\n\treturn 1\r\n",
    "def f():\n    'Doc'": "def f():\n    pass",
    "def f():\n    'Doc'\n    # nothing yet\n": "def f():\n    pass\n    # nothing yet\n",
    "def f(): 'Doc'": "def f(): pass",
    "def f(): 'Doc'; return 1": "def f(): return 1",
    "def f():\n    'Doc'; return 1": "def f():\n    return 1",
    "def f():\n    'Doc' \\\n    ' more'\n    return 1": "def f():\n    return 1",
    "async def f(a=lambda x: 'no', *, b: 'T' = ':') -> 'U':  # c\n    'Doc'\n    await a": (
        "async def f(a=lambda x: 'no', *, b: 'T' = ':') -> 'U':  # c\n    await a"
    ),
    "@d\ndef f():\n    # first\n    'Doc'\n    return 1": "@d\ndef f():\n    # first\n    return 1",
    "def f():\n    'Doc'\n    def g():\n        'inner'\n": "def f():\n    def g():\n        'inner'\n",
    "def f(x):\n    'Doc'\n    print x\n    raise E, 'y'": "def f(x):\n    print x\n    raise E, 'y'",
    "def f(:\n    'Doc'\n    return (": "def f(:\n    return (",
}
UNCHANGED = [
    "def f():\n    return 'no'",
    "def f():\n    'no'.format()\n",
    "def f():\n    x = 1\n    'no'\n",
    "def f():\n    ['no']\n",
    "x = 'no'",
    "",
    "def f():\n    '''unterminated\n    x",
]
COMMENTS = [
    ("java", "/** Doc. */\n@A\nint f() { return 1; } // x", "@A\nint f() { return 1; } // x"),
    ("csharp", "/// <summary>Doc</summary>\n/// more\nint F() => 1;", "int F() => 1;"),
    ("javascript", "  /**\n   * Doc\n   */\n  function f() {}", "  function f() {}"),
    ("php", "<?php\n/** Doc */\nfunction f() {}", "<?php\nfunction f() {}"),
    ("php", "/** Doc */\npublic function f() {}", "public function f() {}"),
    ("go", "// F does.\n// More.\nfunc F() {}", "func F() {}"),
    ("ruby", "# Doc\n# more\ndef f # kept\nend", "def f # kept\nend"),
    ("c", "/* Doc */ int f(void) { return 0; }", "int f(void) { return 0; }"),
    ("cpp", "//! Doc\nint f() { return 0; }", "int f() { return 0; }"),
    ("go", "// only", "// only"),
]


@pytest.mark.parametrize("source", PYTHON)
def test_python(source):
    result = remove_docstring(source, "python")
    assert result == PYTHON[source]
    assert parse(result, "python").has_errors == parse(source, "python").has_errors
    start, end = find_docstring(source, "py")
    assert source[start:end].strip("rb")[0] in "'\""


@pytest.mark.parametrize("source", UNCHANGED)
def test_nothing_to_remove(source):
    assert find_docstring(source, "python") is None
    assert remove_docstring(source, "python") == source


@pytest.mark.parametrize(("lang", "source", "expected"), COMMENTS)
def test_comments_before_a_function(lang, source, expected):
    assert remove_docstring(source, lang) == expected


@settings(deadline=None, max_examples=200)
@given(
    source=st.lists(
        st.sampled_from(
            ["def f", "(", ")", ":", "\n", "    ", "'''", '"', "'", "x", ";", "#", "/*", "*/", "é", "\r"]
        ),
        max_size=25,
    ).map("".join),
    lang=st.sampled_from(list(LANGUAGES)),
)
def test_never_raises(source, lang):
    result = remove_docstring(source, lang)
    assert (find_docstring(source, lang) is None) == (result == source)


def words(text):
    return " ".join(text.split())


def squeezed(code):
    return "".join(code.replace("\\\n", "").split())


def test_published_rows_lose_their_answer(shared_data):
    folder = shared_data / "summarization/csn_python_small"
    lines = [(folder / name).read_text().splitlines() for name in ("valid.jsonl", "test.jsonl")]
    rows = [json.loads(line) for line in chain(*lines)]
    assert len(rows) == 250
    for row in rows:
        assert words(row["docstring"]) in words(row["code"])
        rest = remove_docstring(row["code"], "python")
        assert words(row["docstring"]) not in words(rest)
        assert parse(rest, "python").has_errors <= parse(row["code"], "python").has_errors
        if "#" not in rest:  # the published tokens hold neither comments nor continued lines' marks
            assert squeezed("".join(row["code_tokens"])) == squeezed(rest)
