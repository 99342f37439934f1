"""What each leaf is, and a tree's structure as a sequence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.syntax import LANGUAGES, parse
from codeft.syntax.token_types import TOKEN_TYPES, token_types
from codeft.syntax.traversal import traversal
from syntax_snippets import SNIPPETS

CODE = {
    "python": "for x in f'a{b!r}': y **= 1.5 if None else @c",
    "java": "void f(String s) { this.x = s == null ? 'c' : \"a\\n\" + 1L; }",
    "javascript": "const f = async (x) => { x.y ||= /a+/g.test(`b${c}d`) ? 1n : undefined }",
    "go": "func (s *T) F(a int) { b := `raw` + \"x\" + 'r'; return 0x1F }",
    "php": "function f(float $a) { return $this->b . 'x' . \"y{$z}\" ?? 1.5; }",
    "ruby": 'def f(a, b: 1)\n  @c = :d if a =~ /x/\n  %w[e g] + "h#{i}"\nend',
    "csharp": 'int F(string a) => a is null ? 1 : $"x{b}y".Length;',
    "c": "#include <stdio.h>\nint f(char *s) { return s->x == NULL ? 'c' : \"a\" + 0xF; }",
    "cpp": "template <class T> auto f(T &&x) { return std::move(this->y) + 1.5f; }",
}

EXPECTED = {  # by first letter; 0 is a number
    "python": "KNKSSDNODSD",
    "java": "KNDNNDDKDNONO",
    "javascript": "KNOKDNDODNDN",
    "go": "KDNONDNDNNDDN",
    "php": "KNDKNNDDKNNONO",
    "ruby": "KNDNDND0DNOSK",
    "csharp": "KNDKNDONKKO0",
    "c": "KSKNDKONDDKNO",
    "cpp": "KOKNOKNDNOND",
}
_LETTERS = {name: "0" if name == "number" else name[0].upper() for name in TOKEN_TYPES}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_of_a_line(lang: str) -> None:
    """Zero-width leaves, such as the end of a block, have no type."""
    tree = parse(CODE[lang], lang)
    found = [
        kind
        for kind, start, end in zip(token_types(CODE[lang], lang), tree.starts, tree.ends, strict=True)
        if start < end
    ]
    letters = "".join(_LETTERS[kind] for kind in found if kind)
    assert letters.startswith(EXPECTED[lang])
    assert {"keyword", "name", "operator", "delimiter"} <= set(found)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_inside_strings(lang: str) -> None:
    """Quotes, text and escapes are one type, code in a string's holes isn't."""
    code = {"python": "f'a\\n{b}'", "ruby": '"a\\n#{b}"', "javascript": "`a\\n${b}`", "csharp": '$"a\\n{b}"'}
    text = code.get(lang, '"a\\n"')
    if lang == "php":
        text = '"a\\n{$b}"'
    source = {"java": f"int f() {{ return {text}; }}", "csharp": f"int F() => {text};"}.get(lang, text)
    source = {"go": f"func f() {{ return {text} }}", "php": f"return {text};"}.get(lang, source)
    source = source + ";" if lang in ("c", "cpp") else source
    tree = parse(source, lang)
    start = source.index(text)
    inside = {
        source[begin:end]: kind
        for kind, begin, end in zip(token_types(source, lang), tree.starts, tree.ends, strict=True)
        if start <= begin < end <= start + len(text)
    }
    assert inside.pop("b", "name") == "name"
    assert inside.pop("$", "") in {"php": ["name"], "csharp": ["string"]}.get(lang, [""])
    for brace in ("{", "}", "${", "#{"):
        assert inside.pop(brace, "delimiter") == "delimiter"
    assert set(inside.values()) == {"string"}
    assert "\\n" in inside


@pytest.mark.parametrize("lang", LANGUAGES)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_text(lang: str, data: st.DataObject) -> None:
    code = SNIPPETS[lang]
    cut = data.draw(st.integers(0, len(code)))
    source = code[:cut] + data.draw(st.text(max_size=40)) + code[cut + 3 :]
    types = token_types(source, lang)
    assert len(types) == len(parse(source, lang))
    assert set(types) <= {*TOKEN_TYPES, None}
    words = traversal(source, lang)
    assert all(word and "comment" not in word and " " not in word for word in words)


@pytest.mark.parametrize(
    ("lang", "first", "second"),
    [
        ("python", "def f(a):\n    # one\n    return a + 1\n", "def g(b):\n    return b * 23\n"),
        ("java", "int f(int a) { return a + 1; }", "void g(int b) { /* c */ return b - 2; }"),
        ("php", "public function f($a) { return $a; }", "public function other($bb) { return $cc; }"),
        ("csharp", "int F() { return 1; }", "int G() { return 2; }"),
    ],
)
def test_a_traversal_holds_structure_alone(lang: str, first: str, second: str) -> None:
    found = traversal(first, lang)
    assert [word.replace("void_type", "integral_type") for word in traversal(second, lang)] == found
    assert not {"class_declaration", "class_body", "declaration_list"} & set(found)


def test_a_class_of_ones_own_stays() -> None:
    assert traversal("class A { int f() { return 1; } }", "java")[:3] == [
        "class_declaration",
        "identifier",
        "class_body",
    ]
    assert traversal("", "python") == traversal("# one", "ruby") == []
