"""One source file's tree with the look-ups that finding functions needs."""

from __future__ import annotations

import bisect
import re

import numpy as np

from codeft.syntax.nodes import MISSING, NodeTable
from codeft.syntax.preprocessor import PREPROCESSED, readings
from codeft.syntax.tree import count_errors, parse_nodes

FUNCTIONS = {
    "python": frozenset({"function_definition"}),
    "java": frozenset({"method_declaration", "constructor_declaration", "compact_constructor_declaration"}),
    "javascript": frozenset({"function_declaration", "generator_function_declaration", "method_definition"}),
    "go": frozenset({"function_declaration", "method_declaration"}),
    "php": frozenset({"function_definition", "method_declaration"}),
    "ruby": frozenset({"method", "singleton_method"}),
    "csharp": frozenset(
        {
            *("method_declaration", "constructor_declaration", "local_function_statement"),
            *("operator_declaration", "conversion_operator_declaration", "destructor_declaration"),
        }
    ),
    "c": frozenset({"function_definition"}),
    "cpp": frozenset({"function_definition"}),
}
"""Types of nodes that are functions and say what they are called."""


class FileTree:
    """The nodes of a file, their children, and text by node.

    What can't be parsed because of macros or `#if` is read without them (`preprocessor.readings`), where that
    leaves fewer errors. What lies in functions' bodies is left out where it holds no error.

    Args:
        source: The file's text; its lines end with LF.
        lang: Canonical name of its language.

    Attributes:
        source: As given.
        text: What the parser read: the source, or a reading of it of the same length.
        lang: As given.
        nodes: All nodes in pre-order.
        types: The type of each node.
        starts: Where each node begins, in characters.
        ends: Where each node ends, exclusive.
        parents: Each node's parent; -1 for the root.
        depths: Each node's distance from the root.
        children: Each node's children, in their order.
    """

    def __init__(self, source: str, lang: str) -> None:
        self.source = self.text = source
        self.lang = lang
        fewest: float = float("inf")
        for reading in readings(source, lang) if lang in PREPROCESSED else ():
            if (num_errors := count_errors(reading, lang)) < fewest:
                self.text, fewest = reading, num_errors
            if not fewest:
                break
        self.nodes: NodeTable = parse_nodes(self.text, lang, closed=FUNCTIONS[lang])
        self.types = self.nodes.types
        self.starts: list[int] = self.nodes.starts.tolist()
        self.ends: list[int] = self.nodes.ends.tolist()
        self.parents: list[int] = self.nodes.parents.tolist()
        self.depths: list[int] = self.nodes.depths.tolist()
        self.children: list[list[int]] = [[] for _ in self.parents]
        for index, parent in enumerate(self.parents):
            if parent >= 0:
                self.children[parent].append(index)
        self._line_feeds = [match.start() for match in re.finditer("\n", source)]
        is_error = np.array([kind == "ERROR" for kind in self.types]) | (self.nodes.faults == MISSING)
        self._errors: list[int] = np.flatnonzero(is_error).tolist() if self.nodes.num_errors else []

    def __len__(self) -> int:
        return len(self.types)

    def field(self, index: int, field: str) -> int | None:
        """Return the child that fills a field of a node; None where there is none."""
        for child in self.children[index]:
            if field and self.nodes.fields[child] == field:
                return child
        return None

    def kind_of(self, index: int) -> str:
        """Return a node's type; "" for the root's parent."""
        return self.types[index] if index >= 0 else ""

    def text_of(self, index: int) -> str:
        """Return a node's text as it stands in the source."""
        return self.source[self.starts[index] : self.ends[index]]

    def start_with_macros(self, index: int) -> int:
        """Return where a node begins, or the macros on its line that the parser was spared."""
        start = self.starts[index]
        line_start = self.source.rfind("\n", 0, start) + 1
        if self.text is self.source or self.text[line_start:start].strip():
            return start
        before = self.source[line_start:start]
        return line_start + len(before) - len(before.lstrip())

    def line_of(self, offset: int) -> int:
        """Return the line of a place in the source, from 1."""
        return bisect.bisect_left(self._line_feeds, offset) + 1

    def end_of(self, index: int) -> int:
        """Return the node after a subtree's last one."""
        depth, end = self.depths[index], index + 1
        while end < len(self.depths) and self.depths[end] > depth:
            end += 1
        return end

    def has_errors(self, first: int, end: int) -> bool:
        """Whether one of the nodes from `first` to before `end` is an error or a missing token."""
        place = bisect.bisect_left(self._errors, first)
        return place < len(self._errors) and self._errors[place] < end
