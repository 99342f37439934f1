"""What every task offers to training, and what all text-generating tasks share."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from torch import Tensor
from torch.nn import functional

from codeft.metrics import CodeBLEU, named_scores
from codeft.metrics.constant_texts import find_constants
from codeft.metrics.floors import NAIVE_COPY
from codeft.syntax import LANGUAGES
from codeft.tasks.encoding import EncodedText, encode_marked, encode_targets
from codeft.tasks.fields import first_field
from codeft.tasks.marks import language_marks, mark_pairs
from codeft.types import (
    IGNORED_LABEL,
    Batch,
    CodeftError,
    Encoding,
    Example,
    ModelOutput,
    Output,
    PredictingModel,
)

if TYPE_CHECKING:
    from torchmetrics import Metric
    from transformers import PreTrainedTokenizerBase


_MOST = {"max_target_length": 100_000, "num_beams": 1_000}
"""What a stored config can't ask more of: a search holds so many numbers for each example."""


class AbstractTask(ABC):
    """One code task: how its rows are read and encoded, its loss, its predictions and its scores.

    Attributes:
        name: As typed in `task=…` and written in `metrics.json`.
        monitor: The metric that picks the best checkpoint.
        mode: "max" where more of `monitor` is better.
        output: What it asks of a model.
        num_texts: Texts an example.
        batches_by_length: Whether a training batch holds examples of similar length; not where an example
            learns from the others of its batch.
        has_eval_loss: Whether the loss of validation and test says something.
        has_queries: Whether each example's second text asks for its first.
        lang: The language or language pair asked for; None for all.
        max_source_length: Sub-tokens of the source at most, special tokens included.
        max_target_length: Sub-tokens of the target at most, special tokens included.
        truncation_side: Where a source that is too long is cut: "left" keeps its end, and cuts a prefix.
    """

    name: ClassVar[str]
    monitor: str
    mode: ClassVar[str] = "max"
    output: ClassVar[Output] = "text"
    num_texts: int = 1
    batches_by_length: ClassVar[bool] = True
    has_eval_loss: ClassVar[bool] = True
    has_queries: ClassVar[bool] = False
    truncation_side: ClassVar[Literal["left", "right"]] = "right"
    lang: str | None
    max_source_length: int
    max_target_length: int

    @abstractmethod
    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row.

        Args:
            fields: The row's fields.
            where: The row's file and line, for errors and as a fallback for its id.
            input: "code" for the source text with its docstring cut out, "code_tokens" for the
                published tokens joined by blanks.
            labelled: Whether a target is needed.

        Returns:
            The example; None where the row is of another language than the task was asked for.

        Raises:
            CodeftError: A field is missing or of the wrong type.
        """

    @abstractmethod
    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Encoding]:
        """Turn examples into sub-tokens, cut to the task's maximum lengths."""

    def without_query(self, example: Example) -> Example:
        """Return an example of a task with queries as one that is only searched; others stay as they are."""
        return example

    def asks(self, example: Example) -> bool:
        """Return whether an example is to be answered; of a task with queries, some are only searched."""
        return True

    def length_limit(self, side: str) -> int:
        """Return how many sub-tokens an example's "source" or "target" may have."""
        return {"source": self.max_source_length, "target": self.max_target_length}[side]

    def uncut(self, longest: int) -> Self:
        """Return a copy of the task that cuts its texts at so many sub-tokens and nowhere else."""
        task = copy.copy(self)
        task.max_source_length = task.max_target_length = longest
        return task

    def describe(self, examples: Sequence[Example]) -> dict[str, int]:
        """Return how many rows of a split are of the kinds that only this task has, by name."""
        return {}

    def note(self, examples: Sequence[Example]) -> str:
        """Return what the log should say of training rows; "" for nothing."""
        return ""

    def check(self, examples: Sequence[Example], *, split: str) -> None:
        """Refuse, before anything is trained, a split that nothing can be learnt from or scored on.

        Args:
            examples: All of the split's, after any limit.
            split: "train", "valid" or "test".

        Raises:
            CodeftError: What it lacks, and what to do.
        """
        return

    def group(self, example: Example) -> Hashable | None:
        """Return what a training row belongs to, where it learns from others of the same; None elsewhere."""
        return None

    def augment(self, encoding: Encoding, rng: np.random.Generator) -> Encoding:
        """Return what training sees of an example this time; by default the encoding itself.

        Args:
            encoding: As `encode` made it.
            rng: Seeded by (seed, epoch, index), so that a resumed run draws the same.
        """
        return encoding

    def training_lengths(self, encoding: Encoding) -> tuple[int, int]:
        """Return how many sub-tokens `augment` leaves of source and target, at most; batches are cut by it.

        Args:
            encoding: As `encode` made it.
        """
        longest = max(len(text.input_ids) for text in (encoding, *encoding.others))
        return longest * self.num_texts, 0 if encoding.labels is None else len(encoding.labels)

    @abstractmethod
    def loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        """Return the scalar that training minimises."""

    @abstractmethod
    def predict(
        self, model: PredictingModel, batch: Batch, *, output: ModelOutput | None = None
    ) -> list[str]:
        """Return one prediction an example; none where predictions need the whole split.

        Args:
            model: Predicts.
            batch: What for.
            output: The model's, where it has been computed.
        """

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """Return new metrics by name, such as `update` feeds."""

    def update(
        self,
        metrics: Mapping[str, Metric],
        *,
        examples: Sequence[Example],
        predictions: Sequence[str],
        output: ModelOutput,
        batch: Batch,
    ) -> None:
        """Add a batch to the metrics; by default each prediction beside its reference.

        Args:
            metrics: As `metrics` made them.
            examples: The batch's.
            predictions: The batch's, as `predict` made them.
            output: The model's.
            batch: The batch itself.
        """
        references = [example.target or "" for example in examples]
        for metric in metrics.values():
            metric.update(predictions, references)

    def predictions_of_split(
        self, metrics: Mapping[str, Metric], examples: Sequence[Example]
    ) -> dict[int, dict[str, Any]] | None:
        """Return predictions that need the whole split, by index; None where `predict` made them.

        Args:
            metrics: Computed.
            examples: The split's.

        Returns:
            What the example's row of `predictions.jsonl` holds beside the example: its `prediction`, and what
            scores it again.
        """
        return None

    def tune_threshold(self, predictions: Sequence[str], examples: Sequence[Example]) -> float | None:
        """Return the threshold that scores best on a whole validation split; None where none is tuned.

        Args:
            predictions: As `predict` made them.
            examples: The same rows'.
        """
        return None

    def tuned_scores(
        self, predictions: Sequence[str], examples: Sequence[Example], *, threshold: float
    ) -> dict[str, tuple[float, str]]:
        """Return further scores of a whole split at a tuned threshold: value and signature by name.

        Args:
            predictions: As `predict` made them.
            examples: The same rows'.
            threshold: As `tune_threshold` found it.
        """
        return {}

    def constants(self, *, train: Sequence[Example], valid: Sequence[Example]) -> dict[str, str]:
        """Return texts that score well as the prediction of every row, by their floor's name; default: none.

        Args:
            train: The training examples.
            valid: The validation examples, on which is chosen.
        """
        return {}

    def floors(
        self,
        examples: Sequence[Example],
        *,
        constants: Mapping[str, str] | None = None,
        only: str | None = None,
    ) -> dict[str, dict[str, float]]:
        """Return what needs no model scores on examples, and stands beside the model's scores.

        Args:
            examples: With their targets.
            constants: As `constants` chose them; None where they aren't known.
            only: The one metric to score by; None for all.

        Returns:
            By floor, scores by name; none by default.
        """
        return {}


class AbstractGenerationTask(AbstractTask):
    """A task whose answer is text: teacher forcing in training, beam search for predictions.

    Args:
        max_source_length: Sub-tokens of the source at most, special tokens included.
        max_target_length: Sub-tokens of the target at most, special tokens included.
        num_beams: Beams in validation, test and prediction; 1 is greedy.
        prefix: Text set before each source ("Summarize Python: "); no offset points into it.

    Attributes:
        source_lang: Name of the sources' language, where all are in one; None where each example says.
        target_lang: Name of the answers' language, with a grammar or without; "" is prose.
        copies: Whether the answer is of the source's kind, so that handing back the source is a floor.
    """

    source_lang: str | None = None
    target_lang: str = ""
    copies: ClassVar[bool] = False

    def __init__(
        self, *, max_source_length: int, max_target_length: int, num_beams: int, prefix: str = ""
    ) -> None:
        for key, value in (
            ("max_source_length", max_source_length),
            ("max_target_length", max_target_length),
            ("num_beams", num_beams),
        ):
            if value < 1:
                raise CodeftError(f"task.{key} must be at least 1, not {value}")
            if value > _MOST.get(key, value):
                raise CodeftError(f"task.{key} must be at most {_MOST[key]:,}, not {value}")
        self.max_source_length = max_source_length
        self.max_target_length = max_target_length
        self.num_beams = num_beams
        self.prefix = prefix

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Encoding]:
        """Turn examples into sub-tokens, cut to the task's maximum lengths."""
        texts = [self.prefix + example.source for example in examples]
        langs = [self.source_lang or example.lang for example in examples]
        pairs = mark_pairs(langs, self.target_lang, language_marks(tokenizer))
        sources = encode_marked(
            texts,
            tokenizer,
            marks=[mark for mark, _ in pairs],
            max_length=self.max_source_length,
            side=self.truncation_side,
        )
        starts = [mark for _, mark in pairs]
        targets = self._encode_targets(examples, tokenizer, marks=starts)
        encodings = []
        for source, target, start in zip(sources, targets, starts, strict=True):
            offsets = np.maximum(source.offsets - len(self.prefix), 0)
            offsets[(source.offsets[:, 1] < 0) | (offsets[:, 1] <= 0)] = -1
            labels = None if target is None else target.ids
            truncated = source.truncated or (target is not None and target.truncated)
            encodings.append(Encoding(source.ids, offsets, labels, truncated=truncated, start=start))
        return encodings

    def _encode_targets(
        self,
        examples: Sequence[Example],
        tokenizer: PreTrainedTokenizerBase,
        *,
        marks: Sequence[int | None] = (),
    ) -> Sequence[EncodedText | None]:
        texts = [example.target for example in examples if example.target is not None]
        if len(texts) < len(examples):
            return [None] * len(examples)
        if any(mark is not None for mark in marks):
            return encode_marked(texts, tokenizer, marks=marks, max_length=self.max_target_length)
        return encode_targets(texts, tokenizer, max_length=self.max_target_length)

    def loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        """Return the mean cross-entropy over the real label positions that the model was to predict."""
        assert output.logits is not None, "a generation task needs a model with a decoder"
        logits, labels = output.logits[:, output.num_given :], batch["labels"][:, output.num_given :]
        return functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED_LABEL
        )

    def predict(
        self, model: PredictingModel, batch: Batch, *, output: ModelOutput | None = None
    ) -> list[str]:
        """Decode by beam search; the texts are stripped of surrounding white space."""
        ids = model.generate(batch, max_length=self.max_target_length, num_beams=self.num_beams)
        texts = model.tokenizer.batch_decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [text.strip() for text in texts]

    def constants(self, *, train: Sequence[Example], valid: Sequence[Example]) -> dict[str, str]:
        """Return the best training target and the best sequence of words, by the monitored metric."""
        targets, references = ([example.target or "" for example in rows] for rows in (train, valid))
        return find_constants(targets, references, metric=self.monitor)

    def floors(
        self,
        examples: Sequence[Example],
        *,
        constants: Mapping[str, str] | None = None,
        only: str | None = None,
    ) -> dict[str, dict[str, float]]:
        """Return the scores of the constants, and of handing back the source where the task `copies`."""
        said = {name: [text] * len(examples) for name, text in (constants or {}).items()}
        if self.copies:
            said[NAIVE_COPY] = [example.source for example in examples]
        return {name: self._scores_of(texts, examples, only=only) for name, texts in said.items()}

    def _scores_of(
        self, predictions: Sequence[str], examples: Sequence[Example], *, only: str | None
    ) -> dict[str, float]:
        references = [example.target or "" for example in examples]
        scores: dict[str, float] = {}
        for name, metric in self.metrics().items():
            if only in (None, name):
                metric.distributed_available_fn = _not_distributed  # only the first of several processes asks
                metric.update(predictions, references)
                scores |= named_scores(name, metric)
        return scores


def _not_distributed() -> bool:
    return False


class AbstractStreamedTask(AbstractGenerationTask):
    """A generation task whose training examples are made anew each time a row is read: several, or none.

    Attributes:
        counts: What the task wants known of the examples that it made so far.
    """

    counts: Counter[str]

    @abstractmethod
    def measure(self, examples: Sequence[Example]) -> None:
        """Note what the draws need to know of all training rows."""

    @abstractmethod
    def pieces(
        self,
        examples: Sequence[Example],
        tokenizer: PreTrainedTokenizerBase,
        *,
        rngs: Iterable[np.random.Generator],
    ) -> list[list[Encoding]]:
        """Return what training sees of each example this time.

        Args:
            examples: Any number; they are tokenised together.
            tokenizer: The model's.
            rngs: One an example.

        Returns:
            For each example its encodings, with labels; those with `others` have batches of their own.
        """


def code_metrics(lang: str) -> dict[str, Metric]:
    """Return the metrics of code in a language that need its grammar: CodeBLEU, or none without one."""
    return {"codebleu": CodeBLEU(lang=lang)} if lang in LANGUAGES else {}


def text_field(fields: Mapping[str, Any], *names: str, where: str) -> str:
    """Return a row's text field, the first of `names` that says something.

    Args:
        fields: The row.
        names: The field's name and what else it may be called.
        where: The row's file and line, for the error.

    Raises:
        CodeftError: The field is missing or isn't text.

    >>> text_field({"source": "x = 1"}, "code", "source", where="rows.jsonl:1")
    'x = 1'
    """
    name = first_field(fields, *names)
    if name is None:
        wanted = " or ".join(f'"{name}"' for name in names)
        raise CodeftError(
            f"{where}: expected a field {wanted}, but the row has {', '.join(fields) or 'none'}"
        )
    if not isinstance(fields[name], str):
        raise CodeftError(
            f'{where}: expected "{name}" to be text, but it holds {type(fields[name]).__name__}'
        )
    return fields[name]


def token_field(fields: Mapping[str, Any], name: str, *, where: str) -> str:
    """Return a row's list of tokens, joined by blanks.

    Raises:
        CodeftError: The field is missing or isn't a list of texts.

    >>> token_field({"code_tokens": ["x", "=", "1"]}, "code_tokens", where="rows.jsonl:1")
    'x = 1'
    """
    value = fields.get(name)
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        found = type(value).__name__ if name in fields else "no such field"
        raise CodeftError(f'{where}: expected "{name}" to be a list of texts, but found {found}')
    return " ".join(value)
