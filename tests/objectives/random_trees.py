"""Trees over sub-tokens, drawn at random."""

from __future__ import annotations

import numpy as np

from codeft.syntax.token_tree import TokenTree


def random_tree(rng: np.random.Generator, num_tokens: int, *, splits: float = 0.7) -> TokenTree:
    """Return a tree of nested runs: each node's is cut at random places, and some of the parts are nodes."""
    runs = {(0, num_tokens)} if num_tokens > 1 else set()
    waiting = list(runs)
    while waiting:
        start, end = waiting.pop()
        num_cuts = int(rng.integers(0, min(4, end - start)))
        cuts = sorted(rng.choice(np.arange(start + 1, end), size=num_cuts, replace=False).tolist())
        for part in zip([start, *cuts], [*cuts, end], strict=True):
            if part[1] - part[0] > 1 and part != (start, end) and rng.random() < splits:
                runs.add(part)
                waiting.append(part)
    ordered = sorted(runs, key=lambda run: (run[0], -run[1]))
    starts, ends = np.array(ordered, dtype=np.int64).reshape(-1, 2).T
    return TokenTree(num_tokens, starts, ends, np.zeros((0, 3), dtype=np.int64))
