"""Source text to syntax trees as flat arrays. The only importer of `tree_sitter`.

tree-sitter counts UTF-8 bytes, tokenizers count characters: here, and only here, bytes become characters.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tree_sitter

from codeft.syntax.languages import LANGUAGES, canonical_language, load_grammar
from codeft.syntax.nodes import HOLLOW, MISSING, UNEXPECTED, NodeTable

_ERROR_KIND = 0xFFFF
_UNENCODABLE = re.compile("[\0\ud800-\udfff]")
_WHITE = np.array([chr(code).isspace() for code in range(0x3002)])
"""Whether a character is white space; none is beyond U+3000."""


@dataclass(frozen=True, slots=True)
class SyntaxTree:
    """The leaves of a syntax tree, in pre-order, and the tree's shape above them in O(n) numbers.

    A leaf is a node without children (keywords, punctuation and zero-width tokens too) whose type doesn't
    contain `comment`. The root alone is none.

    Attributes:
        lang: Canonical name of the language.
        starts: int32 [n], where each leaf begins in the source, in characters.
        ends: int32 [n], where each leaf ends, exclusive.
        types: The type of each leaf, such as `identifier` or `(`.
        depths: int32 [n], edges between the root and each leaf. The class that a snippet was wrapped in
            counts too; distances between leaves don't see it.
        lca_depths: int32 [max(n - 1, 0)], depth of the lowest common ancestor of leaves j and j + 1.
        owners: int32, one a character of the source: the leaf that it belongs to, -1 for none. White space
            outside leaves and comments have none; other characters that no leaf covers (a string's text
            beside an escape) belong to the first leaf of the smallest node around them.
        has_errors: Whether the parser met text that it couldn't place.
    """

    lang: str
    starts: np.ndarray
    ends: np.ndarray
    types: tuple[str, ...]
    depths: np.ndarray
    lca_depths: np.ndarray
    owners: np.ndarray
    has_errors: bool

    def __len__(self) -> int:
        return len(self.types)


def parse(source: str, lang: str) -> SyntaxTree:
    """Parse source text; never raises on any text.

    Source:
        SAT (arXiv 2404.07471), section 3.1. Snippets that don't parse alone (methods of Java, C#, PHP) are
        parsed inside a class, and the wrapper is taken off again.

    Args:
        source: A file or a snippet, with its layout.
        lang: Name or alias of the language.

    Returns:
        The tree; without leaves where the source holds none.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> tree = parse("x = 1  # one", "python")
        >>> tree.types, tree.starts.tolist(), tree.ends.tolist()
        (('identifier', '=', 'integer'), [0, 2, 4], [1, 3, 5])
        >>> tree.depths.tolist(), tree.lca_depths.tolist()
        ([3, 3, 3], [2, 2])
    """
    name = canonical_language(lang)
    nodes = parse_nodes(source, name)
    leaves = leaf_nodes(nodes)
    if len(leaves) > 1:
        # The lowest node passed between two leaves is a child of their lowest common ancestor.
        lowest = np.minimum.reduceat(nodes.depths[: leaves[-1] + 1], leaves[:-1] + 1)
        lca_depths = lowest - 1
    else:
        lca_depths = np.zeros(0, dtype=np.int32)
    return SyntaxTree(
        lang=name,
        starts=nodes.starts[leaves],
        ends=nodes.ends[leaves],
        types=tuple(nodes.types[leaf] for leaf in leaves),
        depths=nodes.depths[leaves],
        lca_depths=lca_depths,
        owners=_character_owners(source, nodes, leaves),
        has_errors=nodes.num_errors > 0,
    )


def leaf_nodes(nodes: NodeTable) -> np.ndarray:
    """Return the nodes that are a tree's leaves, int64 [n], in pre-order; see `SyntaxTree`."""
    is_comment = np.array(["comment" in kind for kind in nodes.types])
    is_leaf = nodes.childless & ~is_comment
    is_leaf[0] = False
    return np.flatnonzero(is_leaf)


@dataclass(frozen=True, slots=True)
class PlainLeaves:
    """A tree's leaves as lists; see `SyntaxTree` for each.

    Attributes:
        starts: In characters, as are `ends`.
        ends: Exclusive.
        depths: Edges below the root.
        lca_depths: Of neighbours' lowest common ancestors.
    """

    starts: list[int]
    ends: list[int]
    depths: list[int]
    lca_depths: list[int]


def walk_leaves(source: str, lang: str) -> PlainLeaves | None:
    """Parse source text and return its leaves, or None where only `parse` gets everything right.

    Args:
        source: A file or a snippet, with its layout.
        lang: Name or alias of the language.

    Returns:
        The leaves; None where the source isn't ASCII, doesn't parse without errors, or has ink that neither a
        leaf nor a comment covers.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> leaves = walk_leaves("x = 1  # one", "python")
        >>> leaves.starts, leaves.ends, leaves.depths, leaves.lca_depths
        ([0, 2, 4], [1, 3, 5], [3, 3, 3], [2, 2])
    """
    name = canonical_language(lang)
    if not source.isascii() or "\0" in source:
        return None
    for function, prefix, suffix in _attempts(source, name):
        parser, kinds, _, _ = _parser(name, function)
        tree = parser.parse((prefix + source + suffix).encode())
        if not tree.root_node.has_error:
            return _leaves_of(tree, source, shift=len(prefix), kinds=kinds)
    return None


def _leaves_of(
    tree: tree_sitter.Tree, source: str, *, shift: int, kinds: tuple[str, ...]
) -> PlainLeaves | None:
    cursor = tree.walk()
    down, along, up = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    starts: list[int] = []
    ends: list[int] = []
    depths: list[int] = []
    lca_depths: list[int] = []
    depth = lowest = covered = 0
    while True:
        if down():
            depth += 1
            continue
        node = cursor.node
        assert node is not None
        start, end = node.start_byte - shift, node.end_byte - shift
        if end >= 0 and start <= len(source):  # not the wrapper's
            start, end = max(start, 0), min(end, len(source))
            if start > covered and not source[covered:start].isspace():
                return None
            covered = max(covered, end)
            if depth and "comment" not in kinds[node.kind_id]:
                if depths:
                    # The lowest node passed between two leaves is a child of their lowest common ancestor.
                    lca_depths.append(lowest - 1)
                lowest = depth + 1
                starts.append(start)
                ends.append(end)
                depths.append(depth)
        while not along():
            if not up():
                rest = source[covered:]
                return None if rest.strip() else PlainLeaves(starts, ends, depths, lca_depths)
            depth -= 1
        lowest = min(lowest, depth)


def parse_nodes(
    source: str, lang: str, *, as_file: bool = False, closed: frozenset[str] = frozenset()
) -> NodeTable:
    """Parse source text into the table of all its nodes; never raises on any text.

    Args:
        source: A file or a snippet, with its layout.
        lang: Name or alias of the language.
        as_file: Parse once, alone, by the grammar for files: what isn't one gives errors.
        closed: Types of nodes whose body is left out of the table, but for the statements right in it, where
            it holds no error. Most of a file lies in there.

    Returns:
        The table of the parse with the fewest errors: alone, or inside one of the language's wrappers, which
        is taken off (its tokens dropped, its inner nodes cut to the source's span).

    Raises:
        CodeftError: The language is unknown.
    """
    # One for one, so that offsets stay right: lone surrogates have no UTF-8, and NUL ends some scanners.
    source = _UNENCODABLE.sub("\ufffd", source)
    name = canonical_language(lang)
    best = (_file_function(name), "", "")
    fewest: float = float("inf")
    for attempt in () if as_file else _attempts(source, name):
        num_errors = _num_errors(source, name, *attempt)
        if num_errors < fewest:
            best, fewest = attempt, num_errors
        if not fewest:
            break
    function, prefix, suffix = best
    return _table(source, function=function, lang=name, prefix=prefix, suffix=suffix, closed=closed)


def count_errors(source: str, lang: str) -> int:
    """Return how many errors and missing tokens the parser finds in a file, without a table of its nodes.

    Args:
        source: A whole file.
        lang: Name or alias of the language.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> count_errors("int f() { return 1; }", "c"), count_errors("int f( { return 1; }", "c")
        (0, 1)
    """
    name = canonical_language(lang)
    return _num_errors(_UNENCODABLE.sub("\ufffd", source), name, _file_function(name), "", "")


def _num_errors(source: str, lang: str, function: str, prefix: str, suffix: str) -> int:
    cursor = _parse(source, lang, function, prefix, suffix)[0].walk()
    down, along, up = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    num_errors = 0
    while True:
        node = cursor.node
        assert node is not None
        num_errors += node.kind_id == _ERROR_KIND or node.is_missing
        if node.has_error and down():
            continue
        while not along():
            if not up():
                return num_errors


@functools.lru_cache(maxsize=4)  # what is counted first is then read
def _parse(source: str, lang: str, function: str, prefix: str, suffix: str) -> tuple[tree_sitter.Tree, bytes]:
    data = (prefix + source + suffix).encode()
    return _parser(lang, function)[0].parse(data), data


def _file_function(lang: str) -> str:
    return LANGUAGES[lang].file_function or LANGUAGES[lang].function


def _attempts(source: str, lang: str) -> Iterator[tuple[str, str, str]]:
    """Yield grammar function, prefix and suffix of each way to parse the source, the likeliest first."""
    language = LANGUAGES[lang]
    file_attempt = (language.file_function, "", "")
    has_tag = bool(language.file_function) and "<?" in source
    tag_first = has_tag and source.lstrip("\ufeff \t\r\n").startswith(("<", "#!"))
    if tag_first:
        yield file_attempt
    yield language.function, "", ""
    for prefix, suffix in language.wrappers:
        yield language.function, prefix, suffix
    if has_tag and not tag_first:
        yield file_attempt


@functools.cache
def _parser(
    lang: str, function: str
) -> tuple[tree_sitter.Parser, tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Return the parser of a grammar, its node kinds' and fields' names, and which kinds are named."""
    grammar = tree_sitter.Language(load_grammar(LANGUAGES[lang], function))
    kinds = tuple(grammar.node_kind_for_id(kind) or "" for kind in range(grammar.node_kind_count))
    fields = tuple(grammar.field_name_for_id(field) or "" for field in range(grammar.field_count + 1))
    named = np.array([grammar.node_kind_is_named(kind) for kind in range(grammar.node_kind_count)])
    return tree_sitter.Parser(grammar), kinds, fields, named


@functools.lru_cache(maxsize=4)  # who wants a text read as a file often wants it read as a snippet, too
def _table(
    source: str,
    *,
    function: str,
    lang: str,
    prefix: str,
    suffix: str,
    closed: frozenset[str] = frozenset(),
) -> NodeTable:
    _, kind_names, field_names, kind_is_named = _parser(lang, function)
    tree, data = _parse(source, lang, function, prefix, suffix)
    ids = frozenset(kind for kind, name in enumerate(kind_names) if name in closed)
    kinds, starts, ends, depths, parents, fields, faults = _walk(tree, closed=ids).T
    is_error = kinds == _ERROR_KIND
    num_errors = int(is_error.sum() + (faults == MISSING).sum())
    named = is_error | kind_is_named[np.where(is_error, 0, kinds)]
    childless = np.append(depths[1:] <= depths[:-1], True)
    starts, ends = _to_characters(data, starts, ends)
    with_fault_inside = parents[1:][((faults != 0) | is_error)[1:]]
    faults[with_fault_inside[faults[with_fault_inside] == HOLLOW]] = 0
    if prefix:
        starts, ends = starts - len(prefix), ends - len(prefix)
        # The wrapper's tokens lie before and after the source, its inner nodes around it.
        kept = (ends >= 0) & (starts <= len(source))
        new_index = np.cumsum(kept) - 1
        parents = np.where(parents >= 0, new_index[parents], -1)[kept]
        kinds, depths, fields, childless = kinds[kept], depths[kept], fields[kept], childless[kept]
        named, faults = named[kept], faults[kept]
        starts, ends = starts[kept].clip(0, len(source)), ends[kept].clip(0, len(source))
    return NodeTable(
        types=tuple(["ERROR" if kind == _ERROR_KIND else kind_names[kind] for kind in kinds.tolist()]),
        fields=tuple([field_names[field] for field in fields.tolist()]),
        starts=starts.astype(np.int32),
        ends=ends.astype(np.int32),
        depths=depths.astype(np.int32),
        parents=parents.astype(np.int32),
        childless=childless,
        named=named,
        faults=faults.astype(np.int8),
        num_errors=num_errors,
        as_file=not prefix and function == _file_function(lang),
    )


def _walk(tree: tree_sitter.Tree, *, closed: frozenset[int]) -> np.ndarray:
    """Return (kind, first byte, last byte + 1, depth, parent, field, fault) of each node in pre-order.

    The fault is `HOLLOW` for all nodes that hold one at any depth. The root's parent is -1. Of the body of a
    node of a `closed` kind, only the children are there, and what is in a child that holds but an expression.

    A cursor and a loop: recursion dies on deep trees.
    """
    cursor = tree.walk()
    down, along, up = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    numbers: list[int] = []  # all nodes' in one list: numpy reads a list of tuples three times as slowly
    path, index, has_error = [-1], 0, tree.root_node.has_error
    body = 2**31  # depth of the closed body around the node
    kind_above = [0]
    while True:
        node = cursor.node
        assert node is not None
        start, end, kind, fault = node.start_byte, node.end_byte, node.kind_id, 0
        if start == end and node.is_missing:
            fault = MISSING
        elif kind != _ERROR_KIND:
            fault = HOLLOW if has_error and node.has_error else 0
        elif not node.child_count and str(node).startswith("(UNEXPECTED"):
            fault = UNEXPECTED
        numbers += (kind, start, end, len(path) - 1, path[-1], cursor.field_id or 0, fault)
        if kind_above[-1] in closed and cursor.field_name == "body" and not (has_error and node.has_error):
            body = len(path)
        is_open = len(path) <= body or (len(path) == body + 1 and node.type == "expression_statement")
        if is_open and down():
            path.append(index)
            kind_above.append(kind)
        else:
            while not along():
                if not up():
                    return np.array(numbers, dtype=np.int64).reshape(-1, 7)
                path.pop()
                kind_above.pop()
                if len(path) <= body:
                    body = 2**31
            if len(path) == body:
                body = 2**31
        index += 1


def _to_characters(data: bytes, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if data.isascii():
        return starts, ends
    is_first_byte = (np.frombuffer(data, dtype=np.uint8) & 0xC0) != 0x80
    num_characters_before = np.concatenate(([0], np.cumsum(is_first_byte)))
    return num_characters_before[starts], num_characters_before[ends]


def _character_owners(source: str, nodes: NodeTable, leaves: np.ndarray) -> np.ndarray:
    owners = np.full(len(source), -1, dtype=np.int32)
    if not len(leaves):
        return owners
    codes = np.frombuffer(source.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    is_ink = ~_WHITE[np.minimum(codes, len(_WHITE) - 1)]
    first_leaf = np.searchsorted(leaves, np.arange(len(nodes)))  # of each node, if it has any
    for start, end, node in _gaps(nodes, is_ink):
        leaf = first_leaf[node]
        if leaf < len(leaves) and (nodes.depths[node + 1 : leaves[leaf] + 1] > nodes.depths[node]).all():
            owners[start:end][is_ink[start:end]] = leaf
    lengths = nodes.ends[leaves] - nodes.starts[leaves]
    first = np.repeat(nodes.starts[leaves] - (np.cumsum(lengths) - lengths), lengths)
    owners[first + np.arange(len(first))] = np.repeat(np.arange(len(leaves), dtype=np.int32), lengths)
    return owners


def _gaps(nodes: NodeTable, is_ink: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield (start, end, node) where a node with children has ink that none of its children covers."""
    children = np.argsort(nodes.parents, kind="stable")[1:]  # siblings side by side, in order
    parents = nodes.parents[children]
    is_first = np.append(True, parents[1:] != parents[:-1])[: len(children)]
    is_last = np.append(is_first[1:], True)[: len(children)]
    previous_ends = np.append(0, nodes.ends[children[:-1]])[: len(children)]
    before = np.where(is_first, nodes.starts[parents], previous_ends)
    last = children[is_last]
    starts = np.concatenate((before, nodes.ends[last]))
    ends = np.concatenate((nodes.starts[children], nodes.ends[nodes.parents[last]]))
    owners = np.concatenate((parents, nodes.parents[last]))
    ink_before = np.concatenate(([0], np.cumsum(is_ink)))
    has_ink = ink_before[starts] < ink_before[np.maximum(starts, ends)]
    yield from zip(starts[has_ink].tolist(), ends[has_ink].tolist(), owners[has_ink].tolist(), strict=True)
