"""The nine languages: names, file suffixes, grammars. One table, read by everything else.

A grammar is a wheel of its own and is imported when its language is first parsed.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import PurePath

from codeft.error_text import nearest_word
from codeft.types import CodeftError

_IN_A_CLASS = ("class X {\n", "\n}")


@dataclass(frozen=True, slots=True)
class Language:
    """How one programming language is named, recognised and parsed.

    Attributes:
        name: The canonical name.
        aliases: Other names that people and data sets use, in lower case.
        suffixes: File name endings, with the dot, in lower case.
        module: Python module of the tree-sitter grammar.
        function: The module's function that returns the grammar for code as it stands.
        file_function: The one for files that mix code with other text (PHP in HTML); "" where there is none.
        wrappers: Text put before and after a snippet that doesn't parse alone, in the order of trial.
            The text before ends, and the text after begins, with a line feed.
    """

    name: str
    aliases: tuple[str, ...]
    suffixes: tuple[str, ...]
    module: str
    function: str = "language"
    file_function: str = ""
    wrappers: tuple[tuple[str, str], ...] = ()


LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        Language("python", ("py", "python3", "python2"), (".py", ".pyi", ".pyw"), "tree_sitter_python"),
        Language("java", (), (".java",), "tree_sitter_java", wrappers=(_IN_A_CLASS,)),
        Language(
            "javascript",
            ("js", "node", "nodejs", "jsx", "ecmascript"),
            (".js", ".mjs", ".cjs", ".jsx"),
            "tree_sitter_javascript",
            wrappers=(_IN_A_CLASS,),
        ),
        Language("go", ("golang",), (".go",), "tree_sitter_go"),
        Language(
            "php",
            (),
            (".php", ".phtml"),
            "tree_sitter_php",
            function="language_php_only",
            file_function="language_php",
            wrappers=(_IN_A_CLASS,),
        ),
        Language("ruby", ("rb",), (".rb", ".rake", ".gemspec"), "tree_sitter_ruby"),
        Language(
            "csharp",
            ("c#", "cs", "c_sharp", "c-sharp", "c sharp"),
            (".cs",),
            "tree_sitter_c_sharp",
            wrappers=(_IN_A_CLASS,),
        ),
        Language("c", (), (".c", ".h"), "tree_sitter_c"),
        Language(
            "cpp",
            ("c++", "cplusplus", "cxx", "cc"),
            (".cc", ".cpp", ".cxx", ".c++", ".hpp", ".hh", ".hxx"),
            "tree_sitter_cpp",
        ),
    )
}
"""The languages by canonical name."""

_BY_ALIAS = {alias: name for name, spec in LANGUAGES.items() for alias in (name, *spec.aliases)}
_BY_SUFFIX = {suffix: name for name, spec in LANGUAGES.items() for suffix in spec.suffixes}


def canonical_language(name: str) -> str:
    """Return the canonical name of a language.

    Args:
        name: A name or an alias, in any case.

    Returns:
        A key of `LANGUAGES`.

    Raises:
        CodeftError: No language with a grammar has that name; the message lists what there is and, where it
            may be a slip, the nearest name.

    Examples:
        >>> canonical_language("C#"), canonical_language("Golang"), canonical_language("py")
        ('csharp', 'go', 'python')
    """
    found = language_name(name)
    if found not in LANGUAGES:
        raise CodeftError(f"{_expected(name)}, which codeft has no grammar for")
    return found


def language_name(name: str) -> str:
    """Return the name of a language, whether or not codeft has a grammar for it.

    Args:
        name: A name or an alias, in any case.

    Returns:
        A key of `LANGUAGES`; the name in lower case where there is no grammar.

    Raises:
        CodeftError: The name is empty, or seems to be a misspelt one out of `LANGUAGES`.

    Examples:
        >>> language_name("C#"), language_name("Kotlin")
        ('csharp', 'kotlin')
    """
    key = name.strip().lower()
    if key in _BY_ALIAS:
        return _BY_ALIAS[key]
    nearest = nearest_word(key, _BY_ALIAS)
    if nearest is not None:
        raise CodeftError(f"{_expected(name)}. Did you mean {_BY_ALIAS[nearest]!r}?")
    if not key:
        raise CodeftError(_expected(name))
    return key


def _expected(name: str) -> str:
    return f"Expected a language out of {', '.join(LANGUAGES)}; got {name!r}"


def language_of(path: str | PurePath) -> str | None:
    """Return the language of a file by its name's ending; None for any other file.

    Args:
        path: Path of the file; it isn't opened.

    Examples:
        >>> language_of("src/App.JSX"), language_of("include/list.h"), language_of("README.md")
        ('javascript', 'c', None)
    """
    return _BY_SUFFIX.get(PurePath(path).suffix.lower())


def load_grammar(language: Language, function: str) -> object:
    """Import a grammar's wheel and return the grammar, as `tree_sitter.Language` takes it.

    Args:
        language: An entry of `LANGUAGES`.
        function: Its `function` or `file_function`.

    Raises:
        CodeftError: The wheel isn't installed.
    """
    try:
        module = importlib.import_module(language.module)
    except ImportError as error:
        wheel = language.module.replace("_", "-")
        raise CodeftError(f"The {language.name} grammar isn't installed: pip install {wheel}") from error
    grammar: object = getattr(module, function)()
    return grammar


def grammar_version(lang: str) -> str:
    """Return the wheels that trees of a language depend on, with their versions.

    Args:
        lang: Canonical name of the language.

    Returns:
        Such as `tree-sitter-java-0.23.5+tree-sitter-0.26.1`.
    """
    wheels = (LANGUAGES[lang].module.replace("_", "-"), "tree-sitter")
    return "+".join(f"{wheel}-{_version(wheel)}" for wheel in wheels)


def _version(wheel: str) -> str:
    try:
        return metadata.version(wheel)
    except metadata.PackageNotFoundError:  # on the path, not installed
        return "unknown"
