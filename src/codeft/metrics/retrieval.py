"""Scores of search: mean reciprocal rank and recall at k by named protocol, and MAP@R."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from codeft.types import CodeftError

PROTOCOLS = ("full", "cut1000", "distractors999")
CUT = 1000
"""The last rank that counts under the protocol `cut1000`."""
RECALL_AT = (1, 5, 10)
TIES_SIGNATURE = "ties|queries whose target ties|v:1"


def mrr(ranks: Tensor | Sequence[int], *, protocol: str = "full") -> float:
    """Mean reciprocal rank.

    Args:
        ranks: [Q] from 1; 0 where the target wasn't found at all.
        protocol: One of `PROTOCOLS`; under "cut1000" a rank beyond 1,000 counts 0.

    Returns:
        0 to 1.

    Raises:
        CodeftError: The protocol is unknown, or there are no ranks.

    >>> mrr([1, 4, 2000]), mrr([1, 4, 2000], protocol="cut1000")
    (0.41683333333333333, 0.4166666666666667)
    """
    check_protocol(protocol)
    return float(reciprocal_ranks(_checked(ranks), protocol=protocol).mean())


def r_at_k(ranks: Tensor | Sequence[int], *, k: int) -> float:
    """Share of queries whose target stands among the first k.

    Args:
        ranks: [Q] from 1; 0 where the target wasn't found at all.
        k: Places that count.

    Returns:
        0 to 1.

    Raises:
        CodeftError: There are no ranks.

    >>> r_at_k([1, 4, 6], k=5)
    0.6666666666666666
    """
    return float(found_within(_checked(ranks), k=k).mean())


def map_at_r(rankings: Sequence[Sequence[Hashable]], relevant: Sequence[Sequence[Hashable]]) -> float:
    """Mean average precision at R, where R is the number of a query's relevant items.

    A query's first R places count: 1/R times the sum over relevant places i <= R of (relevant up to i) / i.

    Source: Musgrave et al. (2020), "A Metric Learning Reality Check", equation 7; CodeXGLUE's POJ-104.

    Args:
        rankings: For each query the items found, best first, without the query itself.
        relevant: For each query the items that should be found; R of them.

    Returns:
        0 to 1.

    Raises:
        CodeftError: The numbers of queries differ, there are none, a query has nothing relevant, or an item
            stands twice in a ranking.

    >>> map_at_r([["3", "2"], ["0", "1"]], [["2", "1"], ["0", "1"]])
    0.625
    """
    values = average_precisions(rankings, relevant)
    return sum(values) / len(values)


def reciprocal_ranks(ranks: Tensor, *, protocol: str = "full") -> Tensor:
    """Return 1 / rank, float64 [Q]; 0 where a target wasn't found or lies beyond the protocol's cut."""
    counted = ranks > 0
    if protocol == "cut1000":
        counted &= ranks <= CUT
    return torch.where(counted, 1.0 / ranks.clamp(min=1).double(), 0.0)


def found_within(ranks: Tensor, *, k: int) -> Tensor:
    """Return 1 where the target stands among the first k, else 0, float64 [Q]."""
    return ((ranks > 0) & (ranks <= k)).double()


def average_precisions(
    rankings: Sequence[Sequence[Hashable]], relevant: Sequence[Sequence[Hashable]]
) -> list[float]:
    """Return each query's average precision at R; see `map_at_r`."""
    if len(rankings) != len(relevant) or not rankings:
        raise CodeftError(
            f"expected a ranking for each query, got {len(rankings)} rankings for {len(relevant)} queries"
        )
    values = []
    for query, (found, wanted_items) in enumerate(zip(rankings, relevant, strict=True)):
        wanted = set(wanted_items)
        if not wanted or len(set(found)) < len(found):
            wrong = "an item twice in its ranking" if wanted else "nothing relevant to find"
            raise CodeftError(f"query {query} has {wrong}: expected each item once and something to find")
        hits, total = 0, 0.0
        for place, item in enumerate(found[: len(wanted)], start=1):
            if item in wanted:
                hits += 1
                total += hits / place
        values.append(total / len(wanted))
    return values


def check_protocol(protocol: str) -> None:
    """Refuse an unknown protocol."""
    if protocol not in PROTOCOLS:
        raise CodeftError(f"expected a protocol out of {', '.join(PROTOCOLS)}, got {protocol!r}")


def protocol_name(name: str, *, protocol: str) -> str:
    """Return a score's name under a protocol; `full` is the plain one.

    >>> protocol_name("mrr", protocol="cut1000"), protocol_name("mrr", protocol="full")
    ('mrr_cut1000', 'mrr')
    """
    return name if protocol == "full" else f"{name}_{protocol}"


def search_signature(
    name: str, *, protocol: str, deduplicated: bool = False, ties: str = "pessimistic"
) -> str:
    """Return the signature of a search score.

    >>> search_signature("mrr", protocol="full")
    'mrr|protocol:full|ties:pessimistic|dedup:no|range:0-1|v:1'
    """
    dedup = "yes" if deduplicated else "no"
    return f"{name}|protocol:{protocol}|ties:{ties}|dedup:{dedup}|range:0-1|v:1"


def map_at_r_signature(*, ties: str) -> str:
    """Return MAP@R's signature; stored rankings have decided their ties.

    >>> map_at_r_signature(ties="as-ranked")
    'map_at_r|R:relevant|ties:as-ranked|range:0-1|v:1'
    """
    return f"map_at_r|R:relevant|ties:{ties}|range:0-1|v:1"


def r_precision_signature() -> str:
    """Return the signature of R-precision.

    >>> r_precision_signature()
    'r_precision|order:ignored|R:relevant|range:0-1|v:1'
    """
    return "r_precision|order:ignored|R:relevant|range:0-1|v:1"


def _checked(ranks: Tensor | Sequence[int]) -> Tensor:
    ranks = torch.as_tensor(ranks)
    if ranks.numel() == 0:
        raise CodeftError("expected at least one rank, got none: nothing to score")
    return ranks
