"""The data flow of the source, for the model to read: its variables, and where their values come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from codeft.data.collate import pad
from codeft.data.features import AbstractFeature
from codeft.syntax.code_tree import parse_code
from codeft.syntax.dataflow import data_flow
from codeft.syntax.dataflow_rules import RULES
from codeft.types import CodeftError, Encoding, Example

if TYPE_CHECKING:
    from torch import Tensor

KEYS = ("flow_start", "flow_end", "flow_target", "flow_source")
NONE = -1


class DataFlowFeature(AbstractFeature):
    """The occurrences of variables in the source as nodes of a graph, in the text's order.

    Keys, with G nodes and E edges; -1 pads:

    - `flow_start`, `flow_end` [G], the half-open span of each node's sub-tokens
    - `flow_target`, `flow_source` [E], the nodes of each edge: the first's value comes from the second's

    Source: GraphCodeBERT (arXiv 2009.08366), section 3. Deviations: sub-tokens are those of the source as it
    stands, where the published scripts encode each token of the tree by itself; and a node whose sub-tokens
    were cut off is left out, where theirs stays, with nothing to read. Text in no language has no nodes.

    Args:
        max_nodes: Nodes at most, the first ones; the scripts have 64 for code search, translation and
            refinement, and 128 for clone detection. They take no positions of the model.

    Raises:
        CodeftError: `max_nodes` is below 1.
    """

    model_input: ClassVar[str] = "data_flow"

    def __init__(self, *, max_nodes: int = 64) -> None:
        if max_nodes < 1:
            raise CodeftError(f"data.features.data_flow.max_nodes must be at least 1, not {max_nodes}")
        self.max_nodes = max_nodes
        self.num_sources = self.num_empty = 0

    def compute(self, example: Example, encoding: Encoding) -> dict[str, np.ndarray]:
        """Return the arrays of one example; see `AbstractFeature.compute`."""
        spans: list[tuple[int, int]] = []
        edges: list[tuple[int, int]] = []
        if example.lang in RULES:
            tree = parse_code(example.source, example.lang)
            flow = data_flow(tree, example.lang)
            tokens = [tree.tokens[edge.place] for edge in flow]
            characters = [(tree.starts[token], tree.ends[token]) for token in tokens]
            nodes: dict[int, int] = {}
            for edge, span in zip(flow, sub_token_spans(characters, encoding.offsets).tolist(), strict=True):
                if span[0] < span[1] and len(nodes) < self.max_nodes:
                    nodes[edge.place] = len(nodes)
                    spans.append((span[0], span[1]))
            edges = [
                (nodes[edge.place], nodes[source])
                for edge in flow
                for source in sorted(edge.source_places)
                if edge.place in nodes and source in nodes
            ]
            self.num_sources += 1
            self.num_empty += not spans
        columns = [*np.array(spans, dtype=np.int32).reshape(-1, 2).T]
        columns += [*np.array(edges, dtype=np.int32).reshape(-1, 2).T]
        return dict(zip(KEYS, columns, strict=True))

    def note(self) -> str:
        """Say how many sources have no data flow."""
        if not self.num_sources:
            return "no text here is in a programming language, so none has data flow"
        return f"{self.num_empty} of {self.num_sources} sources have no data flow"

    def collate(self, arrays: Sequence[dict[str, np.ndarray]], *, length: int) -> dict[str, Tensor]:
        """Pad and stack, to one node and edge at least; see `AbstractFeature.collate`."""
        return {key: pad([each[key] for each in arrays], value=NONE) for key in KEYS}


def sub_token_spans(characters: Sequence[tuple[int, int]], offsets: np.ndarray) -> np.ndarray:
    """Return the half-open span of sub-tokens that each span of characters lies in; an empty one for none.

    Args:
        characters: Half-open spans in the source.
        offsets: int [S, 2], see `codeft.types.Encoding`; but for special ones, side by side and in order.

    Returns:
        int64 [len(characters), 2].

    >>> sub_token_spans([(0, 1), (4, 6), (7, 9)], np.array([(-1, -1), (0, 3), (4, 5), (5, 6)])).tolist()
    [[1, 2], [2, 4], [4, 4]]
    """
    own = np.flatnonzero(offsets[:, 1] > 0)
    first = int(own[0]) if len(own) else 0
    starts, ends = offsets[own].astype(np.int64).reshape(-1, 2).T
    wanted = np.array(characters, dtype=np.int64).reshape(-1, 2)
    begin = np.searchsorted(ends, wanted[:, 0], side="right")
    end = np.maximum(np.searchsorted(starts, wanted[:, 1], side="left"), begin)
    return first + np.stack([begin, end], axis=1)
