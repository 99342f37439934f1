"""Write `docs/benchmarks.md` from what the benchmarks left in `results/`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from _race import RESULTS

LARGE = re.compile(r"\b\d(?:\.\d+)?e\+\d+")
"""A large number as `:.3g` writes it."""

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

Each script in `benchmarks/` times codeft and a rival side by side: in one process, or in processes by turns,
several rounds, medians. A ratio is the median of the rounds' ratios, so a slow phase of a shared machine hits
both; where rounds differ much it isn't the ratio of the medians beside it. Tests never time anything.

- `make bench` runs all and writes this page. Where one fails, it goes on with the others and says so at the
  end. On the machine named below that takes about an hour where nothing else runs, and 8 GiB of
  memory (numpy's, in `search`).
- `python benchmarks/<name>.py` runs one, and `python benchmarks/_table.py` writes this page from
  `results/`.
- `python benchmarks/<name>.py --quick` only shows that it runs, on little data, in a minute or two, and
  writes nothing.
- Rivals: all come with `.[dev]` but CodeBLEU's, whose own requirements ask for an older tree-sitter:
  `pip install --no-deps codebleu==0.7.0`. Without it, its rows are missing.

Public data sets are read from `../shared/data` or `$CODEFT_SHARED_DATA`:

- `translation/`: CodeXGLUE's Java -> C#, `train.java-cs.txt.java` and so on (`decoding`, `sat_step`,
  `scaling`, `structure`, `structure_loss`, `training`)
- `summarization/csn_ruby/` and `summarization/csn_python_small/`: CodeSearchNet's `valid.jsonl` and
  `test.jsonl` (`frozen`, `scoring`, `training`; `structure`)
- `refinement/bugs2fix_small/`: `valid.buggy-fixed.buggy`, `valid.buggy-fixed.fixed`, and the same of
  `test`; `clone/bigclonebench/data.jsonl` (`scoring`)
- `tokenizers/codet5/`: CodeT5's tokenizer (`structure`)

Two comparisons are easily read as more than they are:

- `structure_loss`: the first rows do the same work on both sides. The row "as published" doesn't: SAT's
  authors pad to 256, and most of its ratio is padding that codeft leaves out.
- `training`: codeft has glibc keep freed memory, which the Trainer doesn't by itself. In the rows "freed
  memory kept" the Trainer has the same setting, from the environment (`MALLOC_MMAP_MAX_`,
  `MALLOC_TRIM_THRESHOLD_`).

A goal that isn't reached stays in the table. A script without a section here hasn't been run to its end yet.
[Scaling](scaling.md) says how cost grows.
"""


WITHOUT_GPU = """## Not measured

No GPU was at hand for these. The scripts run on one as they are, and write their results beside the others
(`results/<name>_gpu.json`).

| what | against | goal |
|---|---|---|
"""
ON_GPU = {
    "structure_loss": [
        "| memory of the structure loss on a GPU | GeomLoss | <= 1/3 |",
        "| time of the structure loss on a GPU | GeomLoss | >= 5x on the same work, >= 80x as published |",
    ],
    "decoding": ["| beam-10 decoding on a GPU | `generate` at batch 1 | >= 20x |"],
    "sat_step": ["| a SAT step on a GPU | `method=full` | as on a CPU |"],
    "training": ["| training throughput on a GPU | Trainer | as on a CPU |"],
}


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
            line = f"| {' | '.join(cells)} |"
            rows.append(LARGE.sub(lambda number: f"{float(number[0]):,.0f}", line))
        parts.append("\n".join(rows) + "\n")
        parts += [f"Not measured: {text}.\n" for text in report.get("missing", [])]
    waiting = [
        row for name, rows in ON_GPU.items() if not (RESULTS / f"{name}_gpu.json").is_file() for row in rows
    ]
    if waiting:
        parts.append(WITHOUT_GPU + "\n".join(waiting) + "\n")
    PAGE.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
