"""Where the value of each variable comes from: the data flow that CodeBLEU compares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from codeft.syntax.code_tree import CodeTree
from codeft.syntax.dataflow_reader import COMES_FROM, COMPUTED_FROM, FlowEdge, FlowReader
from codeft.syntax.dataflow_rules import PUBLISHED_RULES, RULES, MissingPartError

__all__ = ["COMES_FROM", "COMPUTED_FROM", "FlowEdge", "RenamedEdge", "data_flow", "rename_variables"]

RenamedEdge = tuple[int, str, tuple[int, ...]]
"""A variable, the relation and its sources; variables are numbers by order of appearance."""


def data_flow(tree: CodeTree, lang: str, *, published: bool = False) -> list[FlowEdge]:
    """Return the data flow of a text: one edge an occurrence of a variable that is linked to another one.

    Source:
        CodeBLEU (arXiv 2009.10297), section 3.3, after GraphCodeBERT (arXiv 2009.08366).

    Args:
        tree: The text's tree.
        lang: Canonical name of the language.
        published: Go by the published evaluators, with their faults: rules for older grammars; nothing at
            all where one rule fails; names cut by bytes, wrong behind a non-ASCII character; several sources
            in an order that depends on `PYTHONHASHSEED`.

    Returns:
        Edges in the text's order.

    Examples:
        >>> from codeft.syntax.code_tree import parse_code
        >>> for edge in data_flow(parse_code("b = a + 1", "python"), "python"):
        ...     print(edge.name, edge.relation, edge.sources)
        b computedFrom ('a', '1')
        a comesFrom ()
        1 comesFrom ()
    """
    reader = FlowReader(
        tree,
        rules=(PUBLISHED_RULES if published else RULES)[lang],
        token_text=_cut_by_bytes if published else _cut,
        join=_join_by_hash if published else _join,
    )
    try:
        return reader.read()
    except MissingPartError:
        return []


def rename_variables(edges: Iterable[FlowEdge]) -> Counter[RenamedEdge]:
    """Count edges with their variables renamed by order of appearance, an edge's sources before itself.

    Args:
        edges: Edges in the text's order.

    Examples:
        >>> rename_variables([FlowEdge("b", 0, COMPUTED_FROM, ("a", "1")), FlowEdge("a", 1, COMES_FROM)])
        Counter({(2, 'computedFrom', (0, 1)): 1, (0, 'comesFrom', ()): 1})
    """
    numbers: dict[str, int] = {}
    found: Counter[RenamedEdge] = Counter()
    for edge in edges:
        sources = tuple(numbers.setdefault(name, len(numbers)) for name in edge.sources)
        found[numbers.setdefault(edge.name, len(numbers)), edge.relation, sources] += 1
    return found


def _join(parts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(parts)))


def _join_by_hash(parts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    # The order of a set depends on its history, too, so that the sets must be made one by one.
    joined = parts[0]
    for part in parts[1:]:
        joined = tuple(set(joined + part))
    return joined


def _cut(source: str, start: int, end: int) -> str:
    return source[start:end]


def _cut_by_bytes(source: str, start: int, end: int) -> str:
    """Cut a token as the published evaluators do: lines of characters by columns of bytes, no line feeds."""
    if source.isascii():
        return source[start:end].replace("\n", "")
    first_line, last_line = source.rfind("\n", 0, start) + 1, source.rfind("\n", 0, end) + 1
    first = len(source[first_line:start].encode("utf-8", "surrogatepass"))
    last = len(source[last_line:end].encode("utf-8", "surrogatepass"))
    line_end = source.find("\n", end)
    lines = source[first_line : line_end if line_end >= 0 else None].split("\n")
    lines[-1] = lines[-1][:last]
    lines[0] = lines[0][first:]
    return "".join(lines)
