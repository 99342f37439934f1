from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
import torch
from geomloss import SamplesLoss
from torch import Tensor

from codeft.losses.structure import StructureLoss, StructureLossTerm, pairwise_distances
from codeft.syntax.distance import leaf_distances
from codeft.syntax.tree import parse
from codeft.types import CodeftError, ModelOutput

SOURCES = (
    ("def f(x):\n    return g(x, [1, 2])\n", "python"),
    ("int f(int i) { if (i > 0) return f(i - 1); return 0; }", "java"),
    ("x", "python"),
    ("", "python"),
)


def padded(rows: list[np.ndarray], width: int, value: int) -> Tensor:
    return torch.stack(
        [torch.tensor(np.pad(row, (0, width - len(row)), constant_values=value)) for row in rows]
    )


def tree_batch(length: int, num_leaves: int = 40) -> dict[str, Tensor]:
    """Two real trees, one with a single leaf, one with none; sub-token s belongs to leaf s - 1, 5 to none."""
    trees = [parse(*source) for source in SOURCES]
    leaf = torch.full((len(trees), length), -1)
    for row, tree in zip(leaf, trees, strict=True):
        used = min(len(tree), 20)
        row[1 : 1 + used] = torch.arange(used)
        row[5] = -1
    return {
        "leaf": leaf,
        "depth": padded([tree.depths for tree in trees], num_leaves, 7),
        "lca_depth": padded([tree.lca_depths for tree in trees], num_leaves - 1, 7),
    }


def random_attention(batch: int, heads: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (2 * torch.randn(batch, heads, length, length, generator=generator)).softmax(dim=-1)


def test_distances_are_the_tree_s() -> None:
    trees = [parse(*source) for source in SOURCES]
    depth = padded([tree.depths for tree in trees], 40, 3)
    distances = pairwise_distances(depth, padded([tree.lca_depths for tree in trees], 39, 9))
    for tree, row in zip(trees, distances, strict=True):
        np.testing.assert_array_equal(row[: len(tree), : len(tree)].numpy(), leaf_distances(tree))


def test_links_shorten_as_edges_of_a_graph_do() -> None:
    tree = parse(*SOURCES[1])
    texts = [SOURCES[1][0][start:end] for start, end in zip(tree.starts, tree.ends, strict=True)]
    link = [
        i - 1 - texts[:i][::-1].index(t) if t == "i" and t in texts[:i] else -1 for i, t in enumerate(texts)
    ]
    graph = nx.Graph()
    distances = leaf_distances(tree)
    for i in range(len(tree)):
        graph.add_weighted_edges_from((i, j, int(distances[i, j])) for j in range(i))
    graph.add_weighted_edges_from((i, i - 1, 1) for i in range(1, len(tree)))
    graph.add_weighted_edges_from((i, j, 1) for i, j in enumerate(link) if j >= 0)
    expected = dict(nx.all_pairs_dijkstra_path_length(graph))
    ours = pairwise_distances(
        torch.tensor(tree.depths)[None], torch.tensor(tree.lca_depths)[None], link=torch.tensor([link])
    )[0]
    assert ours.tolist() == [[expected[i][j] for j in range(len(tree))] for i in range(len(tree))]
    assert (ours.numpy() < distances).any()


def test_loss_is_the_mean_divergence_of_restricted_rows() -> None:
    """The slow, obvious version: one example and one head after another, through GeomLoss."""
    batch, loss = tree_batch(24), StructureLoss()
    attention = random_attention(4, 3, 24).requires_grad_()
    expected = torch.zeros(())
    for example, source in enumerate(SOURCES[:2]):
        leaf = batch["leaf"][example]
        keep = (leaf >= 0).nonzero().flatten()
        distances = torch.tensor(leaf_distances(parse(*source)))[leaf[keep]][:, leaf[keep]]
        structure = (loss.slope * distances + loss.offset).expand(3, -1, -1).contiguous()
        rows = attention[example][:, keep][:, :, keep]
        rows = rows / rows.sum(dim=-1, keepdim=True)
        geomloss = SamplesLoss("sinkhorn", p=2, blur=0.05, scaling=0.5, backend="tensorized")
        expected = expected + geomloss(rows, structure).sum()
    expected = expected / (4 * 3)
    parameters = (attention, loss.slope, loss.offset)
    value = loss(attention, **batch)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
    for ours, theirs in zip(
        torch.autograd.grad(value, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()
        assert theirs.norm() > 0


def causal_attention(batch: int, heads: int, length: int) -> Tensor:
    """What a decoder-only model has, most of it on the first sub-token, which has no leaf."""
    scores = random_attention(batch, heads, length).log()
    scores[..., 0] += 6.0
    return scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf).softmax(dim=-1)


def test_causal_loss_compares_what_each_sub_token_has_seen() -> None:
    """The slow, obvious version: row by row, entry by entry."""
    batch, loss = tree_batch(24), StructureLoss()
    attention = causal_attention(4, 3, 24).requires_grad_()
    expected = torch.zeros(())
    for example, source in enumerate(SOURCES[:2]):
        leaf = batch["leaf"][example]
        keep = [place for place in range(24) if leaf[place] >= 0]
        n, distances = len(keep), leaf_distances(parse(*source))
        rows, structure = torch.zeros(3, n, n), torch.zeros(3, n, n)
        for head in range(3):
            for i in range(n):
                seen = sum(attention[example, head, keep[i], keep[j]] for j in range(i + 1))
                for j in range(i + 1):
                    weight = attention[example, head, keep[i], keep[j]]
                    rows[head, i, j] = weight / seen * (i + 1) / n
                    distance = int(distances[leaf[keep[i]], leaf[keep[j]]])
                    structure[head, i, j] = loss.slope * distance + loss.offset
        geomloss = SamplesLoss("sinkhorn", p=2, blur=0.05, scaling=0.5, backend="tensorized")
        expected = expected + geomloss(rows, structure).sum()
    expected = expected / (4 * 3)
    parameters = (attention, loss.slope, loss.offset)
    value = loss(attention, **batch, causal=True)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
    for ours, theirs in zip(
        torch.autograd.grad(value, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()
        assert theirs.norm() > 0


def test_causal_loss_doesnt_read_what_comes_later() -> None:
    loss, attention = StructureLoss(), causal_attention(4, 3, 24)
    later = attention + torch.rand(24, 24).triu(1)
    value = loss(attention, **tree_batch(24), causal=True)
    torch.testing.assert_close(loss(later, **tree_batch(24), causal=True), value, rtol=0, atol=0)
    assert loss(later, **tree_batch(24)) != value


def test_a_causal_row_is_of_an_entry_s_size_however_short() -> None:
    """Even attention, and a tree all of whose distances are the mean: nothing is left to teach."""
    loss, length = StructureLoss(), 24
    even = torch.ones(1, 1, length, length).tril()
    even = even / even.sum(dim=-1, keepdim=True)
    leaf = torch.arange(length)[None]
    flat = {"depth": torch.full((1, length), 1), "lca_depth": torch.zeros(1, length - 1)}
    with torch.no_grad():
        loss.slope.zero_()
        loss.offset.fill_(1 / length)
    assert loss(even, leaf=leaf, **flat, causal=True).abs() < 1e-6


def test_causal_attention_has_no_reference() -> None:
    with pytest.raises(CodeftError, match="causal: take method=sat"):
        StructureLoss(reference=True)(causal_attention(4, 3, 24), **tree_batch(24), causal=True)


@pytest.mark.parametrize("causal", [False, True])
def test_padding_and_batch_mates_change_nothing(causal: bool) -> None:
    loss, attention = StructureLoss(), random_attention(4, 3, 24)
    short = loss(attention, **tree_batch(24), causal=causal)
    wide = torch.full((4, 3, 40, 40), 0.3)  # what stands in the padding doesn't matter
    wide[:, :, :24, :24] = attention
    wider = loss(wide, **tree_batch(40, num_leaves=60), causal=causal)
    torch.testing.assert_close(wider, short, rtol=1e-5, atol=0)
    batch = tree_batch(24)
    alone = [
        loss(attention[i : i + 1], **{k: v[i : i + 1] for k, v in batch.items()}, causal=causal)
        for i in range(4)
    ]
    torch.testing.assert_close(torch.stack(alone).mean(), short, rtol=1e-5, atol=0)


@pytest.mark.parametrize("causal", [False, True])
def test_two_sub_tokens_with_a_leaf_are_enough(causal: bool) -> None:
    """One distance is the least there is to learn. The slow version is that of the tests above."""
    loss, leaf = StructureLoss(), torch.tensor([[-1, 0, -1, 1, -1]])
    attention = (causal_attention if causal else random_attention)(1, 2, 5)
    with torch.no_grad():
        rows = attention[0][:, [1, 3]][:, :, [1, 3]]
        rows = rows / rows.sum(dim=-1, keepdim=True)
        near, far = loss.offset, 4 * loss.slope + loss.offset
        structure = torch.stack([torch.stack([near, far]), torch.stack([far, near])])
        if causal:
            rows, structure = rows * torch.tensor([[0.5], [1.0]]), structure.tril()
        geomloss = SamplesLoss("sinkhorn", p=2, blur=0.05, scaling=0.5, backend="tensorized")
        expected = geomloss(rows.contiguous(), structure.expand(2, -1, -1).contiguous()).mean()
        tree = {"depth": torch.tensor([[2, 2]]), "lca_depth": torch.tensor([[0]])}
        value = loss(attention, leaf=leaf, **tree, causal=causal)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
    assert value > 1e-3


@pytest.mark.parametrize("num_used", [0, 1])
def test_without_leaves_the_loss_is_0_and_has_a_gradient(num_used: int) -> None:
    loss = StructureLoss()
    leaf = torch.full((2, 6), -1)
    leaf[:, 2 : 2 + num_used] = 0
    attention = random_attention(2, 3, 6).requires_grad_()
    depth = torch.zeros(2, 1, dtype=torch.int16)
    value = loss(attention, leaf=leaf, depth=depth, lca_depth=torch.zeros(2, 0, dtype=torch.int16))
    assert value == 0
    value.backward()
    assert loss.slope.grad == 0 and loss.offset.grad == 0


@pytest.mark.parametrize("causal", [False, True])
def test_gradient_is_finite_where_attention_avoids_all_leaves(causal: bool) -> None:
    attention = torch.zeros(4, 2, 24, 24)
    attention[..., 0] = 1.0
    attention.requires_grad_()
    StructureLoss()(attention, **tree_batch(24), causal=causal).backward()
    assert attention.grad.isfinite().all()


def test_start_favours_near_leaves_at_attention_s_scale() -> None:
    loss = StructureLoss()
    near, far = loss.slope * 0 + loss.offset, loss.slope * 12 + loss.offset
    assert near > far > 0
    assert 1 / 100 < loss.slope * 6.8 + loss.offset < 1 / 20


def test_reference_is_the_authors_arithmetic() -> None:
    batch, num_heads, length = tree_batch(24), 3, 24
    loss = StructureLoss(reference=True)
    attention = random_attention(4, num_heads, length)
    trees = [parse(*source) for source in SOURCES]
    distances = torch.zeros(4, length, length)
    for example, tree in enumerate(trees):
        matrix, leaf = leaf_distances(tree), batch["leaf"][example]
        for i in range(length):
            for j in range(length):
                if leaf[i] >= 0 and leaf[j] >= 0:
                    distances[example, i, j] = int(matrix[leaf[i], leaf[j]])
    structure = loss.slope * distances + loss.offset
    maps = [attention[example, head] for head in range(num_heads) for example in range(4)]
    bridges = [structure[example] for example in range(4) for _ in range(num_heads)]
    geomloss = SamplesLoss("sinkhorn", p=2, blur=0.05, scaling=0.5, backend="tensorized")
    expected = geomloss(torch.stack(maps), torch.stack(bridges)).sum() / (num_heads * length**2)
    torch.testing.assert_close(loss(attention, **batch), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("causal", [False, True])
def test_one_head_is_as_a_layer_of_one_head(causal: bool) -> None:
    loss = StructureLoss(multi_head_loss=0)
    attention = (causal_attention if causal else random_attention)(4, 3, 24).requires_grad_()
    value = loss(attention, **tree_batch(24), causal=causal)
    alone = StructureLoss()(attention[:, :1], **tree_batch(24), causal=causal)
    torch.testing.assert_close(value, alone, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(value, attention)
    assert gradient[:, 0].norm() > 0 and not gradient[:, 1:].any()


def test_one_head_of_the_reference_meets_its_own_tree() -> None:
    """The slow, obvious version: example by example and entry by entry, one GeomLoss for the whole batch."""
    batch, length = tree_batch(24), 24
    loss = StructureLoss(reference=True, multi_head_loss=0)
    attention = random_attention(4, 3, length).requires_grad_()
    bridges = []
    for source, leaf in zip(SOURCES, batch["leaf"].tolist(), strict=True):
        matrix, rows = leaf_distances(parse(*source)), []
        for mine in leaf:
            row = [int(matrix[mine, other]) if min(mine, other) >= 0 else 0 for other in leaf]
            rows.append(torch.stack([loss.slope * distance + loss.offset for distance in row]))
        bridges.append(torch.stack(rows))
    maps = torch.stack([attention[example, 0] for example in range(4)])
    geomloss = SamplesLoss("sinkhorn", p=2, blur=0.05, scaling=0.5, backend="tensorized")
    expected = geomloss(maps, torch.stack(bridges)).sum() / length**2
    value = loss(attention, **batch)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
    parameters = (attention, loss.slope, loss.offset)
    for ours, theirs in zip(
        torch.autograd.grad(value, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()
        assert theirs.norm() > 0


def test_reference_starts_between_minus_1_and_1() -> None:
    losses = [StructureLoss(reference=True) for _ in range(30)]
    values = torch.stack([value.detach() for loss in losses for value in (loss.slope, loss.offset)])
    assert values.abs().max() <= 1 and values.std() > 0.3


def test_float32_under_autocast() -> None:
    loss, attention = StructureLoss(), random_attention(4, 3, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(attention, **tree_batch(24))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(attention, **tree_batch(24)))


def test_term_reads_the_batch_and_says_what_it_lacks() -> None:
    term, batch = StructureLossTerm(weight=0.1), tree_batch(24)
    features = {f"tree_{key}": value for key, value in batch.items()}
    attention = random_attention(4, 3, 24)
    value = term(ModelOutput(attention=attention), features).item()
    assert value == term.loss(attention, **batch).item() and math.isfinite(value)
    causal = term(ModelOutput(attention=attention, attention_is_causal=True), features).item()
    assert causal == term.loss(attention, **batch, causal=True).item() != value
    with pytest.raises(CodeftError, match="encoder"):
        term(ModelOutput(), features)
    with pytest.raises(CodeftError, match="tree_depth"):
        term(ModelOutput(attention=attention), {"tree_leaf": batch["leaf"]})


@pytest.mark.parametrize("depth", [10, 2_000, 50_000])
def test_a_deep_tree_beside_padding_has_the_gradient_that_it_has_alone(depth):
    """A sum of thousands of terms: behind five leaves of the head, leaf j hangs `depth` - j levels down."""
    torch.manual_seed(0)
    loss, length, nums = StructureLoss(), 48, (10, 48)
    leaf, depths = torch.full((2, length), -1), torch.full((2, length), 2)
    for row, (num, deepest) in enumerate(zip(nums, (depth, 10), strict=True)):
        leaf[row, :num] = torch.arange(num)
        depths[row, 5:num] = (deepest - torch.arange(5, num)).clamp_min(2)
    lca_depth = torch.where(torch.arange(length - 1) < 5, 1, depths[:, 1:] - 1)
    scores = torch.randn(2, 4, length, length)

    def gradients(rows, size):
        x = scores[rows, :, :size, :size].clone().requires_grad_()
        hidden = torch.stack([torch.arange(size) >= num for num in nums])[rows]
        attention = x.masked_fill(hidden[:, None, None], -torch.inf).softmax(-1)
        value = loss(
            attention,
            leaf=leaf[rows, :size],
            depth=depths[rows, :size],
            lca_depth=lca_depth[rows, : size - 1],
        )
        return torch.autograd.grad(value * len(x), x)[0]

    together = gradients(slice(0, 2), length)
    assert together.isfinite().all()
    alone = gradients(slice(0, 1), nums[0])[0]
    found = together[0, :, : nums[0], : nums[0]]
    torch.testing.assert_close(found, alone, rtol=1e-2, atol=1e-3 * alone.abs().max().item())
