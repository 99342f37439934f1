"""What is probed for: texts of code, and the labels that their own syntax trees give."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from codeft.data.datamodule import CodeDataModule
from codeft.syntax import LANGUAGES, align, canonical_language, parse
from codeft.syntax.complexity import complexity_class, cyclomatic_complexity
from codeft.syntax.token_types import TOKEN_TYPES, token_type_numbers, token_types
from codeft.syntax.traversal import traversal
from codeft.tasks.base import AbstractTask
from codeft.tasks.clone_detection import CloneRetrievalTask
from codeft.types import CodeftError, Encoding, Example

LEXICAL, SYNTACTIC, SEMANTIC, STRUCTURAL = "lexical", "syntactic", "semantic", "structural"
PROBES = (LEXICAL, SYNTACTIC, SEMANTIC, STRUCTURAL)
SPLITS = ("train", "valid", "test")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProbeTexts:
    """The texts of all splits, one split behind the other, the same for all models.

    Attributes:
        examples: Each different source once; a test row before a validation row before a training row.
        sizes: Texts of each split, in the order of `SPLITS`.
        num_left_out: Rows that were blank or stood before.
    """

    examples: Sequence[Example]
    sizes: Mapping[str, int]
    num_left_out: int = 0

    def rows(self, split: str) -> slice:
        """Return where a split's texts stand."""
        start = sum(self.sizes[name] for name in SPLITS[: SPLITS.index(split)])
        return slice(start, start + self.sizes[split])


def read_texts(data: CodeDataModule) -> ProbeTexts:
    """Read the splits' texts; what stands in two splits is left out of the one that is learnt from.

    Args:
        data: Reads them.

    Raises:
        CodeftError: A split can't be read.
    """
    seen: set[tuple[str, str]] = set()
    kept: dict[str, list[Example]] = {}
    left_out = 0
    for split in reversed(SPLITS):
        kept[split] = []
        for example in data.read(split):
            key = (example.source, example.lang)
            if key in seen or not example.source.strip():
                left_out += 1
                continue
            seen.add(key)
            kept[split].append(example)
    examples = [example for split in SPLITS for example in kept[split]]
    return ProbeTexts(examples, {split: len(kept[split]) for split in SPLITS}, left_out)


def choose_probes(asked: Sequence[str] | None, *, task: AbstractTask, texts: ProbeTexts) -> list[str]:
    """Return which probes there are labels for.

    Args:
        asked: Names out of `PROBES`; None for all that can be.
        task: Whose rows the texts are.
        texts: What was read.

    Raises:
        CodeftError: A name isn't known, or there are no labels for a probe that was asked for.
    """
    unknown = sorted(set(asked or ()) - set(PROBES))
    if unknown or (asked is not None and not asked):
        raise CodeftError(f"probes must be some of {', '.join(PROBES)}, not {', '.join(unknown) or 'none'}")
    in_no_language = sum(not example.lang for example in texts.examples)
    has_trees, has_problems = not in_no_language, isinstance(task, CloneRetrievalTask)
    chosen = []
    for name in PROBES:
        possible = has_problems if name == SEMANTIC else has_trees
        if possible and (asked is None or name in asked):
            chosen.append(name)
        elif asked is not None and name in asked and name == SEMANTIC:
            raise CodeftError(
                "the semantic probe needs programs with the problem that each solves: "
                "task=clone_detection_poj104, and data=codexglue data.dir= or rows of your own with a label; "
                f"task={task.name} has none"
            )
        elif asked is not None and name in asked:
            raise CodeftError(
                f"the {name} probe needs code in one of {', '.join(LANGUAGES)}, but {in_no_language:,} of "
                f"the {len(texts.examples):,} texts say no language: give lang=, or rows with a language"
            )
    if not chosen:
        raise CodeftError(
            f"there is nothing to probe: texts are in none of {', '.join(LANGUAGES)}, and "
            f"task={task.name} has no problems that they solve"
        )
    return chosen


def with_language(texts: ProbeTexts, lang: str | None) -> ProbeTexts:
    """Return texts of which those that say no language are in the one that was typed."""
    if lang is None or "-" in lang:
        return texts
    name = canonical_language(lang)
    return replace(texts, examples=[e if e.lang else replace(e, lang=name) for e in texts.examples])


def complexity_classes(texts: ProbeTexts) -> np.ndarray:
    """Return the class of each text's cyclomatic complexity, int64 [N]."""
    found = [complexity_class(cyclomatic_complexity(e.source, e.lang)) for e in texts.examples]
    return np.array(found, dtype=np.int64)


def traversals(texts: ProbeTexts) -> tuple[list[str], np.ndarray]:
    """Return each text's tree as a sequence of node types, and its number, int64 [N]: equal ones share it."""
    sequences = [" ".join(traversal(e.source, e.lang)) for e in texts.examples]
    numbers = {sequence: number for number, sequence in enumerate(dict.fromkeys(sequences))}
    return sequences, np.array([numbers[sequence] for sequence in sequences], dtype=np.int64)


def problems(texts: ProbeTexts) -> np.ndarray:
    """Return the number of the problem that each text solves, int64 [N]."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(e.target for e in texts.examples))}
    return np.array([numbers[e.target] for e in texts.examples], dtype=np.int64)


def encode(
    task: AbstractTask, sources: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase
) -> list[Encoding]:
    """Return the sub-tokens of texts, as the task encodes its sources.

    Args:
        task: Says how long a text may be, and what stands around it.
        sources: Text and language of each; "" for none.
        tokenizer: The model's.
    """
    others = (Example("", ""),) * (task.num_texts - 1)
    return task.encode([Example("", text, lang=lang, others=others) for text, lang in sources], tokenizer)


@dataclass(frozen=True, slots=True)
class Leaves:
    """Leaves of the texts' trees, and where models read them; M in all, those of a text side by side.

    Attributes:
        counts: int64 [N], leaves of each text.
        types: int64 [M], the number of each one's token type.
        positions: For each model, for each text, int64: the last sub-token of each leaf.
    """

    counts: np.ndarray
    types: np.ndarray
    positions: Sequence[Sequence[np.ndarray]]

    def rows(self, texts: slice) -> slice:
        """Return where the leaves of some texts stand."""
        ends = np.cumsum(self.counts)
        start = int(ends[texts.start - 1]) if texts.start else 0
        return slice(start, int(ends[texts.stop - 1]) if texts.stop else 0)


def choose_leaves(
    texts: ProbeTexts, encodings: Sequence[Sequence[Encoding]], *, per_text: int, seed: int
) -> Leaves:
    """Draw leaves from each text's tree, out of those that all models read to their end.

    Args:
        texts: N of them.
        encodings: For each model, those of all texts.
        per_text: Leaves of a text at most.
        seed: Of the draw; the draw for a text doesn't depend on the others.

    Raises:
        CodeftError: No model's sub-tokens reach the end of any leaf.
    """
    counts, types = [], []
    positions: list[list[np.ndarray]] = [[] for _ in encodings]
    for number, example in enumerate(texts.examples):
        numbers = np.array(token_type_numbers(token_types(example.source, example.lang)), dtype=np.int64)
        found = [_last_tokens(example, of_model[number]) for of_model in encodings]
        common = {
            leaf for leaf in np.flatnonzero(numbers >= 0).tolist() if all(leaf in last for last in found)
        }
        drawn = _draw(common, per_text, rng=np.random.default_rng((seed, number)))
        counts.append(len(drawn))
        types += numbers[drawn].tolist()
        for places, last in zip(positions, found, strict=True):
            places.append(np.array([last[leaf] for leaf in drawn], dtype=np.int64))
    if not types:
        raise CodeftError(
            "no text has a token that all models read to its end: each is cut before; raise "
            "task.max_source_length"
        )
    return Leaves(np.array(counts), np.array(types, dtype=np.int64), positions)


def _draw(leaves: Collection[int], count: int, *, rng: np.random.Generator) -> list[int]:
    ordered = sorted(leaves)
    return sorted(rng.permutation(ordered)[:count].tolist()) if len(ordered) > count else ordered


def _last_tokens(example: Example, encoding: Encoding) -> dict[int, int]:
    """Return the last sub-token of each leaf that has one and isn't cut."""
    tree = parse(example.source, example.lang)
    owners = align(tree, encoding.offsets)
    last = {leaf: position for position, leaf in enumerate(owners.tolist()) if leaf >= 0}
    ends = encoding.offsets[:, 1]
    first, seen = int(encoding.offsets[ends > 0, 0].min(initial=0)), int(ends.max(initial=0))
    return {
        leaf: position
        for leaf, position in last.items()
        if tree.ends[leaf] <= seen and tree.starts[leaf] >= first
    }


def type_shares(types: np.ndarray) -> dict[str, float]:
    """Return the share of each token type.

    >>> type_shares(np.array([0, 1, 1, 1]))
    {'keyword': 0.25, 'name': 0.75}
    """
    counts = np.bincount(types, minlength=len(TOKEN_TYPES))
    return {name: float(n) / len(types) for name, n in zip(TOKEN_TYPES, counts.tolist(), strict=True) if n}
