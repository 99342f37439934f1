"""Copies pre-trained weights to where codeft looks for them and writes their model card.

Usage: python recipes/mini/card.py RUN [--command "codeft pretrain …"]
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ASSET = ROOT / "src/codeft/assets/mini"
STATISTICS = ROOT / "recipes/corpus/statistics.json"


def main() -> None:
    """Copy the folder and write README.md beside the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished pre-training run")
    parser.add_argument(
        "--command", action="append", help="a command line that made the run, where it didn't note it itself"
    )
    arguments = parser.parse_args()
    run = arguments.run
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    statistics = json.loads(STATISTICS.read_text(encoding="utf-8"))
    commands = metrics.get("command") or arguments.command
    if not commands:
        parser.error("the run's metrics.json doesn't say how it was made: give --command")
    text = card(metrics, config=config, statistics=statistics, commands=commands)
    ASSET.mkdir(parents=True, exist_ok=True)
    for path in sorted((run / "model").iterdir()):
        shutil.copyfile(path, ASSET / path.name)
    (ASSET / "README.md").write_text(text, encoding="utf-8")


def card(
    metrics: Mapping[str, Any],
    *,
    config: Mapping[str, Any],
    statistics: Mapping[str, Any],
    commands: Sequence[str],
) -> str:
    """Return the model card as Markdown."""
    sections = (
        head(metrics),
        training(metrics, config=config, commands=commands),
        data(statistics["train"]),
        limits(statistics),
    )
    return "\n".join(sections)


def head(metrics: Mapping[str, Any]) -> str:
    """Say what the model is."""
    return f"""# mini

codeft's own small model: a T5-style encoder-decoder with {metrics["params"]["total"]:,} parameters (12
encoder layers, 2 decoder layers, width 128) and a byte-level BPE tokenizer of 8,192 ids. It exists so that
every method can be tried, tested and compared on a laptop. It is no rival of the published models.

Weights: float16, safetensors. Licence: Apache-2.0, as codeft's. What it was trained on is listed, package by
package with version and licence, in codeft's `THIRD_PARTY.md`.
"""


def training(metrics: Mapping[str, Any], *, config: Mapping[str, Any], commands: Sequence[str]) -> str:
    """Say how the model was trained, with which commands."""
    task, optimizer = config["task"], config["optimizer"]
    pretraining = metrics["pretraining"]
    num_ranks = config["trainer"]["devices"]
    num_tokens = num_ranks * config["data"]["batch_tokens"]
    processes = "one process" if num_ranks == 1 else f"{num_ranks} processes"
    precision = metrics.get("precision", config["trainer"]["precision"])
    typed = "\n".join(portable(command) for command in commands)
    counts = pretraining["examples"].items()
    examples = {part: count for part, count in counts if count and part != "left_open"}
    parts = ", ".join(f"{part} ({count:,} examples)" for part, count in examples.items())
    return f"""## Training

```bash
{typed}
```

`OUT` is a folder outside of the checkout. What was asked of the model (see codeft's `docs/pretraining.md`):
{parts};
{task["mask_share"]:.0%} of a piece's sub-tokens hidden, pieces of at most {task["max_source_length"]}.

| | |
|---|---|
| steps | {pretraining["steps"]:,} of at most {num_tokens:,} sub-tokens, padding included |
| sub-tokens read | {pretraining["source_tokens"]:,} in sources, {pretraining["target_tokens"]:,} in targets |
| validation loss | {pretraining["best_val_loss"]:.3f} nats a target sub-token |
| optimizer | {describe(optimizer)}, {config["scheduler"]["_target_"].rpartition(".")[2]} |
| precision, seed | {precision}, {config["seed"]} |
| time | {metrics["time"]["fit_s"] / 60:.0f} minutes, {processes} of a thread each on a shared CPU |

The steps from packages to weights, with their commands, stand in codeft's `recipes/README.md`. The losses
step by step are in `loss.csv`.

![losses over steps](loss.png)
"""


def describe(optimizer: Mapping[str, Any]) -> str:
    """Name the optimizer and its learning rates.

    >>> describe({"_target_": "torch.optim.AdamW", "lr": 0.001})
    'AdamW, learning rate 0.001'
    """
    name = optimizer["_target_"].rpartition(".")[2]
    if "embedding_lr" not in optimizer:
        return f"{name}, learning rate {optimizer['lr']:g}"
    return (
        f"Muon for the layers' matrices, learning rate {optimizer['lr']:g}; AdamW for the rest, "
        f"{optimizer['embedding_lr']:g}"
    )


def data(train: Mapping[str, Any]) -> str:
    """Say what the model was trained on."""
    languages = "\n".join(
        f"| {language} | {counts['rows']:,} | {counts['bytes'] / 1e6:.1f} |"
        for language, counts in sorted(train["by language"].items())
    )
    licences = ", ".join(
        f"{name} ({counts['rows']:,})" for name, counts in sorted(train["by licence"].items())
    )
    return f"""## Data

{train["rows"]:,} functions and whole files, {train["bytes"] / 1e6:.0f} MB:

| language | functions and files | MB |
|---|---|---|
{languages}

By licence: {licences}.
"""


def limits(statistics: Mapping[str, Any]) -> str:
    """Say what was left out of the data, and what is known to be wrong with it."""
    left_out = "\n".join(f"| {reason} | {rows:,} |" for reason, rows in left_out_rows(statistics))
    return f"""Left out, so that the evaluation sets stay unseen, so that nothing counts twice, or for size:

| reason | functions or files |
|---|---|
{left_out}

Repositories that an evaluation set names were left out whole, and so were packages held out for validation.
Near duplicates are judged by shingles of code tokens, with names and without them, so what was rewritten may
have stayed, and so may functions of a few tokens, which are alike everywhere. Licences were read file by file
(SPDX lines, licence texts, Debian's records); folders of bundled projects (`contrib/`, `third_party/`, …)
were left out.
"""


def left_out_rows(statistics: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return what was left out by reason, the most frequent first."""
    return sorted(statistics["left out"].items(), key=lambda item: -item[1])


def portable(command: str) -> str:
    """Return a command line with the folders of the machine that it was typed on reduced to `OUT`.

    >>> portable("codeft pretrain data.train=/disk/corpus/train.jsonl 'to=~/my weights' seed=1")
    "codeft pretrain data.train=OUT/train.jsonl 'to=OUT/my weights' seed=1"
    """
    return shlex.join(_reduced(word) for word in shlex.split(command))


def _reduced(word: str) -> str:
    key, equals, value = word.rpartition("=") if "=" in word else ("", "", word)
    outside = re.match(r"""["']?(/|~|\.\.)""", value)
    return f"{key}{equals}OUT/{Path(value).name.strip(chr(34) + chr(39))}" if outside else word


if __name__ == "__main__":
    main()
