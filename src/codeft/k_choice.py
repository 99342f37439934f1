"""`k=auto`: how many layers can stay frozen, told by a short training of all of them."""

from __future__ import annotations

import copy
import gc
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, open_dict
from rich.console import Console
from rich.table import Table

from codeft.build import Parts, build_parts, build_trainer
from codeft.callbacks.progress_bar import RunProgressBar
from codeft.callbacks.random_state import random_states, set_random_states
from codeft.callbacks.sudden_end import SuddenEndCallback, interrupts_handed_on
from codeft.data.datamodule import EncodedDataset
from codeft.data.group_sampling import GroupSampler
from codeft.data.sampling import ResumableDataLoader
from codeft.methods.layer_freeze import AUTO, BASE, LayerFreezeCallback
from codeft.methods.structure_loss import SATStructureLossCallback
from codeft.plots import new_figure, save_figure, style
from codeft.rewinding import RewindingCallback, largest_k
from codeft.run_folder import RunFolder, write_text
from codeft.types import CodeftError

NAME = "k_choice"

_HELD_OUT = 256
"""Rows that the losses are measured on, at most; a fifth of the training rows where there are few."""

_FEW_ROWS, _FEW_STEPS = 64, 50
"""Held-out rows and steps below which the losses are mostly chance."""

_OF_LAUNCHERS = (
    "LOCAL_RANK",
    "RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "NODE_RANK",
    "SLURM_NTASKS",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KChoice:
    """What was chosen, and on what evidence.

    Attributes:
        k: The largest K that should cost nothing; None for base.
        steps: Optimizer steps of the measured training.
        rows: Training rows that were held out from it.
        tolerance: Share of the gain that may be lost.
        initial_loss: Held-out loss before it, in nats.
        loss: After it.
        rewound: With the embeddings put back, with the lowest layer too, …, as far as K may be.
        seconds: What it took.
    """

    k: int | None
    steps: int
    rows: int
    tolerance: float
    initial_loss: float
    loss: float
    rewound: Sequence[float]
    seconds: float

    @property
    def kept(self) -> list[float]:
        """Return the share of the gain that is left, for each K from 0; none where nothing was gained."""
        gain = self.initial_loss - self.loss
        return [(self.initial_loss - value) / gain for value in self.rewound] if gain > 0 else []

    def sentence(self) -> str:
        """Return what was chosen and why, in words."""
        fell = (
            f"{self.steps} steps of full training took the held-out loss from {self.initial_loss:.3f} to "
            f"{self.loss:.3f}"
        )
        if not self.kept:
            return f"k=auto: base, because {fell}: nothing was gained that could be kept"
        asked = f"(at least {1 - self.tolerance:.0%} is asked for)"
        if self.k is None:
            return f"k=auto: base, because {fell}: with old embeddings {self._left(0)} of it stays {asked}"
        further = f", with {self.k + 1} {self._left(self.k + 1)}" if self.k + 1 < len(self.kept) else ""
        return (
            f"k=auto: {self.k}, because {fell}: with the embeddings and the lowest {self.k} layers put back "
            f"{self._left(self.k)} of it stays{further} {asked}"
        )

    def _left(self, k: int) -> str:
        return f"{self.kept[k]:.1%}"


def find_auto(parts: Parts) -> LayerFreezeCallback | None:
    """Return the callback whose K is still to be chosen; None where there is none."""
    return next((c for c in parts.callbacks if isinstance(c, LayerFreezeCallback) and c.k == AUTO), None)


def choose_k(cfg: DictConfig, parts: Parts, freeze: LayerFreezeCallback, *, folder: Path) -> KChoice:
    """Measure a short training of all layers, and give the run the K that it tells.

    All is as in the run, but K, the number of steps, and one device: the rows of the run's training split
    but those held out, its batches, optimizer, precision and further methods. The model is another one, and
    the random states are the same again afterwards, so that the run is the one that typing K would give.

    Args:
        cfg: The run's config; its `k` becomes what is chosen.
        parts: The run's parts.
        freeze: The one of them that freezes; gets K.
        folder: The run's, where `k_choice.json`, `.png` and `.svg` go.

    Raises:
        CodeftError: There are too few training rows.
    """
    start = time.perf_counter()
    parts.data.setup("fit")
    states = random_states()
    train, held_out = _split(parts.data.datasets["train"], seed=cfg.seed)
    batches = parts.data.loader(train, train=True)
    steps = _num_steps(cfg, len(batches), limit=freeze.auto_steps)
    log.info("k=auto: %d steps with all layers, to see which of them matter", steps)
    rewinding = RewindingCallback(parts.data.loader(held_out, train=True))
    _train_all_layers(cfg, batches, rewinding, steps=steps, folder=folder)
    gc.collect()  # the measured model and its optimizer: their trainer lies in cycles
    tolerance = freeze.auto_tolerance
    rewound = rewinding.rewound[: _most_frozen(parts) + 1]
    chosen = largest_k(rewinding.initial_loss, rewinding.loss, rewound, tolerance=tolerance)
    choice = KChoice(
        k=chosen,
        steps=steps,
        rows=len(held_out),
        tolerance=tolerance,
        initial_loss=rewinding.initial_loss,
        loss=rewinding.loss,
        rewound=rewound,
        seconds=time.perf_counter() - start,
    )
    freeze.k = BASE if chosen is None else chosen
    set_k(cfg, freeze.k)
    set_random_states(states)
    _write(choice, folder)
    return choice


def _most_frozen(parts: Parts) -> int:
    """Return the largest K that leaves the other methods something to teach."""
    most = len(parts.model.blocks())
    taught = [c.layer for c in parts.callbacks if isinstance(c, SATStructureLossCallback)]
    return min([most, *(layer if isinstance(layer, int) else most - 1 for layer in taught)])


def set_k(cfg: DictConfig, k: object) -> None:
    """Give a config K, also where a callback says auto by itself."""
    with open_dict(cfg):
        cfg.k = k
        for callback in cfg.callbacks.values():
            if callback and callback.get("k") == AUTO:
                callback.k = k


def _train_all_layers(
    cfg: DictConfig,
    batches: ResumableDataLoader,
    rewinding: RewindingCallback,
    *,
    steps: int,
    folder: Path,
) -> None:
    changed = copy.deepcopy(cfg)
    set_k(changed, BASE)
    measured = build_parts(changed)
    with _one_process(), interrupts_handed_on():
        trainer = build_trainer(
            changed,
            RunFolder(folder),
            [*measured.callbacks, rewinding, RunProgressBar(), SuddenEndCallback(what="choosing K")],
            logger=False,
            enable_checkpointing=False,
            devices=_first_device(cfg.trainer.devices),
            num_nodes=1,
            strategy="auto",
            max_epochs=-1,
            max_steps=steps,
            limit_val_batches=0,
            num_sanity_val_steps=0,
        )
        # Without a list, if an empty one, Lightning would miss it.
        trainer.fit(measured.module, train_dataloaders=batches, val_dataloaders=[])


def load_choice(folder: Path) -> dict[str, Any] | None:
    """Return what a run's folder says of its choice; None where K was typed."""
    try:
        found = json.loads((folder / f"{NAME}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _split(dataset: EncodedDataset, *, seed: int) -> tuple[EncodedDataset, EncodedDataset]:
    """Return the rows to train on and those held out, drawn by chance: in twos where a row needs another."""
    groups = [dataset.task.group(example) for example in dataset.examples]
    if any(group is not None for group in groups):
        size, order = 2, np.concatenate(GroupSampler(groups, batch_size=2, seed=seed).batches(0))
    else:
        size, order = 1, np.random.default_rng((seed, len(dataset))).permutation(len(dataset))
    num_held_out = min(_HELD_OUT, max(size, len(order) // 5 // size * size))
    if len(order) < 2 * size:
        raise CodeftError(
            f"k=auto holds training rows out, so it needs at least {2 * size}, and there are {len(order)}"
        )
    return dataset.subset(np.sort(order[num_held_out:])), dataset.subset(np.sort(order[:num_held_out]))


def _num_steps(cfg: DictConfig, num_batches: int, *, limit: int) -> int:
    """Return the steps to measure: no more than the run itself has."""
    epochs, steps = cfg.trainer.max_epochs, cfg.trainer.get("max_steps", -1)
    if epochs not in (None, -1):
        limit = min(limit, math.ceil(num_batches / cfg.trainer.accumulate_grad_batches) * epochs)
    return limit if steps in (None, -1) else min(limit, steps)


def _first_device(devices: Any) -> Any:
    """Return the first of devices that are named, one of those that are counted.

    >>> _first_device([2, 3]), _first_device("2,3"), _first_device("2"), _first_device(-1)
    ([2], [2], 1, 1)
    """
    if isinstance(devices, str) and "," in devices:
        devices = [int(device) for device in devices.split(",") if device.strip()]
    return [devices[0]] if isinstance(devices, Sequence) and not isinstance(devices, str) else 1


@contextmanager
def _one_process() -> Iterator[None]:
    """Hide that further ranks are waiting: torchrun's and SLURM's."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name in _OF_LAUNCHERS}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _write(choice: KChoice, folder: Path) -> None:
    log.info("%s", choice.sentence())
    if choice.rows < _FEW_ROWS or choice.steps < _FEW_STEPS:
        log.warning(
            "k=auto had only %d held-out rows and %d steps to go by, so its choice is mostly chance",
            choice.rows, choice.steps,
        )  # fmt: skip
    values = asdict(choice) | {"k": BASE if choice.k is None else choice.k, "kept": choice.kept}
    write_text(folder / f"{NAME}.json", json.dumps(values, indent=2) + "\n")
    if choice.kept:
        Console().print(choice_table(choice))
        _draw(choice, folder)


def choice_table(choice: KChoice) -> Table:
    """Return the evidence, a row for each K."""
    table = Table(title="with the embeddings and the lowest K layers put back", title_justify="left")
    for name in ("K", "held-out loss", "of the gain"):
        table.add_column(name, justify="right")
    table.add_row(BASE, f"{choice.loss:.4f}", "100.0%")
    for k, (loss, kept) in enumerate(zip(choice.rewound, choice.kept, strict=True)):
        table.add_row(str(k), f"{loss:.4f}", f"{kept:.1%}", style="bold" if k == choice.k else None)
    return table


def _draw(choice: KChoice, folder: Path) -> None:
    figure, [axes] = new_figure()
    numbers = range(len(choice.kept))
    axes.plot(numbers, [100 * kept for kept in choice.kept], **style(0))
    axes.axhline(
        100 * (1 - choice.tolerance), color="#555555", linestyle="--", linewidth=1.2, label="asked for"
    )
    if choice.k is not None:
        axes.axvline(choice.k, color=style(1)["color"], linewidth=1.2, label=f"K = {choice.k}")
    axes.set(xlabel="K (0: embeddings alone)", ylabel="of the gain left, %", xticks=list(numbers))
    axes.legend(frameon=False, fontsize="small")
    save_figure(figure, folder, NAME)
