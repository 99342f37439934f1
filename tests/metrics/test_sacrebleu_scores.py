from __future__ import annotations

import pytest
import sacrebleu

from codeft.metrics.sacrebleu_scores import CHRF_SIGNATURE, SACREBLEU_SIGNATURE, chrf, sacrebleu_score
from codeft.types import CodeftError

PREDICTIONS = ["returns the name of it .", "gets   a value", ""]
REFERENCES = ["returns the name of this .", "Gets a value", "no text"]


def test_equal_the_library_with_its_defaults() -> None:
    assert sacrebleu_score(PREDICTIONS, REFERENCES) == sacrebleu.corpus_bleu(PREDICTIONS, [REFERENCES]).score
    assert chrf(PREDICTIONS, REFERENCES) == sacrebleu.corpus_chrf(PREDICTIONS, [REFERENCES]).score


def test_signatures_name_the_variant() -> None:
    version = sacrebleu.__version__
    assert f"sacrebleu|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}" == SACREBLEU_SIGNATURE
    assert f"chrf|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{version}" == CHRF_SIGNATURE


@pytest.mark.parametrize("metric", [sacrebleu_score, chrf])
def test_wild_text(metric) -> None:
    assert 0 <= metric(["\ud800 \x00\r\n\u2028", ""], ["x", "y"]) <= 100
    with pytest.raises(CodeftError, match="got none"):
        metric([], [])
