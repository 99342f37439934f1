"""How much of what a training gained stays when its lowest layers are put back to where they began."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from codeft.hidden_states import evaluating
from codeft.module import FineTuneModule
from codeft.types import Batch


class RewindingCallback(pl.Callback):
    """Measures held-out losses before a training, after it, and with its lowest layers put back.

    What a layer learnt matters as far as the loss suffers without it; layers above, which learnt to read the
    changed ones, are left as they are, so that the loss is more than as short a training with frozen layers
    would pay.

    Source: Zhang, Bengio and Singer (2022), "Are All Layers Created Equal?" (arXiv 1902.01996), who put
    single layers back ("re-initialization robustness"); here all from the bottom up to one.

    Args:
        batches: Held-out rows, as the training's own batches; iterated L + 3 times.

    Attributes:
        initial_loss: The task's, before the first step, in nats; a mean over rows, in eval mode.
        loss: After the last.
        rewound: L + 1 losses: with the embeddings put back, with the lowest block too, …
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = batches
        self.initial_loss = self.loss = float("nan")
        self.rewound: list[float] = []
        self._initial: list[list[tuple[nn.Parameter, Tensor]]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before the first step, keep the weights that training changes, and measure the loss.

        They are kept beside the device. By now others listen for signals.
        """
        if self._initial:
            return
        assert isinstance(pl_module, FineTuneModule)
        model = pl_module.model
        self._initial = [
            [
                (weight, weight.detach().to("cpu", copy=True))
                for module in modules
                for weight in module.parameters()
            ]
            for modules in (model.embeddings(), *([block] for block in model.blocks()))
        ]
        self.initial_loss = self._measure(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the last loss, and put one layer after the other back."""
        assert isinstance(pl_module, FineTuneModule)
        self.loss = self._measure(trainer, pl_module)
        for weights in self._initial:
            with torch.no_grad():
                for weight, initial in weights:
                    weight.copy_(initial)
            self.rewound.append(self._measure(trainer, pl_module))
        self._initial.clear()

    def _measure(self, trainer: pl.Trainer, module: FineTuneModule) -> float:
        total, rows = 0.0, 0
        with evaluating(module), trainer.precision_plugin.forward_context():
            for batch in self.batches:
                batch = trainer.strategy.batch_to_device(batch)
                size = len(batch["index"])
                total += size * module.task.loss(module.model(batch), batch).item()
                rows += size
        return total / rows


def largest_k(initial_loss: float, loss: float, rewound: Sequence[float], *, tolerance: float) -> int | None:
    """Return the largest K up to which putting the lowest layers back loses little of the gain.

    Args:
        initial_loss: See `RewindingCallback`.
        loss: Likewise.
        rewound: Likewise, of K = 0, 1, ….
        tolerance: Share of the gain, initial loss minus loss, that may be lost.

    Returns:
        None where nothing may be frozen: not even the embeddings, or nothing was gained.

    >>> largest_k(5.0, 4.0, [4.0, 4.02, 4.09, 4.2, 4.08], tolerance=0.1)
    2
    >>> largest_k(5.0, 4.0, [4.2, 4.3], tolerance=0.1) is None
    True
    """
    gain = initial_loss - loss
    found = None
    if gain > 0:
        for k, value in enumerate(rewound):
            if not value - loss <= tolerance * gain:
                break
            found = k
    return found
