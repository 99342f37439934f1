"""The training step, the validation step and the optimizer of every task, model and method."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric, Metric

from codeft.losses.base import AbstractLossTerm
from codeft.metrics import named_scores, signatures_of
from codeft.models.base import AbstractCodeModel
from codeft.optimizers import IS_MATRIX
from codeft.tasks.base import AbstractTask
from codeft.types import IGNORED_LABEL, Batch, CodeftError, Example

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model said of one example.

    Attributes:
        index: The example's position in the split.
        text: The prediction.
        fields: What else its row of `predictions.jsonl` holds.
    """

    index: int
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)


class NonFiniteLossError(CodeftError):
    """The loss became NaN or infinite."""


class FineTuneModule(pl.LightningModule):
    """Fine-tunes one model on one task; methods add to `loss_terms` or freeze parts of `model`.

    Args:
        model: Put into training mode here, for `from_pretrained` hands out models in eval mode.
        task: Gives loss, predictions and metrics.
        optimizer: Makes the optimizer from parameter groups.
        scheduler: Makes the schedule from the optimizer and `num_training_steps`; None keeps the
            learning rate constant.

    Attributes:
        loss_terms: What methods add to the loss in training, by name.
        scores: The last validation's or test's, in full precision.
        signatures: Which variant each of them is; the loss has none.
        threshold: What the task tuned on the last validation, or on that of the checkpoint that was loaded;
            None where it tunes none.
        predictions: All ranks' predictions of the last validation or test, ordered by index; none where they
            need the whole split and nobody keeps them.
        scored_rows: Which rows the last validation or test scored, all ranks together, where they weren't all
            (`trainer.limit_val_batches`); None where they were.
        keeps_predictions: Says, by a validation's scores, whether its predictions are kept. Those that need
            the whole split are asked for only then.
    """

    def __init__(
        self,
        *,
        model: AbstractCodeModel,
        task: AbstractTask,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., LRScheduler] | None = None,
    ) -> None:
        super().__init__()
        self.model = model.train()
        self.task = task
        self.loss_terms: nn.ModuleDict = nn.ModuleDict()
        self.metrics = nn.ModuleDict(task.metrics())
        self.eval_loss = MeanMetric()
        self.scores: dict[str, float] = {}
        self.signatures: dict[str, str] = {}
        self.threshold: float | None = None
        self.predictions: list[Prediction] = []
        self.scored_rows: list[int] | None = None
        self._seen_rows: list[int] = []
        self.keeps_predictions: Callable[[Mapping[str, float]], bool] = lambda scores: True
        self._optimizer = optimizer
        self._scheduler = scheduler

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the task's loss plus each term's, weighted."""
        output = self.model(batch)
        loss = task_loss = self.task.loss(output, batch)
        size = len(batch["index"])
        for name, term in self.loss_terms.items():
            assert isinstance(term, AbstractLossTerm)
            value = term(output, batch)
            loss = loss + term.weight * value
            self.log(f"train/{name}_loss", value.detach(), on_step=True, on_epoch=True, batch_size=size)
        if not torch.isfinite(loss.detach()):
            raise NonFiniteLossError(
                f"the loss at step {self.global_step} of epoch {self.current_epoch} isn't finite "
                f"(the task's is {task_loss.item()})"
            )
        if self.loss_terms:
            self.log("train/task_loss", task_loss.detach(), on_step=True, on_epoch=True, batch_size=size)
        self.log("train/loss", loss.detach(), on_step=True, on_epoch=True, prog_bar=True, batch_size=size)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Predict and update the metrics."""
        self._evaluate(batch, self._examples(self.trainer.val_dataloaders))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Predict and update the metrics."""
        self._evaluate(batch, self._examples(self.trainer.test_dataloaders))

    @staticmethod
    def _examples(loader: Any) -> list[Example]:
        return loader.dataset.examples

    def _evaluate(self, batch: Batch, examples: list[Example]) -> None:
        output = self.model(batch)
        indices = batch["index"].tolist()
        self._seen_rows += indices
        if self.task.has_eval_loss:
            loss = self.task.loss(output, batch)
            predicted = batch["labels"][:, output.num_given :]
            self.eval_loss.update(loss, (predicted != IGNORED_LABEL).sum())
        if not self.metrics:
            return
        texts = self.task.predict(self.model, batch, output=output)
        self.task.update(
            self._metrics(),
            examples=[examples[i] for i in indices],
            predictions=texts,
            output=output,
            batch=batch,
        )
        if texts:
            self.predictions += [Prediction(i, text) for i, text in zip(indices, texts, strict=True)]

    def _metrics(self) -> dict[str, Metric]:
        return {name: metric for name, metric in self.metrics.items() if isinstance(metric, Metric)}

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch's predictions."""
        self.predictions, self._seen_rows = [], []

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        """Log `val/<metric>`, over all ranks."""
        self._finish("val", self._examples(self.trainer.val_dataloaders))

    def on_test_epoch_end(self) -> None:
        """Log `test/<metric>`, over all ranks."""
        self._finish("test", self._examples(self.trainer.test_dataloaders))

    def _finish(self, split: str, examples: list[Example]) -> None:
        self.scores, self.signatures = {}, {}
        seen = set(self._of_all_ranks(self._seen_rows))  # several ranks may see a row twice
        self.scored_rows = None if len(seen) == len(examples) else sorted(seen)
        if self.task.has_eval_loss:
            self.scores["loss"] = self.eval_loss.compute().item()
            self.eval_loss.reset()
        metrics = self._metrics()
        for name, metric in metrics.items():
            scores = named_scores(name, metric)
            self.scores |= scores
            self.signatures |= signatures_of(metric, names=scores)
        kept = split == "test" or self.keeps_predictions(self.scores)
        of_split = self.task.predictions_of_split(metrics, examples) if kept else None
        if of_split is None:
            self.predictions = sorted(self._of_all_ranks(self.predictions), key=lambda p: p.index)
        else:
            self.predictions = [
                Prediction(index, fields["prediction"], fields) for index, fields in sorted(of_split.items())
            ]
        self._use_threshold(split, examples)
        for name, value in self.scores.items():
            self.log(f"{split}/{name}", value, prog_bar=name == self.task.monitor)
        for metric in metrics.values():
            metric.reset()

    def _use_threshold(self, split: str, examples: list[Example]) -> None:
        """Tune the task's threshold on validation rows, and score others by it: never where it was tuned."""
        texts = [prediction.text for prediction in self.predictions]
        rows = [examples[prediction.index] for prediction in self.predictions]
        if split == "val":
            self.threshold = self.task.tune_threshold(texts, rows)
        elif self.threshold is not None:
            for name, scored in self.task.tuned_scores(texts, rows, threshold=self.threshold).items():
                self.scores[name], self.signatures[name] = scored

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the threshold and the last validation's scores beside the weights that they are of."""
        checkpoint["threshold"] = self.threshold
        checkpoint["valid"] = {
            "scores": dict(self.scores),
            "signatures": dict(self.signatures),
            "rows": self.scored_rows,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the threshold over; older checkpoints have none."""
        self.threshold = checkpoint.get("threshold")

    def _of_all_ranks(self, own: list[_Item]) -> list[_Item]:
        if self.trainer.world_size == 1:
            return own
        gathered: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(gathered, own)
        return [item for part in gathered for item in part]

    def configure_optimizers(self) -> Any:
        """Group the trainable parameters: matrices, embeddings, vectors, and each loss term's own.

        Biases, norms and loss terms have no weight decay.

        Raises:
            CodeftError: Nothing is left to train.
        """
        assert self._optimizer is not None, "training needs an optimizer"
        trainable = [p for _, p in self.model.trainable_parameters()]
        if not trainable:
            raise CodeftError("every parameter of the model is frozen; lower k, or leave decoder_k away")
        tables = {id(p) for m in self.model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        matrices = [p for p in trainable if p.ndim == 2 and id(p) not in tables]
        embeddings = [p for p in trainable if p.ndim > 2 or (p.ndim == 2 and id(p) in tables)]
        vectors = [p for p in trainable if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, IS_MATRIX: True},
            {"params": embeddings, IS_MATRIX: False},
            {"params": vectors, IS_MATRIX: False, "weight_decay": 0.0},
        ]
        for term in self.loss_terms.values():
            group: dict[str, Any] = {"params": list(term.parameters()), IS_MATRIX: False, "weight_decay": 0.0}
            if term.learning_rate is not None:
                group["lr"] = term.learning_rate
            groups.append(group)
        optimizer = self._optimizer([group for group in groups if group["params"]])
        if self._scheduler is None:
            return optimizer
        schedule = self._scheduler(optimizer, num_training_steps=count_training_steps(self.trainer))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def prediction_rows(predictions: Sequence[Prediction], examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Return the rows of a file of predictions, in the order of the split.

    Args:
        predictions: The module's.
        examples: The split's.
    """
    return [
        {
            "id": examples[p.index].id,
            "source": examples[p.index].source,
            "reference": examples[p.index].target,
            "prediction": p.text,
            **p.fields,
        }
        for p in predictions
    ]


def count_training_steps(trainer: pl.Trainer) -> int:
    """Return the optimizer steps of the whole run.

    `trainer.estimated_stepping_batches` isn't asked: it sets up the training loader before a checkpoint is
    loaded, and then a resumed run begins its epoch again.
    """
    limit = trainer.max_steps if trainer.max_steps >= 0 else math.inf
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        return int(limit)
    batches = len(trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
    share = trainer.limit_train_batches
    batches = min(batches, share) if isinstance(share, int) else int(batches * share)
    return int(min(limit, math.ceil(batches / trainer.accumulate_grad_batches) * trainer.max_epochs))
