from __future__ import annotations

import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from codeft.metrics.bootstrap import mean_of_rows, paired_bootstrap
from codeft.metrics.scoring import COMPLETION_SCORERS, TEXT_SCORERS
from codeft.types import CodeftError

SCORERS = {**{f"completion {k}": v for k, v in COMPLETION_SCORERS.items()}, **TEXT_SCORERS}


def systems(rows: int = 120) -> tuple[list[str], list[str], list[str]]:
    rng = random.Random(0)
    words = ["if", "(", "x", ")", "return", "y", ";", "else", "z", "=", "x", "+", "1", "getName"]
    gold = [" ".join(rng.choices(words, k=rng.randint(0, 20))) for _ in range(rows)]

    def spoil(text: str, share: float) -> str:
        return " ".join(word for word in text.split() if rng.random() > share)

    return gold, [spoil(text, 0.3) for text in gold], [spoil(text, 0.25) for text in gold]


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
def test_sums_over_rows_make_the_score(scorer):
    gold, first, _ = systems()
    statistics = scorer.statistics(first, gold)
    assert statistics.value() == pytest.approx(scorer.function(first, gold), rel=1e-12)
    some = [5, 5, 0, 17, 80]
    again = scorer.function([first[i] for i in some], [gold[i] for i in some])
    assert statistics.combine(statistics.rows[some].sum(0)) == pytest.approx(again, rel=1e-12)
    many = statistics.combine(np.stack([statistics.rows.sum(0), statistics.rows[some].sum(0)]))
    assert many == pytest.approx([statistics.value(), again], rel=1e-12)


def test_a_corpus_score_is_resampled_as_one():
    """Against a slow loop that scores each drawn corpus."""
    gold, first, second = systems(40)
    scorer = TEXT_SCORERS["corpus_bleu"]
    found = paired_bootstrap(
        {"bleu": scorer.statistics(first, gold)},
        {"bleu": scorer.statistics(second, gold)},
        num_samples=60,
        seed=1,
    )["bleu"]
    generator, differences = np.random.default_rng(1), []
    for size in (50, 10):
        for drawn in generator.integers(40, size=(size, 40)):
            texts = [[system[i] for i in drawn] for system in (gold, first, second)]
            differences.append(scorer.function(texts[2], texts[0]) - scorer.function(texts[1], texts[0]))
    low, high = np.percentile(differences, [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    seen = scorer.function(second, gold) - scorer.function(first, gold)
    assert found.difference == pytest.approx(seen)
    extreme = sum(abs(d - np.mean(differences)) >= abs(seen) for d in differences)
    assert found.p == (extreme + 1) / 61


def test_p_is_near_sacrebleu_s():
    gold, first, second = systems()
    own = paired_bootstrap(
        {"sacrebleu": TEXT_SCORERS["sacrebleu"].statistics(first, gold)},
        {"sacrebleu": TEXT_SCORERS["sacrebleu"].statistics(second, gold)},
    )["sacrebleu"]
    _, scores = PairedTest(
        [("first", first), ("second", second)], {"BLEU": BLEU(force=True)}, [gold], "bs", 1000
    )()
    assert own.p == pytest.approx(scores["BLEU"][1].p_value, abs=0.05)


def test_equal_systems_do_not_differ():
    gold, first, _ = systems()
    statistics = {name: scorer.statistics(first, gold) for name, scorer in TEXT_SCORERS.items()}
    for difference in paired_bootstrap(statistics, statistics).values():
        assert (difference.difference, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_is_seeded_and_refuses_other_rows():
    a = {"x": mean_of_rows(np.arange(50) % 2)}
    b = {"x": mean_of_rows(np.arange(50) % 3), "y": mean_of_rows(np.ones(50))}
    assert paired_bootstrap(a, b) == paired_bootstrap(a, b) != paired_bootstrap(a, b, seed=1)
    assert paired_bootstrap(a, b).keys() == {"x"}
    with pytest.raises(CodeftError, match=r"\[49, 50\] rows"):
        paired_bootstrap(a, {"x": mean_of_rows(np.ones(49))})


def test_the_null_is_kept():
    """Two systems of equal worth are told apart at 5% about one time in twenty."""
    rng = np.random.default_rng(0)
    p = [
        paired_bootstrap(
            {"x": mean_of_rows(rng.random(60) < 0.5)},
            {"x": mean_of_rows(rng.random(60) < 0.5)},
            num_samples=200,
        )["x"].p
        for _ in range(200)
    ]
    assert 0.01 < np.mean(np.asarray(p) < 0.05) < 0.11
