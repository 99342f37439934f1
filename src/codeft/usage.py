"""What `--help` says: examples, the groups with their choices, and the keys that people type."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

EXAMPLES = {
    "train": (
        "method=telly k=6",
        "task=translation lang=cs-java",
        "method=[sat,telly] k=6 alpha=0.1",
        "data=local data.dir=path/to/rows trainer.max_epochs=10",
        "-m method=telly k=0,3,6",
        "dry_run=true",
        "resume=outputs/my-run",
    ),
    "evaluate": (
        "run=outputs/my-run",
        "run=outputs/my-run split=valid task.num_beams=1",
        "predictions=out.txt references=gold.txt task=translation",
    ),
    "predict": ("run=outputs/my-run input=src/ output=out.jsonl",),
    "prepare": ("data.dir=path/to/rows", "data.source=path/to/repository output=path/to/rows"),
    "pretrain": (
        "data.train=train.jsonl data.valid=valid.jsonl",
        "model=mini data.source=path/to/repository trainer.max_steps=500",
        "model=codet5 objective=ast_t5 data.source=path/to/repository",
        "resume=outputs/my-run",
    ),
    "export": ("run=outputs/my-run to=my-model", "run=outputs/my-run to=my-model onnx=true"),
    "similarity": ("run=outputs/my-run", "runs=[outputs/my-run,outputs/another]"),
    "report": ("run=outputs/my-sweep", "run=outputs/my-sweep by=data.train_limit scores=[smoothed_bleu]"),
    "probe": (
        "model=mini",
        "model=mini runs=[outputs/my-run,outputs/another]",
        "model=mini task=clone_detection_poj104 data=codexglue data.dir=path/to/poj104",
    ),
}

_DIR = ("data.dir", "null", "folder of rows, where the data set reads one")
_RUN_DIR = ("hydra.run.dir", "outputs/…", "folder of the run; of a sweep: hydra.sweep.dir")
OFTEN = {
    "train": (
        _DIR,
        ("data.train_limit", "null", "rows at most; so do data.val_limit and data.test_limit"),
        ("trainer.max_epochs", "3", "passes over the training rows"),
        ("task.num_beams", "10", "of the beam search in validation and test"),
        _RUN_DIR,
    ),
    "evaluate": (_RUN_DIR,),
    "predict": (_RUN_DIR,),
    "prepare": (_DIR, ("data.source", "null", "source tree to mine"), _RUN_DIR),
    "pretrain": (("trainer.max_steps", "4000", "steps in all"), _RUN_DIR),
    "export": (_RUN_DIR,),
    "similarity": (_RUN_DIR,),
    "report": (_RUN_DIR,),
    "probe": (_DIR, ("task.max_source_length", "256", "sub-tokens of a text at most"), _RUN_DIR),
}
"""Key, default and meaning of what is often typed and stands in another file than the verb's own."""


def print_usage(verb: str, conf: Path) -> None:
    """Print how a verb is used; nothing is composed, so that it comes at once.

    Args:
        verb: The verb.
        conf: The folder of configs.
    """
    text = (conf / f"{verb}.yaml").read_text(encoding="utf-8")
    console = Console(highlight=False)
    console.print(f"codeft {verb}: {summary(verb)}\n", markup=False)
    console.print("examples", style="bold")
    for example in EXAMPLES[verb]:
        console.print(f"  python -m codeft.{verb} {example}", markup=False, soft_wrap=True)
    groups = Table.grid(padding=(0, 2))
    for group, default in chosen_groups(text):
        words = sorted(path.stem for path in (conf / group).glob("*.yaml") if path.stem != "base")
        groups.add_row(f"  {group}", "" if default == "null" else default, Text(", ".join(words)))
    if groups.row_count:
        console.print("\ngroups: default, and what there is", style="bold")
        console.print(groups)
    keys = Table.grid(padding=(0, 2))
    for key, value, comment in (*commented_keys(text), *OFTEN[verb]):
        keys.add_row(*map(Text, (f"  {key}", value, comment)))
    console.print("\nkeys: default, and what they do", style="bold")
    console.print(keys)
    console.print(
        "\n--cfg job prints the whole config, -m runs every combination (k=0,3,6), --hydra-help says more"
    )


def summary(verb: str) -> str:
    """Return the first line of a verb's file, without its example.

    >>> summary("predict")
    'Use a finished run on real files'
    """
    return (importlib.import_module(f"codeft.{verb}").__doc__ or "").partition(": `")[0]


def chosen_groups(text: str) -> Iterator[tuple[str, str]]:
    r"""Yield the groups of a verb's config with their defaults, but Hydra's own.

    >>> list(chosen_groups("defaults:\n  - _self_\n  - task: summarization\n  - hydra: default\n"))
    [('task', 'summarization')]
    """
    for group, default in re.findall(r"^  - (\w+): (\w+)$", text, re.MULTILINE):
        if group != "hydra":
            yield group, default


def commented_keys(text: str) -> Iterator[tuple[str, str, str]]:
    r"""Yield key, default and comment of each commented line of a YAML file of two levels.

    >>> list(commented_keys("k: null  # layers\ndata:\n  dir: ???  # rows\nplain: 1\n"))
    [('k', 'null', 'layers'), ('data.dir', '???', 'rows')]
    """
    section = ""
    for line in text.splitlines():
        found = re.match(r"( *)(\w+): *([^#]*?) *(?:# (.*))?$", line)
        if not found:
            continue
        indent, key, value, comment = found.groups()
        if not indent:
            section = key
        if value and comment:
            yield f"{section}.{key}" if indent else key, value, comment
