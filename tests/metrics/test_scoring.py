from __future__ import annotations

import json

import pytest

from codeft.metrics.scoring import TEXT_SCORERS, score_texts
from codeft.types import CodeftError


def test_scores_name_their_variant() -> None:
    result = score_texts(["a b", " "], ["a b", "c"], names=list(TEXT_SCORERS), sources=["a b", "c"])
    assert result["rows"] == 2
    assert result["empty_predictions"] == 1
    assert (
        set(result["values"]) == set(result["signatures"]) == set(result["naive_copy"]) == set(TEXT_SCORERS)
    )
    assert result["values"]["exact_match"] == 50
    assert result["naive_copy"]["exact_match"] == 100
    assert json.loads(json.dumps(result)) == result


def test_no_naive_copy_without_sources() -> None:
    assert "naive_copy" not in score_texts(["a"], ["a"], names=["exact_match"])


def test_names_the_nearest_metric() -> None:
    with pytest.raises(CodeftError, match="did you mean 'smoothed_bleu'"):
        score_texts(["a"], ["a"], names=["smooth_bleu"])
    with pytest.raises(CodeftError, match="1 sources and 2 references"):
        score_texts(["a", "b"], ["a", "b"], names=["exact_match"], sources=["a"])
