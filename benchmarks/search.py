"""Ranking 14,918 queries among 43,827 candidates (AdvTest's and CoSQA-like sizes), and its memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import torch
from _race import Result, faster, quick, tell, write

CANDIDATES, QUERIES, WIDTH = 43_827, 14_918, 768


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--contestant":
        contest(sys.argv[2], int(sys.argv[3]))
        return
    rounds = 1 if quick() else 3
    queries = 1000 if rounds == 1 else QUERIES
    seconds: dict[str, list[float]] = {"numpy": [], "codeft": []}
    peaks, scores = {}, {}
    for number in range(rounds):
        for name in seconds:
            took, peaks[name], scores[name] = start(name, queries)
            seconds[name].append(took)
            tell(f"round {number + 1} of {rounds}: {name} {took:.3g} s")
    assert abs(scores["numpy"] - scores["codeft"]) < 1e-4, scores  # products round otherwise in each library
    _, few, _ = start("codeft", max(1, queries // 10))
    grown = (peaks["codeft"] - few) / 2**20
    stored = queries * WIDTH * 4 * 0.9 / 2**20
    flat = grown < stored + 64
    vectors = (CANDIDATES + queries) * WIDTH * 4
    detail = ", ".join(f"{name}'s peak {peak / 2**30:.2f} GiB" for name, peak in peaks.items())
    detail += f", of which vectors {vectors / 2**30:.2f}"
    write(
        "search",
        [
            faster(
                f"MRR of {queries:,} queries among {CANDIDATES:,} candidates",
                seconds,
                rival="numpy",
                at_least=5,
                remark=f"MRR {scores['numpy']:.5f} and {scores['codeft']:.5f}; codeft's time is that of the "
                "product of queries and candidates, 10^12 operations in float32, and little else",
            ),
            Result(
                "memory that ten times as many queries need beyond their own vectors",
                "none",
                grown - stored,
                " MiB",
                "flat",
                flat,
                detail,
            ),
        ],
        data=f"random vectors of {WIDTH}, each query near its target",
    )


def start(name: str, queries: int) -> tuple[float, int, float]:
    words = [sys.executable, __file__, "--contestant", name, str(queries)]
    took, peak, score = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return float(took), int(peak), float(score)


def contest(name: str, num_queries: int) -> None:
    from codeft.metrics.ranking import rank_targets
    from codeft.metrics.retrieval import mrr

    rng = np.random.default_rng(0)
    candidates = rng.standard_normal((CANDIDATES, WIDTH), dtype=np.float32)
    targets = rng.integers(0, CANDIDATES, num_queries)
    queries = candidates[targets] + 8 * rng.standard_normal((num_queries, WIDTH), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
    begin = time.perf_counter()
    if name == "numpy":
        order = np.argsort(-(queries @ candidates.T), axis=1)
        ranks = np.argmax(order == targets[:, None], axis=1) + 1
        score = float(np.mean(1 / ranks))
    else:
        ranks = rank_targets(
            torch.from_numpy(queries),
            candidates=torch.from_numpy(candidates),
            targets=torch.from_numpy(targets),
        ).ranks
        score = mrr(ranks)
    took = time.perf_counter() - begin
    print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, score)


if __name__ == "__main__":
    main()
