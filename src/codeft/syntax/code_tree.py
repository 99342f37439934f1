"""A syntax tree with its children at hand, and which of its sub-trees are alike."""

from __future__ import annotations

from dataclasses import dataclass

from codeft.syntax.nodes import HOLLOW, MISSING, UNEXPECTED, NodeTable
from codeft.syntax.tree import parse_nodes

_FAULTS = {MISSING: "MISSING", HOLLOW: "HOLLOW", UNEXPECTED: "UNEXPECTED"}

_WHOLE = frozenset({"string_literal", "string", "character_literal"})
"""Types that are one token whatever is inside them."""

SubtreeKeys = dict[tuple[str, bool, tuple[tuple[str, int], ...]], int]
"""The id of each S-expression seen, by label, whether it stands for a whole node, and parts (field, id)."""


@dataclass(frozen=True, slots=True)
class CodeTree:
    """All nodes of a tree in pre-order, the root first, as lists.

    Attributes:
        source: The text that was parsed.
        types: The type of each node, such as `identifier`.
        fields: The field that each node fills in its parent; "" for none.
        labels: What stands for each node in an S-expression; "" where nothing does (`(`, keywords).
        starts: Where each node begins in the source, in characters.
        ends: Where each node ends, exclusive.
        children: The children of each node, in order.
        tokens: The nodes that are one token each, in the text's order; a string is one.
        in_token: Whether each node lies inside a token.
        is_plain: Whether the grammar for files read all of it without an error, and nothing was taken out.
    """

    source: str
    types: tuple[str, ...]
    fields: tuple[str, ...]
    labels: list[str]
    starts: list[int]
    ends: list[int]
    children: list[list[int]]
    tokens: list[int]
    in_token: list[bool]
    is_plain: bool

    def __len__(self) -> int:
        return len(self.types)


def parse_code(source: str, lang: str, *, as_file: bool = False, comments: bool = True) -> CodeTree:
    """Parse source text into a tree; never raises on any text.

    Args:
        source: A file or a snippet.
        lang: Canonical name of the language.
        as_file: Parse by the grammar for files alone, whatever errors that gives.
        comments: Whether comments, and in Python statements that are a string alone, stay in the tree.

    Returns:
        The tree. Nodes that were taken out belong to no node's children.
    """
    nodes = parse_nodes(source, lang, as_file=as_file)
    children: list[list[int]] = [[] for _ in range(len(nodes))]
    for child, parent in enumerate(nodes.parents.tolist()[1:], start=1):
        children[parent].append(child)
    kept = children if comments else _without_comments(nodes.types, children, lang)
    tokens, in_token = _tokens(nodes.types, kept)
    return CodeTree(
        source=source,
        types=nodes.types,
        fields=nodes.fields,
        labels=_labels(source, nodes),
        starts=nodes.starts.tolist(),
        ends=nodes.ends.tolist(),
        children=kept,
        tokens=tokens,
        in_token=in_token,
        is_plain=nodes.as_file and not nodes.num_errors and kept is children,
    )


def _without_comments(types: tuple[str, ...], children: list[list[int]], lang: str) -> list[list[int]]:
    kinds = set(types)
    if not any("comment" in kind for kind in kinds) and not (lang == "python" and "string" in kinds):
        return children
    kept: list[list[int]] = [[] for _ in types]
    waiting = [0]
    while waiting:
        node = waiting.pop()
        for child in children[node]:
            inner = children[child]
            is_docstring = (
                lang == "python"
                and types[child] == "expression_statement"
                and [types[grandchild] for grandchild in inner] == ["string"]
            )
            if "comment" not in types[child] and not is_docstring:
                kept[node].append(child)
        waiting += kept[node]
    return kept


def _tokens(types: tuple[str, ...], children: list[list[int]]) -> tuple[list[int], list[bool]]:
    """Return `CodeTree.tokens` and `CodeTree.in_token`; comments are no tokens."""
    tokens: list[int] = []
    in_token = [False] * len(types)
    waiting = [0]
    while waiting:
        node = waiting.pop()
        inner, kind = children[node], types[node]
        is_token = (not inner or kind in _WHOLE) and kind != "comment" and not in_token[node]
        if is_token:
            tokens.append(node)
        if inner:
            if is_token or in_token[node]:
                for child in inner:
                    in_token[child] = True
            waiting += inner[::-1]
    return tokens, in_token


def _labels(source: str, nodes: NodeTable) -> list[str]:
    labels = [
        kind if is_named else "" for kind, is_named in zip(nodes.types, nodes.named.tolist(), strict=True)
    ]
    for node in nodes.faults.nonzero()[0].tolist():
        fault = nodes.faults[node]
        said = source[nodes.starts[node]] if fault == UNEXPECTED else nodes.types[node]
        labels[node] = f"{_FAULTS[fault]} {said}"
    return labels


def subtree_ids(tree: CodeTree, keys: SubtreeKeys) -> list[int]:
    """Number the root's and every node with children's sub-tree so that like ones get the same number.

    Two sub-trees are alike where their S-expressions are the same text: types and fields of all named nodes,
    without the words of identifiers and literals. The texts themselves would take quadratic time.

    Args:
        tree: A tree.
        keys: The numbers given so far; grows. Numbers are comparable under the same `keys`.

    Returns:
        One number a sub-tree, in no order.

    Examples:
        >>> keys: SubtreeKeys = {}
        >>> first, second = (subtree_ids(parse_code(code, "python"), keys) for code in ("a + 1", "b - 2"))
        >>> first == second, len(first)  # module, expression_statement, binary_operator
        (True, 3)
    """
    found: list[int] = []
    parts: list[tuple[tuple[str, int], ...]] = [()] * len(tree)
    for node in range(len(tree) - 1, -1, -1):  # children come after their parents
        label, children = tree.labels[node], tree.children[node]
        inside: list[tuple[str, int]] = []
        for child in children:
            # A node that has no label shows its children in its place, under its own field.
            named = tree.labels[child]
            inside += parts[child] if named else [(f or tree.fields[child], key) for f, key in parts[child]]
        if not label and not children and node:
            continue
        expression = (label or tree.types[node], bool(label), tuple(inside))
        key = keys.setdefault(expression, len(keys))
        parts[node] = ((tree.fields[node], key),) if label else expression[2]
        if children or not node:
            found.append(key)
    return found
