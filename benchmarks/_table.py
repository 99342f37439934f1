"""Write `docs/benchmarks.md` from what the benchmarks left in `results/`."""

from __future__ import annotations

import json
from pathlib import Path

from _race import RESULTS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

Each script in `benchmarks/` times codeft and a rival side by side: in one process, or in processes by turns,
several rounds, medians. A ratio is the median over rounds, so a slow phase of a shared machine hits both.
`make bench` runs all of them and writes this page; `python benchmarks/<name>.py --quick` only shows that one
runs. They read public data sets from `../shared/data` or `$CODEFT_SHARED_DATA`. Tests never time anything.

A goal that isn't reached stays in the table. What a script isn't listed for hasn't been measured yet.
[Scaling](scaling.md) says how cost grows.
"""


WITHOUT_GPU = """## Not measured

No GPU was at hand for these. The scripts run on one as they are, and write their results beside the others
(`results/<name>_gpu.json`).

| what | against | goal |
|---|---|---|
| memory of the structure loss on a GPU | GeomLoss | <= 1/3 |
| its time there | GeomLoss | >= 5x padded alike, >= 80x on real lengths |
| beam-10 decoding there | `generate` at batch 1 | >= 20x |
| a SAT step, and training throughput there | `method=full`; Trainer | as on a CPU |
"""


def main() -> None:
    parts = [INTRODUCTION]
    for path in sorted(RESULTS.glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
        parts.append(
            f"## `{path.stem}`\n\nOn {report['data']}. {report['machine']}, {report['threads']} thread(s), "
            f"Python {report['python']}, {versions}.\n"
        )
        rows = [
            "| what | against | measured | goal | reached | medians (range) |",
            "|---|---|---|---|---|---|",
        ]
        for row in report["results"]:
            reached = "yes" if row["reached"] else "**no**"
            cells = (
                row["what"],
                row["rival"],
                f"{row['value']:.3g}{row['unit']}",
                row["goal"],
                reached,
                row["detail"],
            )
            rows.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(rows) + "\n")
    if not any(RESULTS.glob("*_gpu.json")):
        parts.append(WITHOUT_GPU)
    PAGE.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
