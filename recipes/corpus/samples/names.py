"""The names in a function: which are its own, and how to give it others."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from codeft.syntax.code_tree import CodeTree, parse_code
from codeft.syntax.keywords import KEYWORDS

_DECLARING = {
    *("formal_parameter", "variable_declarator", "enhanced_for_statement", "catch_formal_parameter"),
    *("resource", "spread_parameter"),
}
"""Java's nodes whose field `name` declares a local name."""

_DECLARATORS = {
    *("pointer_declarator", "reference_declarator", "array_declarator", "init_declarator"),
    *("parameter_declaration", "optional_parameter_declaration", "declaration", "for_range_loop"),
}
"""C's and C++'s nodes below which a bare identifier, as the declarator, declares a local name."""

_KINDS = {"identifier": "value", "field_identifier": "value", "type_identifier": "type"}
_KINDS |= {"namespace_identifier": "type", "statement_identifier": "value"}

_STANDARD = """
    std size size_t ssize_t ptrdiff_t string vector map set list deque pair array unique_ptr shared_ptr
    make_unique make_shared make_pair move swap min max abs begin end push_back emplace_back pop_back insert
    erase find first second clear empty back front resize reserve data length c_str get reset release sort
    memcpy memset memcmp memmove strlen strcmp strncmp malloc free sqrt floor ceil printf fprintf snprintf
    assert int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t uintptr_t NULL true false this
    numeric_limits iterator const_iterator static_cast ostream istream cout cin endl main
    String Object Integer Long Double Boolean Character Math System List Map Set ArrayList HashMap Iterator
    Collection Arrays Collections StringBuilder Exception IllegalArgumentException IOException Override
    charAt substring append add put get remove contains hasNext next isEmpty toString equals hashCode
    getClass println out sqrt sin cos abs arraycopy MAX_VALUE MIN_VALUE
"""
STANDARD = frozenset(_STANDARD.split())
"""Names that everybody's C++ and Java share, which stay."""


@dataclass(slots=True)
class NamePool:
    """Names that functions of a split use, to draw others from.

    Attributes:
        names: By kind ("value", "call", "type"), in the order of their first use.
    """

    names: dict[str, list[str]]

    @classmethod
    def of(cls, codes: Iterable[str], lang: str) -> NamePool:
        """Collect the names of functions.

        Args:
            codes: The functions.
            lang: Canonical name of their language.
        """
        found: dict[str, dict[str, None]] = {"value": {}, "call": {}, "type": {}}
        for code in codes:
            for name, kind in all_names(parse_code(code, lang), lang).items():
                if len(name) > 1 and not name.isupper():
                    found[kind][name] = None
        return cls({kind: list(names) for kind, names in found.items()})

    def draw(
        self, kinds: Mapping[str, str], *, taken: Iterable[str], lang: str, rng: random.Random
    ) -> dict[str, str]:
        """Return another name for each name, all different.

        Args:
            kinds: The names to replace, and their kinds.
            taken: Names that the function has.
            lang: Canonical name of the language, whose keywords aren't drawn.
            rng: Draws.
        """
        used = {*taken, *KEYWORDS[lang]}
        drawn = {}
        for name, kind in kinds.items():
            new = rng.choice(self.names[kind])
            while new in used:
                new = rng.choice(self.names[kind])
            used.add(new)
            drawn[name] = new
        return drawn


def text_of(tree: CodeTree, node: int) -> str:
    """Return a node's text."""
    return tree.source[tree.starts[node] : tree.ends[node]]


def parents_of(tree: CodeTree) -> list[int]:
    """Return each node's parent; -1 for the root."""
    parents = [-1] * len(tree)
    for node, children in enumerate(tree.children):
        for child in children:
            parents[child] = node
    return parents


def function_name(tree: CodeTree) -> int | None:
    """Return the node of the outermost function's name."""
    for node, kind in enumerate(tree.types):
        if kind in ("method_declaration", "constructor_declaration"):
            return next((child for child in tree.children[node] if tree.fields[child] == "name"), None)
        if kind == "function_declarator":
            inner = next(child for child in tree.children[node] if tree.fields[child] == "declarator")
            while tree.types[inner] == "qualified_identifier":
                inner = next(child for child in tree.children[inner] if tree.fields[child] == "name")
            return inner if tree.types[inner] in ("identifier", "field_identifier") else None
    return None


def local_names(tree: CodeTree, lang: str) -> list[str]:
    """Return the names of a function's parameters and local variables, in their order."""
    return list(dict.fromkeys(text_of(tree, node) for node in declared_nodes(tree, lang)))


def declared_nodes(tree: CodeTree, lang: str) -> list[int]:
    """Return the nodes that declare a function's parameters and local variables."""
    parents = parents_of(tree)
    found = []
    for node, kind in enumerate(tree.types):
        if kind != "identifier" or parents[node] < 0:
            continue
        above = tree.types[parents[node]]
        if lang == "java":
            declares = above in _DECLARING and tree.fields[node] == "name"
            declares |= above in ("lambda_expression", "inferred_parameters") and (
                tree.fields[node] == "parameters" or above == "inferred_parameters"
            )
        else:
            is_declarator = tree.fields[node] == "declarator" or above == "reference_declarator"
            declares = above in _DECLARATORS and is_declarator
        if declares:
            found.append(node)
    return found


def is_reference(tree: CodeTree, node: int, parents: list[int]) -> bool:
    """Whether an identifier can stand for a local variable: it is no member's, method's or label's name."""
    above, where = tree.types[parents[node]], tree.fields[node]
    if above in ("field_access", "method_reference"):
        return where != "field" and where != "name"
    if above in ("method_invocation", "method_declaration", "element_value_pair"):
        return where not in ("name", "key")
    skipped = {"qualified_identifier", "labeled_statement", "break_statement", "continue_statement"}
    return above not in {*skipped, "scoped_identifier", "marker_annotation", "annotation"}


def all_names(tree: CodeTree, lang: str) -> dict[str, str]:
    """Return every name in a function but keywords and the standard library's, and its kind.

    The kind is "type", "call" for what is called somewhere, else "value".
    """
    kept = STANDARD | KEYWORDS[lang]
    names = {}
    for node, kind in enumerate(tree.types):
        if kind in _KINDS and not tree.children[node] and (name := text_of(tree, node)) not in kept:
            is_called = tree.source[tree.ends[node] :].lstrip().startswith("(")
            if is_called and names.get(name, "value") == "value" and _KINDS[kind] == "value":
                names[name] = "call"
            names.setdefault(name, _KINDS[kind])
    return names


def rename_locals(code: str, lang: str, *, mapping: Mapping[str, str], name: str | None) -> str:
    """Return a function with other names for its parameters and local variables, and perhaps for itself.

    Args:
        code: A function.
        lang: Canonical name of its language.
        mapping: New names.
        name: The function's own new name; None leaves it.
    """
    tree = parse_code(code, lang)
    parents = parents_of(tree)
    own = function_name(tree)
    edits = []
    for node, kind in enumerate(tree.types):
        if node == own:
            if name is not None:
                edits.append((tree.starts[node], tree.ends[node], name))
        elif kind == "identifier" and text_of(tree, node) in mapping and is_reference(tree, node, parents):
            edits.append((tree.starts[node], tree.ends[node], mapping[text_of(tree, node)]))
    return apply_edits(code, edits)


def rename_all(code: str, lang: str, *, mapping: Mapping[str, str]) -> str:
    """Return code in which every name of a mapping is another one, wherever it stands."""
    tree = parse_code(code, lang)
    edits = [
        (tree.starts[node], tree.ends[node], mapping[text_of(tree, node)])
        for node, kind in enumerate(tree.types)
        if kind in _KINDS and not tree.children[node] and text_of(tree, node) in mapping
    ]
    return apply_edits(code, edits)


def nameless(code: str, lang: str) -> str:
    """Return code's tokens with one letter for every name that may be replaced: what renaming can't change.

    >>> nameless("int f(int a) { return a + 1; }", "java")
    'int N ( int N ) { return N + 1 ; }'
    """
    tree = parse_code(code, lang, comments=False)
    names = all_names(tree, lang)
    return " ".join("N" if text in names else text for text in (text_of(tree, node) for node in tree.tokens))


def apply_edits(code: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """Return code with spans replaced; of spans that overlap the first one counts.

    >>> apply_edits("a + b", [(0, 1, "x"), (4, 5, "y")])
    'x + y'
    """
    parts, end = [], 0
    for start, stop, text in sorted(edits):
        if start >= end:
            parts += [code[end:start], text]
            end = stop
    return "".join([*parts, code[end:]])
