"""Reads a tree in the program's order and notes where each name's value comes from.

What is known of a name at any point is the set of places that its value may come from. Alternatives add
theirs up; loops are read twice, so that a value can come from the round before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from codeft.syntax.code_tree import CodeTree
from codeft.syntax.dataflow_rules import FlowRules, MissingPartError, Slot

COMES_FROM = "comesFrom"
COMPUTED_FROM = "computedFrom"

_MAX_REPEATED_LOOPS = 8
"""Loops nested deeper are read once: reading each twice takes 2 to the power of the depth."""


class FlowEdge(NamedTuple):
    """What one occurrence of a variable gets its value from.

    Attributes:
        name: The variable.
        place: Which token of the text it is.
        relation: `comesFrom` for a use or a definition, `computedFrom` for an assignment.
        sources: The variables and literals that it comes from.
        source_places: Which tokens those are.
    """

    name: str
    place: int
    relation: str
    sources: tuple[str, ...] = ()
    source_places: frozenset[int] = frozenset()


class FlowReader:
    """Reads one tree, by generators on a list of their own: recursion dies on deep trees.

    Args:
        tree: The text's tree.
        rules: Those of its grammar.
        token_text: Cuts a token out of the source by its first and last character.
        join: Joins the sources of edges that are one, in some order and without repetition.
    """

    def __init__(
        self,
        tree: CodeTree,
        *,
        rules: FlowRules,
        token_text: Callable[[str, int, int], str],
        join: Callable[[Sequence[tuple[str, ...]]], tuple[str, ...]],
    ) -> None:
        self.tree = tree
        self.rules = rules
        self.join = join
        self.edges: list[FlowEdge] = []
        self.known: dict[str, frozenset[int]] = {}
        self.loop_depth = 0
        starts, ends, source = tree.starts, tree.ends, tree.source
        self.names = {node: token_text(source, starts[node], ends[node]) for node in tree.tokens}
        self.in_token = tree.in_token
        self.places = self._places()
        self.visits: dict[str, Callable[[int], Iterator[int]]] = {
            **dict.fromkeys(rules.definitions, self._define),
            **dict.fromkeys(rules.assignments, self._assign),
            **dict.fromkeys(rules.increments, self._increment),
            **dict.fromkeys(rules.conditionals, self._choose),
            **dict.fromkeys(rules.counted_loops, self._count),
            **dict.fromkeys(rules.iterations, self._iterate),
            **dict.fromkeys(rules.loops, self._loop),
        }

    def _places(self) -> dict[int, int]:
        """Return which token of the text each is; the last one's place stands for all that share a span."""
        tree = self.tree
        if all(tree.starts[node] < tree.ends[node] for node in tree.tokens):  # only those of no width can
            return {node: place for place, node in enumerate(tree.tokens)}
        by_span = {(tree.starts[node], tree.ends[node]): place for place, node in enumerate(tree.tokens)}
        return {node: by_span[tree.starts[node], tree.ends[node]] for node in tree.tokens}

    def read(self) -> list[FlowEdge]:
        """Visit the whole tree and return the edges between tokens that have any, one a token."""
        names, types = self.names, self.tree.types
        waiting = [self._visit(0)]
        while waiting:
            for node in waiting[-1]:
                name = names.get(node)
                if name is None:
                    waiting.append(self._visit(node))
                    break
                if name != types[node]:  # else a keyword or a mark
                    self._use(node, name)
            else:
                waiting.pop()
        self.edges.sort(key=itemgetter(1))  # by place
        linked = {edge.place for edge in self.edges if edge.source_places}
        linked.update(*(edge.source_places for edge in self.edges))
        edges = [edge for edge in self.edges if edge.place in linked]
        return self._merge(edges, key=itemgetter(1))

    def _merge(self, edges: list[FlowEdge], *, key: Callable[[FlowEdge], object]) -> list[FlowEdge]:
        """Make one edge of all that have the same key."""
        groups: dict[object, list[FlowEdge]] = {}
        for edge in edges:
            groups.setdefault(key(edge), []).append(edge)
        return [
            group[0]
            if len(group) == 1
            else group[0]._replace(
                sources=self.join([edge.sources for edge in group]),
                source_places=frozenset().union(*(edge.source_places for edge in group)),
            )
            for group in groups.values()
        ]

    def _visit(self, node: int) -> Iterator[int]:
        """Yield the nodes to visit inside a node that is no token, and note what it does between them."""
        if self.in_token[node] and self.rules.strict:
            raise MissingPartError
        visit = self.visits.get(self.tree.types[node])
        return self._pass_through(node) if visit is None else visit(node)

    def _pass_through(self, node: int) -> Iterator[int]:
        children, first = self.tree.children[node], self.rules.first
        if first and not first.isdisjoint(self.tree.types[child] for child in children):
            children = sorted(children, key=lambda child: self.tree.types[child] not in first)
        return iter(children)

    def _use(self, node: int, name: str) -> None:
        place, known = self.places[node], self.known.get(name)
        if known is not None:
            self.edges.append(FlowEdge(name, place, COMES_FROM, (name,), known))
            return
        if self.tree.types[node] == "identifier":
            self.known[name] = frozenset((place,))
        self.edges.append(FlowEdge(name, place, COMES_FROM))

    def _define(self, node: int) -> Iterator[int]:
        name_slot, value_slot = self.rules.definitions[self.tree.types[node]]
        value = self._child(node, value_slot, optional=True)
        name = self._child(node, name_slot)
        if value is not None:
            yield value
            self._link(self._variables(name), self._variables(value), COMES_FROM, joined=False)
            return
        for token in self._variables(name):
            self.edges.append(FlowEdge(self.names[token], self.places[token], COMES_FROM))
            self.known[self.names[token]] = frozenset((self.places[token],))

    def _assign(self, node: int) -> Iterator[int]:
        target_slot, value_slot = self.rules.assignments[self.tree.types[node]]
        value = self._child(node, value_slot)
        if value is not None:
            yield from self._give(node, self._child(node, target_slot), value)

    def _give(self, node: int, target: int | None, value: int | None) -> Iterator[int]:
        pairs = self._pair_up(node, target, value)
        for _, part in pairs:
            if part is not None:
                yield part
        for left, right in pairs:
            self._link(self._variables(left), self._variables(right), COMPUTED_FROM, joined=self.rules.joined)

    def _pair_up(
        self, node: int, target: int | None, value: int | None
    ) -> list[tuple[int | None, int | None]]:
        """Pair the parts of both sides where they have the same number of parts, else the sides."""
        if target is None or value is None or self.tree.types[node] not in self.rules.unpacking:
            return [(target, value)]
        left, right = self._parts(target), self._parts(value)
        return list(zip(left, right, strict=True)) if left and len(left) == len(right) else [(target, value)]

    def _parts(self, node: int) -> list[int]:
        if self.rules.sequences is not None and self.tree.types[node] not in self.rules.sequences:
            return []
        return [child for child in self.tree.children[node] if self.tree.types[child] != ","]

    def _increment(self, node: int) -> Iterator[int]:
        tokens = self._variables(node)
        self._link(tokens, tokens, COMPUTED_FROM, joined=False)
        yield from ()

    def _choose(self, node: int) -> Iterator[int]:
        types, rules = self.tree.types, self.rules
        before = self.known
        going_on = dict(before)
        outcomes: list[dict[str, frozenset[int]]] = []
        has_else, is_alternative = "else" in types[node], False
        for child in self.tree.children[node]:
            has_else = has_else or "else" in types[child]
            is_alternative = types[child] in rules.branches or (rules.branches_go_on and is_alternative)
            if is_alternative:
                self.known = dict(before)
                yield child
                if rules.strict or child not in self.names:  # the word `else` isn't an outcome
                    outcomes.append(self.known)
            else:
                self.known = going_on
                yield child
                going_on = self.known
        outcomes.append(going_on)
        if rules.keeps_before or not has_else:
            outcomes.append(before)
        self.known = {}
        for outcome in outcomes:
            for name, places in outcome.items():
                self.known[name] = self.known.get(name, places) | places

    def _count(self, node: int) -> Iterator[int]:
        mark, children = len(self.edges), self.tree.children[node]
        rounds = self._enter_loop()
        yield from children
        is_behind = False
        for child in children if rounds > 1 else ():
            if is_behind:
                yield child
            elif self.tree.types[child] in self.rules.headers:
                is_behind = True
                update = self._child(child, "update", optional=True)
                if update is not None:
                    yield update
        self._leave_loop(mark)

    def _iterate(self, node: int) -> Iterator[int]:
        target_slot, value_slot, body_slot = self.rules.iterations[self.tree.types[node]]
        target, value = self._child(node, target_slot), self._child(node, value_slot)
        body = self._child(node, body_slot)
        mark = len(self.edges)
        for _ in range(self._enter_loop()):
            yield from self._give(node, target, value)
            if body is not None:
                yield body
        self._leave_loop(mark)

    def _loop(self, node: int) -> Iterator[int]:
        mark = len(self.edges)
        for _ in range(self._enter_loop()):
            yield from self.tree.children[node]
        self._leave_loop(mark)

    def _enter_loop(self) -> int:
        """Return how many rounds of the loop to read."""
        self.loop_depth += 1
        return 2 if self.loop_depth <= _MAX_REPEATED_LOOPS else 1

    def _leave_loop(self, mark: int) -> None:
        self.loop_depth -= 1
        self.edges[mark:] = self._merge(self.edges[mark:], key=itemgetter(0, 1, 2))

    def _link(self, targets: Sequence[int], sources: Sequence[int], relation: str, *, joined: bool) -> None:
        names = tuple(self.names[token] for token in sources)
        places = [self.places[token] for token in sources]
        for token in targets:
            name, place = self.names[token], self.places[token]
            if joined:
                self.edges.append(FlowEdge(name, place, relation, names, frozenset(places)))
            else:
                self.edges.extend(
                    FlowEdge(name, place, relation, (source,), frozenset((at,)))
                    for source, at in zip(names, places, strict=True)
                )
            self.known[name] = frozenset((place,))

    def _variables(self, node: int | None) -> list[int]:
        """Return the tokens in a node that are neither keywords nor marks."""
        found: list[int] = []
        waiting = [] if node is None else [node]
        while waiting:
            inner = waiting.pop()
            if inner in self.names:
                if self.names[inner] != self.tree.types[inner]:
                    found.append(inner)
                continue
            if self.in_token[inner] and self.rules.strict:
                raise MissingPartError
            waiting += reversed(self.tree.children[inner])
        return found

    def _child(self, node: int, slot: Slot, *, optional: bool = False) -> int | None:
        children = self.tree.children[node]
        if isinstance(slot, int):
            return children[slot]
        if isinstance(slot, str):
            for child in children:
                if self.tree.fields[child] == slot:
                    return child
            if self.rules.strict and not optional:
                raise MissingPartError
            return None
        place = slot([self.tree.types[c] for c in children], [self.tree.fields[c] for c in children])
        return None if place is None else children[place]
