"""Batched beam search for encoder-decoders: beams share their source, and what is done leaves the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from codeft.types import CodeftError

_NEVER = -1e9
"""Score of what doesn't exist."""

_NOT_FOUND = _NEVER / 2
"""Scores below aren't those of a hypothesis."""

_LEAVING = 8
"""Finished examples leave the batch once they are one in so many: it costs a copy each time."""


@torch.no_grad()
def beam_search(
    network: Any,
    hidden: Tensor,
    mask: Tensor,
    *,
    start_ids: Tensor,
    max_length: int,
    num_beams: int,
    eos_id: int,
    pad_id: int,
) -> Tensor:
    """Decode as transformers' `generate` does with `early_stopping=True`; only near ties may fall otherwise.

    An example is done when `num_beams` of its hypotheses have ended; they are ranked by their mean
    log-probability. `generate` repeats each source's keys and values for every beam, copies them at every
    sub-token, and computes all examples until the last is done; here beams share, and what is done leaves.

    Args:
        network: One of transformers' encoder-decoders, on `codeft.models.attention.attend`.
        hidden: [B, S, D], what the encoder made of the sources.
        mask: [B, S], 1 for a sub-token and 0 for padding.
        start_ids: int64 [B], what each decoder begins with.
        max_length: New sub-tokens at most.
        num_beams: Beams an example; 1 is greedy.
        eos_id: What ends a hypothesis.
        pad_id: What fills a row after its end.

    Returns:
        int64 [B, at most max_length], each example's best hypothesis with its end.

    Raises:
        CodeftError: The logits aren't numbers.
    """
    found = _Finished.none(len(hidden), num_beams=num_beams, max_length=max_length, device=hidden.device)
    live = torch.arange(len(hidden), device=hidden.device)  # [E], which examples are in the batch
    ids = live.new_zeros(len(live), 1, 0)  # [E, beams, t]; as long as all are alike there is one
    scores = _floats(len(live), 1, value=0.0, device=hidden.device)  # [E, beams], log-probabilities
    seen, last = mask.bool()[:, None, None, :], start_ids[:, None]
    cache: Any = EncoderDecoderCache(DynamicCache(), DynamicCache())
    for length in range(1, max_length + 1):
        output = network(
            # Once keys and values are in the cache, only the number of rows is read from it.
            encoder_outputs=BaseModelOutput(hidden if length == 1 else hidden[:1].expand(len(last), -1, -1)),
            attention_mask=seen,
            decoder_input_ids=last,
            past_key_values=cache,
            use_cache=True,
        )
        log_probs = functional.log_softmax(output.logits[:, -1].float(), dim=-1)
        totals, origins, tokens = _best(log_probs, scores, number=2 * num_beams)
        grown = torch.cat([_pick(ids, origins), tokens[..., None]], dim=-1)  # [E, 2 beams, t + 1]
        ends = tokens == eos_id if length < max_length else torch.ones_like(tokens, dtype=torch.bool)
        found.add(live, grown[:, :num_beams], torch.where(ends, totals / length, _NEVER)[:, :num_beams])
        scores, going = torch.where(ends, totals + _NEVER, totals).topk(num_beams)
        ids, beams = _pick(grown, going), origins.gather(1, going)
        rows = torch.arange(len(live), device=live.device)[:, None] * (len(log_probs) // len(live)) + beams
        open_ = found.scores[live, -1] <= _NOT_FOUND
        num_open = int(open_.sum())
        if num_open == 0:
            break
        if num_open <= len(live) - max(1, len(live) // _LEAVING):
            live, ids, scores, rows, seen = (part[open_] for part in (live, ids, scores, rows, seen))
            cache.cross_attention_cache.reorder_cache(open_.nonzero()[:, 0])
        if num_beams > 1 or len(rows) < len(log_probs):
            cache.self_attention_cache.reorder_cache(rows.flatten())
        last = ids[:, :, -1].reshape(-1, 1)
    return found.best(pad_id=pad_id)


@dataclass(slots=True)
class _Finished:
    """The best hypotheses of each example that have ended.

    Attributes:
        ids: int64 [B, beams, max_length], -1 after an end.
        scores: float32 [B, beams], falling; `_NEVER` where there are fewer.
    """

    ids: Tensor
    scores: Tensor

    @classmethod
    def none(cls, num: int, *, num_beams: int, max_length: int, device: torch.device) -> _Finished:
        ids = torch.full((num, num_beams, max_length), -1, dtype=torch.int64, device=device)
        return cls(ids, _floats(num, num_beams, value=_NEVER, device=device))

    def add(self, examples: Tensor, ids: Tensor, scores: Tensor) -> None:
        """Keep the best of the old ones and these; an example that has all its hypotheses keeps them.

        Args:
            examples: int64 [E], whose they are.
            ids: int64 [E, beams, t].
            scores: float32 [E, beams]; `_NEVER` where a hypothesis hasn't ended.
        """
        num_beams = scores.shape[1]
        news = ((scores > _NOT_FOUND).any(dim=1) & (self.scores[examples, -1] <= _NOT_FOUND)).nonzero()[:, 0]
        examples, ids, scores = examples[news], ids[news], scores[news]
        ids = functional.pad(ids, (0, self.ids.shape[2] - ids.shape[2]), value=-1)
        self.scores[examples], best = torch.cat([self.scores[examples], scores], dim=1).topk(num_beams)
        self.ids[examples] = _pick(torch.cat([self.ids[examples], ids], dim=1), best)

    def best(self, *, pad_id: int) -> Tensor:
        """Return each example's best, int64 [B, the longest's length].

        Raises:
            CodeftError: An example has none, for its logits weren't numbers.
        """
        if (self.scores[:, 0] <= _NOT_FOUND).any():
            raise CodeftError(
                "the model's logits are NaN, so that nothing can be decoded: train again with a lower "
                "optimizer.lr, or with trainer.precision=32-true"
            )
        ids = self.ids[:, 0]
        ids = ids[:, : int((ids >= 0).sum(dim=1).max())]
        return ids.masked_fill(ids < 0, pad_id)


def _best(log_probs: Tensor, scores: Tensor, *, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best continuations of each example: their scores, beams and sub-tokens, each [E, number].

    Args:
        log_probs: [E * beams, V], of the next sub-token.
        scores: [E, beams], of the beams so far.
        number: How many; where there are fewer, the rest has the score `_NEVER`.
    """
    totals = (log_probs.view(*scores.shape, -1) + scores[:, :, None]).flatten(1)
    best, places = totals.topk(min(number, totals.shape[1]))
    lacking = number - best.shape[1]
    best, places = functional.pad(best, (0, lacking), value=_NEVER), functional.pad(places, (0, lacking))
    return best, places // log_probs.shape[1], places % log_probs.shape[1]


def _floats(*shape: int, value: float, device: torch.device) -> Tensor:
    """Return float32, whatever torch's default type is (a trainer's, in half precision)."""
    return torch.full(shape, value, dtype=torch.float32, device=device)


def _pick(table: Tensor, index: Tensor) -> Tensor:
    """Return [E, K, t] out of [E, N, t], by index [E, K]."""
    return table.gather(1, index[:, :, None].expand(-1, -1, table.shape[2]))
