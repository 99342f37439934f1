"""SAT's structure loss: attention compared with the distances between the leaves of the syntax tree."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from codeft.losses.base import AbstractLossTerm
from codeft.losses.sinkhorn import shared_sinkhorn_divergence, sinkhorn_divergence
from codeft.types import Batch, CodeftError, ModelOutput

INITIAL_SLOPE = -0.0033
INITIAL_OFFSET = 0.045
"""Where w and b start: S is positive up to twice the mean distance, and its mean is that of attention.

Measured on 120 functions each of CodeXGLUE translation's Java and C# and CodeSearchNet's Ruby and Python, in
sub-tokens of CodeT5's vocabulary: the mean of 1/n, which is attention's, is 0.037, 0.030, 0.015 and 0.013
(0.024 of all), the mean distance of two sub-tokens 5.5, 6.3, 7.0 and 8.4 (6.8 of all).
"""


class StructureLoss(nn.Module):
    """The Sinkhorn divergence between the rows of an attention map and of the tree's distances, bridged.

    For an example with n sub-tokens that have a leaf, D in N^{n x n} holds the distances of their leaves and
    S = w * D + b. The loss is the mean over heads and examples of the divergence between the n rows of the
    attention, restricted to these sub-tokens and renormalised, and the n rows of S. It depends neither on
    padding nor on batch-mates; an example with fewer than two such sub-tokens counts as 0.

    Where attention is causal, row i of both knows only the c_i sub-tokens (of those n) that it sees, itself
    included: S is 0 elsewhere, and the row of attention is renormalised to c_i / n. So an entry is 1/n in the
    mean, as without causality, and what w and b learn means the same in every row. (Renormalised to 1, the
    first rows would have entries near 1, far from any S, and no attention could change that.) D is that of
    the whole tree: a path may lead through a node that closes later.

    Source:
        SAT (arXiv 2404.07471), section 3.2. Deviations: sub-tokens without a leaf are left out; a mean
        instead of a sum divided by n^2; w and b don't start from U(-1, 1). `reference` reproduces the
        authors' code instead: clouds of all rows and columns, padding included; w and b from U(-1, 1); the
        sum over batch and heads divided by H * n^2; one diameter for the whole batch; and attention laid out
        head by head against trees laid out example by example, so that most pairs mix two examples. With
        `multi_head_loss=0`, which is the default of their code and not the setting of their scripts, each
        example's head 0 meets its own tree.

    Args:
        reference: Reproduce the authors' code.
        blur: Final length scale of the divergence.
        multi_head_loss: 1 to compare all heads, 0 for head 0 alone.

    Attributes:
        slope: w, a learned scalar.
        offset: b, a learned scalar.
    """

    def __init__(
        self, *, reference: bool = False, blur: float = 0.05, multi_head_loss: Literal[0, 1] = 1
    ) -> None:
        super().__init__()
        self.reference = reference
        self.blur = blur
        self.multi_head_loss = multi_head_loss
        self.slope = nn.Parameter(torch.tensor(INITIAL_SLOPE))
        self.offset = nn.Parameter(torch.tensor(INITIAL_OFFSET))
        if reference:
            nn.init.uniform_(self.slope, -1.0, 1.0)
            nn.init.uniform_(self.offset, -1.0, 1.0)

    def forward(
        self,
        attention: Tensor,
        *,
        leaf: Tensor,
        depth: Tensor,
        lca_depth: Tensor,
        link: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Return the loss of one batch.

        Args:
            attention: [B, H, S, S] weights of one layer.
            leaf: int [B, S], the leaf of each sub-token, -1 for none.
            depth: int [B, L], edges between the root and each leaf, L at least 1; any value where padded.
            lca_depth: int [B, L - 1], depth of the lowest common ancestor of leaves j and j + 1.
            link: See `pairwise_distances`.
            causal: Whether a sub-token sees only those before it and itself.

        Returns:
            Scalar, float32 under autocast too.

        Raises:
            CodeftError: Causal attention, where the authors' code is to be reproduced: it knows none.
        """
        if causal and self.reference:
            raise CodeftError(
                "the reference structure loss knows encoders alone, and this model's attention is causal: "
                "take method=sat"
            )
        if not self.multi_head_loss:
            attention = attention[:, :1]
        with torch.autocast(attention.device.type, enabled=False):
            leaf_distances = pairwise_distances(depth, lca_depth, link=link)  # BLL
            distances = _of_sub_tokens(leaf_distances, leaf).to(self.slope.dtype)  # BSS
            if self.reference:
                return self._reference_loss(attention.to(self.slope.dtype), distances)
            return self._loss(attention.to(self.slope.dtype), distances, has_leaf=leaf >= 0, causal=causal)

    def _loss(self, attention: Tensor, distances: Tensor, *, has_leaf: Tensor, causal: bool) -> Tensor:
        batch_size, num_heads = attention.shape[:2]
        kept = has_leaf.sum(dim=1) >= 2  # one point holds no distance
        if not kept.any():
            return 0.0 * (self.slope + self.offset)  # with a gradient: data-parallel training waits for one
        attention, distances, has_leaf = attention[kept], distances[kept], has_leaf[kept]
        both = has_leaf[:, :, None] & has_leaf[:, None, :]  # BSS
        both = both.tril() if causal else both
        restricted = attention * both[:, None]
        rows = restricted / restricted.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(attention.dtype).tiny)
        if causal:
            rows = rows * (both.sum(dim=-1) / has_leaf.sum(dim=-1, keepdim=True))[:, None, :, None]
        structure = (self.slope * distances + self.offset) * both
        divergences = shared_sinkhorn_divergence(
            rows, structure, x_mask=has_leaf, y_mask=has_leaf, blur=self.blur
        )  # BH
        return divergences.sum() / (batch_size * num_heads)

    def _reference_loss(self, attention: Tensor, distances: Tensor) -> Tensor:
        _, num_heads, length, _ = attention.shape
        structure = self.slope * distances + self.offset
        x = attention.transpose(0, 1).flatten(0, 1)  # [H * B, S, S], head by head
        y = structure.repeat_interleave(num_heads, dim=0)  # [B * H, S, S], example by example
        points = torch.cat([attention.detach().flatten(0, 2), structure.detach().flatten(0, 1)])
        diameter = (points.amax(dim=0) - points.amin(dim=0)).norm()
        divergences = sinkhorn_divergence(x, y, blur=self.blur, diameter=diameter)
        return divergences.sum() / (num_heads * length**2)


class StructureLossTerm(AbstractLossTerm):
    """The structure loss as a term of the training loss, fed from the batch's tree features.

    Args:
        weight: alpha, the factor of the term.
        reference: See `StructureLoss`.
        blur: See `StructureLoss`.
        multi_head_loss: See `StructureLoss`.
        learning_rate: Of w and b; None for the run's.
    """

    name = "structure"

    def __init__(
        self,
        *,
        weight: float,
        reference: bool = False,
        blur: float = 0.05,
        multi_head_loss: Literal[0, 1] = 1,
        learning_rate: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.learning_rate = learning_rate
        self.loss = StructureLoss(reference=reference, blur=blur, multi_head_loss=multi_head_loss)
        self.counts_padding = reference

    def forward(self, output: ModelOutput, batch: Batch) -> Tensor:
        """Return the loss of the recorded layer's attention.

        Raises:
            CodeftError: The model recorded no attention, or the batch holds no trees.
        """
        if output.attention is None:
            raise CodeftError(
                "the structure loss needs the attention of an encoder layer, and the model returned none: "
                "train a model that has an encoder, or leave the method sat away"
            )
        missing = [key for key in ("tree_leaf", "tree_depth", "tree_lca_depth") if key not in batch]
        if missing:
            raise CodeftError(
                f"the structure loss needs the source's tree, and the batch has no {', '.join(missing)}: "
                "set data.features.tree._target_=codeft.data.tree_feature.TreeFeature, as method=sat does"
            )
        return self.loss(
            output.attention,
            leaf=batch["tree_leaf"],
            depth=batch["tree_depth"],
            lca_depth=batch["tree_lca_depth"],
            link=batch.get("tree_link"),
            causal=output.attention_is_causal,
        )


def pairwise_distances(depth: Tensor, lca_depth: Tensor, *, link: Tensor | None = None) -> Tensor:
    """Return the number of edges on the shortest path between every two leaves of each tree.

    dist(i, j) = d_i + d_j - 2 min(l_i, …, l_{j-1}): a running minimum, for the leaves stand in pre-order.

    Source:
        SAT (arXiv 2404.07471), section 3.1; with `link`, the variant of its code that adds an edge between
        neighbouring leaves and one between each leaf and the one it is linked to.

    Args:
        depth: int [B, L], edges between the root and each leaf, L at least 1; any value where padded.
        lca_depth: int [B, L - 1], depth of the lowest common ancestor of leaves j and j + 1.
        link: int [B, L], an earlier leaf (the identifier's last occurrence), -1 for none; None for the
            distances in the tree alone.

    Returns:
        int32 [B, L, L]; rows and columns of padding mean nothing.

    Example:
        >>> pairwise_distances(torch.tensor([[2, 2, 1]]), torch.tensor([[1, 0]])).tolist()
        [[[0, 2, 3], [2, 0, 3], [3, 3, 0]]]
    """
    depth, lca_depth = depth.int(), lca_depth.int()
    num_leaves = depth.shape[1]
    # Row i holds l_i, l_{i+1}, … from column i + 1 on, and before it what no minimum takes.
    after = torch.ones(num_leaves, num_leaves, dtype=torch.bool, device=depth.device).triu(1)
    previous = nn.functional.pad(lca_depth, (1, 0))[:, None, :].expand(-1, num_leaves, -1)
    lowest = _running_minimum(previous.masked_fill(~after, torch.iinfo(torch.int32).max))
    lowest = torch.minimum(lowest, lowest.mT)
    lowest.diagonal(dim1=1, dim2=2).copy_(depth)
    distances = depth[:, :, None] + depth[:, None, :] - 2 * lowest
    return distances if link is None else _shortcut(distances, link.long())


def _running_minimum(values: Tensor) -> Tensor:
    """Return the minimum up to each place of the last dimension, by doubling: `cummin` finds places too."""
    reach = 1
    while reach < values.shape[-1]:
        longer = values.clone()
        torch.minimum(values[..., reach:], values[..., :-reach], out=longer[..., reach:])
        values, reach = longer, 2 * reach
    return values


def _shortcut(distances: Tensor, link: Tensor) -> Tensor:
    """Shorten distances by the edges between neighbours and along links (Floyd and Warshall's recursion)."""
    num_leaves = distances.shape[1]
    places = torch.arange(num_leaves, device=distances.device)
    edge = (places[:, None] - places).abs().eq(1) | link[:, :, None].eq(places)  # BLL
    distances = distances.masked_fill(edge | edge.mT, 1)
    for k in range(num_leaves):
        distances = torch.minimum(distances, distances[:, :, k, None] + distances[:, k, None, :])
    return distances


def _of_sub_tokens(leaf_distances: Tensor, leaf: Tensor) -> Tensor:
    """Spread distances [B, L, L] of leaves over sub-tokens: [B, S, S], 0 where one has no leaf."""
    index = leaf.long().clamp_min(0)
    has_leaf = leaf >= 0
    example = torch.arange(len(leaf), device=leaf.device)[:, None, None]
    distances = leaf_distances[example, index[:, :, None], index[:, None, :]]
    return distances.masked_fill(~(has_leaf[:, :, None] & has_leaf[:, None, :]), 0)
