"""What holds for every text metric class, whatever it counts."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.metrics import (
    CHRF,
    COMPLETION_SCORERS,
    TEXT_SCORERS,
    CompletionExactMatch,
    CorpusBLEU,
    EditSimilarity,
    EditSimilarityIndel,
    ExactMatch,
    ExactMatchSplit,
    SacreBLEU,
    SmoothedBLEU,
)
from codeft.types import CodeftError

METRICS = {
    **dict.fromkeys([SmoothedBLEU, CorpusBLEU, SacreBLEU, CHRF, ExactMatch, ExactMatchSplit], TEXT_SCORERS),
    **dict.fromkeys([CompletionExactMatch, EditSimilarity, EditSimilarityIndel], COMPLETION_SCORERS),
}

texts = st.lists(st.sampled_from(["a", "b", "c", "get_id", ".", "\n", "\ud800", "\x00"]), max_size=8).map(
    " ".join
)
batches = st.lists(st.lists(st.tuples(texts, texts), max_size=4), min_size=1, max_size=5).filter(any)


def unzip(rows):
    return [p for p, _ in rows], [r for _, r in rows]


@pytest.mark.parametrize("cls", METRICS)
@settings(deadline=None, max_examples=50)
@given(batches)
def test_any_batching_equals_the_pure_function(cls, batches) -> None:
    metric = cls()
    for batch in batches:
        metric.update(*unzip(batch))
    predictions, references = unzip([row for batch in batches for row in batch])
    value = metric.compute()
    assert value.dtype == torch.float64
    assert value.item() == METRICS[cls][cls.name].function(predictions, references)


@pytest.mark.parametrize("cls", METRICS)
def test_states_of_processes_add_up(cls) -> None:
    rows = [("a b c", "a b c d"), ("x y", "x"), ("", "z"), ("p q r s t", "p q r s t")]
    first, second, idle = cls(), cls(), cls()
    first.update(*unzip(rows[:1]))
    second.update(*unzip(rows[1:]))
    first.merge_state(second)
    first.merge_state(idle)  # a process that got no batch
    expected = METRICS[cls][cls.name].function(*unzip(rows))
    assert first.compute().item() == pytest.approx(expected, rel=1e-14)
    assert {reduce.__name__ for reduce in first._reductions.values()} == {"dim_zero_sum"}


@pytest.mark.parametrize("cls", METRICS)
def test_forward_returns_the_batch_and_keeps_the_whole(cls) -> None:
    metric = cls()
    metric(["a b c d"], ["a b c x"])
    assert metric(["e f g h"], ["e f g h"]).item() == pytest.approx(100)
    expected = METRICS[cls][cls.name].function(["a b c d", "e f g h"], ["a b c x", "e f g h"])
    assert metric.compute().item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("cls", METRICS)
def test_states_keep_their_precision(cls) -> None:
    metric = cls().half()
    metric.update(["a b c"], ["a b d"])
    assert metric.compute().item() == METRICS[cls][cls.name].function(["a b c"], ["a b d"])


@pytest.mark.parametrize("cls", METRICS)
def test_says_what_it_is(cls) -> None:
    assert cls.signature.startswith(f"{cls.name}|")
    assert cls.higher_is_better


@pytest.mark.parametrize("cls", METRICS)
def test_errors(cls) -> None:
    with pytest.raises(CodeftError, match="1 predictions and 0 references"):
        cls().update(["a"], [])
    with pytest.warns(UserWarning, match="before"), pytest.raises(CodeftError, match="at least one record"):
        cls().compute()


def test_import_brings_no_lightning() -> None:
    probe = "import sys, codeft.metrics; print({'lightning', 'pytorch_lightning'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
