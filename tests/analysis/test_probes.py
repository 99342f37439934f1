"""Probes on states that are made up: they find what was planted and nothing else, together as alone."""

from __future__ import annotations

import pytest
import torch

from codeft.analysis.probes import ClassProbes, MatchProbes, ProbeRows, Recipe, standardised, train_probes
from codeft.types import CodeftError

LAYERS, WIDTH, CLASSES = 4, 12, 3
RECIPE = Recipe(epochs=15, batch_size=32, width=8, seed=7)


def made_up(*, planted: int | None, rows: int = 240, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, and classes that one layer tells by one of its numbers; each layer has another scale."""
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(LAYERS, rows, WIDTH, generator=generator)
    labels = torch.randint(0, CLASSES, (rows,), generator=generator)
    if planted is not None:
        states[planted, :, :CLASSES] += 8 * torch.nn.functional.one_hot(labels, CLASSES)
    return states * (10.0 ** torch.arange(LAYERS))[:, None, None], labels


def splits(
    states: torch.Tensor, labels: torch.Tensor, others: torch.Tensor | None = None
) -> dict[str, ProbeRows]:
    cuts = {"train": slice(0, 140), "valid": slice(140, 190), "test": slice(190, 240)}
    parts = standardised([states[:, cut] for cut in cuts.values()])
    sides = [None] * 3 if others is None else standardised([others[:, cut] for cut in cuts.values()])
    return {
        name: ProbeRows(part, labels[cut], side)
        for (name, cut), part, side in zip(cuts.items(), parts, sides, strict=True)
    }


def class_probes(layers=(*range(LAYERS), None), recipe=RECIPE) -> ClassProbes:
    return ClassProbes(layers, num_layers=LAYERS, width=WIDTH, counts=[1] * CLASSES, recipe=recipe)


@pytest.mark.parametrize("hidden", [0, 16])
def test_a_planted_class_is_found_where_it_is(hidden):
    recipe = Recipe(epochs=15, batch_size=32, hidden=hidden)
    *single, mix = train_probes(class_probes(recipe=recipe), **splits(*made_up(planted=2)))
    assert single[2].score >= 98 and mix.score >= 96
    assert all(single[layer].score < 60 for layer in (0, 1, 3))
    assert max(range(LAYERS), key=mix.weights.__getitem__) == 2
    assert mix.weights[2] > 0.9
    assert sum(mix.weights) == pytest.approx(1)
    assert mix.layer is None and [result.layer for result in single] == list(range(LAYERS))


def test_random_labels_are_at_chance():
    scores = []
    for seed in range(6):
        states, labels = made_up(planted=None, seed=seed)
        scores += [result.score for result in train_probes(class_probes(), **splits(states, labels))]
    assert sum(scores) / len(scores) == pytest.approx(100 / CLASSES, abs=5)


@pytest.mark.parametrize("probe", [1, None])
def test_trained_together_as_alone(probe):
    """To the last digits: a product of many matrices may add up in another order than one."""
    rows = splits(*made_up(planted=1))
    together, alone = class_probes(), class_probes([probe])
    results = {result.layer: result for result in train_probes(together, **rows)}
    [result] = train_probes(alone, **rows)
    place = together.layers.index(probe)
    for name, parameter in alone.named_parameters():
        torch.testing.assert_close(parameter[0], together.get_parameter(name)[place], atol=1e-5, rtol=1e-4)
    assert result.score == results[probe].score and result.epoch == results[probe].epoch


@pytest.mark.parametrize("two_sided", [True, False])
def test_matches_trained_together_as_alone(two_sided):
    states, labels = made_up(planted=1)
    rows = splits(states, torch.arange(240) if two_sided else labels, states.flip(2) if two_sided else None)

    def probes(layers):
        return MatchProbes(layers, num_layers=LAYERS, width=WIDTH, two_sided=two_sided, recipe=RECIPE)

    together, alone = probes([0, 1, None]), probes([None])
    *_, mix = train_probes(together, **rows)
    [result] = train_probes(alone, **rows)
    for name, parameter in alone.named_parameters():
        torch.testing.assert_close(parameter[0], together.get_parameter(name)[2], atol=1e-4, rtol=1e-3)
    assert result.score == pytest.approx(mix.score, abs=1e-3)


def test_a_planted_match_is_found_where_it_is():
    """The other text's states are the row's own, its numbers in another order; elsewhere they are noise."""
    generator = torch.Generator().manual_seed(1)
    states, others = torch.randn(2, LAYERS, 240, WIDTH, generator=generator)
    others[3] = states[3].flip(1)
    rows = splits(states, torch.arange(240), others)
    probes = MatchProbes(
        (*range(LAYERS), None), num_layers=LAYERS, width=WIDTH, two_sided=True, recipe=RECIPE
    )
    *single, mix = train_probes(probes, **rows)
    assert single[3].score > 0.9 and mix.score > 0.7
    chance = sum(1 / rank for rank in range(1, 51)) / 50
    for layer in (0, 1, 2):
        assert single[layer].score == pytest.approx(chance, abs=0.07)
    assert max(range(LAYERS), key=mix.weights.__getitem__) == 3


def test_planted_problems_are_found_and_others_aren_t():
    rows = splits(*made_up(planted=2))
    probes = MatchProbes(
        (*range(LAYERS), None), num_layers=LAYERS, width=WIDTH, two_sided=False, recipe=RECIPE
    )
    *single, mix = train_probes(probes, **rows)
    assert single[2].score > 0.99 and mix.score > 0.95
    assert all(single[layer].score < 0.35 for layer in (0, 1, 3))


def test_equal_others_are_one_candidate():
    """Two codes with one tree both find it, and neither is wrong for the other."""
    states, _ = made_up(planted=None)
    labels = torch.arange(240) // 2
    states = states[:, labels]
    rows = splits(states, labels, states)
    probes = MatchProbes([3], num_layers=LAYERS, width=WIDTH, two_sided=True, recipe=RECIPE)
    [result] = train_probes(probes, **rows)
    assert result.score > 0.95


def test_a_probe_that_learns_nothing_says_the_most_frequent_class():
    states, labels = made_up(planted=None)
    labels = torch.where(torch.arange(240) % 8 == 0, labels, 1)
    recipe = Recipe(epochs=15, batch_size=32, weight_decay=0.0, lr=1e-9)
    rows = splits(states, labels)
    counts = rows["train"].labels.bincount().tolist()
    probes = ClassProbes([0, None], num_layers=LAYERS, width=WIDTH, counts=counts, recipe=recipe)
    for result in train_probes(probes, **rows):
        assert result.score == pytest.approx(100 * (rows["test"].labels == 1).float().mean().item())
        assert result.epoch == 0


def test_the_same_seed_is_the_same_result():
    rows = splits(*made_up(planted=1))
    assert train_probes(class_probes(), **rows) == train_probes(class_probes(), **rows)
    other = Recipe(epochs=15, batch_size=32, width=8, seed=8)
    assert train_probes(class_probes(recipe=other), **rows) != train_probes(class_probes(), **rows)


def test_constant_numbers_stay_finite():
    states, labels = made_up(planted=0)
    states[:, :, -1] = 3.0
    assert all(torch.isfinite(rows.states).all() for rows in splits(states, labels).values())


def test_too_few_rows_and_states_that_are_no_numbers():
    rows = splits(*made_up(planted=0))
    few = {**rows, "valid": ProbeRows(rows["valid"].states[:, :3], rows["valid"].labels[:3])}
    with pytest.raises(CodeftError, match="at least 5 rows to probe in the valid split, got 3"):
        train_probes(class_probes(), **few)
    rows["test"].states[0, 0, 0] = torch.nan
    with pytest.raises(CodeftError, match="finite hidden states"):
        train_probes(class_probes(), **rows)
