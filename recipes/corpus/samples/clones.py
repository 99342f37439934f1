"""Clones: pairs of Java methods that do the same or not, and C++ functions in groups that do the same."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher

from codeft.data.near_duplicates import NearDuplicateIndex
from codeft.syntax.code_tree import parse_code
from samples.names import NamePool, all_names, apply_edits, nameless, rename_all
from samples.rewrites import rewritten
from samples.rows import Novelty, Row, SampleFunction, in_turns

NUM_FUNCTIONS = {"train": 500, "valid": 60, "test": 60}
NUM_PROBLEMS, NUM_VARIANTS = {"train": 150, "valid": 36, "test": 36}, 5
NUM_TRIED = 4  # clones; of them and foreign methods the two are taken that tokens tell least
MAX_COMPARED = 1500  # methods that a method's neighbour is looked for among
MOST_LONGER = 1.25
MOST_ALIKE = 0.8  # of two methods' tokens without names, in their order: else they may do the same
MOST_ALIKE_GROUPS = 0.5  # Jaccard similarity of two groups' functions without names
CLONE, OTHER = 1, 0
_TOKEN = re.compile(r"\w+|[^\w\s]")
STANDARD_METHODS = ("equals", "hashCode", "toString", "compareTo", "compare", "clone", "close")
"""Methods that every class writes alike."""


def clone_pairs(functions: list[SampleFunction], *, split: str, novelty: Novelty) -> list[Row]:
    """Make pairs of Java methods: each method once with itself rewritten, once with its likest neighbour.

    The neighbour is another method of the same project, of another name and similar length, rewritten in
    the same way: neither names nor layout tell which is which, and lengths and the tokens in common little.
    Strings would, so no method has any.

    Args:
        functions: All of the split's packages.
        split: "train", "valid" or "test".
        novelty: What was seen so far.
    """
    rng = random.Random(f"clones {split}")
    usable = [Candidate.of(item) for item in functions if not _is_standard(item) and '"' not in item.code]
    pool = NamePool.of((item.code for item in usable), "java")
    by_repo: dict[str, list[Candidate]] = {}
    for item in usable:
        by_repo.setdefault(item.origin["repo"], []).append(item)
    rows: list[Row] = []
    taken: set[str] = set()
    for item in in_turns(usable, key=lambda item: item.origin["repo"], seed=1):
        if len(rows) >= 2 * NUM_FUNCTIONS[split]:
            break
        if item.origin["id"] in taken:
            continue
        others = _neighbours(item, by_repo[item.origin["repo"]], taken=taken, rng=rng)
        if not others or not novelty.admits(item.code, "java"):
            continue
        clones = [variant(item.code, "java", pool=pool, rng=rng) for _ in range(NUM_TRIED)]
        foreign = [(other, variant(other.code, "java", pool=pool, rng=rng)) for other in others]
        clone, (other, foreigner) = min(
            itertools.product(clones, foreign),
            key=lambda pair: _given_away(item.code, pair[0][0], pair[1][1][0]),
        )
        if not novelty.admits(other.code, "java"):
            continue
        taken |= {item.origin["id"], other.origin["id"]}
        for label, second, (code, words) in zip(
            (CLONE, OTHER), (item, other), (clone, foreigner), strict=True
        ):
            rows.append(_pair(item, second, code, words=words, label=label, swap=rng.random() < 0.5))
    rng.shuffle(rows)
    return rows


@dataclass(frozen=True, slots=True)
class Candidate:
    """A method that pairs may be made of.

    Attributes:
        origin: Where it is from.
        code: It, without comments.
        name: Its name.
        shape: Its tokens without names.
        counts: How often each of them occurs.
    """

    origin: Row
    code: str
    name: str
    shape: tuple[str, ...]
    counts: Counter[str]

    @classmethod
    def of(cls, item: SampleFunction) -> Candidate:
        """Return a function as a candidate."""
        code = without_comments(item.code, "java")
        shape = tuple(nameless(code, "java").split())
        return cls(item.origin(), code, item.name, shape, Counter(shape))


def _pair(first: Candidate, second: Candidate, code: str, *, words: str, label: int, swap: bool) -> Row:
    codes = (code, first.code) if swap else (first.code, code)
    return {
        **first.origin,
        "id": f"{first.origin['id']}#{label}",
        "code1": codes[0],
        "code2": codes[1],
        "label": label,
        "rewritten": f"code{1 if swap else 2}",
        "rewritten_id": second.origin["id"],
        "made": words,
    }


def without_comments(code: str, lang: str) -> str:
    r"""Return code without its comments and the blank lines they leave: they would tell clones.

    >>> without_comments("int f() {\n  // one\n  return 1; /* two */\n}", "java").split()
    ['int', 'f()', '{', 'return', '1;', '}']
    """
    tree = parse_code(code, lang)
    spans = [
        (tree.starts[node], tree.ends[node], "") for node, kind in enumerate(tree.types) if "comment" in kind
    ]
    return "\n".join(line.rstrip() for line in apply_edits(code, spans).split("\n") if line.strip())


def _is_standard(item: SampleFunction) -> bool:
    owner = item.found.function.qualified_name.rpartition(".")[0].rpartition(".")[2]
    return item.name in (owner, *STANDARD_METHODS) or "class " in item.code


def _neighbours(
    item: Candidate, others: list[Candidate], *, taken: set[str], rng: random.Random
) -> list[Candidate]:
    """Return the methods of other names and similar length with the likest tokens in another order."""
    alike = []
    for place, other in enumerate(rng.sample(others, min(MAX_COMPARED, len(others)))):
        lengths = len(item.shape), len(other.shape)
        if (
            other.name == item.name
            or max(lengths) > MOST_LONGER * min(lengths)
            or other.origin["id"] in taken
        ):
            continue
        alike.append((2 * (item.counts & other.counts).total() / sum(lengths), place, other))
    return [
        other
        for _, _, other in sorted(alike, reverse=True, key=lambda each: each[:2])[: 2 * NUM_TRIED]
        if SequenceMatcher(None, item.shape, other.shape, autojunk=False).ratio() <= MOST_ALIKE
    ]


def _given_away(code: str, clone: str, foreigner: str) -> float:
    """Return how well tokens alone tell a method's clone from a foreign method: by overlap, and by length."""
    own, *others = (Counter(_TOKEN.findall(text)) for text in (code, clone, foreigner))
    overlaps = [2 * (own & other).total() / (own.total() + other.total()) for other in others]
    lengths = [other.total() for other in others]
    return overlaps[0] - overlaps[1] + abs(math.log(lengths[0] / lengths[1]))


def variant(code: str, lang: str, *, pool: NamePool, rng: random.Random) -> tuple[str, str]:
    """Return a function rewritten, all its names but the standard library's replaced, and what was done.

    Args:
        code: A function without comments.
        lang: "java" or "cpp".
        pool: Names to draw from.
        rng: Draws.
    """
    code, done = rewritten(code, lang, rng=rng, share=rng.uniform(0.3, 0.9))
    names = all_names(parse_code(code, lang), lang)
    mapping = pool.draw(names, taken=names, lang=lang, rng=rng)
    words = "; ".join(["synthetic: all names but the standard library's replaced", *done])
    return rename_all(code, lang, mapping=mapping), words


def clone_groups(functions: list[SampleFunction], *, split: str, novelty: Novelty) -> list[Row]:
    """Make groups of C++ functions that do the same: one as it stands, the others renamed and rewritten.

    No two groups have functions that are alike without their names. Strings would tell a group, so there
    are none.

    Args:
        functions: All of the split's packages.
        split: "train", "valid" or "test".
        novelty: What was seen so far.
    """
    rng = random.Random(f"groups {split}")
    pool = NamePool.of((item.code for item in functions), "cpp")
    shapes = NearDuplicateIndex(threshold=MOST_ALIKE_GROUPS)
    rows: list[Row] = []
    for item in in_turns(functions, key=lambda item: item.repo, seed=2):
        if len(rows) == NUM_PROBLEMS[split] * NUM_VARIANTS:
            break
        if '"' in item.code:
            continue
        code = without_comments(item.code, "cpp")
        variants = [variant(code, "cpp", pool=pool, rng=rng) for _ in range(NUM_VARIANTS - 1)]
        if len({nameless(text, "cpp") for text in (code, *(text for text, _ in variants))}) < NUM_VARIANTS:
            continue
        if not novelty.admits(item.code, "cpp") or shapes.query(nameless(code, "cpp")):
            continue
        shapes.add(item.name, nameless(code, "cpp"))
        origin = item.origin()
        problem = f"{split}-{len(rows) // NUM_VARIANTS}"
        for number, (text, words) in enumerate([(code, "as it stands, without comments"), *variants]):
            rows.append(
                {**origin, "id": f"{origin['id']}#{number}", "code": text, "label": problem, "made": words}
            )
    rng.shuffle(rows)
    return rows
