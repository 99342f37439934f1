"""Functions out of whole source files: code without documentation, and the documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codeft.syntax.doc_comments import comment_before
from codeft.syntax.docstrings import split_docstring, split_parsed_docstring
from codeft.syntax.file_tree import FileTree
from codeft.syntax.function_nodes import function_path, parameters, split_name, statement, with_surroundings
from codeft.syntax.languages import canonical_language
from codeft.syntax.line_ends import with_line_feeds
from codeft.syntax.prose import clean_docstring

_SCOPES = {
    *("class_definition", "class_declaration", "interface_declaration", "enum_declaration"),
    *("record_declaration", "struct_declaration", "trait_declaration", "class", "module"),
    *("class_specifier", "struct_specifier"),
}


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method found in a file.

    Attributes:
        name: Its own name.
        qualified_name: With the classes around it, such as `Stack.push`.
        start_line: Line on which its code begins in the file, from 1.
        end_line: Line on which it ends.
        code: Its text without documentation, with its layout, moved to column 0 (text inside strings of
            several lines moves too).
        docstring: Its documentation without quotes, comment marks and tags; "" for none.
        parameters: Names of its parameters; destructured ones have none.
    """

    name: str
    qualified_name: str
    start_line: int
    end_line: int
    code: str
    docstring: str
    parameters: tuple[str, ...]


def extract_functions(source: str, lang: str) -> list[Function]:
    r"""Return the functions of a file in their order.

    Functions inside functions belong to the code of the outer one and aren't listed. Declarations without a
    body aren't either, nor are anonymous functions, unless they, or calls that wrap them, are assigned to a
    name or exported. What the parser made out of an error is no function; those inside it are found.

    Args:
        source: A whole file or a snippet; it needn't parse. Lines may end with CR and CRLF, too.
        lang: Name or alias of the language.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> extract_functions('class A:\n    def f(self):\n        "Doc."\n        return 1\n', "py")[0]
        ... # doctest: +NORMALIZE_WHITESPACE
        Function(name='f', qualified_name='A.f', start_line=2, end_line=4,
                 code='def f(self):\n    return 1', docstring='Doc.', parameters=('self',))
    """
    tree = FileTree(with_line_feeds(source), canonical_language(lang))
    found: list[Function] = []
    comments: list[int] = []
    scopes: list[tuple[int, str]] = []  # (depth, name) of the classes around the current node
    index = 0
    while index < len(tree):
        kind, depth = tree.types[index], tree.depths[index]
        while scopes and scopes[-1][0] >= depth:
            scopes.pop()
        if "comment" in kind:
            comments.append(index)
        elif kind in _SCOPES and (name := tree.field(index, "name")) is not None:
            scopes.append((depth, ".".join(split_name(tree.text_of(name), tree.lang))))
        elif path := function_path(tree, index):
            found.append(_function(tree, index, [*(name for _, name in scopes), *path], comments))
            index = tree.end_of(index)
            continue
        index += 1
    return found


def _function(tree: FileTree, index: int, path: list[str], comments: list[int]) -> Function:
    whole = statement(tree, index)
    start, end = tree.start_with_macros(whole), tree.ends[whole]
    code = tree.source[start:end]
    if tree.lang == "python":
        last = tree.end_of(index)
        if tree.has_errors(index, last):  # alone it may parse better
            code, raw = split_docstring(_dedent(tree.source, start, code), "python")
        else:
            code, raw = split_parsed_docstring(code, tree.nodes.below(index, last), "python")
            code = _dedent(tree.source, start, code)
    else:
        code = _dedent(tree.source, start, code)
        raw = comment_before(tree, with_surroundings(tree, whole), comments)
    return Function(
        name=path[-1],
        qualified_name=".".join(path),
        start_line=tree.line_of(start),
        end_line=tree.line_of(end),
        code=code.rstrip(),
        docstring=clean_docstring(raw, tree.lang),
        parameters=tuple(parameters(tree, index)),
    )


def _dedent(source: str, start: int, code: str) -> str:
    """Return code moved to the left by the indentation of the line of the source that it begins on."""
    line_start = source.rfind("\n", 0, start) + 1
    indentation = re.compile(r"[ \t]*").match(source, line_start, start)
    assert indentation is not None
    first, *rest = code.split("\n")
    return "\n".join([first, *(line.removeprefix(indentation[0]) for line in rest)])
