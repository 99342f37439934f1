"""All nodes of a syntax tree as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MISSING = 1
"""A token of no width that the parser put in."""
HOLLOW = 2
"""A node right inside which the parser put a token that is no node itself, such as the end of a block."""
UNEXPECTED = 3
"""Text in which the parser found no token."""


@dataclass(frozen=True, slots=True)
class NodeTable:
    """All nodes of a tree in pre-order, the root first.

    Attributes:
        types: The type of each node, such as `identifier`.
        fields: The field that each node fills in its parent, such as `name`; "" for none.
        starts: int32 [m], where each node begins, in characters.
        ends: int32 [m], where each node ends, exclusive.
        depths: int32 [m], edges from the root.
        parents: int32 [m], index of the parent; -1 for the root.
        childless: bool [m], True for nodes that have no children.
        named: bool [m], False for nodes that the grammar gives by their text alone, such as `(`.
        faults: int8 [m], what the parser mended: `MISSING`, `HOLLOW`, `UNEXPECTED`, or 0.
        num_errors: How many error nodes and missing tokens the parser put in.
        as_file: Whether the grammar for files read the text, without a wrapper.
    """

    types: tuple[str, ...]
    fields: tuple[str, ...]
    starts: np.ndarray
    ends: np.ndarray
    depths: np.ndarray
    parents: np.ndarray
    childless: np.ndarray
    named: np.ndarray
    faults: np.ndarray
    num_errors: int
    as_file: bool

    def below(self, first: int, end: int) -> NodeTable:
        """Return the table of one subtree, as if its text stood alone and without errors.

        Args:
            first: The subtree's root.
            end: The node after its last one.
        """
        part = slice(first, end)
        start = self.starts[first]
        return NodeTable(
            types=self.types[part],
            fields=("", *self.fields[first + 1 : end]),
            starts=self.starts[part] - start,
            ends=self.ends[part] - start,
            depths=self.depths[part] - self.depths[first],
            parents=np.maximum(self.parents[part] - first, -1),
            childless=self.childless[part],
            named=self.named[part],
            faults=self.faults[part],
            num_errors=0,
            as_file=False,
        )

    def __len__(self) -> int:
        return len(self.types)
