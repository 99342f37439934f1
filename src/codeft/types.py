"""What the floors above hand to each other: one example, its encoding, one model's output.

Nothing here imports torch at run time, so that the syntax floor and the command line stay light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

IGNORED_LABEL = -100
"""The label of padding, for every model family; the loss skips it."""

OWN_START = -1
"""In `start_ids`: the decoder begins with the model's own start."""

Batch: TypeAlias = "dict[str, Tensor]"
"""What `collate` makes and a model reads. Keys and shapes (B examples, S source, T target sub-tokens):

- `input_ids` [N, S] int64, padded on the right with the tokenizer's pad id; N is B, or n * B where an example
  is of n texts: first the first text of each example, then the second of each, and so on
- `attention_mask` [N, S] int64, 1 for a sub-token and 0 for padding
- `labels` [B, T] int64, padded with `IGNORED_LABEL`; absent where there is nothing to predict
- `start_ids` [B] int64, what each example's decoder begins with, `OWN_START` for the model's own; absent
  where no example says
- `keys` [B, K] int64, numbers that stand for each example's texts; absent where the loss compares none
- `index` [B] int64, each example's position in its split
- `flow_start`, `flow_end` [N, G] and `flow_target`, `flow_source` [N, E] int64, padded with -1, where the
  model's input is to have the source's data flow: `codeft.data.data_flow_feature.DataFlowFeature`
- and the keys of the features that the method asked for (`codeft.data.features`), [N, ...]
"""

Output: TypeAlias = Literal["text", "label", "embedding"]
"""What a task asks of a model: text from a decoder, a label from a head, or a vector for each text."""


class CodeftError(ValueError):
    """What a user can mend: the message says what was expected, what came and what to do.

    The command line prints it without a stack trace.
    """


class RunStopped(BaseException):
    """A signal stopped a run; it can go on. Like `KeyboardInterrupt`, it is no error to handle on its way.

    Attributes:
        signal: The signal's number.
        folder: The run's folder.
    """

    def __init__(self, signal: int, *, folder: Path) -> None:
        super().__init__(signal)
        self.signal = signal
        self.folder = folder


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a data set, read and checked.

    Attributes:
        id: Names the row in `predictions.jsonl`; unique in its split.
        source: The text that the model reads, its layout kept and its docstring cut out.
        target: The reference text; None where only a prediction is wanted.
        lang: Canonical name of the source's language (`codeft.syntax.languages`), "" for prose, and for code
            in a language that there is no grammar for.
        meta: What else the row said that a later step may want (repository, path, licence).
        others: Further texts that belong to it: the other function of a pair, the query that asks for the
            source. Each example of a task has as many.
    """

    id: str
    source: str
    target: str | None = None
    lang: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    others: tuple[Example, ...] = ()

    def named(self, name: str, *, instead_of: str) -> Example:
        """Return the example under another name wherever it goes by the old one.

        >>> Example("/data/f.jsonl:1", "x", others=(Example("/data/f.jsonl:1#2", "y"),)).named(
        ...     "f.jsonl:1", instead_of="/data/f.jsonl:1"
        ... ).others[0].id
        'f.jsonl:1#2'
        """
        if self.id != instead_of and not self.id.startswith(f"{instead_of}#"):
            return self
        return replace(
            self,
            id=name + self.id.removeprefix(instead_of),
            meta={key: name if value == instead_of else value for key, value in self.meta.items()},
            others=tuple(other.named(name, instead_of=instead_of) for other in self.others),
        )


@dataclass(frozen=True, slots=True)
class Encoding:
    """One example as sub-tokens.

    Attributes:
        input_ids: int32 [S], special tokens included.
        offsets: int32 [S, 2], the half-open character span of each sub-token in `Example.source`;
            (-1, -1) for special tokens and a task prefix.
        labels: int32 [T], special tokens included, or int64 [1], the number of a label; None where the
            example has no target.
        truncated: Whether source or target was cut to its maximum length.
        start: What the decoder begins with; None for the model's own start.
        others: Those of `Example.others`; none has labels.
        keys: int64 [K], numbers that stand for the example's texts, where its loss asks which are equal.
    """

    input_ids: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray | None = None
    truncated: bool = False
    start: int | None = None
    others: tuple[Encoding, ...] = ()
    keys: np.ndarray | None = None


@dataclass(slots=True)
class ModelOutput:
    """What a model's forward returns.

    Attributes:
        logits: [B, T, V] scores of each label position, before softmax; [B, L] of each label, where the model
            gives labels; None for an encoder alone.
        num_given: How many labels at the front of each row the model is given (a start token), not asked to
            predict; the loss leaves them out.
        embedding: [N, D] a vector for each text, where the model gives those.
        attention: [N, H, S, S] attention weights of the recorded encoder layer (float32, rows sum to
            1 over real sub-tokens unless recorded after dropout, or shared with the data flow's variables,
            which are cut off as a learned prefix is); None where none is recorded.
        attention_is_causal: Whether a sub-token of the source sees only those before it and itself.
    """

    logits: Tensor | None = None
    num_given: int = 0
    embedding: Tensor | None = None
    attention: Tensor | None = None
    attention_is_causal: bool = False


class PredictingModel(Protocol):
    """What a task asks of a model to predict with it; `codeft.models.base.AbstractCodeModel` has it."""

    tokenizer: PreTrainedTokenizerBase

    def generate(self, batch: Batch, *, max_length: int, num_beams: int) -> Tensor:
        """Decode by batched beam search; see `AbstractCodeModel.generate`."""

    def __call__(self, batch: Batch) -> ModelOutput:
        """Run the model; see `AbstractCodeModel.forward`."""
