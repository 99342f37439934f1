"""Pre-training: put masked spans of code back, and say what documented functions do."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from codeft.syntax import canonical_language
from codeft.tasks.base import AbstractGenerationTask, text_field
from codeft.tasks.encoding import encode_texts
from codeft.tasks.fields import first_field, says_something
from codeft.types import CodeftError, Encoding, Example

if TYPE_CHECKING:
    from torchmetrics import Metric
    from transformers import PreTrainedTokenizerBase

MOST_SPANS = 100
"""Of a text: T5's tokenizers have that many sentinels."""


@final
class SpanCorruptionTask(AbstractGenerationTask):
    """T5's span corruption over source code, with a share of docstring generation.

    Source: Raffel et al. 2020 (arXiv 1910.10683), section 3.1.4; the mix with text generation from code
    follows CodeT5's bimodal step (Wang et al. 2021, arXiv 2109.00859), here in one phase and one
    direction.

    Rows hold `text` (a function as it stands in its file) or `code` and `docstring`.

    Args:
        lang: Keep only this language; None keeps all.
        max_source_length: Sub-tokens of a text at most.
        max_target_length: Sub-tokens of masked spans or a docstring at most.
        noise_density: Share of the sub-tokens that are masked.
        mean_span_length: Mean sub-tokens of a masked span.
        docstring_share: Share of the documented functions that are read without their docstring and
            have it as their target.
    """

    name: ClassVar[str] = "span_corruption"
    monitor = "loss"
    mode: ClassVar[str] = "min"

    def __init__(
        self,
        *,
        lang: str | None = None,
        max_source_length: int = 256,
        max_target_length: int = 128,
        noise_density: float = 0.15,
        mean_span_length: float = 3.0,
        docstring_share: float = 0.5,
    ) -> None:
        super().__init__(
            max_source_length=max_source_length, max_target_length=max_target_length, num_beams=1
        )
        if not 0 < noise_density < 1 or mean_span_length < 1 or not 0 <= docstring_share <= 1:
            raise CodeftError(
                "task.noise_density must lie between 0 and 1, task.mean_span_length be at least 1 and "
                f"task.docstring_share be from 0 to 1; they are {noise_density}, {mean_span_length}, "
                f"{docstring_share}"
            )
        self.lang = None if lang is None else canonical_language(lang)
        self.noise_density = noise_density
        self.mean_span_length = mean_span_length
        self.docstring_share = docstring_share
        self._sentinels: np.ndarray | None = None
        self._eos_id = 0

    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row; whether it loses its docstring depends on the row alone."""
        name = text_field(fields, "language", where=where)
        try:
            lang = canonical_language(name)
        except CodeftError as error:
            raise CodeftError(f"{where}: {error}") from None
        if self.lang is not None and lang != self.lang:
            return None
        has_empty_code = "code" in fields and first_field(fields, "code", "text") == "text"
        if says_something(fields.get("docstring")) and not has_empty_code:
            docstring = text_field(fields, "docstring", where=where)
            code = text_field(fields, "code", where=where)
            if zlib.crc32(code.encode("utf-8", "replace")) % 1000 < 1000 * self.docstring_share:
                return Example(where, code, docstring, lang)
        return Example(where, text_field(fields, "text", "code", where=where), None, lang)

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Encoding]:
        """Tokenise; offsets are left out, for nothing asks for them here."""
        sentinels = [tokenizer.convert_tokens_to_ids(f"<extra_id_{i}>") for i in range(MOST_SPANS)]
        if tokenizer.unk_token_id in sentinels or None in sentinels:
            raise CodeftError(
                "span corruption needs a tokenizer with sentinels <extra_id_0> to "
                f"<extra_id_{MOST_SPANS - 1}>, and this one lacks some: choose another model.tokenizer"
            )
        self._sentinels, self._eos_id = np.asarray(sentinels), tokenizer.eos_token_id
        texts = [example.source for example in examples]
        documented = [example for example in examples if example.target is not None]
        targets = iter(self._encode_targets(documented, tokenizer))
        none = np.zeros((0, 2), dtype=np.int32)
        encodings = []
        sources = encode_texts(texts, tokenizer, max_length=self.max_source_length)
        for example, source in zip(examples, sources, strict=True):
            target = None if example.target is None else next(targets)
            labels = None if target is None else target.ids
            truncated = source.truncated or (target is not None and target.truncated)
            encodings.append(Encoding(source.ids, none, labels, truncated=truncated))
        return encodings

    def augment(self, encoding: Encoding, rng: np.random.Generator) -> Encoding:
        """Mask random spans of a text; a docstring pair stays as it is."""
        if encoding.labels is not None:
            return encoding
        assert self._sentinels is not None, "encode comes before augment"
        body = encoding.input_ids[:-1]  # all but the end mark
        masked = random_spans(
            len(body), density=self.noise_density, mean_length=self.mean_span_length, rng=rng
        )
        starts = masked & ~np.concatenate([[False], masked[:-1]])
        sentinels = self._sentinels[np.cumsum(starts) - 1]  # of the span that stands here or was the last one
        source = np.where(starts, sentinels, body)[~masked | starts]
        target: list[int] = []
        for i in np.flatnonzero(masked):
            if starts[i]:
                target.append(int(sentinels[i]))
            target.append(int(body[i]))
        end = np.array([self._eos_id], dtype=np.int32)
        labels = np.concatenate([np.array(target[: self.max_target_length - 1], dtype=np.int32), end])
        return Encoding(np.concatenate([source.astype(np.int32), end]), encoding.offsets, labels)

    def training_lengths(self, encoding: Encoding) -> tuple[int, int]:
        """Return the lengths after masking: how many spans are drawn doesn't depend on the draw."""
        if encoding.labels is not None:
            return super().training_lengths(encoding)
        length = len(encoding.input_ids) - 1  # without the end mark
        num_masked, num_spans = count_masked(
            length, density=self.noise_density, mean_length=self.mean_span_length
        )
        return length - num_masked + num_spans + 1, min(num_masked + num_spans + 1, self.max_target_length)

    def metrics(self) -> dict[str, Metric]:
        """Return none: the validation loss is what pre-training watches."""
        return {}


def count_masked(
    length: int, *, density: float, mean_length: float, most: int = MOST_SPANS
) -> tuple[int, int]:
    """Return how many sub-tokens of a text are masked, and in how many spans.

    Args:
        length: Sub-tokens of the text.
        density: Share to mask.
        mean_length: Mean sub-tokens of a span.
        most: Spans at most, for there are only so many sentinels.

    Returns:
        (sub-tokens, spans); where there are two sub-tokens, at least one is masked and one kept.

    >>> count_masked(12, density=0.5, mean_length=3)
    (6, 2)
    """
    if length < 2:
        return 0, 0
    num_masked = min(max(round(length * density), 1), length - 1)
    return num_masked, min(max(round(num_masked / mean_length), 1), num_masked, length - num_masked, most)


def random_spans(
    length: int, *, density: float, mean_length: float, rng: np.random.Generator, most: int = MOST_SPANS
) -> np.ndarray:
    """Draw which sub-tokens are masked.

    Kept and masked runs alternate; both are random compositions of their totals. The first and the last run
    are kept ones and may be empty, so that a span can stand anywhere.

    Args:
        length: Sub-tokens of the text.
        density: Share to mask.
        mean_length: Mean sub-tokens of a masked run.
        rng: Draws.
        most: Runs at most, for there are only so many sentinels.

    Returns:
        bool [length]; as many masked, in as many runs, as `count_masked` says.

    >>> int(random_spans(12, density=0.25, mean_length=3, rng=np.random.default_rng(0)).sum())
    3
    """
    num_masked, num_spans = count_masked(length, density=density, mean_length=mean_length, most=most)
    if num_spans == 0:
        return np.zeros(length, dtype=bool)
    runs = np.empty(2 * num_spans + 1, dtype=np.int64)
    runs[0::2] = _composition(length - num_masked + 2, num_spans + 1, rng)
    runs[[0, -1]] -= 1
    runs[1::2] = _composition(num_masked, num_spans, rng)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)


def _composition(total: int, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Split `total` into `parts` positive numbers, uniformly."""
    cuts = np.sort(rng.choice(total - 1, size=parts - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))
