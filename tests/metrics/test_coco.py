"""METEOR, ROUGE-L and CIDEr against the package called directly; METEOR where there is Java."""

from __future__ import annotations

import shutil
from importlib import util

import numpy as np
import pytest

from codeft.metrics import METEOR, CIDEr, RougeL, cider, coco, meteor, rouge_l
from codeft.metrics.scoring import COCO_SCORERS, score_texts
from codeft.types import CodeftError

PREDICTIONS = [
    "return the name of the user",
    "gets thing",
    "",
    "Opens  a file | for reading .",
    "the cars sped",
    "a b c d",
    "same text here",
    "ünï cödé \u3000 x",
]
REFERENCES = [
    "returns the name of the user .",
    "obtains the thing quickly",
    "close it",
    "opens the file for reading .",
    "automobiles speed",
    "a b x c d",
    "same text here",
    "ünï code x",
]

package = pytest.mark.skipif(util.find_spec("pycocoevalcap") is None, reason="needs the extra coco")
java = pytest.mark.skipif(shutil.which("java") is None, reason="METEOR needs Java")


def by_row(texts: list[str]) -> dict[int, list[str]]:
    return {row: [text] for row, text in enumerate(texts)}


@package
def test_equal_the_package() -> None:
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    wanted, rows = Rouge().compute_score(by_row(REFERENCES), by_row(PREDICTIONS))
    assert rouge_l(PREDICTIONS, REFERENCES) == pytest.approx(100 * wanted, rel=1e-14)
    assert coco.rouge_l_statistics(PREDICTIONS, REFERENCES).rows[:, 0].tolist() == rows.tolist()
    wanted, rows = Cider().compute_score(by_row(REFERENCES), by_row(PREDICTIONS))
    assert cider(PREDICTIONS, REFERENCES) == pytest.approx(wanted, rel=1e-14)
    assert coco.cider_statistics(PREDICTIONS, REFERENCES).rows[:, 0].tolist() == rows.tolist()


@pytest.mark.slow
@package
@java
def test_meteor_equals_the_package() -> None:
    from pycocoevalcap.meteor.meteor import Meteor

    scorer = Meteor()
    wanted, rows = scorer.compute_score(by_row(REFERENCES), by_row(PREDICTIONS))
    assert meteor(PREDICTIONS, REFERENCES) == pytest.approx(100 * wanted, rel=1e-12)
    statistics = coco.meteor_statistics(PREDICTIONS, REFERENCES)
    own = coco.meteor_of_counts(statistics.rows)
    same = np.array(PREDICTIONS) == np.array(REFERENCES)
    np.testing.assert_allclose(own, 100 * np.array(rows), rtol=1e-12, atol=1e-12)
    assert own[same].tolist() == [100.0]
    # What would break the protocol is read as blanks.
    assert meteor(["a\nb\r\nc \ud800", "x"], ["a b c", "x ||| y"]) > 0
    metric = METEOR()
    for row in zip(PREDICTIONS, REFERENCES, strict=True):
        metric.update(*([text] for text in row))
    assert metric.compute().item() == pytest.approx(100 * wanted, rel=1e-12)


@package
@pytest.mark.parametrize(("cls", "function"), [(RougeL, rouge_l), (CIDEr, cider)])
def test_metrics_over_batches_and_processes(cls, function) -> None:
    first, second, idle = cls(), cls(), cls()
    first.update(PREDICTIONS[:2], REFERENCES[:2])
    first.update(PREDICTIONS[2:3], REFERENCES[2:3])
    second.update(PREDICTIONS[3:], REFERENCES[3:])
    first.merge_state(second)
    first.merge_state(idle)
    assert first.compute().item() == pytest.approx(function(PREDICTIONS, REFERENCES), rel=1e-14)
    first.reset()
    first.update(PREDICTIONS, REFERENCES)
    assert first.compute().item() == pytest.approx(function(PREDICTIONS, REFERENCES), rel=1e-14)
    assert score_texts(PREDICTIONS, REFERENCES, names=[cls.name])["values"][cls.name] == pytest.approx(
        function(PREDICTIONS, REFERENCES)
    )


@package
def test_odd_texts() -> None:
    assert cider(["a"], ["a"]) == 0  # one row: every word stands in all references
    assert rouge_l(["", "a\tb"], ["", "a\tb"]) == 100
    with pytest.raises(CodeftError, match="at least one word"):
        cider(["a", "b"], ["", " "])
    metric = CIDEr()
    metric.update(["\ud800 a", "", "b c"], ["\ud800 a", "d", "b c"])
    assert metric.compute().item() == cider(["\ud800 a", "", "b c"], ["\ud800 a", "d", "b c"])


def test_what_they_need_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    coco._java.cache_clear()
    monkeypatch.setattr(coco, "VERSION", "1.2")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CodeftError, match="needs Java"):
        meteor(["a"], ["a"])
    monkeypatch.setattr(coco, "VERSION", "")
    for scorer in COCO_SCORERS.values():
        with pytest.raises(CodeftError, match=r"codeft\[coco\]"):
            scorer.function(["a"], ["a"])


@package
def test_a_java_that_fails_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    broken = tmp_path / "java"
    broken.write_text("#!/bin/sh\necho no such machine >&2\n")
    broken.chmod(0o755)
    coco._java.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(CodeftError, match="Java failed"):
        meteor(["a"] * 3, ["a"] * 3)


def test_none_starts_without_being_asked(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from codeft.stored.base import Files
    from codeft.stored.tasks import STORED_TASKS

    monkeypatch.setattr(coco, "_java", lambda: pytest.fail("Java was started"))
    for name in ("p", "r"):
        (tmp_path / name).write_text("return it\nfind the user\n", encoding="utf-8")
    (layout,) = STORED_TASKS["summarization"]
    scored = layout.score(Files(tmp_path / "p", tmp_path / "r"))
    assert "meteor" not in scored.scores
    assert {"rouge_l", "cider"} <= scored.scores.keys() or not coco.VERSION
    monkeypatch.setattr(coco, "VERSION", "")
    assert "rouge_l" not in layout.score(Files(tmp_path / "p", tmp_path / "r")).scores
