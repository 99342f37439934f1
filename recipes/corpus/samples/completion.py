"""Completion: a function up to a point inside a line, and the rest of the line."""

from __future__ import annotations

import random

from codeft.syntax.code_tree import parse_code
from samples.rows import Novelty, Row, SampleFunction, in_turns

NUM_ROWS = {"train": 1500, "valid": 200, "test": 200}
LANGUAGES = ("java", "python")
MIN_CHARACTERS, MAX_CHARACTERS = 4, 80
_OPENINGS = ("#", "//", "/*", "*", '"', "'", "@")


def completion_rows(functions: list[SampleFunction], *, split: str, novelty: Novelty) -> list[Row]:
    """Make rows of Java and Python functions, as many of each, every repository of a language in turn.

    Args:
        functions: All of the split's packages.
        split: "train", "valid" or "test".
        novelty: What was seen so far.
    """
    rng = random.Random(f"completion {split}")
    rows: list[Row] = []
    for language in LANGUAGES:
        kept: list[Row] = []
        of_language = [item for item in functions if item.found.language == language]
        for item in in_turns(of_language, key=lambda item: item.repo, seed=4):
            if len(kept) == NUM_ROWS[split] // len(LANGUAGES):
                break
            points = cutting_points(item.code, language)
            if points and novelty.admits(item.code, language):
                point = rng.choice(points)
                rest = item.code[point:].partition("\n")[0].strip()
                kept.append({**item.origin(), "source": item.code[:point].rstrip(" "), "target": rest})
        rows += kept
    rng.shuffle(rows)
    return rows


def cutting_points(code: str, language: str) -> list[int]:
    r"""Return where a function's lines can be cut, in characters: after a token, with two or more to come.

    The first two lines are left whole, and so are comments and lines that are a string.

    >>> code = "def f(x):\n    y = g(x)\n    return x + y\n"
    >>> [code[point:].partition(chr(10))[0] for point in cutting_points(code, "python")]
    [' x + y']
    """
    tree = parse_code(code, language)
    by_line: dict[int, list[int]] = {}
    for node in tree.tokens:
        if tree.starts[node] < tree.ends[node]:
            by_line.setdefault(code.count("\n", 0, tree.starts[node]), []).append(node)
    points = []
    for line, tokens in by_line.items():
        text = code.split("\n")[line].strip()
        is_whole = "\n" not in code[tree.starts[tokens[0]] : tree.ends[tokens[-1]]]
        if line < 2 or text.startswith(_OPENINGS) or len(tokens) < 4 or not is_whole:
            continue
        for place, token in enumerate(tokens[:-2]):
            end = tree.ends[token]
            rest = code[end:].partition("\n")[0].strip()
            has_comment = "//" in rest or "#" in rest
            has_word = any(tree.types[later].endswith("identifier") for later in tokens[place + 1 :])
            if MIN_CHARACTERS <= len(rest) <= MAX_CHARACTERS and has_word and not has_comment:
                points.append(end)
    return points
