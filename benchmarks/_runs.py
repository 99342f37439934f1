"""What the benchmarks of training share: the parts of a run, built as the command line would."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from codeft.build import Parts, build_parts
from codeft.cli import conf_dir
from codeft.overrides import folder_name

BASE_T5 = [
    "model=codet5_base",
    "model.weights=random",
]
"""A T5 of base size (12 + 12 layers of 768); random weights cost as much as trained ones."""


def build(*overrides: str) -> Parts:
    """Build the parts of the run that these overrides describe, its training split read and encoded."""
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        parts = build_parts(compose("train", overrides=list(overrides)))
    parts.data.datasets["train"] = parts.data.encode(parts.data.read("train"), training=True, name="train")
    return parts


def translation(shared: Path, *, rows: int, batch_size: int) -> list[str]:
    """Return the overrides for CodeXGLUE's Java -> C# training rows."""
    return [
        "task=translation",
        "data=codexglue",
        f"data.dir={shared}/translation",
        f"data.train_limit={rows}",
        f"data.batch_size={batch_size}",
    ]


def summarization(shared: Path, *, rows: int, batch_size: int) -> list[str]:
    """Return the overrides for CodeSearchNet's Ruby functions (its validation split, the larger one here)."""
    return [
        "task=summarization",
        "lang=ruby",
        "data=local",
        f"data.dir={shared}/summarization/csn_ruby",
        "data.splits.train='valid[:1300]'",
        "data.splits.valid='valid[1300:]'",
        f"data.train_limit={rows}",
        f"data.batch_size={batch_size}",
    ]
