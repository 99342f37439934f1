"""Scores of 15,000 rows against the published evaluators' algorithms, numbers equal."""

from __future__ import annotations

import importlib.util
import math
import re
from functools import partial
from xml.sax.saxutils import unescape

from _race import Result, faster, quick, race, shared_data, write

from codeft.data.jsonl import read_rows
from codeft.metrics import smoothed_bleu
from codeft.metrics.codebleu import codebleu

ROWS = 15_000


def main() -> None:
    short = quick()
    rows = 300 if short else ROWS
    predictions, references = summaries(rows)
    own, theirs = smoothed_bleu(predictions, references), published_smoothed_bleu(predictions, references)
    assert abs(own - theirs) < 1e-9, (own, theirs)
    contestants = {
        "published": partial(published_smoothed_bleu, predictions, references),
        "codeft": partial(smoothed_bleu, predictions, references),
    }
    seconds = race(contestants, rounds=2 if short else 5)
    results = [
        faster(
            f"smoothed BLEU of {rows:,} rows",
            seconds,
            rival="published",
            at_least=5,
            remark=f"both {own:.6f}",
        )
    ]
    missing = []
    if importlib.util.find_spec("codebleu") is None:
        missing.append("CodeBLEU, as its rival isn't here: pip install --no-deps codebleu==0.7.0")
    else:
        rounds = 1 if short else 3
        results.append(code_scores("short methods", *fixes(rows), rounds=rounds))
        results.append(code_scores("methods", *methods(rows // 5), rounds=rounds))
    data = "CodeSearchNet Ruby summaries; Bugs2Fix small, buggy against fixed; BigCloneBench's methods"
    write("scoring", results, data=data, missing=missing)


def summaries(rows: int) -> tuple[list[str], list[str]]:
    """Return summaries and, as predictions, those of the row before with the own first words."""
    path = shared_data() / "summarization" / "csn_ruby"
    texts = [
        " ".join(row.fields["docstring_tokens"])
        for split in ("valid", "test")
        for row in read_rows(path / f"{split}.jsonl", on_bad_row="error", skipped=[])
    ]
    references = [texts[i % len(texts)] for i in range(rows)]
    predictions = [
        " ".join(reference.split()[:4] + references[i - 1].split()[: i % 9])
        for i, reference in enumerate(references)
    ]
    return predictions, references


def published_smoothed_bleu(predictions: list[str], references: list[str]) -> float:
    """CodeXGLUE's evaluator as it goes about it: normalise, count in dictionaries, sentence by sentence."""
    total = 0.0
    for prediction, reference in zip(predictions, references, strict=True):
        total += published_sentence(words_of(reference), words_of(prediction))
    return 100 * total / len(predictions)


MARKUP = [(re.compile(pattern), by) for pattern, by in (("<skipped>", ""), (r"-\n", ""), (r"\n", " "))]
PUNCTUATION = [
    (re.compile(pattern), by)
    for pattern, by in (
        (r"([\{-\~\[-\` -\&\(-\+\:-\@\/])", r" \1 "),
        (r"([^0-9])([\.,])", r"\1 \2 "),
        (r"([\.,])([^0-9])", r" \1 \2"),
        (r"([0-9])(-)", r"\1 \2 "),
    )
]


def words_of(text: str) -> list[str]:
    """Split as the published evaluator does: words from punctuation, then mteval-v11a, rule by rule."""
    text = " ".join(re.findall(r"\w+|[^\s\w]", text.lower().strip()))
    for pattern, by in MARKUP:
        text = re.sub(pattern, by, text)
    text = f" {unescape(text, {'&quot;': chr(34)})} ".lower()
    for pattern, by in PUNCTUATION:
        text = re.sub(pattern, by, text)
    return text.split()


def ngrams_of(words: list[str]) -> dict[tuple[str, ...], int]:
    counts: dict[tuple[str, ...], int] = {}
    for n in range(1, 5):
        for i in range(len(words) - n + 1):
            ngram = tuple(words[i : i + n])
            counts[ngram] = counts.get(ngram, 0) + 1
    return counts


def published_sentence(reference: list[str], prediction: list[str]) -> float:
    wanted, found = ngrams_of(reference), ngrams_of(prediction)
    matches = [0] * 4
    for ngram, count in found.items():
        matches[len(ngram) - 1] += min(count, wanted.get(ngram, 0))
    tiny = 2.2250738585072014e-308
    log_sum = 0.0
    for n, match in enumerate(matches):
        guesses, add = max(len(prediction) - n, 0), int(n > 0)
        log_sum += math.log(match + add + tiny) - math.log(guesses + add + tiny)
    return math.exp(log_sum / 4 + min(0.0, 1 - (len(reference) + 1) / (len(prediction) + 1)))


def fixes(rows: int) -> tuple[list[str], list[str]]:
    """Return the buggy methods of Bugs2Fix small as predictions and the fixed ones as references."""
    folder = shared_data() / "refinement" / "bugs2fix_small"
    sides = []
    for suffix in ("buggy", "fixed"):
        lines = [
            (folder / f"{split}.buggy-fixed.{suffix}").read_text(encoding="utf-8").splitlines()
            for split in ("valid", "test")
        ]
        side = [line for part in lines for line in part]
        sides.append([side[i % len(side)] for i in range(rows)])
    return sides[0], sides[1]


def methods(rows: int) -> tuple[list[str], list[str]]:
    """Return BigCloneBench's methods as references and as predictions, with another type in these."""
    path = shared_data() / "clone" / "bigclonebench" / "data.jsonl"
    references = [row.fields["func"] for row in read_rows(path, on_bad_row="error", skipped=[])]
    references = [references[i % len(references)] for i in range(rows)]
    return [text.replace("int ", "long ", 1) for text in references], references


def code_scores(what: str, predictions: list[str], references: list[str], *, rounds: int) -> Result:
    from codebleu import calc_codebleu

    own = codebleu(predictions, references, lang="java", mode="package").codebleu
    theirs = 100 * calc_codebleu(references, predictions, lang="java")["codebleu"]
    contestants = {
        "codebleu 0.7.0": partial(calc_codebleu, references, predictions, lang="java"),
        "codeft": partial(codebleu, predictions, references, lang="java", mode="package"),
    }
    seconds = race(contestants, rounds=rounds)
    length = sum(map(len, references)) / len(references)
    remark = f"codeft {own:.4f}, the package {theirs:.4f}; {length:.0f} characters on average"
    assert abs(own - theirs) < 0.01, remark
    remark += "; both visit every node of the parser's tree in Python, which is most of the time"
    what = f"CodeBLEU of {len(references):,} {what}"
    return faster(what, seconds, rival="codebleu 0.7.0", at_least=5, remark=remark)


if __name__ == "__main__":
    main()
