"""What a data set is like: languages, lengths in sub-tokens, parse failures, what stands in two splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from codeft.data.near_duplicates import NearDuplicateIndex
from codeft.data.unknown_tokens import UnknownTokens, encoded_texts
from codeft.progress import track
from codeft.syntax import parse
from codeft.tasks.base import AbstractTask
from codeft.types import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CHUNK = 512
_LONGEST = 100_000
"""Sub-tokens that are counted of one text; of megabytes it would take minutes to count all."""


def describe_split(
    examples: Sequence[Example], *, task: AbstractTask, tokenizer: PreTrainedTokenizerBase, name: str
) -> dict[str, Any]:
    """Return what a split's examples are like.

    Args:
        examples: The split.
        task: Encodes the examples; its maximum lengths say what is cut.
        tokenizer: The model's.
        name: The split's, for the progress bar.

    Returns:
        `rows`; `languages`, rows by language; `parse_failures`, sources in which the parser met what it
        couldn't place; `empty_sources` and `empty_targets`; what else the task counts
        (`AbstractTask.describe`); `source_tokens`, and `target_tokens` or `query_tokens` where the task has
        such texts, as `describe_lengths` returns them; and `unknown_tokens`, see `UnknownTokens.describe`.
    """
    uncut = task.uncut(_LONGEST)
    unknown = UnknownTokens(task=uncut, tokenizer=tokenizer)
    lengths: dict[str, list[int]] = {"source": []}
    for start in track(range(0, len(examples), _CHUNK), description=f"counting {name}", quiet_below=8):
        chunk = examples[start : start + _CHUNK]
        encodings = uncut.encode(chunk, tokenizer)
        unknown.add(chunk, encodings)
        for example, encoding in zip(chunk, encodings, strict=True):
            for side, _, ids in encoded_texts(example, encoding, task=task):
                lengths.setdefault(side, []).append(len(ids))
    return {
        "rows": len(examples),
        "languages": dict(Counter(example.lang or "text" for example in examples).most_common()),
        "parse_failures": sum(
            parse(example.source, example.lang).has_errors
            for example in track(examples, description=f"parsing {name}", quiet_below=1000)
            if example.lang
        ),
        "empty_sources": sum(not example.source.strip() for example in examples),
        "empty_targets": sum(
            not (example.target or "").strip() for example in examples if task.asks(example)
        ),
        **task.describe(examples),
        **{
            f"{side}_tokens": describe_lengths(np.array(found), limit=task.length_limit(side))
            for side, found in lengths.items()
        },
        "unknown_tokens": unknown.describe(),
    }


def describe_lengths(lengths: np.ndarray, *, limit: int) -> dict[str, int]:
    """Return the median, the 90th percentile and the maximum of lengths, and how many are cut at a limit.

    >>> describe_lengths(np.array([1, 2, 3, 4, 100]), limit=50)
    {'median': 3, 'p90': 100, 'max': 100, 'limit': 50, 'truncated': 1}
    """
    if not len(lengths):
        return {"median": 0, "p90": 0, "max": 0, "limit": limit, "truncated": 0}
    median, p90 = np.quantile(lengths, [0.5, 0.9], method="inverted_cdf").tolist()
    return {
        "median": int(median),
        "p90": int(p90),
        "max": int(lengths.max()),
        "limit": limit,
        "truncated": int((lengths > limit).sum()),
    }


def duplicates_across(splits: Mapping[str, Sequence[Example]]) -> dict[str, dict[str, Any]]:
    """Find rows whose source stands in an earlier split too.

    Args:
        splits: Examples by split, the training split first.

    Returns:
        For each "later in earlier" pair of splits: `exact` and `near` (a Jaccard similarity of at least 0.75,
        exact ones included), rows of the later split that have such a duplicate in the earlier one, and
        `pairs`, the near ones as (id, id in the earlier split, similarity).
    """
    order = {name: place for place, name in enumerate(splits)}
    index = NearDuplicateIndex()
    for name in list(splits)[1:]:
        for row, example in enumerate(splits[name]):
            index.add((name, row), example.source)
    nearest: dict[tuple[str, str], dict[int, tuple[float, str]]] = {
        (later, earlier): {} for later in splits for earlier in splits if order[earlier] < order[later]
    }
    for earlier in list(splits)[:-1]:
        for example in track(splits[earlier], description=f"comparing {earlier}", quiet_below=1000):
            for match in index.query(example.source):
                assert isinstance(match.key, tuple)
                later, row = match.key
                if order[earlier] < order[later]:
                    found = nearest[later, earlier]
                    found[row] = max(found.get(row, (0.0, "")), (match.similarity, example.id))
    result = {}
    for (later, earlier), found in nearest.items():
        known = {example.source for example in splits[earlier]}
        result[f"{later} in {earlier}"] = {
            "exact": sum(example.source in known for example in splits[later]),
            "near": len(found),
            "pairs": [[splits[later][row].id, id_, round(s, 3)] for row, (s, id_) in sorted(found.items())],
        }
    return result
