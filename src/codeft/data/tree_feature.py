"""The syntax tree of the source: which leaf each sub-token belongs to, and how the leaves hang together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from codeft.data.collate import pad
from codeft.data.features import AbstractFeature
from codeft.syntax import identifier_links, parse, token_leaves
from codeft.types import Encoding, Example

if TYPE_CHECKING:
    from torch import Tensor


class TreeFeature(AbstractFeature):
    """The tree in O(n) numbers, out of which `codeft.losses.structure` makes all distances.

    Keys, with L the leaves up to the last one that a sub-token belongs to, or those alone that one belongs to
    where the former are more than the sub-tokens (without `sast`, whose paths lead through all of them):

    - `tree_leaf` [S], the leaf of each sub-token, -1 for none
    - `tree_depth` [L], edges between the root and each leaf
    - `tree_lca_depth` [L - 1], depth of the lowest common ancestor of leaves j and j + 1
    - `tree_link` [L], with `sast` only: the leaf of the same identifier's last occurrence, -1 for none

    Text in no language (`Example.lang` is "") has no leaves.

    Source: SAT (arXiv 2404.07471), section 3.1. `sast` is an option of its code: one more edge between
    neighbouring leaves, and one between consecutive occurrences of an identifier. Deviation: where the
    source is cut to its maximum length, no path leads through the leaves behind the cut.

    Args:
        sast: Keep what these edges need.

    Attributes:
        num_unparsed: Sources so far whose tree has errors; they are used all the same.
    """

    def __init__(self, *, sast: bool = False) -> None:
        self.sast = sast
        self.num_unparsed = 0

    def compute(self, example: Example, encoding: Encoding) -> dict[str, np.ndarray]:
        """Return the arrays of one example; see `AbstractFeature.compute`."""
        num_leaves = 0
        leaf = np.full(len(encoding.offsets), -1, dtype=np.int32)
        depth = lca_depth = link = np.zeros(0, dtype=np.int32)
        if example.lang:
            found = token_leaves(example.source, example.lang, encoding.offsets)
            leaf = found.leaf
            num_leaves = int(leaf.max(initial=-1)) + 1
            depth, lca_depth = found.depths[:num_leaves], found.lca_depths[: max(0, num_leaves - 1)]
            if self.sast:
                tree = parse(example.source, example.lang)
                link = identifier_links(tree, example.source)[:num_leaves]
            elif num_leaves > len(leaf):
                leaf, depth, lca_depth = _owned_leaves(leaf, depth, lca_depth)
            self.num_unparsed += found.has_errors
        arrays = {"tree_leaf": leaf, "tree_depth": depth, "tree_lca_depth": lca_depth}
        if self.sast:
            arrays["tree_link"] = link
        return {key: _small(array) for key, array in arrays.items()}

    def note(self) -> str:
        """Say how many sources don't parse without errors."""
        return f"{self.num_unparsed} sources parse with errors and are used all the same"

    def collate(self, arrays: Sequence[dict[str, np.ndarray]], *, length: int) -> dict[str, Tensor]:
        """Pad and stack, to two leaves at least; see `AbstractFeature.collate`."""
        num_leaves = max(2, *(len(each["tree_depth"]) for each in arrays))
        widths = {"tree_leaf": length, "tree_depth": num_leaves, "tree_lca_depth": num_leaves - 1}
        if self.sast:
            widths["tree_link"] = num_leaves
        fillers = {"tree_depth": 0, "tree_lca_depth": 0}
        return {
            key: pad([each[key] for each in arrays], value=fillers.get(key, -1), length=width)
            for key, width in widths.items()
        }


def _owned_leaves(
    leaf: np.ndarray, depth: np.ndarray, lca_depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leave out the leaves that no sub-token belongs to; distances between the others stay."""
    kept = np.unique(leaf[leaf >= 0])
    numbers = np.where(leaf >= 0, np.searchsorted(kept, leaf), -1)
    between = lca_depth[: kept[-1]]
    lowest = np.minimum.reduceat(between, kept[:-1]) if len(kept) > 1 else between[:0]
    return numbers, depth[kept], lowest


def _small(array: np.ndarray) -> np.ndarray:
    """Store as int16 what fits; a tree deeper than that doesn't."""
    fits = array.max(initial=0) <= np.iinfo(np.int16).max
    return array.astype(np.int16 if fits else np.int32)
