"""`k=auto`: how many layers can stay frozen, told by short trainings with some of them frozen."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, open_dict
from rich.console import Console
from rich.table import Table

from codeft.build import Parts
from codeft.callbacks.random_state import random_states, set_random_states
from codeft.data.datamodule import EncodedDataset
from codeft.k_trials import Verdict, candidates, count_devices, judge, run_trial
from codeft.methods.layer_freeze import AUTO, BASE, LayerFreezeCallback
from codeft.methods.structure_loss import SATStructureLossCallback
from codeft.plots import new_figure, save_figure, style
from codeft.run_folder import write_text

NAME = "k_choice"

_MOST_ROWS = 1000
"""Validation rows that are scored, at most, but of tasks that compare rows with one another."""

_FEW_ROWS, _FEW_STEPS = 64, 50
"""Rows and steps below which the scores are mostly chance."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KChoice:
    """What was chosen, and on what evidence.

    Attributes:
        k: The largest K of those tried that costs nothing; None for base.
        steps: Optimizer steps of each training.
        rows: Validation rows that were scored.
        tolerance: Standard errors that were allowed.
        metric: The score's name.
        trials: What each K came to, base first.
        seconds: What it took.
    """

    k: int | None
    steps: int
    rows: int
    tolerance: float
    metric: str
    trials: Sequence[Verdict]
    seconds: float

    def sentence(self) -> str:
        """Return what was chosen and why, in words."""
        base = self.trials[0]
        after = f"after {self.steps} steps each, on {self.rows:,} validation rows,"
        if self.k is None:
            tried = ", ".join(str(trial.k) for trial in self.trials[1:])
            came = f"base comes to {self._values(base)}"
            return f"k=auto: base, because {after} K = {tried} cost something: {came}"
        chosen = next(trial for trial in self.trials if trial.k == self.k)
        further = next((trial for trial in self.trials[1:] if trial.k is not None and trial.k > self.k), None)
        beyond = "" if further is None else f", and with K = {further.k} {self._values(further)}"
        return (
            f"k=auto: {self.k}, because {after} it comes to {self._values(chosen)}, base to "
            f"{self._values(base)}{beyond}"
        )

    def _values(self, trial: Verdict) -> str:
        values = []
        if trial.score is not None:
            error = f", {trial.behind_best:.3g} ± {trial.score_error:.2g} behind the best"
            values.append(f"{self.metric} {trial.score:.4g}{error if trial.behind_best else ''}")
        if trial.loss is not None:
            values.append(f"loss {trial.loss:.3f}")
        return " and ".join(values) or "nothing"


def find_auto(parts: Parts) -> LayerFreezeCallback | None:
    """Return the callback whose K is still to be chosen; None where there is none."""
    return next((c for c in parts.callbacks if isinstance(c, LayerFreezeCallback) and c.k == AUTO), None)


def choose_k(cfg: DictConfig, parts: Parts, freeze: LayerFreezeCallback, *, folder: Path) -> KChoice:
    """Train shortly with some K each, and give the run the largest that costs nothing.

    All is as in the run, but K, the number of steps, and one device: its training rows in the same order, its
    optimizer, precision and further methods. The models are others, and the random states are the same again
    afterwards, so that the run is the one that typing K would give.

    Args:
        cfg: The run's config; its `k` becomes what is chosen.
        parts: The run's parts.
        freeze: The one of them that freezes; gets K.
        folder: The run's, where `k_choice.json`, `.png` and `.svg` go.
    """
    start = time.perf_counter()
    parts.data.setup("fit")
    states = random_states()
    train, valid = parts.data.datasets["train"], _scored_rows(parts)
    steps = _num_steps(cfg, len(parts.data.loader(train, train=True)), limit=freeze.auto_steps)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        log.warning(
            "k=auto tries K in the first process; the others, which torchrun started, wait no longer than 30 "
            "minutes: where that takes more, choose K on one device and type it"
        )
    ks = candidates(len(parts.model.blocks()), most=_most_frozen(parts))
    trials = []
    for number, k in enumerate(ks, start=1):
        log.info("k=auto: %d steps with k=%s (%d of %d)", steps, BASE if k is None else k, number, len(ks))
        tried = copy.deepcopy(cfg)
        set_k(tried, BASE if k is None else k)
        batches = parts.data.loader(train, train=True)
        trials.append(run_trial(tried, steps=steps, batches=batches, valid=valid, folder=folder))
    verdicts = judge(ks, trials, tolerance=freeze.auto_tolerance)
    choice = KChoice(
        k=max((v.k for v in verdicts if v.costs_nothing and v.k is not None), default=None),
        steps=steps,
        rows=next((len(trial.score.rows) for trial in trials if trial.score is not None), len(valid)),
        tolerance=freeze.auto_tolerance,
        metric=parts.task.monitor,
        trials=verdicts,
        seconds=time.perf_counter() - start,
    )
    freeze.k = BASE if choice.k is None else choice.k
    set_k(cfg, freeze.k)
    set_random_states(states)
    _write(choice, folder)
    return choice


def _scored_rows(parts: Parts) -> EncodedDataset:
    valid = parts.data.datasets["valid"]
    if parts.task.output == "embedding" or len(valid) <= _MOST_ROWS:
        return valid
    return valid.subset(np.linspace(0, len(valid) - 1, _MOST_ROWS, dtype=int))


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


def load_choice(folder: Path) -> dict[str, Any] | None:
    """Return what a run's folder says of its choice; None where K was typed."""
    try:
        found = json.loads((folder / f"{NAME}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _num_steps(cfg: DictConfig, num_batches: int, *, limit: int) -> int:
    """Return the steps of a short training: no more than the run itself has.

    Args:
        cfg: The run's.
        num_batches: Of an epoch on one device.
        limit: Steps at most.
    """
    trainer = cfg.trainer
    epochs, steps, share = (
        trainer.max_epochs,
        trainer.get("max_steps", -1),
        trainer.get("limit_train_batches"),
    )
    if epochs not in (None, -1):
        num_batches = math.ceil(num_batches / (count_devices(trainer.devices) * trainer.get("num_nodes", 1)))
        if share is not None:
            num_batches = min(num_batches, share) if isinstance(share, int) else int(num_batches * share)
        limit = min(limit, max(1, math.ceil(num_batches / trainer.accumulate_grad_batches)) * epochs)
    return limit if steps in (None, -1) else min(limit, steps)


def _write(choice: KChoice, folder: Path) -> None:
    log.info("%s", choice.sentence())
    if choice.rows < _FEW_ROWS or choice.steps < _FEW_STEPS:
        log.warning(
            "k=auto had only %d validation rows and %d steps to go by, so its choice is mostly chance",
            choice.rows, choice.steps,
        )  # fmt: skip
    told = {(trial.score, trial.loss) for trial in choice.trials}
    if len(told) == 1:
        log.warning("k=auto couldn't tell one K from another: all came to the same")
    values = asdict(choice)
    for each in (values, *values["trials"]):
        each["k"] = BASE if each["k"] is None else each["k"]
    write_text(folder / f"{NAME}.json", json.dumps(values, indent=2) + "\n")
    Console().print(choice_table(choice))
    _draw(choice, folder)


def choice_table(choice: KChoice) -> Table:
    """Return the evidence, a row for each K."""
    table = Table(title=f"after {choice.steps} steps", title_justify="left")
    for name in ("K", choice.metric, "behind the best", "loss", "above base"):
        table.add_column(name, justify="right")
    base_loss = choice.trials[0].loss
    for trial in choice.trials:
        behind = f"{trial.behind_best:.3g} ± {trial.score_error:.2g}" if trial.behind_best else ""
        above = f"{trial.loss / base_loss - 1:+.1%}" if trial.loss and base_loss else ""
        score = "" if trial.score is None else f"{trial.score:.4g}"
        loss = "" if trial.loss is None else f"{trial.loss:.4f}"
        row = [BASE if trial.k is None else str(trial.k), score, behind, loss, above]
        table.add_row(*row, style="bold" if trial.k == choice.k else None)
    return table


def _draw(choice: KChoice, folder: Path) -> None:
    trials = choice.trials
    drawn = [
        (choice.metric, [trial.score for trial in trials], [trial.score_error for trial in trials]),
        ("loss", [trial.loss for trial in trials], None),
    ]
    drawn = [(name, values, errors) for name, values, errors in drawn if any(v is not None for v in values)]
    figure, axes = new_figure(columns=max(1, len(drawn)))
    places = range(len(trials))
    chosen = next(place for place in places if trials[place].k == choice.k)
    for each, (name, values, errors) in zip(axes, drawn, strict=False):
        bars = None if errors is None else np.array(errors, float)
        label = None if bars is None else "± standard error of the difference to the best"
        each.errorbar(places, np.array(values, float), bars, capsize=3, **style(0), label=label)
        each.axvline(chosen, color=style(1)["color"], linewidth=1.2, label="chosen")
        each.set_xticks(places, [BASE if trial.k is None else str(trial.k) for trial in trials])
        each.set(xlabel="K", ylabel=f"{name}, validation")
        each.legend(frameon=False, fontsize="small")
    save_figure(figure, folder, NAME)
