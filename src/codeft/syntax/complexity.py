"""McCabe's cyclomatic complexity: how many ways lead through a piece of code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from codeft.syntax.languages import canonical_language
from codeft.syntax.nodes import NodeTable
from codeft.syntax.tree import parse_nodes

COMPLEXITY_CLASSES = ("1", "2", "3", "4", "5", "6+")
"""The classes of cyclomatic complexity, in the order of their numbers."""


@dataclass(frozen=True, slots=True)
class _Decisions:
    """What decides in a language.

    Attributes:
        nodes: Kinds of named nodes that are a decision each.
        tokens: Tokens that are one each, by the kind of the node right above them.
        defaults: Kinds of nodes that are a decision unless their pattern takes everything, and that pattern.
        ignored: Kinds of nodes whose field `condition` decides before the program runs.
    """

    nodes: frozenset[str]
    tokens: Mapping[str, frozenset[str]]
    defaults: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PREPROCESSOR = _words("preproc_if preproc_elif")
_C_NODES = _words(
    "if_statement for_statement while_statement do_statement conditional_expression seh_except_clause"
)

_DECISIONS = {
    "python": _Decisions(
        _words(
            """
            if_statement elif_clause for_statement while_statement except_clause conditional_expression
            for_in_clause if_clause boolean_operator
            """
        ),
        {},
        defaults={"case_clause": "_"},
    ),
    "java": _Decisions(
        _words(
            """
            if_statement for_statement enhanced_for_statement while_statement do_statement catch_clause
            ternary_expression guard
            """
        ),
        {"binary_expression": _words("&& ||"), "switch_label": _words("case")},
    ),
    "javascript": _Decisions(
        _words(
            """
            if_statement for_statement for_in_statement while_statement do_statement catch_clause
            ternary_expression switch_case
            """
        ),
        {"binary_expression": _words("&& || ??"), "augmented_assignment_expression": _words("&&= ||= ??=")},
    ),
    "go": _Decisions(
        _words("if_statement for_statement expression_case type_case communication_case"),
        {"binary_expression": _words("&& ||")},
    ),
    "php": _Decisions(
        _words(
            """
            if_statement else_if_clause for_statement foreach_statement while_statement do_statement
            catch_clause conditional_expression case_statement match_conditional_expression
            """
        ),
        {"binary_expression": _words("&& || and or ??"), "augmented_assignment_expression": _words("??=")},
    ),
    "ruby": _Decisions(
        _words(
            """
            if elsif unless while until for when in_clause if_modifier unless_modifier while_modifier
            until_modifier rescue rescue_modifier conditional if_guard unless_guard
            """
        ),
        {"binary": _words("&& || and or"), "operator_assignment": _words("||= &&=")},
    ),
    "csharp": _Decisions(
        _words(
            """
            if_statement for_statement foreach_statement while_statement do_statement catch_clause
            catch_filter_clause conditional_expression when_clause
            """
        ),
        {
            "binary_expression": _words("&& || ??"),
            "assignment_expression": _words("??="),
            "switch_section": _words("case"),
        },
        defaults={"switch_expression_arm": "_"},
        ignored=_PREPROCESSOR,
    ),
    "c": _Decisions(
        _C_NODES,
        {"binary_expression": _words("&& ||"), "case_statement": _words("case")},
        ignored=_PREPROCESSOR,
    ),
    "cpp": _Decisions(
        _C_NODES | _words("for_range_loop catch_clause"),
        {"binary_expression": _words("&& || and or"), "case_statement": _words("case")},
        ignored=_PREPROCESSOR,
    ),
}


def cyclomatic_complexity(source: str, lang: str) -> int:
    r"""Return McCabe's cyclomatic complexity of a text; never raises on any text.

    It is one more than the decisions in the text: conditions (also conditional expressions and guards),
    loops (also a comprehension's), each case but the default, each handler of an exception, and each operator
    that may leave out its right side (`and`, `||`, `??`, `||=`). Functions inside a function belong to it,
    and a text of several functions is counted as one.

    Source: McCabe (1976), "A Complexity Measure", section VI: decisions + 1, each condition of a compound one
    counted. Blocks that a library decides to run (Ruby's `each`), `with` and `assert` aren't decisions here.

    Args:
        source: A function, with its layout.
        lang: Name or alias of the language.

    Returns:
        At least 1.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> cyclomatic_complexity("def f(x):\n    return x if x and x > 1 else 0", "python")
        3
        >>> cyclomatic_complexity("int f(int x) { switch (x) { case 1: return 2; default: return 0; } }", "c")
        2
    """
    rules = _DECISIONS[canonical_language(lang)]
    nodes = parse_nodes(source, lang)
    named, parents = nodes.named.tolist(), nodes.parents.tolist()
    ignored = _ignored(nodes, rules)
    decisions = 0
    for index, kind in enumerate(nodes.types):
        if ignored[index]:
            continue
        if named[index]:
            decisions += kind in rules.nodes or (
                kind in rules.defaults and _pattern(nodes, index, source) != rules.defaults[kind]
            )
        elif index:
            decisions += kind in rules.tokens.get(nodes.types[parents[index]], ())
    return 1 + decisions


def complexity_class(complexity: int) -> int:
    """Return the number of the class of a cyclomatic complexity, its place in `COMPLEXITY_CLASSES`.

    >>> [COMPLEXITY_CLASSES[complexity_class(complexity)] for complexity in (1, 5, 6, 40)]
    ['1', '5', '6+', '6+']
    """
    return min(complexity, len(COMPLEXITY_CLASSES)) - 1


def _pattern(nodes: NodeTable, case: int, source: str) -> str:
    """Return the text of a case's pattern, its first named child, unless a guard follows it."""
    children = [
        child
        for child in (case + 1 + np.flatnonzero(nodes.parents[case + 1 :] == case)).tolist()
        if nodes.named[child]
    ]
    if not children or any(nodes.types[child] in ("if_clause", "when_clause") for child in children):
        return ""
    return source[nodes.starts[children[0]] : nodes.ends[children[0]]].strip()


def _ignored(nodes: NodeTable, rules: _Decisions) -> np.ndarray:
    """Return which nodes lie in a condition of the preprocessor."""
    found = np.zeros(len(nodes), dtype=bool)
    for index in range(len(nodes)) if rules.ignored & set(nodes.types) else ():
        if nodes.fields[index] == "condition" and nodes.types[nodes.parents[index]] in rules.ignored:
            below = nodes.depths[index + 1 :] <= nodes.depths[index]
            end = index + 1 + int(below.argmax()) if below.any() else len(nodes)
            found[index:end] = True
    return found
