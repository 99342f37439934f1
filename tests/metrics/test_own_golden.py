"""Every metric on texts and rankings that come with codeft, against scores of other packages and scripts.

`golden/scores.json` says by what each number was computed. Nothing but this folder is read: the files of the
published evaluators, which aren't codeft's to ship, are in `test_golden_scores.py`.
"""

from __future__ import annotations

import difflib
import json
import re
import shutil
from importlib import util
from pathlib import Path

import pytest
import sacrebleu
import torch
from rapidfuzz import fuzz
from torchmetrics.functional import retrieval
from torchmetrics.functional.classification import binary_f1_score, binary_precision, binary_recall

from codeft.metrics import codebleu, restore_literals
from codeft.metrics.codebleu import PARTS
from codeft.stored.base import Files
from codeft.stored.tasks import STORED_TASKS

FOLDER = Path(__file__).parent / "golden"
GOLDEN = json.loads((FOLDER / "scores.json").read_text(encoding="utf-8"))
SETS = {golden["predictions"]: golden for golden in GOLDEN["sets"]}
SCORES = [(name, score) for name, golden in SETS.items() for score in golden["scores"]]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def pairs(name: str) -> tuple[list[str], list[str]]:
    return [row["prediction"] for row in rows(name)], [row["reference"] for row in rows(name)]


def ranks() -> list[int]:
    """Each query's target's place from 1, 0 where it wasn't found."""
    answers = {row["url"]: row["answers"] for row in rows("search.predictions.jsonl")}
    targets = {row["url"]: row["idx"] for row in rows("search.references.jsonl")}
    return [answers[url].index(idx) + 1 if idx in answers[url] else 0 for url, idx in targets.items()]


@pytest.fixture(scope="module")
def scored() -> dict[str, dict[str, float]]:
    """All scores of each file, as `codeft.evaluate predictions=` computes them."""
    found = {}
    for name, golden in SETS.items():
        references = FOLDER / golden["references"] if "references" in golden else None
        has_java = shutil.which("java") and util.find_spec("pycocoevalcap") and "meteor" in golden["scores"]
        files = Files(
            FOLDER / name,
            references,
            lang=golden.get("lang"),
            extra_metrics=["meteor"] if has_java else [],
            threshold=golden.get("threshold"),
        )
        layout = next(layout for layout in STORED_TASKS[golden["task"]] if layout.fits(files.predictions))
        found[name] = {key: score.value for key, score in layout.score(files).scores.items()}
        if "codebleu" in found[name]:
            score = codebleu(*pairs(name), lang=golden["lang"].split("-")[-1], mode="package")
            values = (score.codebleu, score.ngram, score.weighted_ngram, score.ast, score.dataflow)
            packaged = [part.replace("codebleu", "codebleu_package") for part in PARTS]
            found[name] |= dict(zip(packaged, values, strict=True))
    return found


@pytest.mark.parametrize(("name", "score"), SCORES, ids=lambda value: value)
def test_score(scored: dict[str, dict[str, float]], name: str, score: str) -> None:
    if score in ("rouge_l", "cider", "meteor") and util.find_spec("pycocoevalcap") is None:
        pytest.skip("needs the extra coco")
    if score == "meteor" and shutil.which("java") is None:
        pytest.skip("METEOR needs Java")
    assert scored[name][score] == pytest.approx(SETS[name]["scores"][score]["value"], rel=1e-9)


def test_nothing_that_is_scored_is_left_out(scored: dict[str, dict[str, float]]) -> None:
    for name, golden in SETS.items():
        assert set(scored[name]) <= set(golden["scores"])
    assert {value["by"] for golden in SETS.values() for value in golden["scores"].values()} == set(
        GOLDEN["by"]
    )


def test_every_metric_of_the_page_has_a_score() -> None:
    if not PAGE.is_file():
        pytest.skip("no documentation beside the tests")
    headings = re.findall(r"^###? (`.*)$", PAGE.read_text(encoding="utf-8"), re.M)
    names = {name for heading in headings for name in re.findall(r"`(\w+)`", heading)}
    names = names - {"r_at_k"} | {"r_at_1", "r_at_5", "r_at_10"}
    assert len(names) > 20
    assert names <= {score for _, score in SCORES}


@pytest.mark.parametrize(
    "name", ["summaries.jsonl", "translations.jsonl", "snippets.jsonl", "functions.jsonl"]
)
def test_sacrebleu_says_the_same(name: str) -> None:
    """The installed version: a later one may tokenise otherwise, and then the numbers are to be made anew."""
    predictions, references = pairs(name)
    golden = SETS[name]["scores"]
    assert sacrebleu.corpus_bleu(predictions, [references]).score == pytest.approx(
        golden["sacrebleu"]["value"], rel=1e-9
    )
    assert sacrebleu.corpus_chrf(predictions, [references]).score == pytest.approx(
        golden["chrf"]["value"], rel=1e-9
    )


def test_difflib_and_rapidfuzz_say_the_same() -> None:
    lines = [
        (restore_literals(prediction.strip()), restore_literals(reference.strip()))
        for prediction, reference in zip(*pairs("lines.jsonl"), strict=True)
    ]
    golden = SETS["lines.jsonl"]["scores"]
    blocks = [round(100 * difflib.SequenceMatcher(None, *line).ratio()) for line in lines]
    assert sum(blocks) / len(lines) == pytest.approx(golden["edit_similarity"]["value"], rel=1e-9)
    edits = [round(fuzz.ratio(*line)) for line in lines]
    assert sum(edits) / len(lines) == pytest.approx(golden["edit_similarity_indel"]["value"], rel=1e-9)
    assert blocks != edits


def test_torchmetrics_says_the_same_of_rankings() -> None:
    golden = SETS["search.predictions.jsonl"]["scores"]
    places = 1 / torch.arange(1, 14)  # the last one for a target that wasn't found: none of the first ten
    targets = [torch.arange(1, 14) == (rank or 13) for rank in ranks()]
    reciprocal = [
        retrieval.retrieval_reciprocal_rank(places, target) * (rank > 0)
        for target, rank in zip(targets, ranks(), strict=True)
    ]
    assert float(torch.stack(reciprocal).mean()) == pytest.approx(golden["mrr"]["value"], rel=1e-6)
    for k in (1, 5, 10):
        found = [retrieval.retrieval_hit_rate(places, target, top_k=k) for target in targets]
        assert float(torch.stack(found).mean()) == pytest.approx(golden[f"r_at_{k}"]["value"], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "label", "threshold", "suffix"),
    [
        ("clones", "label", 0.5, ""),
        ("clones", "label", SETS["clones.predictions.jsonl"]["threshold"], "_tuned"),
        ("defects", "target", 0.5, ""),
    ],
)
def test_torchmetrics_says_the_same_of_labels(name: str, label: str, threshold: float, suffix: str) -> None:
    golden = SETS[f"{name}.predictions.jsonl"]["scores"]
    made = [float(row["prediction"]) > threshold for row in rows(f"{name}.predictions.jsonl")]
    right = [row[label] for row in rows(f"{name}.references.jsonl")]
    for score, function in (
        ("f1", binary_f1_score),
        ("precision", binary_precision),
        ("recall", binary_recall),
    ):
        value = function(torch.tensor(made).int(), torch.tensor(right))
        assert float(value) == pytest.approx(golden[score + suffix]["value"], rel=1e-6)
