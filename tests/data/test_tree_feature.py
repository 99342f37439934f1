from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.data.tree_feature import TreeFeature
from codeft.losses.structure import pairwise_distances
from codeft.syntax import align, leaf_distances, parse, sast_distances
from codeft.types import Encoding, Example

JAVA = "int f(int count) { return count > 0 ? f(count - 1) : 0; }"


def encoded(source: str, *, width: int = 3, cut: int | None = None) -> Encoding:
    """Sub-tokens of a fixed width between two special tokens, all after `cut` cut off."""
    starts = np.arange(0, len(source), width)[:cut]
    spans = np.stack([starts, np.minimum(starts + width, len(source))], axis=1).astype(np.int32)
    offsets = np.concatenate([[[-1, -1]], spans.reshape(-1, 2), [[-1, -1]]]).astype(np.int32)
    return Encoding(np.zeros(len(offsets), dtype=np.int32), offsets)


def compute(source: str, lang: str, *, sast: bool = False, cut: int | None = None) -> dict[str, np.ndarray]:
    return TreeFeature(sast=sast).compute(Example("1", source, lang=lang), encoded(source, cut=cut))


@pytest.mark.parametrize("cut", [None, 9])
def test_batch_holds_each_example_s_distances(cut: int | None) -> None:
    """A source that is cut keeps the distances of its whole tree."""
    feature = TreeFeature()
    sources = ((JAVA, "java"), ("x = f(x)\n", "python"))
    arrays = [compute(*source, cut=cut) for source in sources]
    batch = feature.collate(arrays, length=30)
    assert batch["tree_leaf"].shape == (2, 30)
    distances = pairwise_distances(batch["tree_depth"], batch["tree_lca_depth"])
    for source, leaf, matrix in zip(sources, batch["tree_leaf"], distances, strict=True):
        used = leaf[leaf >= 0]
        assert len(used) > 1 and leaf[0] == -1 and leaf[-1] == -1
        expected = leaf_distances(parse(*source))[np.ix_(used, used)]
        np.testing.assert_array_equal(matrix[used][:, used].numpy(), expected)


def test_leaves_behind_the_cut_are_left_out() -> None:
    whole, cut = compute(JAVA, "java"), compute(JAVA, "java", cut=5)
    assert len(cut["tree_depth"]) == cut["tree_leaf"].max() + 1 < len(whole["tree_depth"])
    assert len(cut["tree_lca_depth"]) == len(cut["tree_depth"]) - 1


@pytest.mark.parametrize(
    ("source", "lang"),
    [
        (JAVA, "java"),
        ("def f(x, y=None):\n    return f(x, 'x') or y\n", "python"),
        ("<?php function f($a) { return $a + f($a->b); }", "php"),
        ("def f(x)\n  @x = X.new(x)\n  @x\nend", "ruby"),
        ("func f(a int) int { return a + f(a) }", "go"),
    ],
)
def test_links_give_the_distances_with_shortcuts(source: str, lang: str) -> None:
    feature, tree = TreeFeature(sast=True), parse(source, lang)
    spans = np.stack([tree.starts, tree.ends], axis=1)  # each leaf a sub-token, so that all are kept
    encoding = Encoding(np.zeros(len(tree), dtype=np.int32), spans)
    arrays = feature.compute(Example("1", source, lang=lang), encoding)
    batch = feature.collate([arrays], length=len(tree))
    ours = pairwise_distances(batch["tree_depth"], batch["tree_lca_depth"], link=batch["tree_link"])[0]
    np.testing.assert_array_equal(ours.numpy(), sast_distances(tree, source))
    assert (ours.numpy() < leaf_distances(tree)).any()


@pytest.mark.parametrize(("source", "lang"), [("Some prose.", ""), ("", "python"), ("   \n# note", "python")])
def test_without_leaves_nothing_belongs_to_one(source: str, lang: str) -> None:
    arrays = compute(source, lang, sast=True)
    assert (arrays["tree_leaf"] == -1).all()
    batch = TreeFeature(sast=True).collate([arrays], length=8)
    assert (
        pairwise_distances(batch["tree_depth"], batch["tree_lca_depth"], link=batch["tree_link"]).shape[0]
        == 1
    )


def test_example_takes_2_kilobytes_at_most() -> None:
    source = "def f(a):\n" + "".join(f"    b{i} = a[{i}] + 1\n" for i in range(200))
    starts = np.arange(256)
    encoding = Encoding(np.zeros(256, dtype=np.int32), np.stack([starts * 3, starts * 3 + 3], axis=1))
    arrays = TreeFeature().compute(Example("1", source, lang="python"), encoding)
    assert sum(array.nbytes for array in arrays.values()) <= 2048


@settings(deadline=None, max_examples=40)
@given(
    source=st.text(max_size=60), lang=st.sampled_from(["python", "java", "php", "ruby"]), sast=st.booleans()
)
def test_any_text_gives_a_batch(source: str, lang: str, sast: bool) -> None:
    feature = TreeFeature(sast=sast)
    batch = feature.collate([compute(source, lang, sast=sast), compute(JAVA, "java", sast=sast)], length=64)
    num_leaves = batch["tree_depth"].shape[1]
    assert batch["tree_leaf"].max() < num_leaves and batch["tree_lca_depth"].shape == (2, num_leaves - 1)


def test_no_more_leaves_than_sub_tokens_are_kept() -> None:
    """A sub-token may hold a hundred leaves (`))))…`), and what is made of them grows with their square."""
    source = "x = " + "-" * 400 + "f(" + "(" * 300 + "y" + ")" * 301
    encoding = encoded(source, width=64)
    feature = TreeFeature()
    arrays = feature.compute(Example("1", source, lang="python"), encoding)
    assert 1 < len(arrays["tree_depth"]) <= len(encoding.offsets)
    batch = feature.collate([arrays], length=len(encoding.offsets))
    distances = pairwise_distances(batch["tree_depth"], batch["tree_lca_depth"])[0].numpy()
    tree = parse(source, "python")
    owned, kept = align(tree, encoding.offsets), arrays["tree_leaf"]
    real = owned >= 0
    assert (real == (kept >= 0)).all()
    expected = leaf_distances(tree)[np.ix_(owned[real], owned[real])]
    np.testing.assert_array_equal(distances[np.ix_(kept[real], kept[real])], expected)
