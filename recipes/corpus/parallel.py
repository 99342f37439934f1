"""Methods that one project has both in Java and in C#: pairs for the translation sample."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trees import permissive_functions

from codeft.data.mining import FoundFunction, MiningReport, code_tokens

MIN_SIMILARITY = 0.5
MIN_TOKENS, MAX_TOKENS = 14, 300
_WORD = re.compile(r"[A-Za-z][a-z0-9]*|\d+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Pair:
    """One method in both languages.

    Attributes:
        java: Its Java side.
        csharp: Its C# side.
        similarity: Dice coefficient of the two sides' sub-words, in [0, 1].
    """

    java: FoundFunction
    csharp: FoundFunction
    similarity: float


def parallel_methods(root: Path, *, source: dict[str, str]) -> Iterator[Pair]:
    """Yield the methods of a package that match by class, name and number of parameters, and in their bodies.

    Each method is in one pair at most; of several that match (overloads) the most similar bodies go together.
    """
    sides: dict[str, dict[tuple[str, str, int], list[FoundFunction]]] = {
        "java": defaultdict(list),
        "csharp": defaultdict(list),
    }
    for found in permissive_functions(root, source=source, report=MiningReport()):
        num_tokens = len(code_tokens(found.function.code, found.language))
        if MIN_TOKENS <= num_tokens <= MAX_TOKENS:
            sides[found.language][_key(found)].append(found)
    for key in sorted(sides["java"].keys() & sides["csharp"].keys()):
        yield from _best_pairs(sides["java"][key], sides["csharp"][key])


def similarity(first: str, second: str) -> float:
    """Return the Dice coefficient of two snippets' sub-words, each as often as it occurs.

    >>> similarity("int getSize() { return n; }", "public int GetSize() { return n; }")
    0.9523809523809523
    """
    counts = [Counter(word.lower() for word in _WORD.findall(text)) for text in (first, second)]
    return 2 * (counts[0] & counts[1]).total() / max(1, counts[0].total() + counts[1].total())


def _key(found: FoundFunction) -> tuple[str, str, int]:
    owner = found.function.qualified_name.rpartition(".")[0].rpartition(".")[2]
    if not owner:
        owner = found.path.rpartition("/")[2].partition(".")[0]
    return owner.lower(), found.function.name.lower(), len(found.function.parameters)


def _best_pairs(javas: list[FoundFunction], csharps: list[FoundFunction]) -> Iterator[Pair]:
    pairs = [
        Pair(java, csharp, similarity(java.function.code, csharp.function.code))
        for java in javas
        for csharp in csharps
    ]
    taken: set[int] = set()
    for pair in sorted(pairs, key=lambda pair: -pair.similarity):
        if pair.similarity >= MIN_SIMILARITY and not taken & {id(pair.java), id(pair.csharp)}:
            taken |= {id(pair.java), id(pair.csharp)}
            yield pair
