from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_f1_score, binary_precision, binary_recall

from codeft.metrics import (
    F1,
    Accuracy,
    Precision,
    Recall,
    accuracy,
    best_threshold,
    f1,
    majority_accuracy,
    precision,
    recall,
)
from codeft.metrics.classification import probabilities
from codeft.types import CodeftError

CLASSES = {Accuracy: accuracy, F1: f1, Precision: precision, Recall: recall}
probability = st.sampled_from(["0", "1", "0.5", "0.25", "0.75", "0.500001"])
rows = st.lists(st.tuples(probability, st.sampled_from(["0", "1"])), min_size=1, max_size=12)


@settings(deadline=None)
@given(rows, st.sampled_from([0.5, 0.25, 0.0]))
def test_scores_are_torchmetrics_(rows, threshold):
    said, true = zip(*rows, strict=True)
    preds, target = torch.tensor([float(p) for p in said]), torch.tensor([int(r) for r in true])
    for own, library in ((f1, binary_f1_score), (precision, binary_precision), (recall, binary_recall)):
        expected = library(preds, target, threshold=threshold).item()
        assert own(said, true, threshold=threshold) == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(rows)
def test_no_threshold_is_better_than_the_best(rows):
    said, true = zip(*rows, strict=True)
    best = best_threshold(said, true)
    tried = [f1(said, true, threshold=float(t)) for t in {*said, "0", "1"}]
    assert f1(said, true, threshold=best) == pytest.approx(max(tried))


@settings(deadline=None)
@given(rows, st.integers(0, 12))
def test_classes_over_processes(rows, cut):
    for cls, function in CLASSES.items():
        first, second = cls(), cls()
        for metric, part in ((first, rows[:cut]), (second, rows[cut:])):
            metric.update([p for p, _ in part], [r for _, r in part])
        first.merge_state(second)
        assert first.compute().item() == function(*zip(*rows, strict=True))


def test_half_is_no():
    """As the published scripts have it: more than the threshold."""
    assert f1(["0.5"], ["1"]) == 0
    assert f1(["0.5"], ["1"], threshold=0.4) == 1


def test_nothing_found_is_0():
    assert (f1(["0"], ["1"]), precision(["0"], ["1"]), recall(["0"], ["0"])) == (0, 0, 0)


def test_majority():
    assert majority_accuracy(["1", "1", "0"]) == pytest.approx(200 / 3)
    assert majority_accuracy(["0"]) == 100
    with pytest.raises(CodeftError, match="nothing to score"):
        majority_accuracy([])


def test_a_tuned_threshold_has_its_own_name():
    assert (F1.name, F1.signature) == ("f1", "f1|class:1|threshold:>0.5|range:0-1|v:1")
    tuned = F1(threshold=0.125)
    assert tuned.name == "f1_tuned"
    assert "threshold:>0.125(dev-tuned)" in tuned.signature
    tuned.update(["0.2", "0.1"], ["1", "0"])
    assert tuned.compute() == 1
    with pytest.raises(CodeftError, match="from 0 to 1"):
        F1(threshold=2)


@pytest.mark.parametrize("said", ["2", "-1", "yes", "", "nan", "\x00"])
def test_what_is_no_prediction(said):
    with pytest.raises(CodeftError, match="row 2: expected a label or a probability"):
        f1(["0", said], ["0", "1"])


def test_what_is_no_label():
    with pytest.raises(CodeftError, match=r"row 1: expected a label out of 0, 1, got '1\.0'"):
        accuracy(["0"], ["1.0"])
    with pytest.raises(CodeftError, match="1 predictions and 2 references"):
        accuracy(["0"], ["0", "1"])


@pytest.mark.parametrize("odd", ["0_1", "\u0661", "+1", "-0", "nan", "inf", "0x1", "", "1 "])
def test_only_plain_numbers_are_probabilities(odd):
    with pytest.raises(CodeftError, match="row 1"):
        probabilities([odd])
