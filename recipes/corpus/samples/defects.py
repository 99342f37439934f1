"""Defects: C functions, half of them with one fault put in, and no function both with and without."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from codeft.syntax.code_tree import CodeTree, parse_code
from samples.names import apply_edits, declared_nodes, is_reference, parents_of, text_of
from samples.rows import Novelty, Row, SampleFunction, in_turns

NUM_ROWS = {"train": 1200, "valid": 200, "test": 200}
OPPOSITES = {
    **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "&&": "||", "||": "&&"},
    **{"==": "!=", "!=": "==", "+": "-", "-": "+"},
}
SWAPPED, MISUSED = "arguments swapped", "wrong variable"
KINDS = (*OPPOSITES, SWAPPED, MISUSED)
_SYMMETRIC = ("min", "max", "eq", "cmp", "same", "add", "mul", "swap", "xor", "or", "and", "gcd", "dist")
"""Parts of names of functions whose arguments' order may not count."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to spoil a function.

    Attributes:
        kind: One of `KINDS`.
        edits: What to replace, in characters.
        words: What that is, in words.
    """

    kind: str
    edits: tuple[tuple[int, int, str], ...]
    words: str


def defect_rows(functions: list[SampleFunction], *, split: str, novelty: Novelty) -> list[Row]:
    """Make rows of C functions, each spoilt or left alone, as many of either kind.

    For each kind of fault, half of the functions that could have it get it; each operator is as often made
    its opposite as the other way round. So neither the operators' frequencies nor lengths tell.

    Args:
        functions: All of the split's packages.
        split: "train", "valid" or "test".
        novelty: What was seen so far.
    """
    rng = random.Random(f"defects {split}")
    chosen: dict[str, list[tuple[SampleFunction, Fault]]] = {kind: [] for kind in KINDS}
    most = NUM_ROWS[split] // len(KINDS) // 2 * 2
    for item in in_turns(functions, key=lambda item: item.repo, seed=3):
        if all(len(found) >= most for found in chosen.values()):
            break
        faults = [fault for fault in possible_faults(item.code) if len(chosen[fault.kind]) < most]
        if faults and novelty.admits(item.code, "c"):
            rarest = min(len(chosen[fault.kind]) for fault in faults)
            fault = rng.choice([fault for fault in faults if len(chosen[fault.kind]) == rarest])
            chosen[fault.kind].append((item, fault))
    rows = []
    for kind, found in chosen.items():
        twin = OPPOSITES.get(kind, kind)
        count = min(len(found), len(chosen[twin])) // 2 * 2
        for place, (item, fault) in enumerate(found[:count]):
            rows.append(_row(item, fault, is_defective=place % 2 == 1))
    print(f"defects {split}: " + ", ".join(f"{kind} {len(found)}" for kind, found in chosen.items()))
    rng.shuffle(rows)
    return rows


def _row(item: SampleFunction, fault: Fault, *, is_defective: bool) -> Row:
    return {
        **item.origin(),
        "func": apply_edits(item.code, fault.edits) if is_defective else item.code,
        "target": int(is_defective),
        "made": f"synthetic: {fault.words}" if is_defective else "as it stands in the package",
        "kind": fault.kind,
    }


def possible_faults(code: str) -> list[Fault]:
    """Return the faults that could be put into a C function.

    >>> [fault.words for fault in possible_faults("int f(int a, int b) { return a < b; }")]
    ['`<` made `<=`', '`a` made `b`', '`b` made `a`']
    """
    tree = parse_code(code, "c")
    if any(kind.startswith("preproc") or kind == "ERROR" for kind in tree.types):
        return []
    parents = parents_of(tree)
    return [*_operators(tree), *_swaps(tree), *_misuses(tree, parents)]


def _operators(tree: CodeTree) -> Iterator[Fault]:
    for node, kind in enumerate(tree.types):
        if kind != "binary_expression":
            continue
        left, sign, right = tree.children[node][:3]
        operator = text_of(tree, sign)
        if operator not in OPPOSITES:
            continue
        numbers = "number_literal" in (tree.types[left], tree.types[right])
        if operator in "+-" and not numbers:  # of pointers, only one of them would compile
            continue
        other = OPPOSITES[operator]
        edit = (tree.starts[sign], tree.ends[sign], other)
        yield Fault(operator, (edit,), f"`{operator}` made `{other}`")


def _swaps(tree: CodeTree) -> Iterator[Fault]:
    for node, kind in enumerate(tree.types):
        if kind != "call_expression":
            continue
        function, arguments = tree.children[node][0], tree.children[node][-1]
        name = text_of(tree, function).lower()
        given = [child for child in tree.children[arguments] if tree.types[child] not in ("(", ")", ",")]
        if any(part in name for part in _SYMMETRIC) or name.isupper():
            continue
        for first, second in pairwise(given):
            texts = text_of(tree, first), text_of(tree, second)
            if texts[0] != texts[1] and tree.types[first] == tree.types[second] == "identifier":
                edits = (
                    (tree.starts[first], tree.ends[first], texts[1]),
                    (tree.starts[second], tree.ends[second], texts[0]),
                )
                yield Fault(SWAPPED, edits, f"arguments `{texts[0]}` and `{texts[1]}` swapped")


def _misuses(tree: CodeTree, parents: list[int]) -> Iterator[Fault]:
    declared = set(declared_nodes(tree, "c"))
    types = {}
    for node in declared:
        types.setdefault(text_of(tree, node), _type_of(tree, node, parents))
    for node, kind in enumerate(tree.types):
        name = text_of(tree, node) if kind == "identifier" else ""
        if name not in types or node in declared or not is_reference(tree, node, parents):
            continue
        above = tree.types[parents[node]]
        if above in ("assignment_expression", "update_expression") or tree.fields[node] == "function":
            continue
        others = [other for other, kind_of in types.items() if other != name and kind_of == types[name]]
        if others:
            other = others[node % len(others)]
            edit = (tree.starts[node], tree.ends[node], other)
            yield Fault(MISUSED, (edit,), f"`{name}` made `{other}`")


def _type_of(tree: CodeTree, node: int, parents: list[int]) -> str:
    """Return the declared type of a variable, with its stars and brackets, as text."""
    marks = ""
    while "declarator" in tree.types[parents[node]]:
        node = parents[node]
        marks += {"pointer_declarator": "*", "array_declarator": "[]"}.get(tree.types[node], "")
    declaration = parents[node]
    words = [
        text_of(tree, child)
        for child in tree.children[declaration]
        if tree.fields[child] == "type" or tree.types[child] == "type_qualifier"
    ]
    return " ".join([*words, marks])
