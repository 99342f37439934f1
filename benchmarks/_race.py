"""Contestants timed in one process, interleaved, so that a slow phase of the machine hits them all."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("torch", "transformers", "pytorch-lightning", "tree-sitter", "numpy")


@dataclass(frozen=True)
class Result:
    """One row of the table.

    Attributes:
        what: What was done, on what.
        rival: What codeft is held against.
        value: The figure; for a ratio how many times faster, smaller, …
        unit: "x" for a ratio.
        goal: What was to be reached, as text (">= 15x").
        reached: Whether it was.
        detail: Medians behind the ratio, rounds, remarks.
    """

    what: str
    rival: str
    value: float
    unit: str
    goal: str
    reached: bool
    detail: str = ""


def race(contestants: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Time each contestant once a round, the first one by turns, after a round that isn't counted.

    Returns:
        Seconds of each round, by name.
    """
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            start = time.perf_counter()
            contestants[name]()
            took = time.perf_counter() - start
            if number >= 0:
                seconds[name].append(took)
            tell(f"round {number + 1} of {rounds}: {name} {took:.3g} s")  # round 0 isn't counted
    return seconds


def tell(text: str) -> None:
    """Say how far a benchmark is, beside its results."""
    print(f"  {text}", file=sys.stderr, flush=True)


def need(package: str) -> None:
    """End a script whose rival isn't installed."""
    if util.find_spec(package) is None:
        raise SystemExit(f"the rival isn't here: pip install -c constraints.txt {package}")


def ratio(seconds: Mapping[str, Sequence[float]], *, rival: str, own: str) -> float:
    """Return the median over rounds of the rival's time divided by one's own."""
    return statistics.median(r / o for r, o in zip(seconds[rival], seconds[own], strict=True))


def spread(seconds: Mapping[str, Sequence[float]], *, scale: float = 1.0, unit: str = "s") -> str:
    """Return each contestant's median and range as text.

    Args:
        seconds: Of each round, by name.
        scale: Factor on them.
        unit: Of the scaled ones.
    """
    parts = []
    for name, values in seconds.items():
        low, middle, high = (scale * f(values) for f in (min, statistics.median, max))
        parts.append(f"{name} {middle:.3g} ({low:.3g} to {high:.3g}) {unit}")
    return ", ".join(parts) + f"; {len(next(iter(seconds.values())))} rounds"


def faster(
    what: str,
    seconds: Mapping[str, Sequence[float]],
    *,
    rival: str,
    own: str = "codeft",
    at_least: float,
    scale: float = 1.0,
    unit: str = "s",
    remark: str = "",
) -> Result:
    """Return the row for a race that is to be won by a factor."""
    value = ratio(seconds, rival=rival, own=own)
    detail = spread(seconds, scale=scale, unit=unit) + (f"; {remark}" if remark else "")
    return Result(what, rival, value, "x", f">= {at_least:g}x", value >= at_least, detail)


def write(name: str, results: Sequence[Result], *, data: str, missing: Sequence[str] = ()) -> None:
    """Write `results/<name>.json` (`<name>_gpu.json` where there is a GPU) and print the rows.

    With `--quick` they are only printed: they say nothing about speed.

    Args:
        name: The script's.
        results: Its rows.
        data: What it was run on.
        missing: What couldn't be measured, and why.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    report = {
        "machine": torch.cuda.get_device_name() if on_gpu else cpu_name(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in PACKAGES},
        "data": data,
        "results": [asdict(result) for result in results],
    }
    if missing:
        report["missing"] = list(missing)
    path = RESULTS / f"{name}{'_gpu' if on_gpu else ''}.json"
    if quick():
        print("a quick run: it shows that the script works, and says nothing about speed")
    else:
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for result in results:
        verdict = "reached" if result.reached else "NOT reached"
        print(f"{result.what}: {result.value:.3g}{result.unit} against {result.rival}")
        print(f"    {result.goal}: {verdict}")
        print(f"    {result.detail}")
    for text in missing:
        print(f"not measured: {text}")


def cpu_name() -> str:
    """Return the processor's name, its cores, and the instructions that matter here."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = fields.get("flags", "").split()
    wide = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    bf16 = ", bf16" if "avx512_bf16" in flags else ""
    return f"{fields.get('model name', platform.processor())}, {os.cpu_count()} cores ({wide}{bf16})"


def shared_data() -> Path:
    """Return the folder of public data sets beside the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("CODEFT_SHARED_DATA", default))
    if not path.is_dir():
        raise SystemExit(f"no data at {path}; set CODEFT_SHARED_DATA to its folder")
    return path


def quick() -> bool:
    """Return whether `--quick` was typed: few rounds on little data, to see that a benchmark runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few rounds on little data, nothing written")
    return bool(parser.parse_args().quick)
