"""From masked sub-tokens to what a model reads and writes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Layout = Literal["t5", "ast_t5"]


@dataclass(frozen=True, slots=True)
class Hidden:
    """A text with parts of it hidden.

    Attributes:
        source: int32 [S], the text with a sentinel for each hidden part.
        target: int32 [T], each sentinel with what it hides.
        num_left_open: Sub-tokens that were to be masked and weren't, for lack of sentinels.
    """

    source: np.ndarray
    target: np.ndarray
    num_left_open: int


def hide(
    ids: np.ndarray,
    masked: np.ndarray,
    *,
    sentinels: Sequence[int],
    end: int,
    layout: Layout = "t5",
    gaps: Sequence[int] = (),
) -> Hidden:
    """Put sentinels in the place of masked sub-tokens; neighbours share one.

    `t5`: the first hidden part is the first sentinel's, and so on; the target ends with the end mark.
    `ast_t5`: equal hidden parts share a sentinel, and the target has it once; the first sentinel is none of
    theirs, but begins and ends the target.

    Source: T5 (arXiv 1910.10683); AST-T5's code, whose `<sen000>` here is a T5 vocabulary's `<extra_id_0>`.

    Args:
        ids: int [n], the text's sub-tokens.
        masked: bool [n].
        sentinels: Their ids, in order; parts beyond the last of them stay as they are.
        end: The id of the end mark.
        layout: "t5" or "ast_t5".
        gaps: Places (before sub-token i, not beside or in a masked part) where nothing is hidden, each with a
            sentinel of its own; only in `t5`.

    Examples:
        >>> masked = np.array([False, True, True, False])
        >>> hidden = hide(np.array([5, 6, 7, 8]), masked, sentinels=[90, 91], end=1)
        >>> hidden.source.tolist(), hidden.target.tolist()
        ([5, 90, 8], [90, 6, 7, 1])
        >>> masked = np.array([True, False, True])
        >>> hidden = hide(np.array([5, 6, 5]), masked, sentinels=[90, 91], end=1, layout="ast_t5")
        >>> hidden.source.tolist(), hidden.target.tolist()
        ([91, 6, 91], [90, 91, 5, 90])
    """
    framed = np.concatenate(([False], masked, [False]))
    edges = np.flatnonzero(framed[1:] != framed[:-1]).tolist()
    parts = list(zip(edges[::2], edges[1::2], strict=True))
    if gaps:
        parts = sorted([*parts, *((gap, gap) for gap in gaps)])
    tokens: list[int] = ids.tolist()
    shares = layout == "ast_t5"
    unused = iter(sentinels[1:] if shares else sentinels)
    given: dict[tuple[int, ...], int] = {}
    source: list[int] = []
    target: list[int] = [sentinels[0]] if shares else []
    place = num_left_open = 0
    for start, stop in parts:
        content = tuple(tokens[start:stop])
        sentinel = given.get(content) if shares else None
        if sentinel is None:
            sentinel = next(unused, None)
            if sentinel is None:
                num_left_open += stop - start
                continue
            given[content] = sentinel
            target += (sentinel, *content)
        source += tokens[place:start]
        source.append(sentinel)
        place = stop
    source += tokens[place:]
    target.append(sentinels[0] if shares else end)
    return Hidden(np.array(source, dtype=np.int32), np.array(target, dtype=np.int32), num_left_open)


def put_back(source: Sequence[int], target: Sequence[int], *, sentinels: Sequence[int]) -> list[int]:
    """Return the text that a source and a target of `hide` hold together, in either layout.

    Args:
        source: As `hide` made it.
        target: As `hide` made it.
        sentinels: Their ids.

    Examples:
        >>> put_back([5, 90, 8], [90, 6, 7, 1], sentinels=[90, 91])
        [5, 6, 7, 8]
    """
    known = set(sentinels)
    content: dict[int, list[int]] = {}
    current: list[int] = []
    for token in target[:-1]:  # the last one is the end, whichever it is
        if token in known:
            current = content.setdefault(token, [])
        else:
            current.append(token)
    return [piece for token in source for piece in (content.get(token, []) if token in known else [token])]
