from __future__ import annotations

import math
import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from codeft.metrics.bootstrap import (
    RowStatistics,
    mean_of_rows,
    paired_bootstrap,
    paired_bootstrap_of_seeds,
    standard_error,
)
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


def test_one_seed_is_the_plain_bootstrap():
    rng = np.random.default_rng(0)
    first, second = ({"f": mean_of_rows(rng.random(50))} for _ in range(2))
    assert paired_bootstrap_of_seeds([first], [second]) == paired_bootstrap(first, second)


def test_equal_seeds_are_the_plain_bootstrap_too():
    rng = np.random.default_rng(0)
    first, second = ({"f": mean_of_rows(rng.random(50))} for _ in range(2))
    found = paired_bootstrap_of_seeds([first] * 3, [second] * 3)["f"]
    plain = paired_bootstrap(first, second)["f"]
    assert (found.difference, found.low, found.high, found.p) == pytest.approx(
        (plain.difference, plain.low, plain.high, plain.p)
    )


@pytest.mark.parametrize("num_seeds", [2, 3, 8])
def test_seeds_alone_give_the_t_interval(num_seeds):
    """Rows that are all alike: what is left is the interval of a mean of few values."""
    values = np.random.default_rng(num_seeds).normal(size=num_seeds)
    first = [{"f": mean_of_rows(np.zeros(40))} for _ in values]
    second = [{"f": mean_of_rows(np.full(40, value))} for value in values]
    found = paired_bootstrap_of_seeds(first, second, num_samples=50_000)["f"]
    assert found.difference == pytest.approx(values.mean())
    half = {2: 12.706, 3: 4.303, 8: 2.365}[num_seeds] * values.std(ddof=1) / math.sqrt(num_seeds)
    assert found.high - found.difference == pytest.approx(half, rel=0.15)
    assert found.difference - found.low == pytest.approx(half, rel=0.15)


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize("of_seeds", [0.02, 0.2, 2.0])
def test_a_difference_that_isnt_there_is_seldom_found(num_seeds, of_seeds):
    """Deviations of the seeds' means that are small, alike and large beside that of the rows', 0.13."""
    rng = np.random.default_rng(num_seeds)
    inside = significant = 0
    for _ in range(300):
        rows = rng.normal(size=60)  # hard or easy for all seeds
        runs = [{"f": mean_of_rows(rows + rng.normal(scale=of_seeds))} for _ in range(num_seeds)]
        found = paired_bootstrap_of_seeds([{"f": mean_of_rows(np.zeros(60))}] * num_seeds, runs)["f"]
        inside += found.low <= 0 <= found.high
        significant += found.p < 0.05
    assert inside / 300 > 0.91
    assert significant / 300 < 0.09


def test_a_corpus_score_is_that_of_all_seeds_together():
    counts = np.array([[1.0, 2.0], [3.0, 4.0]])
    ratio = RowStatistics(counts, lambda sums: sums[..., 0] / sums[..., 1])
    other = RowStatistics(counts + np.array([[0, 1], [1, 0]]), ratio.combine)
    found = paired_bootstrap_of_seeds([{"f": ratio}, {"f": other}], [{"f": other}, {"f": other}])["f"]
    assert found.difference == pytest.approx((5 + 5) / (7 + 7) - (4 + 5) / (6 + 7))


def test_other_rows_are_refused():
    few, many = ({"f": mean_of_rows(np.ones(n))} for n in (3, 4))
    with pytest.raises(CodeftError, match="the same rows"):
        paired_bootstrap_of_seeds([few, many], [few, many])
    with pytest.raises(CodeftError, match="the same rows"):
        paired_bootstrap_of_seeds([few], [many])


def test_a_standard_error_is_that_of_the_mean_difference():
    first, second = np.random.default_rng(2).random((2, 500))
    error = np.std(second - first) / math.sqrt(500)
    assert standard_error(mean_of_rows(first), mean_of_rows(second)) == pytest.approx(error, rel=0.08)
