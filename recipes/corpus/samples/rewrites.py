"""Other ways to write the same function in Java and C++, and what was done to it in words."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise

from codeft.syntax.code_tree import CodeTree, parse_code
from samples.names import apply_edits, parents_of, text_of

Edit = tuple[int, int, str]

_EFFECTS = {
    *(
        "method_invocation",
        "object_creation_expression",
        "call_expression",
        "new_expression",
        "lambda_expression",
    ),
    *("assignment_expression", "update_expression", "switch_expression", "comma_expression"),
}
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}
_BLOCKS = ("block", "compound_statement")
_OUTER = ("binary_expression", "return_statement", "variable_declarator", "init_declarator")
_TERNARY = ("ternary_expression", "conditional_expression")
_LOGIC = {*_MIRRORED, "&&", "||", "?", "="}


def rewritten(code: str, lang: str, *, rng: random.Random, share: float = 0.7) -> tuple[str, list[str]]:
    """Write a function in another way that does the same.

    Args:
        code: A function that parses.
        lang: "java" or "cpp".
        rng: Draws.
        share: Of the places where a way applies, how many take it.

    Returns:
        The function, and what was done to it, in words.
    """
    done = []
    ways = list(WAYS.items())
    rng.shuffle(ways)
    for words, way in ways:
        tree = parse_code(code, lang)
        edits = [edit for place in way(tree, lang, rng) if rng.random() < share for edit in place]
        changed = apply_edits(code, edits) if _apart(edits) else code
        if changed != code and parse_code(changed, lang).types.count("ERROR") == 0:
            code = changed
            done.append(words)
    return code, sorted(done)


def _apart(edits: list[Edit]) -> bool:
    ordered = sorted(edits)
    return all(left[1] <= right[0] for left, right in pairwise(ordered))


def _child(tree: CodeTree, node: int, name: str) -> int | None:
    return next((child for child in tree.children[node] if tree.fields[child] == name), None)


def _below(tree: CodeTree, node: int) -> Iterator[int]:
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += tree.children[node]


def has_effects(tree: CodeTree, node: int) -> bool:
    """Whether an expression may do more than give a value, so that its place in the order matters."""
    return any(tree.types[inner] in _EFFECTS for inner in _below(tree, node))


def _has_logic(tree: CodeTree, node: int) -> bool:
    return any(text_of(tree, inner) in _LOGIC for inner in _below(tree, node) if not tree.children[inner])


def _mirrored(tree: CodeTree, lang: str, rng: random.Random) -> Iterator[list[Edit]]:
    """`a < b` is `b > a`, where neither side does anything."""
    for node, kind in enumerate(tree.types):
        if kind != "binary_expression":
            continue
        left, sign, right = (_child(tree, node, name) for name in ("left", "operator", "right"))
        if left is None or sign is None or right is None or text_of(tree, sign) not in _MIRRORED:
            continue
        if any(has_effects(tree, side) or _has_logic(tree, side) for side in (left, right)):
            continue
        text = f"{text_of(tree, right)} {_MIRRORED[text_of(tree, sign)]} {text_of(tree, left)}"
        yield [(tree.starts[node], tree.ends[node], text)]


def _steps(tree: CodeTree, lang: str, rng: random.Random) -> Iterator[list[Edit]]:
    """`i++` as a statement or a loop's step is `++i`, and in Java also `i += 1`."""
    parents = parents_of(tree)
    for node, kind in enumerate(tree.types):
        if kind != "update_expression":
            continue
        alone = tree.types[parents[node]] == "expression_statement" or (
            tree.types[parents[node]] == "for_statement" and tree.fields[node] == "update"
        )
        text = text_of(tree, node)
        name = text.strip("+-")
        if alone and name.isidentifier():
            sign = "++" if "++" in text else "--"
            other = (
                f"{name} {sign[0]}= 1"
                if lang == "java"
                else sign + name
                if text[0] == name[0]
                else name + sign
            )
            yield [(tree.starts[node], tree.ends[node], other)]


def _spelt_out(tree: CodeTree, lang: str, rng: random.Random) -> Iterator[list[Edit]]:
    """`x += y` as a statement is `x = x + (y)`."""
    parents = parents_of(tree)
    for node, kind in enumerate(tree.types):
        if kind != "assignment_expression" or tree.types[parents[node]] != "expression_statement":
            continue
        left, sign, right = (_child(tree, node, name) for name in ("left", "operator", "right"))
        if left is None or sign is None or right is None or tree.types[left] != "identifier":
            continue
        operator = text_of(tree, sign)
        if len(operator) == 2 and operator[0] in "+-*/":
            name = text_of(tree, left)
            text = f"{name} = {name} {operator[0]} ({text_of(tree, right)})"
            yield [(tree.starts[node], tree.ends[node], text)]


def _inverted(tree: CodeTree, lang: str, rng: random.Random) -> Iterator[list[Edit]]:
    """`if (c) {A} else {B}` is `if (!c) {B} else {A}`."""
    for node, kind in enumerate(tree.types):
        if kind != "if_statement":
            continue
        condition, then, other = (_child(tree, node, n) for n in ("condition", "consequence", "alternative"))
        if condition is None or then is None or other is None:
            continue
        if tree.types[other] == "else_clause":
            other = tree.children[other][-1]
        blocks = {tree.types[then], tree.types[other]}
        text = text_of(tree, condition)
        if blocks <= set(_BLOCKS) and ";" not in text and _is_condition(tree, condition):
            yield [
                (tree.starts[condition], tree.ends[condition], f"(!{text})"),
                (tree.starts[then], tree.ends[then], text_of(tree, other)),
                (tree.starts[other], tree.ends[other], text_of(tree, then)),
            ]


def _is_condition(tree: CodeTree, node: int) -> bool:
    kinds = {tree.types[inner] for inner in _below(tree, node)}
    return not kinds & {"declaration", "init_declarator", "instanceof_expression", "condition_declaration"}


def _chosen(tree: CodeTree, lang: str, rng: random.Random) -> Iterator[list[Edit]]:
    """`return c ? a : b;` is `if (c) { return a; } return b;`."""
    parents = parents_of(tree)
    for node, kind in enumerate(tree.types):
        if kind != "return_statement" or tree.types[parents[node]] not in _BLOCKS:
            continue
        value = next((c for c in tree.children[node] if tree.types[c] in _TERNARY), None)
        if value is None:
            continue
        condition, first, second = (
            _child(tree, value, n) for n in ("condition", "consequence", "alternative")
        )
        if condition is None or first is None or second is None:
            continue
        margin = _margin(tree, node)
        text = (
            f"if ({text_of(tree, condition)}) {{\n{margin}    return {text_of(tree, first)};\n{margin}}}"
            f"\n{margin}return {text_of(tree, second)};"
        )
        yield [(tree.starts[node], tree.ends[node], text)]


def _margin(tree: CodeTree, node: int) -> str:
    line = tree.source[tree.source.rfind("\n", 0, tree.starts[node]) + 1 : tree.starts[node]]
    return line[: len(line) - len(line.lstrip())]


def _looped(tree: CodeTree, lang: str, rng: random.Random) -> Iterator[list[Edit]]:
    """`while (c)` is `for (; c; )`."""
    for node, kind in enumerate(tree.types):
        if kind != "while_statement":
            continue
        condition = _child(tree, node, "condition")
        if condition is not None and ";" not in text_of(tree, condition) and _is_condition(tree, condition):
            inner = text_of(tree, condition)[1:-1].strip()
            yield [(tree.starts[node], tree.ends[condition], f"for (; {inner}; )")]


def _braced(tree: CodeTree, lang: str, rng: random.Random) -> Iterator[list[Edit]]:
    """`if (c) s;` is `if (c) { s; }`."""
    simple = {"return_statement", "expression_statement", "throw_statement", "break_statement"}
    simple |= {"continue_statement"}
    for node, kind in enumerate(tree.types):
        if kind in simple and tree.fields[node] in ("consequence", "body"):
            margin = _margin(tree, node)
            text = f"{{\n{margin}  {text_of(tree, node)}\n{margin}}}"
            yield [(tree.starts[node], tree.ends[node], text)]


def _reordered(tree: CodeTree, lang: str, rng: random.Random) -> Iterator[list[Edit]]:
    """Two declarations side by side that don't need each other change places."""
    for node in range(len(tree)):
        if tree.types[node] not in _BLOCKS:
            continue
        inside = tree.children[node]
        place = 0
        while place + 1 < len(inside):
            pair = inside[place : place + 2]
            if all(tree.types[child] in ("local_variable_declaration", "declaration") for child in pair):
                names = [
                    {
                        text_of(tree, inner)
                        for inner in _below(tree, child)
                        if tree.types[inner] == "identifier"
                    }
                    for child in pair
                ]
                if not names[0] & names[1] and not any(has_effects(tree, child) for child in pair):
                    first, second = pair
                    yield [
                        (tree.starts[first], tree.ends[first], text_of(tree, second)),
                        (tree.starts[second], tree.ends[second], text_of(tree, first)),
                    ]
                    place += 1
            place += 1


def _parenthesised(tree: CodeTree, lang: str, rng: random.Random) -> Iterator[list[Edit]]:
    """`a + b < c` is `(a + b) < c`."""
    parents = parents_of(tree)
    for node, kind in enumerate(tree.types):
        if kind == "binary_expression" and tree.types[parents[node]] in _OUTER:
            yield [(tree.starts[node], tree.starts[node], "("), (tree.ends[node], tree.ends[node], ")")]


def _kept(tree: CodeTree, lang: str, rng: random.Random) -> Iterator[list[Edit]]:
    """`return a;` is `T result = a; return result;`."""
    kind_of_result = "auto"
    if lang == "java":
        method = next((node for node, kind in enumerate(tree.types) if kind == "method_declaration"), 0)
        declared = _child(tree, method, "type")
        kind_of_result = "" if declared is None else text_of(tree, declared)
    parents = parents_of(tree)
    for node, kind in enumerate(tree.types):
        if (
            kind != "return_statement"
            or tree.types[parents[node]] not in _BLOCKS
            or len(tree.children[node]) < 3
        ):
            continue
        value = tree.children[node][1]
        is_list = tree.types[value] == "initializer_list"
        in_lambda = any(kind == "lambda_expression" or kind == "class_body" for kind in tree.types)
        if kind_of_result and not is_list and not in_lambda:
            margin = _margin(tree, node)
            name = f"result{node}"
            text = f"{kind_of_result} {name} = {text_of(tree, value)};\n{margin}return {name};"
            yield [(tree.starts[node], tree.ends[node], text)]


def _unused(tree: CodeTree, lang: str, rng: random.Random) -> Iterator[list[Edit]]:
    """Variables that nobody reads change nothing."""
    for node, kind in enumerate(tree.types):
        if kind in _BLOCKS and len(tree.children[node]) > 2:
            first = tree.children[node][1]
            margin = _margin(tree, first)
            names = [f"unused{node}{'abc'[place]}" for place in range(rng.randint(1, 3))]
            text = "".join(f"int {name} = {rng.randint(0, 9)};\n{margin}" for name in names)
            yield [(tree.starts[first], tree.starts[first], text)]


WAYS: dict[str, Callable[[CodeTree, str, random.Random], Iterator[list[Edit]]]] = {
    "sides of comparisons changed": _mirrored,
    "steps written otherwise": _steps,
    "compound assignments spelt out": _spelt_out,
    "if and else changed places": _inverted,
    "conditional returns split": _chosen,
    "while loops made for loops": _looped,
    "braces added": _braced,
    "declarations reordered": _reordered,
    "parentheses added": _parenthesised,
    "results kept in variables": _kept,
    "unused variables added": _unused,
}
