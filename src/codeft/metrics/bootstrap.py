"""Is one system better than another on these rows? A paired bootstrap over any score made of sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codeft.types import CodeftError

NUM_SAMPLES = 1000
SEED = 12345
_CHUNK = 50

Combine = Callable[[np.ndarray], np.ndarray]
"""From sums [..., S] over rows to scores [...]."""


@dataclass(frozen=True, slots=True)
class RowStatistics:
    """What a score needs of each row, and how their sums make the score.

    Attributes:
        rows: float64 [N, S].
        combine: From sums [..., S] over rows to scores [...].
    """

    rows: np.ndarray
    combine: Combine

    def value(self) -> float:
        """Return the score of all rows."""
        return float(self.combine(self.rows.sum(axis=0)))


@dataclass(frozen=True, slots=True)
class Difference:
    """What a paired bootstrap says of one score.

    Attributes:
        difference: The second system's score less the first's.
        low: Lower end of the 95% interval of the difference.
        high: Upper end of it.
        p: Two-sided; how often chance alone makes a difference as large.
    """

    difference: float
    low: float
    high: float
    p: float


def mean_of_rows(values: np.ndarray, *, scale: float = 1.0) -> RowStatistics:
    """Return the statistics of a mean over rows.

    Args:
        values: [N], each row's own score.
        scale: What the mean is multiplied by.

    >>> mean_of_rows(np.array([1, 0, 1, 1]), scale=100).value()
    75.0
    """
    rows = np.stack([np.asarray(values, dtype=np.float64), np.ones(len(values))], axis=1)
    return RowStatistics(rows, lambda sums: scale * sums[..., 0] / sums[..., 1])


def paired_bootstrap(
    first: Mapping[str, RowStatistics],
    second: Mapping[str, RowStatistics],
    *,
    num_samples: int = NUM_SAMPLES,
    seed: int = SEED,
) -> dict[str, Difference]:
    """Compare two systems on the same rows by resampling rows, for all scores at once.

    Each sample draws N rows with replacement, the same for both systems and all scores, and scores their
    sums: a corpus score is scored as one, not averaged over rows. The interval is the differences' 2.5th to
    97.5th percentile. p shifts the differences to a mean of 0 and counts those at least as large as the one
    seen, with 1 added to both counts.

    Source: Koehn (2004), "Statistical Significance Tests for Machine Translation Evaluation"; p after
    Riezler and Maxwell (2005), as sacrebleu has it.

    Args:
        first: The first system's statistics by score.
        second: The second's; only scores that both have are compared.
        num_samples: Samples drawn.
        seed: Equal seeds give equal results.

    Returns:
        By score, in the first's order.

    Raises:
        CodeftError: The numbers of rows differ.

    >>> a, b = mean_of_rows(np.array([0, 0, 1, 0] * 20)), mean_of_rows(np.array([1, 0, 1, 1] * 20))
    >>> difference = paired_bootstrap({"exact_match": a}, {"exact_match": b})["exact_match"]
    >>> difference.difference, difference.low > 0, difference.p < 0.01
    (0.5, True, True)
    """
    return paired_bootstrap_of_seeds([first], [second], num_samples=num_samples, seed=seed)


def paired_bootstrap_of_seeds(
    first: Sequence[Mapping[str, RowStatistics]],
    second: Sequence[Mapping[str, RowStatistics]],
    *,
    num_samples: int = NUM_SAMPLES,
    seed: int = SEED,
) -> dict[str, Difference]:
    """Compare two systems that were trained with several seeds each: over rows, and over seeds.

    Seeds' statistics are added: a mean is one over rows and seeds, a corpus score that of all seeds'
    predictions together. Rows are drawn as `paired_bootstrap` does, for all seeds alike, which says how much
    other rows would change the difference. How much other seeds would, few of them can't show by being drawn;
    it is estimated from the deviation s of the S seeds' own differences: to each sample, Student's t of S - 1
    degrees times s / sqrt(S) is added.

    Source: the t interval of a mean (Student, 1908) for the seeds, summed with the bootstrap's for the rows.

    Args:
        first: Of each seed, the first system's statistics by score.
        second: The same seeds' of the second, in the same order; scores that not all have aren't compared.
        num_samples: Samples drawn.
        seed: Equal seeds give equal results.

    Returns:
        By score, in the first's order.

    Raises:
        CodeftError: The numbers of rows differ.
    """
    runs = [*first, *second]
    names = [name for name in runs[0] if all(name in run for run in runs)]
    numbers = {len(run[name].rows) for name in names for run in runs}
    if len(numbers) > 1:
        raise CodeftError(f"expected two systems' scores of the same rows, got {sorted(numbers)} rows")
    if not names:
        return {}
    # One matrix for all, [N, all S], so that each sample's rows are drawn and summed once.
    joined = np.concatenate([run[name].rows for name in names for run in runs], axis=1)
    sums = _resampled_sums(joined, num_samples=num_samples, seed=seed)
    by_chance = _chance_of_seeds(len(first), num_samples=num_samples, seed=seed)
    compared, start = {}, 0
    for name in names:
        seen, sampled = [], []
        for system in (first, second):
            stop = start + len(system) * system[0][name].rows.shape[1]
            combine = system[0][name].combine
            sampled.append(combine(sums[:, start:stop].reshape(num_samples, len(system), -1).sum(axis=1)))
            seen.append(float(combine(sum(run[name].rows.sum(axis=0) for run in system))))
            start = stop
        of_rows = sampled[1] - sampled[0]
        of_seeds = 0.0
        if len(first) > 1:
            own = [b[name].value() - a[name].value() for a, b in zip(first, second, strict=True)]
            of_seeds = by_chance * np.std(own, ddof=1) / np.sqrt(len(own))
        compared[name] = _difference(seen[1] - seen[0], of_rows, of_seeds)
    return compared


def _chance_of_seeds(number: int, *, num_samples: int, seed: int) -> np.ndarray:
    """Return Student's t for a mean of so many seeds; float64 [num_samples]."""
    return np.random.default_rng((seed, number)).standard_t(max(1, number - 1), size=num_samples)


def standard_error(
    first: RowStatistics, second: RowStatistics, *, num_samples: int = NUM_SAMPLES, seed: int = SEED
) -> float:
    """Return the standard error of the difference of two systems' scores on the same rows.

    Source: as `paired_bootstrap`: the standard deviation of the difference over its samples.

    >>> a, b = mean_of_rows(np.array([0, 0, 1, 0] * 20)), mean_of_rows(np.array([1, 0, 1, 1] * 20))
    >>> round(standard_error(a, b), 2)  # the square root of 0.5 * 0.5 / 80
    0.06
    """
    parted = first.rows.shape[1]
    sums = _resampled_sums(np.hstack([first.rows, second.rows]), num_samples=num_samples, seed=seed)
    return float(np.std(second.combine(sums[:, parted:]) - first.combine(sums[:, :parted])))


def _resampled_sums(rows: np.ndarray, *, num_samples: int, seed: int) -> np.ndarray:
    """Return [num_samples, S]: sums over as many rows, drawn with replacement."""
    generator, num_rows = np.random.default_rng(seed), len(rows)
    sums = np.empty((num_samples, rows.shape[1]))
    for start in range(0, num_samples, _CHUNK):
        size = min(_CHUNK, num_samples - start)
        drawn = generator.integers(num_rows, size=(size, num_rows))
        drawn += np.arange(size)[:, None] * num_rows
        times = np.bincount(drawn.ravel(), minlength=size * num_rows).reshape(size, num_rows)
        sums[start : start + size] = times.astype(np.float64) @ rows
    return sums


def _difference(seen: float, of_rows: np.ndarray, of_seeds: np.ndarray | float) -> Difference:
    """Return what samples of a difference say.

    Args:
        seen: The difference itself.
        of_rows: It, in samples of the rows.
        of_seeds: What other seeds add to it in each sample.
    """
    low, high = np.percentile(of_rows + of_seeds, [2.5, 97.5])
    # Differences of equal systems are 0 but for the last digits.
    extreme = np.abs(of_rows - of_rows.mean() + of_seeds) >= abs(seen) - 1e-9
    p = (int(extreme.sum()) + 1) / (len(of_rows) + 1)
    return Difference(seen, float(low), float(high), p)


def bootstrap_signature(*, num_samples: int = NUM_SAMPLES, seed: int = SEED, of_seeds: bool = False) -> str:
    """Return how differences were tested.

    Args:
        num_samples: Samples drawn.
        seed: Of the drawing.
        of_seeds: Whether seeds were reckoned with, where there were several.

    >>> bootstrap_signature()
    'paired_bootstrap|n:1000|seed:12345|interval:95%-percentile|p:shifted-two-sided|v:1'
    >>> bootstrap_signature(of_seeds=True)
    'paired_bootstrap|n:1000|seed:12345|rows:resampled,seeds:t|interval:95%-percentile|p:shifted-two-sided|v:1'
    """
    levels = "|rows:resampled,seeds:t" if of_seeds else ""
    drawn = f"n:{num_samples}|seed:{seed}{levels}"
    return f"paired_bootstrap|{drawn}|interval:95%-percentile|p:shifted-two-sided|v:1"


def share_of(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, 0 where the whole is 0; float64 of any one shape.

    >>> share_of(np.array([1.0, 0.0]), np.array([4.0, 0.0]))
    array([0.25, 0.  ])
    """
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
