"""Which word may have been meant, and which would be far-fetched."""

from __future__ import annotations

import pytest

from codeft.error_text import count_edits, nearest, nearest_word
from codeft.syntax import LANGUAGES, language_name
from codeft.types import CodeftError

OTHER_LANGUAGES = (
    *(
        "kotlin",
        "rust",
        "typescript",
        "sql",
        "scala",
        "swift",
        "perl",
        "lua",
        "dart",
        "julia",
        "r",
        "d",
        "f#",
    ),
    *("haskell", "erlang", "groovy", "css", "html", "tsx", "ts", "fsharp", "cython", "bash", "cobol"),
    *(
        "objective-c",
        "objc",
        "coffeescript",
        "actionscript",
        "vb",
        "ada",
        "zig",
        "nim",
        "cuda",
        "matlab",
        "vue",
    ),
    *("pascal", "fortran", "elixir", "clojure", "crystal", "ocaml", "solidity", "powershell", "vhdl", "csv"),
)


@pytest.mark.parametrize("name", OTHER_LANGUAGES)
def test_another_language_is_no_misspelt_one(name):
    aliases = [alias for language in LANGUAGES.values() for alias in (language.name, *language.aliases)]
    assert nearest_word(name, aliases) is None
    assert language_name(name.upper()) == name


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *(
            ("pyhton", "python"),
            ("phyton", "python"),
            ("pythn", "python"),
            ("rubby", "ruby"),
            ("jvaa", "java"),
        ),
        *(("javscript", "javascript"), ("java script", "javascript"), ("csahrp", "csharp"), ("golng", "go")),
        *(("ecma", "javascript"), ("phpp", "php"), ("jav", "java")),
    ],
)
def test_a_misspelt_language_is_answered_with_the_right_one(typed, meant):
    with pytest.raises(CodeftError, match=rf"got '{typed}'\. Did you mean '{meant}'\?"):
        language_name(typed)


def test_the_nearest_comes_first():
    known = ["code_search", "completion", "clone_detection", "clone_detection_poj104"]
    assert nearest_word("clone_detecton", known) == "clone_detection"
    assert nearest_word("poj104", known) == "clone_detection_poj104"
    assert nearest_word("", known) is None is nearest_word("x", ["x1", "xy"])
    assert nearest("adapter", ["lora", "dora", "ia3", "prefix", "sat", "telly"]) == "."


@pytest.mark.parametrize(
    ("word", "other", "edits"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("ab", "ba", 1),
        ("ca", "abc", 3),
        ("kitten", "sitting", 3),
    ],
)
def test_edits_by_hand(word, other, edits):
    assert count_edits(word, other) == edits == count_edits(other, word)
