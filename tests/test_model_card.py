"""What a card says of a model, and what the hub reads of it."""

from __future__ import annotations

import re

import pytest
import yaml

from codeft.cli import conf_dir
from codeft.model_card import front_matter, licence_of, model_card

RUN = {
    "task": {"max_source_length": 256, "prefix": "Summarize Python: "},
    "model": {"weights": "Salesforce/codet5-base"},
    "data": {"input": "code"},
    "choices": {"task": "summarization", "model": "codet5", "method": "telly", "data": "codexglue"},
    "seed": 7,
    "lang": "python",
    "k": 6,
    "alpha": None,
}
METRICS = {
    "test": {"smoothed_bleu": 20.125, "mrr": 0.5},
    "signatures": {"smoothed_bleu": "smoothed_bleu|level:sentence|v:1", "mrr": "mrr|range:0-1|v:1"},
    "floors": {"test": {"best_target": {"smoothed_bleu": 9.05}}},
    "rows": {"train": 1000, "valid": 10, "test": 20},
    "params": {"total": 100, "trainable": 50},
    "training": {"epochs": 3},
    "best": {"epoch": 2},
    "versions": {"codeft": "0.1.0"},
}
USAGE = "import torch\n\nINPUTS\n\nprint(texts)\n"


def card(run=RUN, metrics=METRICS, **changes) -> str:
    settings = {"usage": USAGE, "graphs": {}, "is_sentence_model": False}
    return model_card(run, metrics, **{**settings, **changes})


def test_the_front_matter_is_what_is_known():
    assert front_matter(RUN, is_sentence_model=False) == {
        "library_name": "transformers",
        "license": "apache-2.0",
        "base_model": "Salesforce/codet5-base",
        "tags": ["codeft", "code", "summarization"],
        "datasets": ["google/code_x_glue_ct_code_to_text"],
    }
    unknown = {**RUN, "model": {"weights": "/somewhere/of/mine"}, "choices": {"task": None, "data": "local"}}
    assert front_matter(unknown, is_sentence_model=False) == {
        "library_name": "transformers", "tags": ["codeft", "code"]
    }  # fmt: skip


def test_every_model_with_weights_names_its_licence():
    for path in (conf_dir() / "model").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        weights = re.search(r"^  weights: (\S+)", text, re.MULTILINE)
        if weights and weights[1] != "random":
            assert bool(licence_of(weights[1])) != ("names no" in text), path
    assert licence_of("nobody/knows") is None


def test_the_facts_are_told():
    text = card()
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "apache-2.0"
    for line in (
        "| base model | Salesforce/codet5-base (Apache-2.0) |",
        "| data | codexglue python |",
        "| method | telly |",
        "| k | 6 |",
        "| seed | 7 |",
        "| epochs | 3, and these are the weights after number 2 |",
        "| rows | 1,000 train, 10 valid, 20 test |",
        r"| smoothed_bleu | 20.12 | 9.05 | `smoothed_bleu\|level:sentence\|v:1` |",
        r"| mrr | 0.5000 |  | `mrr\|range:0-1\|v:1` |",
        "Each text begins with `Summarize Python: `.",
    ):
        assert f"\n{line}" in text or line in text, line
    assert "alpha" not in text and "INPUTS" not in text
    assert 'texts = ["Summarize Python: def area(r)' in text


@pytest.mark.parametrize(
    ("metrics", "trainer", "told", "differs"),
    [
        ({"precision": "bf16-mixed"}, {"precision": "auto"}, "bf16-mixed", True),
        ({"precision": "32-true"}, {"precision": "auto"}, "32-true", False),
        ({}, {"precision": "16-mixed"}, "16-mixed", True),
        ({}, {"precision": "auto"}, "not known", False),
    ],
)
def test_the_precision_of_the_run_is_told(metrics, trainer, told, differs):
    text = card(run={**RUN, "trainer": trainer}, metrics=metrics)
    assert f"| precision | {told}; the weights here are float32 |" in text
    assert (f"The run computed in {told}," in text) is differs


@pytest.mark.parametrize(("value", "below"), [(9.0, True), (9.05, True), (9.5, False)])
def test_a_card_says_which_scores_are_no_better_than_their_floor(value, below):
    text = card(metrics=METRICS | {"test": {"smoothed_bleu": value}})
    said = f"No better than without a model: smoothed_bleu {value:.2f} (best_target: 9.05)."
    assert (said in text) is below and ("No better" in text) is below


def test_scores_of_validation_rows_are_told_from_those_of_the_test():
    assert "On the test split." in card()
    blind = {**METRICS, "valid": METRICS["test"]}
    assert "On the test split." in card(metrics=blind), (
        "where both are there, the test's are the cleaner ones"
    )
    del blind["test"]
    text = card(metrics=blind)
    assert "On the validation rows, which picked the weights" in text and "| smoothed_bleu | 20.12 |" in text


def test_a_test_split_that_was_read_later_is_not_called_unread():
    blind = {**METRICS, "valid": METRICS["test"]}
    del blind["test"]
    assert "which was not read" in card(metrics=blind)
    text = card(metrics=blind, test_reads=2)
    assert "not read" not in text and "the test split was read 2 times after the run" in text


def test_weights_without_scores_claim_none():
    text = card(metrics={})
    assert "There are none of these weights." in text
    assert "| k | 6 |" in text


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("random", "random weights, licence not known"),
        ("asset:mini", "codeft's own mini (Apache-2.0)"),
        ("/of/mine/codet5", "weights from a folder, licence not known"),
    ],
)
def test_where_the_weights_came_from(weights, said):
    text = card({**RUN, "model": {"weights": weights}})
    assert said in text and "/of/mine" not in text


def test_the_example_is_what_the_task_reads():
    task = {"max_source_length": 400, "collapse_whitespace": True, "max_query_length": 128}
    usage = USAGE + "embed(texts)\nembed(queries, query_length)\n"
    names: dict = {"print": lambda *args: None, "embed": lambda *args: None}
    run = {**RUN, "task": task, "choices": {**RUN["choices"], "task": "code_search"}}
    code = re.findall(r"```python\n(.*?)```", card(run, usage=usage, is_sentence_model=True), re.DOTALL)[0]
    exec(code, names)
    assert names["texts"] == ["def area(r): return 3.14 * r * r"] and names["query_length"] == 128
    assert names["queries"] == ["the area of a circle"]
