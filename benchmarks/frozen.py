"""Seconds an epoch with the bottom K layers frozen and computed once, against training all layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _race import Result, quick, ratio, shared_data, spread, tell, write

GOALS = {"6": 0.55, "11": 0.15}
WIDE = ["model=codebert", "model.weights=random"]
SMALL = [
    *WIDE,
    *(
        f"model.architecture.{size}"
        for size in ("hidden_size=64", "intermediate_size=128", "num_attention_heads=4")
    ),
]


def main() -> None:
    short = quick()
    rows, epochs, rounds = (32, 2, 1) if short else (32, 2, 3)
    names = ["base", *GOALS]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, int] = {}
    first: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for k in names[number % len(names) :] + names[: number % len(names)]:
                times, peaks[k] = train(
                    k,
                    Path(folder) / f"{number}-{k}",
                    rows=rows,
                    epochs=epochs,
                    model=SMALL if short else WIDE,
                )
                seconds[k].append(times["epoch_s"])
                first[k] = times["first_epoch_s"]
                tell(f"round {number + 1} of {rounds}: k={k} {times['epoch_s']:.3g} s an epoch")
    results = []
    for k, goal in GOALS.items():
        value = ratio(seconds, rival=k, own="base")
        detail = spread({name: seconds[name] for name in ("base", k)}, unit="s an epoch")
        detail += f"; first epoch {first[k]:.3g} s against {first['base']:.3g} s"
        detail += f"; peak memory {peaks[k] / 2**30:.2f} GiB against {peaks['base'] / 2**30:.2f}"
        what = f"seconds of the second epoch of code search, K = {k} of 12"
        results.append(Result(what, "k=base", value, "x", f"<= {goal}x", value <= goal, detail))
    write(
        "frozen",
        results,
        data=f"{rows} Ruby functions of CodeSearchNet, CodeBERT's architecture, random weights",
    )


def train(k: str, folder: Path, *, rows: int, epochs: int, model: list[str]) -> tuple[dict[str, float], int]:
    """Return the run's times, and its highest memory in bytes."""
    data = shared_data() / "summarization" / "csn_ruby"
    words = [
        sys.executable, "-m", "codeft.train", "task=code_search", "lang=ruby", *model,
        "method=telly", f"k={k}",
        "data=local", f"data.dir={data}",
        "data.splits.train=valid[:1300]", f"data.train_limit={rows}", "data.batch_size=8",
        "data.splits.valid=valid[1384:1392]", "data.splits.test=valid[1392:]",  # few to search, too
        f"trainer.max_epochs={epochs}", "logger=none", "cache=disk", f"cache_dir={folder}/cache",
        f"hydra.run.dir={folder}/run",
    ]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(errors[-3000:])
    return json.loads((folder / "run" / "metrics.json").read_text())["time"], usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
