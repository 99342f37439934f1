"""How values move in each grammar: one table, read by `codeft.syntax.dataflow`.

`PUBLISHED_RULES` are those of CodeBLEU's evaluators. They were written for grammars of 2020 and are kept as
they are, with what they miss on today's: the initialisers of C#'s declarations, its `foreach`, everything
that C and C++ name otherwise than C#, whose rules they borrow. `RULES` name today's nodes.

In neither is a variable a source of its own compound assignment (`x += y` computes x from y), and in neither
do values pass between functions, attributes or elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

Slot = str | int | Callable[[Sequence[str], Sequence[str]], int | None]
"""Which child: by field, by place, or by a function of the children's types and fields. A function's None
means that there is nothing to look at; a field that isn't there makes a strict reading give up."""

_NOTHING: Mapping[str, tuple[Slot, ...]] = MappingProxyType({})


class MissingPartError(LookupError):
    """A node lacks a child that a strict reading of it needs."""


@dataclass(frozen=True, slots=True)
class FlowRules:
    """Which nodes of one grammar move values between variables.

    Attributes:
        definitions: Node types that name a variable: (name, value or none).
        assignments: Node types that give a value to variables: (target, value).
        increments: Node types whose variables are computed from themselves.
        conditionals: Node types of which some children may not run.
        branches: Types of the children that begin an alternative to what stands before them.
        branches_go_on: Whether all later children are alternatives, too.
        keeps_before: Whether a conditional's outcome holds what was before it even where there is an `else`.
        counted_loops: Node types to read twice, the second time from behind a child of one of `headers`.
        headers: Types of the children that begin a counted loop.
        iterations: Node types that run over a collection: (target, collection, body).
        loops: Node types to read twice from the start.
        first: Types of the children to read before their elder siblings.
        unpacking: Types of assignments and iterations that pair the parts of their two sides.
        sequences: Types of the sides that have parts; None for any.
        joined: Whether an assignment's target gets one edge from all its sources, not one edge each.
        strict: Whether a lacking part makes the whole text's data flow empty.
    """

    definitions: Mapping[str, tuple[Slot, ...]] = field(default_factory=lambda: _NOTHING)
    assignments: Mapping[str, tuple[Slot, ...]] = field(default_factory=lambda: _NOTHING)
    increments: frozenset[str] = frozenset()
    conditionals: frozenset[str] = frozenset()
    branches: frozenset[str] = frozenset()
    branches_go_on: bool = True
    keeps_before: bool = False
    counted_loops: frozenset[str] = frozenset()
    headers: frozenset[str] = frozenset()
    iterations: Mapping[str, tuple[Slot, ...]] = field(default_factory=lambda: _NOTHING)
    loops: frozenset[str] = frozenset()
    first: frozenset[str] = frozenset()
    unpacking: frozenset[str] = frozenset()
    sequences: frozenset[str] | None = None
    joined: bool = False
    strict: bool = True


def _second_of_two(types: Sequence[str], fields: Sequence[str]) -> int | None:
    return 1 if len(types) == 2 else None


def _last_if_block(types: Sequence[str], fields: Sequence[str]) -> int | None:
    return len(types) - 1 if types[-1] == "block" else None


def _right_if_any(types: Sequence[str], fields: Sequence[str]) -> int | None:
    return fields.index("right") if "right" in fields else None


def _variable(number: int) -> Slot:
    def find(types: Sequence[str], fields: Sequence[str]) -> int | None:
        places = [place for place, kind in enumerate(types) if kind == "variable_name"]
        if number >= len(places):
            raise MissingPartError
        return places[number]

    return find


def _behind(word: str) -> Slot:
    def find(types: Sequence[str], fields: Sequence[str]) -> int | None:
        place = types.index(word) + 1 if word in types else len(types)
        return place if place < len(types) else None

    return find


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SIDES: tuple[Slot, ...] = ("left", "right")
_NAME_AND_VALUE: tuple[Slot, ...] = ("name", "value")
_TARGET_AND_BODY: tuple[Slot, ...] = ("left", "right", "body")

_C_SHARP = FlowRules(
    definitions={"variable_declarator": (0, _second_of_two)},
    assignments={"assignment_expression": _SIDES},
    increments=_set("postfix_unary_expression"),
    conditionals=_set("if_statement else"),
    branches=_set("if_statement else"),
    counted_loops=_set("for_statement"),
    headers=_set("local_variable_declaration"),
    iterations={"for_each_statement": _TARGET_AND_BODY},
    loops=_set("while_statement"),
)

PUBLISHED_RULES: Mapping[str, FlowRules] = {
    "python": FlowRules(
        definitions={"default_parameter": _NAME_AND_VALUE},
        assignments={
            "assignment": ("left", _right_if_any),
            "augmented_assignment": ("left", _right_if_any),
            "for_in_clause": ("left", -1),
        },
        conditionals=_set("if_statement"),
        branches=_set("elif_clause else_clause"),
        branches_go_on=False,
        iterations={"for_statement": ("left", "right", _last_if_block)},
        loops=_set("while_statement"),
        first=_set("for_in_clause"),
        unpacking=_set("assignment augmented_assignment for_statement"),
        joined=True,
    ),
    "java": FlowRules(
        definitions={"variable_declarator": _NAME_AND_VALUE},
        assignments={"assignment_expression": _SIDES},
        increments=_set("update_expression"),
        conditionals=_set("if_statement else"),
        branches=_set("if_statement else"),
        counted_loops=_set("for_statement"),
        headers=_set("local_variable_declaration"),
        iterations={"enhanced_for_statement": ("name", "value", "body")},
        loops=_set("while_statement"),
    ),
    "javascript": FlowRules(
        definitions={"variable_declarator": _NAME_AND_VALUE},
        assignments={"assignment_pattern": _SIDES, "augmented_assignment_expression": _SIDES},
        increments=_set("update_expression"),
        conditionals=_set("if_statement else"),
        branches=_set("if_statement else"),
        keeps_before=True,
        counted_loops=_set("for_statement"),
        headers=_set("variable_declaration"),
        loops=_set("while_statement"),
    ),
    "go": FlowRules(
        definitions={"var_spec": _NAME_AND_VALUE},
        assignments={"assignment_statement": _SIDES},
        increments=_set("inc_statement"),
        conditionals=_set("if_statement else"),
        branches=_set("if_statement else"),
        keeps_before=True,
        counted_loops=_set("for_statement"),
        headers=_set("for_clause"),
    ),
    "php": FlowRules(
        definitions={"simple_parameter": ("name", "default_value")},
        assignments={"assignment_expression": _SIDES, "augmented_assignment_expression": _SIDES},
        increments=_set("update_expression"),
        conditionals=_set("if_statement else_clause"),
        branches=_set("if_statement else_clause"),
        keeps_before=True,
        counted_loops=_set("for_statement"),
        headers=_set("assignment_expression"),
        iterations={"foreach_statement": (_variable(1), _variable(0), "body")},
        loops=_set("while_statement"),
    ),
    "ruby": FlowRules(
        definitions={"keyword_parameter": _NAME_AND_VALUE},
        assignments={"assignment": _SIDES, "operator_assignment": (0, -1)},
        conditionals=_set("if elsif else unless when"),
        branches=_set("if elsif else unless when"),
        branches_go_on=False,
        iterations={"for": ("pattern", "value", "body")},
        loops=_set("while_modifier until"),
        unpacking=_set("assignment"),
        joined=True,
    ),
    "csharp": _C_SHARP,
    "c": _C_SHARP,
    "cpp": _C_SHARP,
}
"""The published evaluators' rules by canonical name of the language."""

_C = FlowRules(
    definitions={"init_declarator": ("declarator", "value")},
    assignments={"assignment_expression": _SIDES},
    increments=_set("update_expression"),
    conditionals=_set("if_statement"),
    branches=_set("else_clause"),
    counted_loops=_set("for_statement"),
    headers=_set("declaration"),
    loops=_set("while_statement do_statement"),
    strict=False,
)
_PUBLISHED = PUBLISHED_RULES

RULES: Mapping[str, FlowRules] = {
    "python": replace(
        _PUBLISHED["python"],
        assignments={
            **_PUBLISHED["python"].assignments,
            "for_in_clause": _SIDES,
            "named_expression": _NAME_AND_VALUE,
        },
        definitions={"default_parameter": _NAME_AND_VALUE, "typed_default_parameter": _NAME_AND_VALUE},
        iterations={"for_statement": _TARGET_AND_BODY},
        sequences=_set("pattern_list tuple_pattern list_pattern expression_list tuple list"),
        strict=False,
    ),
    "java": replace(_PUBLISHED["java"], loops=_set("while_statement do_statement"), strict=False),
    "javascript": replace(
        _PUBLISHED["javascript"],
        assignments={
            "assignment_expression": _SIDES,
            "assignment_pattern": _SIDES,
            "augmented_assignment_expression": _SIDES,
        },
        conditionals=_set("if_statement"),
        branches=_set("else_clause"),
        keeps_before=False,
        headers=_set("variable_declaration lexical_declaration"),
        iterations={"for_in_statement": _TARGET_AND_BODY},
        loops=_set("while_statement do_statement"),
        strict=False,
    ),
    "go": replace(
        _PUBLISHED["go"],
        assignments={
            "assignment_statement": _SIDES,
            "short_var_declaration": _SIDES,
            "range_clause": _SIDES,
        },
        increments=_set("inc_statement dec_statement"),
        keeps_before=False,
        headers=_set("for_clause range_clause"),
        unpacking=_set("assignment_statement short_var_declaration"),
        sequences=_set("expression_list"),
        strict=False,
    ),
    "php": replace(
        _PUBLISHED["php"],
        conditionals=_set("if_statement"),
        branches=_set("else_clause else_if_clause"),
        keeps_before=False,
        iterations={"foreach_statement": (_behind("as"), _behind("("), "body")},
        loops=_set("while_statement do_statement"),
        strict=False,
    ),
    "ruby": replace(
        _PUBLISHED["ruby"],
        definitions={"keyword_parameter": _NAME_AND_VALUE, "optional_parameter": _NAME_AND_VALUE},
        conditionals=_set("if elsif else unless case when"),
        branches=_set("elsif else when"),
        loops=_set("while until while_modifier until_modifier"),
        sequences=_set("left_assignment_list right_assignment_list"),
        strict=False,
    ),
    "csharp": replace(
        _PUBLISHED["csharp"],
        definitions={"variable_declarator": ("name", _behind("="))},
        headers=_set("variable_declaration"),
        iterations={"foreach_statement": _TARGET_AND_BODY},
        loops=_set("while_statement do_statement"),
        strict=False,
    ),
    "c": _C,
    "cpp": replace(_C, iterations={"for_range_loop": ("declarator", "right", "body")}),
}
"""The rules for today's grammars by canonical name of the language."""
