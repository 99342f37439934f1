"""Fine-tunes pre-trained encoder-decoders on three tasks, all alike, and measures them on validation rows.

Beside the yardstick: what a user of the weights would see. No test row is read. Of CodeSearchNet Ruby's
validation rows, 200 validate and the other 1,200 train; of Java to C#, 4,000 published training rows train
and 200 published validation rows validate. `DATA` holds `csn_ruby/` and `translation/`, in CodeXGLUE's
layout.

Usage:
    python recipes/mini/finetuned.py MODEL [MODEL ...] --data DATA [--seeds 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeft.pretraining import loss_curve
from codeft.run_folder import RunFolder

RUBY = ("data=local", "lang=ruby", "data.splits.train=valid[200:]", "data.splits.valid=valid[:200]")
JAVA_CS = ("data.splits.train=train[:4000]", "data.val_limit=200")
COMMON = (
    "model=mini",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "trainer.precision=bf16-mixed",
    "test=false",
)


@dataclass(frozen=True)
class Trial:
    """A short fine-tuning.

    Attributes:
        folder: Below `DATA`.
        words: What `codeft.train` is told.
        epochs: Times through the training rows, with one validation at the end.
        value: What is read of it, as it is logged on validation rows.
    """

    folder: str
    words: tuple[str, ...]
    epochs: int
    value: str


TRIALS = {
    "ruby_summaries": Trial(
        "csn_ruby", ("task=summarization", "task.num_beams=1", *RUBY), epochs=5, value="val/loss"
    ),
    "java_cs": Trial(
        "translation",
        (
            "task=translation",
            "lang=java-cs",
            "data=codexglue",
            "task.num_beams=1",
            "data.val_limit=200",
            "data.splits.train=train[:4000]",
        ),
        epochs=1,
        value="val/loss",
    ),
    # A loss of search hangs on the batch; the rank of the right one among 200 functions doesn't.
    "ruby_search": Trial("csn_ruby", ("task=code_search", *RUBY), epochs=5, value="val/mrr"),
}


def measure(model: str, trial: Trial, *, data: Path, seed: int) -> float:
    """Fine-tune `model` in a process of its own, and return its value after the last epoch."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [
            *(sys.executable, "-m", "codeft.train", *COMMON, *trial.words),
            f"model.weights={model}",
            f"data.dir={(data / trial.folder).resolve()}",
            f"seed={seed}",
            f"trainer.max_epochs={trial.epochs}",
            f"trainer.check_val_every_n_epoch={trial.epochs}",
            f"hydra.run.dir={run}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return loss_curve(RunFolder(run), trial.value)[-1][1]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("models", nargs="+", help="folders of weights, or asset:mini")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--json", type=Path, help="append a line with each result to this file")
    options = parser.parse_args(arguments)
    for model in options.models:
        found: dict[str, Any] = {"model": model, "seeds": options.seeds}
        for name, trial in TRIALS.items():
            found[name] = [
                round(measure(model, trial, data=options.data, seed=seed), 4) for seed in options.seeds
            ]
            print(model, name, found[name], flush=True)
        if options.json:
            with options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
