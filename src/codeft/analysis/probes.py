"""Probes of a frozen model's layers: small models that are trained, all layers' at once, to tell a property.

A probe reads one layer, or a mix of all of them by a learned softmax weighting. All probes of a property are
one tensor program: each parameter has one slice a probe, no slice meets another's gradient, and the batches
are the same. So each is what it would be if it were trained alone, which a test holds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from codeft.metrics import deduplicate, map_at_r_of_labels, mrr, rank_targets
from codeft.types import CodeftError

FEWEST_ROWS = 5
"""Rows that a split needs."""

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Recipe:
    """How probes are trained: AdamW, the same for all; the epoch with the best validation score is kept.

    Attributes:
        epochs: Passes over the training rows.
        batch_size: Rows a step.
        lr: Step size, constant.
        layer_lr: Of the layers' weights in the mix, before softmax; they have far to go.
        weight_decay: Of the probe's matrices.
        hidden: Width of a hidden layer of ReLUs; 0 is a linear probe.
        width: Of the vectors that are compared, where texts are matched.
        temperature: Divides the cosine similarities there.
        seed: Of the first weights and of the order of rows.
    """

    epochs: int = 30
    batch_size: int = 256
    lr: float = 0.01
    layer_lr: float = 0.1
    weight_decay: float = 0.01
    hidden: int = 0
    width: int = 64
    temperature: float = 0.1
    seed: int = 1234


@dataclass(frozen=True, slots=True)
class ProbeRows:
    """A split's rows, as probes read them.

    Attributes:
        states: float32 [L + 1, N, D], of the texts or sub-tokens.
        labels: int64 [N], classes; or what makes two rows belong together.
        others: float32 [L + 1, N, D], of the text that belongs to each row; None where rows are compared with
            each other.
    """

    states: Tensor
    labels: Tensor
    others: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe came to.

    Attributes:
        layer: The layer it reads; None for the mix.
        score: On the test rows.
        valid: On the validation rows.
        epoch: The one that was kept, from 1; 0 where no training made it better.
        weights: [L + 1], of the layers in the mix; they add up to 1.
    """

    layer: int | None
    score: float
    valid: float
    epoch: int
    weights: tuple[float, ...]


class AbstractProbes(nn.Module, ABC):
    """P probes of one property.

    Args:
        layers: What each probe reads: a layer, or None for the mix of all.
        num_layers: L + 1, the embeddings' among them.
        recipe: How they are trained.
    """

    def __init__(self, layers: Sequence[int | None], *, num_layers: int, recipe: Recipe) -> None:
        super().__init__()
        self.layers = list(layers)
        self.recipe = recipe
        self.mixing = nn.Parameter(torch.zeros(len(self.layers), num_layers))

    def read(self, states: Tensor) -> Tensor:
        """Return what each probe reads, [P, N, D], of states [L + 1, N, D]."""
        weights = self.mixing.softmax(1)
        read = [
            torch.einsum("l,lnd->nd", weights[probe], states) if layer is None else states[layer]
            for probe, layer in enumerate(self.layers)
        ]
        return torch.stack(read)

    def add_layers(self, name: str, *, width_in: int, width_out: int, from_zero: bool = False) -> None:
        """Add the matrices of one side: D to the width out, through the hidden layer if there is one.

        Args:
            name: Of the side.
            width_in: D.
            width_out: Of what it gives.
            from_zero: Whether the last matrix begins at 0, so that at first the bias alone decides.
        """
        widths = [width_in, self.recipe.hidden, width_out] if self.recipe.hidden else [width_in, width_out]
        generator = torch.Generator().manual_seed(self.recipe.seed)
        for number, (before, after) in enumerate(pairwise(widths)):
            bound = before**-0.5
            first = (torch.rand(before, after, generator=generator) * 2 - 1) * bound  # all begin alike
            if from_zero and number == len(widths) - 2:
                first = torch.zeros_like(first)
            self.register_parameter(
                f"{name}_weight_{number}", nn.Parameter(first.repeat(len(self.layers), 1, 1))
            )
            self.register_parameter(
                f"{name}_bias_{number}", nn.Parameter(torch.zeros(len(self.layers), 1, after))
            )

    def project(self, name: str, read: Tensor) -> Tensor:
        """Put what each probe reads, [P, N, D], through its own matrices of one side."""
        found = read
        for number in range(2 if self.recipe.hidden else 1):
            weight, bias = (
                self.get_parameter(f"{name}_weight_{number}"),
                self.get_parameter(f"{name}_bias_{number}"),
            )
            found = torch.baddbmm(bias, found.relu() if number else found, weight)
        return found

    @abstractmethod
    def losses(self, rows: ProbeRows) -> Tensor:
        """Return each probe's loss on a batch, [P]."""

    @abstractmethod
    def scores(self, rows: ProbeRows) -> list[float]:
        """Return each probe's score on a split."""


@final
class ClassProbes(AbstractProbes):
    """Tell each row's class; the score is accuracy, in per cent.

    Args:
        layers: See `AbstractProbes`.
        num_layers: See `AbstractProbes`.
        width: D.
        counts: Training rows of each class. A probe begins with the classes' frequencies, and what it reads
            adds to that.
        recipe: See `AbstractProbes`.
    """

    def __init__(
        self,
        layers: Sequence[int | None],
        *,
        num_layers: int,
        width: int,
        counts: Sequence[int],
        recipe: Recipe,
    ) -> None:
        super().__init__(layers, num_layers=num_layers, recipe=recipe)
        self.add_layers("class", width_in=width, width_out=len(counts), from_zero=True)
        frequencies = torch.tensor(counts, dtype=torch.float32) + 1
        bias = self.get_parameter(f"class_bias_{1 if recipe.hidden else 0}")
        bias.data.copy_((frequencies / frequencies.sum()).log().expand_as(bias))

    def losses(self, rows: ProbeRows) -> Tensor:
        """Return the mean cross-entropy of each probe."""
        logits = self.project("class", self.read(rows.states))  # [P, N, C]
        return functional.cross_entropy(
            logits.transpose(1, 2), rows.labels.expand(len(logits), -1), reduction="none"
        ).mean(1)

    def scores(self, rows: ProbeRows) -> list[float]:
        """Return the accuracy of each probe."""
        right = torch.zeros(len(self.layers), device=rows.labels.device)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            logits = self.project("class", self.read(rows.states[:, part]))
            right += (logits.argmax(2) == rows.labels[part]).sum(1)
        return (100 * right.double() / len(rows)).tolist()


@final
class MatchProbes(AbstractProbes):
    """Find what belongs to a row by cosine similarity: its other text (MRR), or its label's rows (MAP@R).

    Args:
        layers: See `AbstractProbes`.
        num_layers: See `AbstractProbes`.
        width: D.
        two_sided: Whether each row has another text; both sides have a projection of their own and share the
            layers' weights.
        recipe: See `AbstractProbes`.
    """

    def __init__(
        self, layers: Sequence[int | None], *, num_layers: int, width: int, two_sided: bool, recipe: Recipe
    ) -> None:
        super().__init__(layers, num_layers=num_layers, recipe=recipe)
        self.two_sided = two_sided
        self.add_layers("row", width_in=width, width_out=recipe.width)
        if two_sided:
            self.add_layers("other", width_in=width, width_out=recipe.width)

    def losses(self, rows: ProbeRows) -> Tensor:
        """Return each probe's cross-entropy of finding, in the batch, what belongs to each row.

        Source: Khosla et al. (arXiv 2004.11362), equation 2; what belongs to no other row counts nothing.
        """
        vectors, others = self.vectors(rows)
        scores = vectors @ others.transpose(1, 2) / self.recipe.temperature  # [P, N, N]
        itself = torch.eye(len(rows), dtype=torch.bool, device=scores.device) & (not self.two_sided)
        belongs = (rows.labels[:, None] == rows.labels) & ~itself
        all_others = scores.masked_fill(itself, -torch.inf).logsumexp(dim=2, keepdim=True)
        counts = belongs.sum(1)
        terms = torch.where(belongs, all_others - scores, 0.0).sum(2) / counts.clamp_min(1)
        return terms.sum(1) / (counts > 0).sum().clamp_min(1)

    def scores(self, rows: ProbeRows) -> list[float]:
        """Return each probe's MRR among all different other texts, or its MAP@R among all rows."""
        found = []
        vectors, others = self.vectors(rows)
        kept, places = deduplicate(rows.labels.tolist())
        for own, candidates in zip(vectors, others, strict=True):
            if self.two_sided:
                ranks = rank_targets(own, candidates=candidates[kept.to(candidates.device)], targets=places)
                found.append(mrr(ranks.ranks))
            else:
                found.append(map_at_r_of_labels(own, labels=rows.labels))
        return found

    def vectors(self, rows: ProbeRows) -> tuple[Tensor, Tensor]:
        """Return each probe's vectors of rows and of what they are compared with, of length 1: [P, N, W]."""
        vectors = functional.normalize(self.project("row", self.read(rows.states)), dim=-1)
        if not self.two_sided:
            return vectors, vectors
        assert rows.others is not None
        return vectors, functional.normalize(self.project("other", self.read(rows.others)), dim=-1)


def standardised(
    splits: Sequence[np.ndarray | Tensor], *, device: torch.device | str = "cpu"
) -> list[Tensor]:
    """Shift and scale states so that each number of each layer has mean 0 and deviation 1 in the first split.

    Layers differ in scale by orders of magnitude, and a weighting of them would tell that instead of what
    they hold; and one step size fits all.

    Args:
        splits: [L + 1, N, D] each; the training rows' first.
        device: Where to.
    """
    shift, scale = [], []
    for layer in splits[0]:
        states = torch.as_tensor(layer).float()
        shift.append(states.mean(0))
        scale.append(states.std(0, correction=0).clamp_min(1e-6))
    return [
        torch.stack(
            [
                ((torch.as_tensor(layer).float() - mean) / deviation).to(device)
                for layer, mean, deviation in zip(split, shift, scale, strict=True)
            ]
        )
        for split in splits
    ]


def train_probes(
    probes: AbstractProbes, *, train: ProbeRows, valid: ProbeRows, test: ProbeRows
) -> list[ProbeResult]:
    """Train probes, keep each one's best epoch on the validation rows, and test it.

    Args:
        probes: New ones, on the rows' device; they end up as they were tested.
        train: Standardised, as are the others.
        valid: Chooses the epoch.
        test: Scores it.

    Raises:
        CodeftError: A split has too few rows, or the states aren't finite.
    """
    for name, rows in (("train", train), ("valid", valid), ("test", test)):
        if len(rows) < FEWEST_ROWS:
            raise CodeftError(
                f"expected at least {FEWEST_ROWS} rows to probe in the {name} split, got {len(rows)}"
            )
        if not bool(torch.isfinite(rows.states).all()):
            raise CodeftError("expected finite hidden states, got some that are no number or infinite")
    recipe = probes.recipe
    matrices = [p for name, p in probes.named_parameters() if "_weight_" in name]
    biases = [p for name, p in probes.named_parameters() if "_bias_" in name]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": biases},
        {"params": [probes.mixing], "lr": recipe.layer_lr},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=0.0)
    generator = torch.Generator().manual_seed(recipe.seed)
    best_scores = [float("-inf")] * len(probes.layers)
    best_epochs = [0] * len(probes.layers)
    best = {name: p.detach().clone() for name, p in probes.named_parameters()}
    for epoch in range(recipe.epochs + 1):
        for chosen in _batches(len(train), recipe.batch_size, generator) if epoch else ():
            optimizer.zero_grad(set_to_none=True)
            probes.losses(_rows(train, chosen)).sum().backward()
            optimizer.step()
        with torch.inference_mode():
            scores = probes.scores(valid)
        for probe, score in enumerate(scores):
            if score > best_scores[probe]:
                best_scores[probe], best_epochs[probe] = score, epoch
                for name, p in probes.named_parameters():
                    best[name][probe] = p.detach()[probe]
    with torch.no_grad():
        for name, p in probes.named_parameters():
            p.copy_(best[name])
        tested = probes.scores(test)
        weights = probes.mixing.softmax(1).tolist()
    return [
        ProbeResult(
            layer=layer,
            score=tested[probe],
            valid=best_scores[probe],
            epoch=best_epochs[probe],
            weights=tuple(weights[probe]) if layer is None else (),
        )
        for probe, layer in enumerate(probes.layers)
    ]


def _batches(num_rows: int, batch_size: int, generator: torch.Generator) -> Sequence[Tensor]:
    """Return the rows of each step; a last one that would be a single row joins the one before."""
    order = torch.randperm(num_rows, generator=generator)
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _rows(rows: ProbeRows, chosen: Tensor) -> ProbeRows:
    chosen = chosen.to(rows.labels.device)
    others = None if rows.others is None else rows.others[:, chosen]
    return ProbeRows(rows.states[:, chosen], rows.labels[chosen], others)
