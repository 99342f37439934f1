"""What the tasks share whose answer is a label or a vector: several texts an example, and no decoder."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor
from torch.nn import functional

from codeft.metrics.classification import LABELS
from codeft.metrics.floors import label_floors
from codeft.tasks.base import AbstractTask
from codeft.tasks.encoding import EncodedText, encode_marked
from codeft.tasks.fields import first_field
from codeft.tasks.marks import language_marks
from codeft.types import Batch, CodeftError, Encoding, Example, ModelOutput, Output, PredictingModel

if TYPE_CHECKING:
    from torchmetrics import Metric
    from transformers import PreTrainedTokenizerBase


STORED_ANSWERS = 10
"""Of a ranking, the first places that `predictions.jsonl` names; the scores need no more of the ids."""


class AbstractUnderstandingTask(AbstractTask):
    """A task that needs an encoder only.

    Args:
        max_source_length: Sub-tokens of a source at most, special tokens included.
    """

    max_target_length = 1

    def __init__(self, *, max_source_length: int) -> None:
        check_length("max_source_length", max_source_length)
        self.max_source_length = max_source_length

    def label(self, example: Example) -> int | None:
        """Return the number that stands for the example's target; None where it has none."""
        return None

    def keys(self, example: Example) -> list[int] | None:
        """Return numbers that stand for the example's texts, where the loss asks which are equal."""
        return None

    def max_length(self, text: int) -> int:
        """Return how many sub-tokens an example's text may have; 0 is the source's place."""
        return self.max_source_length

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Encoding]:
        """Turn each text of each example into sub-tokens, cut to the task's maximum lengths."""
        columns = []
        marks = language_marks(tokenizer)
        for text in range(self.num_texts):
            sources = [(example, *example.others)[text] for example in examples]
            columns.append(
                encode_marked(
                    [source.source for source in sources],
                    tokenizer,
                    marks=[marks.get(source.lang) for source in sources],
                    max_length=self.max_length(text),
                )
            )
        return [
            _encoding(texts, self.label(example), self.keys(example))
            for example, *texts in zip(examples, *columns, strict=True)
        ]


def _encoding(texts: Sequence[EncodedText], label: int | None, keys: Sequence[int] | None) -> Encoding:
    first, *others = texts
    return Encoding(
        first.ids,
        first.offsets,
        None if label is None else np.array([label], dtype=np.int64),
        truncated=any(text.truncated for text in texts),
        others=tuple(Encoding(text.ids, text.offsets, truncated=text.truncated) for text in others),
        keys=None if keys is None else np.array(keys, dtype=np.int64),
    )


class AbstractClassificationTask(AbstractUnderstandingTask):
    """A task whose answer is yes or no; a prediction is the probability of yes, as text."""

    output: ClassVar[Output] = "label"

    def label(self, example: Example) -> int | None:
        """Return 0 or 1."""
        return None if example.target is None else LABELS.index(example.target)

    def loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the labels."""
        assert output.logits is not None, "a classification task needs a model with a head"
        return functional.cross_entropy(output.logits.float(), batch["labels"][:, 0])

    def predict(
        self, model: PredictingModel, batch: Batch, *, output: ModelOutput | None = None
    ) -> list[str]:
        """Return each example's probability of label 1, with six digits."""
        logits = (output or model(batch)).logits
        assert logits is not None
        return [f"{value:.6f}" for value in logits.double().softmax(-1)[:, 1].tolist()]

    def floors(
        self,
        examples: Sequence[Example],
        *,
        constants: Mapping[str, str] | None = None,
        only: str | None = None,
    ) -> dict[str, dict[str, float]]:
        """Return the scores of always saying one label: the more frequent one, or 1."""
        return label_floors([example.target or "" for example in examples])


class AbstractEmbeddingTask(AbstractUnderstandingTask):
    """A task whose answer is a vector: texts that belong together get similar ones (by cosine).

    Args:
        max_source_length: Sub-tokens of a source at most, special tokens included.
        temperature: Divides the similarities in the loss.
    """

    output: ClassVar[Output] = "embedding"
    batches_by_length: ClassVar[bool] = False
    has_eval_loss: ClassVar[bool] = False

    def __init__(self, *, max_source_length: int, temperature: float) -> None:
        super().__init__(max_source_length=max_source_length)
        if not 0 < temperature < float("inf"):
            raise CodeftError(f"task.temperature must be above 0, not {temperature}")
        self.temperature = temperature

    def predict(
        self, model: PredictingModel, batch: Batch, *, output: ModelOutput | None = None
    ) -> list[str]:
        """Return nothing: what is nearest may be in another batch."""
        return []

    def update(
        self,
        metrics: Mapping[str, Metric],
        *,
        examples: Sequence[Example],
        predictions: Sequence[str],
        output: ModelOutput,
        batch: Batch,
    ) -> None:
        """Add the batch's vectors."""
        vectors = functional.normalize(vectors_of(output).float(), dim=-1)
        for metric in metrics.values():
            metric.update(*self.metric_inputs(vectors, examples=examples, batch=batch))

    @abstractmethod
    def metric_inputs(
        self, vectors: Tensor, *, examples: Sequence[Example], batch: Batch
    ) -> tuple[Tensor, ...]:
        """Return what the task's metric takes of a batch.

        Args:
            vectors: [N, D], of length 1, in the order of `codeft.types.Batch`.
            examples: The batch's.
            batch: The batch itself.
        """


def vectors_of(output: ModelOutput) -> Tensor:
    """Return a model's vectors, [N, D]."""
    assert output.embedding is not None, "this task needs a model that gives vectors"
    return output.embedding


def number_of_name(name: str) -> int:
    """Return a number of 63 bits that stands for a name; two names get the same one practically never.

    >>> number_of_name("1") == number_of_name("1") != number_of_name("2")
    True
    """
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def one_line(text: str) -> str:
    r"""Return a text with a blank for each run of white space, as CodeXGLUE's scripts read functions.

    >>> one_line("int f() {\n    return 1;\n}")
    'int f() { return 1; }'
    """
    return " ".join(text.split())


def check_length(key: str, value: int) -> None:
    """Refuse a maximum length below 1."""
    if value < 1:
        raise CodeftError(f"task.{key} must be at least 1, not {value}")


def label_field(fields: Mapping[str, Any], *names: str, where: str) -> str:
    """Return a row's label as text, "0" or "1".

    Args:
        fields: The row.
        names: The field's name and what else it may be called; the first that the row has counts.
        where: The row's file and line, for the error.

    Raises:
        CodeftError: The field is missing or holds another value.

    >>> label_field({"target": True}, "target", where="rows.jsonl:1")
    '1'
    """
    name = first_field(fields, *names)
    if name is None:
        wanted = " or ".join(f'"{name}"' for name in names)
        raise CodeftError(
            f"{where}: expected a field {wanted}, but the row has {', '.join(fields) or 'none'}"
        )
    value = fields[name]
    text = str(int(value)) if isinstance(value, bool) else str(value)
    if text not in LABELS:
        raise CodeftError(f'{where}: expected "{name}" to be {" or ".join(LABELS)}, got {value!r}')
    return text
