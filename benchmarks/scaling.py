"""How cost grows with examples, length, layers, candidates, the decoding batch and ranks. Draws a picture."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _race import RESULTS, cpu_name, quick, shared_data

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "scaling.png"
FILE = RESULTS / "curves" / "scaling.json"

Curve = dict[str, list[float]]
"""`x`, and what was measured at each."""


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--point":
        print(json.dumps(POINTS[sys.argv[2]](int(sys.argv[3]))))
        return
    short = quick()
    curves: dict[str, Curve] = {}
    for name, (values, _, _) in CURVES.items():
        values = values[:2] if short else values
        found = [[point(name, x) for x in values] for _ in range(1 if short else 3)]
        curves[name] = {"x": list(values)} | {
            key: [statistics.median(turn[i][key] for turn in found) for i in range(len(values))]
            for key in found[0][0]
        }
        print(name, json.dumps(curves[name]), flush=True)
    curves["ranks"] = ranks(short=short)
    print("ranks", json.dumps(curves["ranks"]))
    if not short:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(json.dumps({"machine": cpu_name(), "curves": curves}, indent=2) + "\n")
        draw(curves)


def point(name: str, x: int) -> dict[str, float]:
    """Measure in a process of its own, on one thread."""
    words = [sys.executable, __file__, "--point", name, str(x)]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def examples(num: int) -> dict[str, float]:
    """Read, tokenise and parse CodeXGLUE's Java functions, as a SAT run does before it trains."""
    from _runs import translation
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from codeft.build import build_parts
    from codeft.cli import conf_dir
    from codeft.overrides import folder_name

    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    words = [*translation(shared_data(), rows=num, batch_size=32), "method=sat"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        data = build_parts(compose("train", overrides=words)).data
    data.encode(data.read("train")[:100], training=True)
    before, start = memory(), time.perf_counter()
    kept = data.encode(data.read("train"), training=True)
    seconds = time.perf_counter() - start
    assert len(kept) == num
    return {"seconds": seconds, "bytes an example": (memory() - before) / num}


def length(num: int) -> dict[str, float]:
    """A training step of a T5 of 6 + 2 layers of 256, on 4,096 source sub-tokens in rows of one length.

    A target has an eighth of its source, so that the decoder and the output layer do the same at each length.
    """
    return step(num_layers=6, length=num, tokens=4096)


def layers(num: int) -> dict[str, float]:
    """A training step of a T5 of that many encoder layers of 256, on 16 rows of 128."""
    return step(num_layers=num, length=128, tokens=2048)


def step(*, num_layers: int, length: int, tokens: int) -> dict[str, float]:
    import torch

    from codeft.allocator import keep_freed_memory
    from codeft.models.encoder_decoder import EncoderDecoderModel

    keep_freed_memory()
    torch.manual_seed(0)
    sizes = {"vocab_size": 8192, "d_model": 256, "d_kv": 32, "d_ff": 1024, "num_heads": 8}
    model = EncoderDecoderModel(
        weights="random", architecture={**sizes, "num_layers": num_layers, "num_decoder_layers": 2}
    )
    ids = torch.randint(10, 8000, (tokens // length, length))
    targets = ids[:, : length // 8].clone()
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": targets}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(batch).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch["labels"].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return {
        "ms a 1,000 sub-tokens": 1e6 * statistics.median(seconds[2:]) / tokens,
        "peak GiB": memory() / 2**30,
    }


def candidates(num: int) -> dict[str, float]:
    """Rank 1,000 queries among that many vectors of 768."""
    import torch

    from codeft.metrics.ranking import rank_targets

    rng = np.random.default_rng(0)
    table = rng.standard_normal((num, 768), dtype=np.float32)
    targets = rng.integers(0, num, 1000)
    queries = table[targets] + 8 * rng.standard_normal((1000, 768), dtype=np.float32)
    before, start = memory(), time.perf_counter()
    rank_targets(
        torch.from_numpy(queries), candidates=torch.from_numpy(table), targets=torch.from_numpy(targets)
    )
    return {"seconds": time.perf_counter() - start, "MiB beside the vectors": (memory() - before) / 2**20}


def decoding(num: int) -> dict[str, float]:
    """Beam-10 decoding of 32 sub-tokens by mini, batches of that many real Java functions."""
    from _runs import build, translation

    from codeft.allocator import keep_freed_memory

    keep_freed_memory()
    parts = build(*translation(shared_data(), rows=128, batch_size=32))
    parts.model.eval()
    parts.data.eval_batch_size = num
    batches = [
        {key: value for key, value in batch.items() if key != "labels"}
        for batch in parts.data.loader(parts.data.datasets["train"], train=False)
    ]
    parts.model.generate(batches[0], max_length=32, num_beams=10)
    start, rows = time.perf_counter(), 0
    for batch in batches:
        parts.model.generate(batch, max_length=32, num_beams=10)
        rows += len(batch["input_ids"])
        if rows >= 32 and time.perf_counter() - start > 10:
            break
    return {"ms an example": 1e3 * (time.perf_counter() - start) / rows}


def ranks(*, short: bool) -> Curve:
    """Seconds an epoch of mini on CodeXGLUE's Java -> C#, one thread a rank."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(1 if short else 3):
        for num in found:
            with tempfile.TemporaryDirectory() as folder:
                words = [
                    sys.executable, "-m", "codeft.train", "task=translation", "data=codexglue",
                    f"data.dir={shared_data() / 'translation'}", f"data.train_limit={64 if short else 512}",
                    "data.val_limit=2", "data.test_limit=2", "trainer.max_epochs=2", "logger=none",
                    "trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={num}",
                    f"data.batch_size={32 // num}", f"hydra.run.dir={folder}/run",
                ]  # fmt: skip
                done = subprocess.run(
                    words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
                )
                if done.returncode:
                    raise SystemExit(done.stderr[-3000:])
                metrics: dict[str, Any] = json.loads(Path(folder, "run", "metrics.json").read_text())
            found[num].append(metrics["time"]["epoch_s"])
    return {"x": list(found), "seconds": [statistics.median(values) for values in found.values()]}


def memory() -> int:
    """Return the highest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


POINTS: dict[str, Callable[[int], dict[str, float]]] = {
    f.__name__: f for f in (examples, length, layers, candidates, decoding)
}
CURVES = {
    "examples": ([1250, 2500, 5000, 10_000], "examples", "seconds"),
    "length": ([64, 128, 256, 512, 1024], "sub-tokens a row", "ms a 1,000 sub-tokens"),
    "layers": ([2, 4, 8, 16], "encoder layers", "ms a 1,000 sub-tokens"),
    "candidates": ([10_000, 20_000, 40_000, 80_000], "candidates", "seconds"),
    "decoding": ([1, 8, 32, 128], "examples a batch", "ms an example"),
}
"""The values, the axis, and what is drawn."""


def draw(curves: dict[str, Curve]) -> None:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 3, figsize=(10, 5.5), layout="constrained")
    shown = {**CURVES, "ranks": ([], "processes, one core each", "seconds")}
    for axes, (name, (_, axis, unit)) in zip(panels.flat, shown.items(), strict=True):
        curve = curves[name]
        axes.plot(curve["x"], curve[unit], marker="o")
        if name == "decoding":
            axes.set_xscale("log", base=2)
        crowded = [name not in ("decoding", "ranks") and x < 0.2 * max(curve["x"]) for x in curve["x"]]
        labels = ["" if near else f"{x:,.0f}" for x, near in zip(curve["x"], crowded, strict=True)]
        axes.set_xticks(curve["x"], labels)
        axes.minorticks_off()
        axes.set_ylim(0, 1.15 * max(curve[unit]))
        axes.set_xlabel(axis)
        axes.set_ylabel(unit)
        axes.set_title(TITLES[name], fontsize=10)
        axes.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=110)


TITLES = {
    "examples": "reading, tokenising, parsing",
    "length": "a training step, by length",
    "layers": "a training step, by depth",
    "candidates": "ranking 1,000 queries",
    "decoding": "beam-10 decoding",
    "ranks": "an epoch",
}

if __name__ == "__main__":
    main()
