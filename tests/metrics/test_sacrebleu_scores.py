from __future__ import annotations

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from codeft.metrics.sacrebleu_scores import (
    CHRF_SIGNATURE,
    SACREBLEU_SIGNATURE,
    SacreBLEU,
    chrf,
    chrf_statistics,
    sacrebleu_score,
    sacrebleu_statistics,
)
from codeft.types import CodeftError

PREDICTIONS = ["returns the name of it .", "gets   a value", ""]
REFERENCES = ["returns the name of this .", "Gets a value", "no text"]


def test_equal_the_library_with_its_defaults() -> None:
    assert sacrebleu_score(PREDICTIONS, REFERENCES) == sacrebleu.corpus_bleu(PREDICTIONS, [REFERENCES]).score
    assert chrf(PREDICTIONS, REFERENCES) == sacrebleu.corpus_chrf(PREDICTIONS, [REFERENCES]).score


words = [
    "a",
    "A1",
    "x.y",
    "1.5",
    ".5",
    "5.",
    "a.,b",
    "--",
    "1-2",
    "-",
    "...",
    "²-",
    "٣.",
    "ß",
    "\ud800",
    "\x00",
]
code = ["&lt;", "&amp;quot;", "<skipped>", "foo(x);"]
pieces = st.sampled_from([*words, *code, "\n", "-\n", "\r\n", " ", "\u3000", "\x1c", "\x85"])
texts = st.one_of(
    st.lists(pieces, max_size=12).map("".join), st.lists(pieces, max_size=12).map(" ".join), st.text()
)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_rows_are_the_library_s(pairs) -> None:
    predictions, references = map(list, zip(*pairs, strict=True))
    wanted = BLEU(force=True)._extract_corpus_statistics(predictions, [references])
    assert sacrebleu_statistics(predictions, references).rows.tolist() == wanted
    wanted = CHRF()._extract_corpus_statistics(predictions, [references])
    assert chrf_statistics(predictions, references).rows.tolist() == wanted
    metric = SacreBLEU()
    metric.update(predictions, references)
    assert metric.compute().item() == sacrebleu_score(predictions, references)


def test_signatures_name_the_variant() -> None:
    version = sacrebleu.__version__
    assert f"sacrebleu|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}" == SACREBLEU_SIGNATURE
    assert f"chrf|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{version}" == CHRF_SIGNATURE


@pytest.mark.parametrize("metric", [sacrebleu_score, chrf])
def test_wild_text(metric) -> None:
    assert 0 <= metric(["\ud800 \x00\r\n\u2028", ""], ["x", "y"]) <= 100
    with pytest.raises(CodeftError, match="got none"):
        metric([], [])
