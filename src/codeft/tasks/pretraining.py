"""Pre-training: put hidden parts of code back, and go from code to documentation and the other way."""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
from torch import Tensor

from codeft.losses.contrastive import contrastive_loss, right_targets
from codeft.objectives.identifiers import mask_identifiers
from codeft.objectives.segmentation import Segmentation, segments
from codeft.objectives.sentinels import Layout, hide
from codeft.objectives.spans import random_spans
from codeft.objectives.subtrees import draw_budget, mask_subtrees
from codeft.syntax import canonical_language
from codeft.syntax.bodies import find_body
from codeft.syntax.token_tree import TokenTree, token_tree
from codeft.tasks.base import AbstractStreamedTask, text_field
from codeft.tasks.encoding import PlainEncoding, encode_plain
from codeft.tasks.fields import first_field, says_something
from codeft.types import Batch, CodeftError, Encoding, Example, ModelOutput

if TYPE_CHECKING:
    from torchmetrics import Metric
    from transformers import PreTrainedTokenizerBase

NUM_SENTINELS = 100
"""T5's tokenizers have that many."""
SUBTREES, SPANS, DOCSTRING, BODY, PAIRS = "subtrees", "spans", "docstring", "body", "pairs"
PARTS = (SUBTREES, SPANS, DOCSTRING, BODY, PAIRS)
"""What an example may ask for; the last three need a documented function."""
DOCUMENTED_PARTS = (DOCSTRING, BODY, PAIRS)
_CODE, _DOCSTRING = "code", "docstring"
_EMPTY_SPANS = 0.1
_CHARACTERS_A_TOKEN = 3.2
_NOTHING = np.zeros(0, dtype=np.int32)
_NO_OFFSETS = np.zeros((0, 2), dtype=np.int32)


@final
class PretrainingTask(AbstractStreamedTask):
    """Hidden parts of code, and code to documentation and back, mixed by weights.

    - `subtrees`: AST-T5's corruption (arXiv 2401.03003): subtrees are hidden, and at times identifiers
      (`codeft.objectives.subtrees`, `codeft.objectives.identifiers`). Text in no language has T5's spans,
      some of them empty.
    - `spans`: T5's span corruption (arXiv 1910.10683), which knows no tree.
    - `docstring`: a function's documentation out of its code without it (CodeT5's bimodal step, arXiv
      2109.00859).
    - `body`: a function's body out of its documentation and its head.
    - `pairs`: as `docstring`, and in such a batch each documentation is to find its own function among the
      batch's by the encoder's vectors (`codeft.losses.contrastive`).

    A text longer than `max_source_length` is cut into pieces (`codeft.objectives.segmentation`), and each
    piece is an example.

    Rows hold `text` (a function as it stands in its file, or a whole file), `language`, and for a documented
    function `code` (without the documentation) and `docstring`. A text of no programming language has
    `language` "".

    Args:
        lang: Keep only this language; None keeps all.
        max_source_length: Sub-tokens of a piece at most, special tokens included.
        max_target_length: Sub-tokens of hidden parts or documentation at most.
        parts: Share of the examples that each of `PARTS` is to have; those left out have none. Where too few
            functions are documented for the last three, each gets less, in proportion.
        segmentation: "ast" cuts where few nodes of the tree are cut through, "greedy" as late as possible.
        extra_segments: Pieces more than a text's length needs, of a text that is cut at all.
        layout: How hidden parts are written: "t5" or "ast_t5"; see `codeft.objectives.sentinels.hide`.
        mask_share: Share of a piece's sub-tokens that are hidden.
        mean_span_length: Mean sub-tokens of a hidden span.
        obfuscation: Probability that half of what `subtrees` hides of a text are identifiers.
        as_published: Whether subtrees are drawn as AST-T5's authors do; see `mask_subtrees`.
        temperature: Of `pairs`: divides the cosine similarities.
        contrast: Of `pairs`: the weight of finding beside writing.

    Attributes:
        documented_share: Share of the examples that could be of a documented function; `measure` sets it.
        counts: Examples made so far, by part, and under `left_open` sub-tokens that lacked a sentinel.
    """

    name: ClassVar[str] = "pretraining"
    monitor = "loss"
    mode: ClassVar[str] = "min"

    def __init__(
        self,
        *,
        lang: str | None = None,
        max_source_length: int = 256,
        max_target_length: int = 192,
        parts: Mapping[str, float],
        segmentation: Segmentation = "ast",
        extra_segments: int = 0,
        layout: Layout = "ast_t5",
        mask_share: float = 0.25,
        mean_span_length: float = 5.0,
        obfuscation: float = 0.5,
        as_published: bool = False,
        temperature: float = 0.05,
        contrast: float = 1.0,
    ) -> None:
        super().__init__(
            max_source_length=max_source_length, max_target_length=max_target_length, num_beams=1
        )
        unknown = sorted(set(parts) - set(PARTS))
        weights = [float(parts.get(part, 0.0)) for part in PARTS]
        if unknown or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise CodeftError(
                f"task.parts gives {', '.join(PARTS)} a share of 0 or more each, one of them more than 0; "
                f"it is {dict(parts)}"
            )
        if segmentation not in ("ast", "greedy") or layout not in ("t5", "ast_t5"):
            raise CodeftError(
                "task.segmentation must be ast or greedy and task.layout t5 or ast_t5; they are "
                f"{segmentation!r} and {layout!r}"
            )
        if not (0 < mask_share < 1 and mean_span_length >= 1 and 0 <= obfuscation <= 1):
            raise CodeftError(
                "task.mask_share must lie between 0 and 1, task.mean_span_length be at least 1 and "
                f"task.obfuscation be from 0 to 1; they are {mask_share}, {mean_span_length}, {obfuscation}"
            )
        if extra_segments < 0 or temperature <= 0 or contrast < 0:
            raise CodeftError(
                "task.extra_segments and task.contrast must be 0 or more and task.temperature above 0; they "
                f"are {extra_segments}, {contrast}, {temperature}"
            )
        self.lang = None if lang is None else canonical_language(lang)
        self.parts = {part: weight / sum(weights) for part, weight in zip(PARTS, weights, strict=True)}
        self.segmentation: Segmentation = segmentation
        self.extra_segments = extra_segments
        self.layout: Layout = layout
        self.mask_share = mask_share
        self.mean_span_length = mean_span_length
        self.obfuscation = obfuscation
        self.as_published = as_published
        self.temperature = temperature
        self.contrast = contrast
        self.documented_share = 1.0
        self.counts: Counter[str] = Counter()

    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row: its text, and what else a documented function has."""
        name = text_field(fields, "language", where=where)
        try:
            lang = canonical_language(name) if name else ""
        except CodeftError as error:
            raise CodeftError(f"{where}: {error}") from None
        if self.lang is not None and lang != self.lang:
            return None
        meta = {}
        has_empty_code = "code" in fields and first_field(fields, "code", "text") == "text"
        if says_something(fields.get("docstring")) and not has_empty_code:
            meta[_CODE] = text_field(fields, "code", where=where)
            meta[_DOCSTRING] = text_field(fields, "docstring", where=where)
        return Example(where, text_field(fields, "text", "code", where=where), None, lang, meta)

    def measure(self, examples: Sequence[Example]) -> None:
        """Note how many of all examples could be of a documented function.

        Args:
            examples: The training rows.
        """
        length = max(1, self.max_source_length - 2) * _CHARACTERS_A_TOKEN
        pieces = sum(max(1.0, len(example.source) / length) for example in examples)
        self.documented_share = sum(_DOCSTRING in example.meta for example in examples) / max(1.0, pieces)

    def draw_part(self, example: Example, rng: np.random.Generator) -> str:
        """Return what an example asks for this time."""
        hidden = {part: self.parts[part] for part in (SUBTREES, SPANS)}
        shares = dict(hidden)
        if _DOCSTRING in example.meta:
            total = sum(self.parts[part] for part in DOCUMENTED_PARTS)
            stretch = min(1.0, total / max(self.documented_share, 1e-9)) / total if total else 0.0
            shares = {part: stretch * self.parts[part] for part in DOCUMENTED_PARTS}
            rest, own = 1 - sum(shares.values()), sum(hidden.values())
            shares |= {part: rest * weight / own if own else 0.0 for part, weight in hidden.items()}
        if not any(shares.values()):  # no documentation, and only documented functions are asked for
            return SPANS
        bounds = np.cumsum([shares.get(part, 0.0) for part in PARTS])
        return PARTS[int(bounds.searchsorted(rng.random() * bounds[-1], side="right"))]

    def pieces(
        self,
        examples: Sequence[Example],
        tokenizer: PreTrainedTokenizerBase,
        *,
        rngs: Iterable[np.random.Generator],
    ) -> list[list[Encoding]]:
        """Return what training sees of each example this time: one encoding a piece.

        Args:
            examples: Any number; they are tokenised together.
            tokenizer: The model's.
            rngs: One an example.
        """
        rngs = list(rngs)
        parts = [self.draw_part(example, rng) for example, rng in zip(examples, rngs, strict=True)]
        texts: list[str] = []
        for example, part in zip(examples, parts, strict=True):
            texts += _texts_of(example, part)
        encoded = iter(encode_plain(texts, tokenizer))
        frame = _Frame.of(tokenizer)
        made = []
        for example, part, rng in zip(examples, parts, rngs, strict=True):
            first = next(encoded)
            if part in (DOCSTRING, PAIRS):
                found = [self._documentation(first, next(encoded), frame, with_query=part == PAIRS)]
            elif part == BODY:
                found = self._body(example, first, frame)
            else:
                found = [*self._corrupted(example, part, first, frame, rng)]
            self.counts[part] += len(found)
            made.append(found)
        return made

    def _corrupted(
        self, example: Example, part: str, text: PlainEncoding, frame: _Frame, rng: np.random.Generator
    ) -> Iterable[Encoding]:
        length = self.max_source_length - len(frame.before) - len(frame.after)
        needs_tree = part == SUBTREES or (self.segmentation == "ast" and len(text.ids) > length)
        obfuscates = part == SUBTREES and bool(rng.random() < self.obfuscation)
        lang = example.lang if needs_tree else ""
        tree = token_tree(example.source, lang, text.offsets, with_names=obfuscates)
        cuts = segments(tree, max_length=length, how=self.segmentation, extra=self.extra_segments)
        for start, end in cuts:
            piece = tree if len(cuts) == 1 else tree.piece(start, end)
            masked, gaps = self._mask(piece, part, example.lang, rng, obfuscates=obfuscates)
            yield self._hidden(text.ids[start:end], masked, frame, gaps=gaps)

    def _mask(
        self, tree: TokenTree, part: str, lang: str, rng: np.random.Generator, *, obfuscates: bool
    ) -> tuple[np.ndarray, list[int]]:
        """Return which sub-tokens are hidden, and where a sentinel hides nothing."""
        length = tree.num_tokens
        if part == SPANS or not lang:
            most = NUM_SENTINELS - 1
            masked = random_spans(
                length, density=self.mask_share, mean_length=self.mean_span_length, rng=rng, most=most
            )
            return masked, [] if part == SPANS else _empty_spans(masked, rng)
        budget = draw_budget(length, share=self.mask_share, rng=rng)
        masked = np.zeros(length, dtype=bool)
        if obfuscates:
            masked = mask_identifiers(tree, draw_budget(budget, share=0.5, rng=rng), rng)
        left = budget - int(masked.sum())
        return mask_subtrees(tree, left, rng, masked=masked, as_published=self.as_published), []

    def _hidden(
        self, ids: np.ndarray, masked: np.ndarray, frame: _Frame, *, gaps: Sequence[int] = ()
    ) -> Encoding:
        hidden = hide(ids, masked, sentinels=frame.sentinels, end=frame.end, layout=self.layout, gaps=gaps)
        self.counts["left_open"] += hidden.num_left_open
        source, target = frame.source(hidden.source), hidden.target
        truncated = len(target) > self.max_target_length
        # What is cut has no end mark: it would teach to stop in the middle.
        return Encoding(source, _NO_OFFSETS, target[: self.max_target_length], truncated=truncated)

    def _documentation(
        self, code: PlainEncoding, docstring: PlainEncoding, frame: _Frame, *, with_query: bool
    ) -> Encoding:
        length = self.max_source_length - len(frame.before) - len(frame.after)
        target = frame.target(docstring.ids[: self.max_target_length - len(frame.opening) - 1])
        query = frame.source(docstring.ids[:length])
        return Encoding(
            frame.source(code.ids[:length]),
            _NO_OFFSETS,
            target,
            truncated=len(code.ids) > length,
            others=(Encoding(query, _NO_OFFSETS),) if with_query else (),
            keys=np.array([_number(code.ids), _number(docstring.ids)]) if with_query else None,
        )

    def _body(self, example: Example, text: PlainEncoding, frame: _Frame) -> list[Encoding]:
        """Return the example whose body is hidden as one part; none where head and body don't fit."""
        code = example.meta[_CODE]
        span = find_body(code, example.lang) if example.lang else None
        if span is None:
            return []
        start, end = (place + len(example.meta[_DOCSTRING]) + 1 for place in span)
        starts, ends = text.offsets.T
        masked = (
            (starts >= start - 1) & (ends <= end) & (ends > start)
        )  # a blank before may be its first token's
        length = self.max_source_length - len(frame.before) - len(frame.after)
        if not masked.any() or (~masked).sum() + 1 > length:
            return []
        return [self._hidden(text.ids, masked, frame)]

    def encode(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Encoding]:
        """Encode for validation: each example's part, piece and masks depend on its text alone."""
        rngs = [np.random.default_rng(zlib.crc32(e.source.encode("utf-8", "replace"))) for e in examples]
        counts = self.counts.copy()
        made = self.pieces(examples, tokenizer, rngs=rngs)
        missing = [i for i, pieces in enumerate(made) if not pieces]
        plain = [dataclasses.replace(examples[i], meta={}) for i in missing]
        for i, pieces in zip(
            missing, self.pieces(plain, tokenizer, rngs=[rngs[i] for i in missing]), strict=True
        ):
            # A text of nothing has no piece, but each row needs an encoding.
            made[i] = pieces or [self._hidden(_NOTHING, _NOTHING.astype(bool), _Frame.of(tokenizer))]
        self.counts = counts  # of training alone
        chosen = [pieces[int(rng.integers(len(pieces)))] for pieces, rng in zip(made, rngs, strict=True)]
        return [dataclasses.replace(encoding, others=(), keys=None) for encoding in chosen]

    def loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        """Return the cross-entropy of what is to be written, and of pairs that of finding each other."""
        loss = super().loss(output, batch)
        num_pairs = len(batch["input_ids"]) - len(batch["labels"])
        if not num_pairs or not self.contrast:
            return loss
        assert output.embedding is not None, "pairs need a model that gives vectors beside text"
        codes, queries = output.embedding.float().split([len(batch["labels"]), num_pairs])
        functions, asked = batch["keys"][:, :1], batch["keys"][:, 1]
        # Nothing is gathered from other devices: their batches differ in size, and few hold pairs at once.
        right = right_targets(asked, functions, all_queries=asked, targets=functions)
        found = contrastive_loss(queries, codes, temperature=self.temperature, right=right)
        return loss + self.contrast * found

    def metrics(self) -> dict[str, Metric]:
        """Return none: the validation loss is what pre-training watches."""
        return {}


@dataclasses.dataclass(frozen=True, slots=True)
class _Frame:
    """What a tokenizer puts around texts, and its sentinels."""

    before: np.ndarray
    after: np.ndarray
    opening: np.ndarray
    end: int
    sentinels: Sequence[int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> _Frame:
        """Ask a tokenizer."""
        vocabulary = tokenizer.get_vocab()
        for pattern in ("<extra_id_{}>", "<sen{:03}>"):  # T5's names, AST-T5's
            names = [pattern.format(i) for i in range(NUM_SENTINELS)]
            if all(name in vocabulary for name in names):
                break
        else:
            raise CodeftError(
                f"pre-training needs a tokenizer with {NUM_SENTINELS} sentinels, <extra_id_0> to "
                f"<extra_id_{NUM_SENTINELS - 1}>, and this one lacks some: choose another model.tokenizer"
            )
        sentinels = [vocabulary[name] for name in names]
        end = tokenizer.eos_token_id
        frame = np.array(tokenizer("")["input_ids"], dtype=np.int32)
        cut = len(frame) - 1 if len(frame) and frame[-1] == end else len(frame)
        before, after = frame[:cut], frame[cut:]
        opening = before if len(frame) <= 2 and len(after) else before[:0]
        return cls(before, after, opening, int(end), sentinels)

    def source(self, ids: np.ndarray) -> np.ndarray:
        return np.concatenate((self.before, ids, self.after))

    def target(self, ids: np.ndarray) -> np.ndarray:
        return np.concatenate((self.opening, ids, np.array([self.end], dtype=np.int32)))


def _number(ids: np.ndarray) -> int:
    """Return a number of 63 bits that stands for a text's sub-tokens."""
    return int.from_bytes(hashlib.blake2b(ids.tobytes(), digest_size=8).digest(), "big") >> 1


def _texts_of(example: Example, part: str) -> tuple[str, ...]:
    """Return the texts that a part is made of."""
    if part in (DOCSTRING, PAIRS):
        return example.meta[_CODE], example.meta[_DOCSTRING]
    if part == BODY:
        return (f"{example.meta[_DOCSTRING]}\n{example.meta[_CODE]}",)
    return (example.source,)


def _empty_spans(masked: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Return places, a tenth as many as spans, at which nothing is hidden and no span begins or ends."""
    num = rng.binomial(int(np.diff(masked.astype(np.int8), prepend=0).clip(0).sum()), _EMPTY_SPANS)
    kept = ~masked
    places = np.flatnonzero(kept[:-1] & kept[1:]) + 1
    return sorted(rng.choice(places, size=min(num, len(places)), replace=False).tolist())
