"""CodeBLEU's parts by hand, its modes against each other, and what goes in besides code."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from codebleu_pairs import PAIRS
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.metrics import CodeBLEU, codebleu, codebleu_signature
from codeft.metrics.codebleu import PARTS, codebleu_statistics
from codeft.metrics.codebleu_counts import MODES
from codeft.syntax import LANGUAGES
from codeft.types import CodeftError

SIGNS = ["x", "=", "1", "(", ")", "{", "}", ";", '"', "'", "#", "//", "/*", "é", "\\", ":"]
WORDS = ["if", "else", "for", "while", "in", "end", "return", "<?php", "x = 1"]
PIECES = [*SIGNS, *WORDS, "\r\n", "\n", "\t", "\0", "\ud800"]
wild = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join))


def test_words_by_hand() -> None:
    """5 of 6 words, 3 of 5 bigrams, 1 of 4 trigrams, none of 3; `if` and `return` are keywords."""
    score = codebleu(["if x : return a ;"], ["if x : return b ; }"], lang="python", weights=(1, 0, 0, 0))
    brevity = math.exp(1 - 7 / 6)
    assert score.ngram == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25 * brevity)
    assert score.codebleu == score.ngram
    weighted = (2 + 3 * 0.2) / (2 + 5 * 0.2)
    assert score.weighted_ngram == pytest.approx(100 * (weighted * 3 / 6 * 2 / 5 * 1 / 4) ** 0.25)


def test_an_order_without_matches_counts_a_tenth() -> None:
    score = codebleu(["a b", "c"], ["a c", "c"], lang="java")
    assert score.ngram == pytest.approx(100 * (2 / 3 * 0.1 / 2 * 0.1 / 2 * 0.1 / 2) ** 0.25)
    assert codebleu(["a"], ["b"], lang="java").ngram == 0.0


def test_short_texts_in_the_weighted_part_by_hand() -> None:
    """The published modes' penalty takes each reference to be two words long, however long it is.

    `a` is a fifth of a word, and a reference counts as a whole one at least; of longer n-grams it has none,
    which count as one, and no match as a tenth.
    """
    one_word = 100 * (1 / 5 * 0.1 * 0.1 * 0.1) ** 0.25
    for mode, penalty in (("fixed", 0.0), ("reference", 1.0), ("package", 1.0)):
        short = codebleu(["a"], ["a"], lang="python", mode=mode)
        assert short.weighted_ngram == pytest.approx(one_word * math.exp(-penalty))
        # 3 words of two rows, each of whose references counts as 2: 1 - 4/3.
        pair = {"predictions": ["a b", "c"], "references": ["a x y z b", "c"]}
        longer = codebleu(**pair, lang="python", mode=mode).weighted_ngram
        unigrams = 3 / (5 + 5)  # of 5 words in fifths, and of 1 that counts as 5
        without = 100 * (unigrams * 0.1 / 5 * 0.1 / 4 * 0.1 / 3) ** 0.25
        assert longer == pytest.approx(without * math.exp(-penalty / 3))
        enough = codebleu(["a b c", "c"], ["a x y z b", "c"], lang="python", mode=mode)
        assert enough.weighted_ngram == pytest.approx(without)  # 4 words: no penalty in any mode


def test_subtrees_by_hand() -> None:
    """module, two expression statements, `(binary_operator left: (identifier) …)` twice, one of them made."""
    pair = {"predictions": ["a + b"], "references": ["a + b\nc - d"], "lang": "python"}
    assert codebleu(**pair).ast == pytest.approx(100 * 2 / 5)
    assert codebleu(**pair, mode="reference").ast == pytest.approx(100 * 4 / 5)  # each is found twice


FIXED = {  # sub-trees found and all, edges found and all
    "python": (22, 22, 17, 19),
    "java": (28, 34, 17, 19),
    "javascript": (22, 29, 16, 20),
    "go": (37, 37, 17, 19),
    "php": (31, 42, 12, 17),
    "ruby": (13, 21, 16, 23),
    "csharp": (25, 25, 13, 15),
    "c": (20, 27, 16, 18),
    "cpp": (28, 28, 11, 13),
}
PACKAGE = {  # the codebleu package 0.7.0 under PYTHONHASHSEED=0, with the versions in constraints.txt
    "python": (22, 22, 17, 19),
    "java": (29, 34, 17, 19),
    "javascript": (22, 29, 16, 19),
    "go": (37, 37, 13, 15),
    "php": (34, 42, 12, 17),
    "ruby": (14, 21, 16, 23),
    "csharp": (25, 25, 10, 12),
    "c": (20, 27, 12, 15),
    "cpp": (28, 28, 8, 11),
}
REFERENCE = {**PACKAGE, "python": (18, 23, 16, 18)}
"""The same with the package's comments stripped as Java's in every language."""

PROBE = """
import json, sys
from codeft.metrics import codebleu
pairs = json.loads(sys.stdin.read())
found = {}
for mode in ("fixed", "reference", "package"):
    scores = {lang: codebleu([made], [gold], lang=lang, mode=mode) for lang, (gold, made) in pairs.items()}
    found[mode] = {lang: (score.ast, score.dataflow) for lang, score in scores.items()}
print(json.dumps(found))
"""


def run_with_seed(seed: int, program: str, given: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, input=given, env=environment, capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout


@pytest.fixture(scope="module")
def by_seed() -> dict[int, dict]:
    return {seed: json.loads(run_with_seed(seed, PROBE, json.dumps(PAIRS))) for seed in (0, 1)}


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(
    ("mode", "expected"), [("fixed", FIXED), ("reference", REFERENCE), ("package", PACKAGE)]
)
def test_each_language(by_seed: dict[int, dict], lang: str, mode: str, expected: dict) -> None:
    subtrees, all_subtrees, edges, all_edges = expected[lang]
    ast, dataflow = by_seed[0][mode][lang]
    assert ast == pytest.approx(100 * subtrees / all_subtrees)
    assert dataflow == pytest.approx(100 * edges / all_edges)


def test_hash_seeds(by_seed: dict[int, dict]) -> None:
    assert by_seed[0]["fixed"] == by_seed[1]["fixed"]
    assert by_seed[0]["reference"] != by_seed[1]["reference"]  # C++'s loop; as the published evaluator


COMMENTS = {
    "python": ("# one\n", "'''One.'''\n"),
    "ruby": ("# one\n", "=begin\none\n=end\n"),
    "php": ("# one\n", "/* one */"),
}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_comments_of_the_own_language_do_not_count(lang: str) -> None:
    code, _ = PAIRS[lang]
    for comment in COMMENTS.get(lang, ("// one\n", "/* one */")):
        end = code.index("\n") + 1 if lang == "php" else 0
        score = codebleu([code[:end] + comment + code[end:]], [code], lang=lang)
        assert (score.ast, score.dataflow) == (100.0, 100.0)


def test_reference_mode_takes_every_comment_for_java() -> None:
    kept = codebleu(["x = 1  # one"], ["x = 1"], lang="python", mode="reference")
    assert kept.ast == pytest.approx(100 * 2 / 3)  # the module now holds a comment
    cut = codebleu(["x = a // b"], ["x = a"], lang="python", mode="reference")
    assert cut.ast == 100.0
    assert codebleu(["x = a // b"], ["x = a"], lang="python", mode="package").ast < 100.0


@pytest.mark.parametrize("lang", ["java", "csharp", "php", "javascript"])
def test_methods_parse_without_a_class(lang: str) -> None:
    method = "public static function f() { return 1; }" if lang == "php" else "f() { return 1; }"
    method = f"int {method}" if lang in ("java", "csharp") else method
    assert (
        codebleu([method.replace("f", "g", 1) if lang != "php" else method], [method], lang=lang).ast == 100.0
    )


def test_no_data_flow() -> None:
    pair = {"predictions": ["pass", ""], "references": ["pass", "1"], "lang": "python"}
    fixed = codebleu(**pair, weights=(0.1, 0.1, 0.2, 0.6))
    assert (fixed.dataflow, fixed.left_out, fixed.rows_without_dataflow) == (None, ("dataflow",), 2)
    parts = 0.25 * fixed.ngram + 0.25 * fixed.weighted_ngram + 0.5 * fixed.ast
    assert fixed.codebleu == pytest.approx(parts)
    reference, package = (codebleu(**pair, mode=mode) for mode in ("reference", "package"))
    assert reference.dataflow == package.dataflow == 0.0 and reference.left_out == package.left_out == ()
    assert package.codebleu == pytest.approx(reference.codebleu + 25)
    assert codebleu(**pair, weights=(0, 0, 0, 1)).codebleu == 0.0


def test_what_is_left_out_is_said(caplog: pytest.LogCaptureFixture) -> None:
    metric = CodeBLEU(lang="python")
    metric.update(["pass"], ["pass"])
    assert set(metric.compute()) == set(PARTS) - {"codebleu_dataflow"}
    assert "leaves its data flow out" in caplog.text


@pytest.mark.parametrize("lang", ["java", "python"])
def test_statistics_by_row_add_up_to_the_scores(lang: str) -> None:
    """All rows give the corpus score of every mode; one row twice gives that of the row twice."""
    rows = [PAIRS[lang], ("x = 1", "y = x"), ("a", ""), PAIRS[lang][::-1]]
    references, predictions = zip(*rows, strict=True)
    by_mode = codebleu_statistics(predictions, references, lang=lang, modes=MODES)
    for mode in MODES:
        for picked in (slice(None), [0, 0, 1]):
            chosen = np.arange(len(rows))[picked]
            made, gold = ([texts[i] for i in chosen] for texts in (predictions, references))
            score = codebleu(made, gold, lang=lang, mode=mode)
            values = (score.codebleu, score.ngram, score.weighted_ngram, score.ast, score.dataflow)
            for (name, statistics), value in zip(by_mode[mode].items(), values, strict=True):
                assert statistics.combine(statistics.rows[picked].sum(axis=0)) == pytest.approx(value), name
        assert tuple(by_mode[mode]) == PARTS
    left_out = codebleu_statistics(["pass"], ["pass"], lang="python", modes=["fixed", "reference"])
    assert tuple(left_out["fixed"]) == PARTS[:-1] and tuple(left_out["reference"]) == PARTS


def test_some_rows_without_data_flow() -> None:
    score = codebleu(["pass", "a = b"], ["pass", "a = b"], lang="python")
    assert (score.dataflow, score.left_out, score.rows_without_dataflow) == (100.0, (), 1)


@pytest.mark.parametrize("lang", LANGUAGES)
@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.tuples(wild, wild), min_size=1, max_size=3), mode=st.sampled_from(MODES))
def test_nothing_crashes(lang: str, rows: list[tuple[str, str]], mode) -> None:
    predictions, references = [p for p, _ in rows], [r for _, r in rows]
    score = codebleu(predictions, references, lang=lang, mode=mode)
    parts = [score.codebleu, score.ngram, score.weighted_ngram, score.ast, score.dataflow or 0.0]
    assert all(0 <= part <= 100 + 1e-9 for part in parts)
    metric = CodeBLEU(lang=lang, mode=mode)
    for prediction, reference in rows:
        metric.update([prediction], [reference])
    assert metric.parts() == score
    found = {name: value.item() for name, value in metric.compute().items()}
    values = (score.codebleu, score.ngram, score.weighted_ngram, score.ast, score.dataflow)
    assert found == {name: value for name, value in zip(PARTS, values, strict=True) if value is not None}


def test_what_the_model_made_of_nothing_or_depth() -> None:
    deep = "x = " + "(" * 3000 + "1" + ")" * 3000
    loops = "while x:\n" + "".join(" " * depth + "while x:\n" for depth in range(1, 30)) + " " * 30 + "x = x"
    for mode in MODES:
        score = codebleu(["", deep, loops], [deep, "", loops], lang="python", mode=mode)
        assert score.rows == 3
    assert codebleu([deep, loops], [deep, loops], lang="python").ast == 100.0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"lang": "cobol"}, "Expected a language out of python"),
        ({"lang": "java", "mode": "exact"}, "expected a CodeBLEU mode out of fixed, reference, package"),
        ({"lang": "java", "weights": (0.5, 0.5, 0.5, 0.5)}, "add up to 1"),
        ({"lang": "java", "weights": (1.5, -0.5, 0, 0)}, "add up to 1"),
        ({"lang": "java", "weights": (0.5, 0.5)}, "four parts"),
        ({"lang": "java", "weights": (math.nan, 0, 0, 1)}, "add up to 1"),
    ],
)
def test_errors(given: dict, expected: str) -> None:
    for make in (lambda: codebleu(["a"], ["a"], **given), lambda: CodeBLEU(**given)):
        with pytest.raises(CodeftError, match=expected):
            make()


def test_pairs_are_checked() -> None:
    with pytest.raises(CodeftError, match="1 predictions and 2 references"):
        codebleu(["a"], ["a", "b"], lang="java")
    with pytest.raises(CodeftError, match="at least one record"):
        CodeBLEU(lang="java").parts()


def test_states_of_processes_add_up() -> None:
    rows = [PAIRS["java"], ("int a;", ""), ("", "b = a"), ("a = b;", "a = c;")]
    first, second = CodeBLEU(lang="java"), CodeBLEU(lang="java")
    first.update(*zip(*rows[:1], strict=True))
    second.update(*zip(*rows[1:], strict=True))
    first.merge_state(second)
    first.merge_state(CodeBLEU(lang="java"))  # a process that got no batch
    assert first.parts() == codebleu(*zip(*rows, strict=True), lang="java")
    assert {reduce.__name__ for reduce in first._reductions.values()} == {"dim_zero_sum"}


def test_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    signature = CodeBLEU(lang="C#", mode="reference").signature
    assert signature == codebleu_signature("csharp", mode="reference")
    parts = dict(part.split(":", 1) for part in signature.split("|")[1:])
    assert signature.startswith("codebleu|") and parts["lang"] == "csharp"
    assert parts["grammar"].startswith("tree-sitter-c-sharp-0.")
    assert parts["dataflow"] == "hashseed:7"
    assert "hashseed" not in codebleu_signature("csharp")
    assert len({codebleu_signature("java", mode=mode) for mode in MODES}) == 3
    assert str(Path(__file__).parent) not in signature
