import pytest

from codeft.syntax import LANGUAGES, canonical_language, language_of, parse
from codeft.types import CodeftError


def test_names_and_aliases():
    names = ("python", "java", "javascript", "go", "php", "ruby", "csharp", "c", "cpp")
    assert tuple(LANGUAGES) == names
    assert [canonical_language(name.upper()) for name in names] == list(names)
    aliases = ["py", "js", "node", "golang", "rb", "c#", "cs", "c_sharp", "c-sharp", "c++", " CPP "]
    expected = ["python", "javascript", "javascript", "go", "ruby", *["csharp"] * 4, "cpp", "cpp"]
    assert [canonical_language(alias) for alias in aliases] == expected


def test_no_alias_or_suffix_belongs_to_two():
    for field in ("aliases", "suffixes"):
        every = [value for spec in LANGUAGES.values() for value in getattr(spec, field)]
        assert len(every) == len(set(every))


def test_unknown_name_says_what_there_is():
    with pytest.raises(CodeftError, match=r"python, java, .*got 'pythn'.*Did you mean 'python'"):
        canonical_language("pythn")
    with pytest.raises(CodeftError, match="got 'cobol'"):
        parse("x", "cobol")


def test_suffixes():
    paths = {"a/b.py": "python", "A.JAVA": "java", "x.mjs": "javascript", "x.h": "c", "x.hpp": "cpp"}
    assert {path: language_of(path) for path in paths} == paths
    assert language_of("Makefile") is None
    assert language_of(".py") is None


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_grammar_loads(lang):
    assert len(parse("a", lang)) == 1
