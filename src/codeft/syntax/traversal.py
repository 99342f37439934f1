"""A tree's structure as a sequence: the types of its nodes in pre-order, without any of the code's words."""

from __future__ import annotations

from codeft.syntax.tree import parse_nodes


def traversal(source: str, lang: str) -> list[str]:
    """Return the types of a tree's nodes in pre-order; never raises on any text.

    Only named nodes count: what the grammar gives by its text alone (`+`, `while`, brackets) are words of the
    code. Comments, and the parser's own root, aren't there either; nor is the class that a method was parsed
    in.

    Source: the syntactic probe of Telly (arXiv 2304.05216), section 3.

    Args:
        source: A file or a snippet, with its layout.
        lang: Name or alias of the language.

    Returns:
        Such as `identifier`; nothing where the source holds no code.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> traversal("x = f(1)  # one", "python")
        ['expression_statement', 'assignment', 'identifier', 'call', 'identifier', 'argument_list', 'integer']
        >>> traversal("x = f(1)", "python") == traversal("other = g(23)", "python")
        True
    """
    nodes = parse_nodes(source, lang)
    named = nodes.named.tolist()
    # Of a wrapping class, the word and the name were taken off with the wrapper: its body comes first.
    wrapped = nodes.types[1:2] == ("class_declaration",) and nodes.fields[2:3] == ("body",)
    return [
        kind
        for index, kind in enumerate(nodes.types)
        if index >= (3 if wrapped else 1) and named[index] and "comment" not in kind
    ]
