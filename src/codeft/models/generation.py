"""Batched beam search, the same for every family."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Cache, GenerationConfig

from codeft.models.beam_search import beam_search
from codeft.types import OWN_START, Batch

IMPOSSIBLE = -1e4
"""A logit that leaves no probability, and is finite in half precision too."""


@torch.no_grad()
def search_beams(
    network: Any,
    batch: Batch,
    *,
    max_length: int,
    num_beams: int,
    start_id: int | Tensor,
    eos_id: int,
    pad_id: int,
    encoded: Tensor,
) -> Tensor:
    """Decode a batch with a key-value cache; the encoder runs once, not once a beam.

    Args:
        network: One of transformers' encoder-decoders.
        batch: Needs `input_ids` and `attention_mask`, [B, S].
        encoded: [B, L, D], what the encoder made of the batch; `attention_mask` is [B, L].
        max_length: New sub-tokens at most.
        num_beams: Beams an example; 1 is greedy.
        start_id: What the decoder begins with; [B] where examples differ.
        eos_id: What ends a hypothesis.
        pad_id: What fills a row after its end.

    Returns:
        int64 [B, at most max_length], the start token removed.
    """
    ids, mask = batch["input_ids"], batch["attention_mask"]
    starts = start_id if isinstance(start_id, Tensor) else ids.new_full((len(ids),), start_id)
    return beam_search(
        network,
        encoded,
        mask,
        start_ids=starts,
        max_length=max_length,
        num_beams=num_beams,
        eos_id=eos_id,
        pad_id=pad_id,
    )


@torch.no_grad()
def continue_beams(
    network: Any,
    ids: Tensor,
    mask: Tensor,
    *,
    cache: Cache,
    max_length: int,
    num_beams: int,
    eos_id: int,
    pad_id: int,
    **inputs: object,
) -> Tensor:
    """Decode what follows prompts that have been read, for one stack that is encoder and decoder.

    Args:
        network: One of transformers' networks that generate.
        ids: int64 [B, S], padded on the left.
        mask: int64 [B, S], 1 for a sub-token and 0 for padding.
        cache: Keys and values of all but the last column, and of what stands before the first (a learned
            prefix); they are repeated over the beams here.
        max_length: New sub-tokens at most.
        num_beams: Beams an example; 1 is greedy.
        eos_id: What ends a hypothesis.
        pad_id: What fills a row after its end.
        **inputs: What else the network's `forward` takes.

    Returns:
        int64 [B, at most max_length], without the prompts.
    """
    config = decoding(max_length=max_length, num_beams=num_beams, eos_id=eos_id, pad_id=pad_id)
    before = cache.get_seq_length() + 1 - ids.shape[1]
    if before > 0:  # so that the cache ends where the ids do
        ids = functional.pad(ids, (before, 0), value=pad_id)
        mask = functional.pad(mask, (before, 0), value=1)
    if num_beams > 1:
        cache.batch_repeat_interleave(num_beams)
    sequences = network.generate(
        ids, attention_mask=mask, past_key_values=cache, generation_config=config, **inputs
    )
    return sequences[:, ids.shape[1] :]


def decoding(
    *,
    eos_id: int,
    pad_id: int,
    start_id: int | None = None,
    max_length: int | None = None,
    num_beams: int = 1,
) -> GenerationConfig:
    """Return how every family decodes; an exported model brings it along.

    Hypotheses are ranked by their mean log-probability (length penalty 1), and an example is done when
    `num_beams` of its hypotheses have ended.

    Args:
        eos_id: What ends a hypothesis.
        pad_id: What fills a row after its end.
        start_id: What a decoder begins with; None where there is none.
        max_length: New sub-tokens at most; None leaves it to transformers.
        num_beams: Beams an example; 1 is greedy.
    """
    return GenerationConfig(
        max_new_tokens=max_length,
        num_beams=num_beams,
        early_stopping=num_beams > 1,
        do_sample=False,
        use_cache=True,
        decoder_start_token_id=start_id,
        eos_token_id=eos_id,
        pad_token_id=pad_id,
    )


def pad_left(ids: Tensor, mask: Tensor, *, pad_id: int) -> tuple[Tensor, Tensor]:
    """Move the padding of a batch to the left, so that each row ends with its last sub-token.

    Args:
        ids: int64 [B, S], padded on the right.
        mask: int64 [B, S], 1 for a sub-token and 0 for padding.
        pad_id: What pads.

    >>> pad_left(torch.tensor([[5, 6], [7, 1]]), torch.tensor([[1, 1], [1, 0]]), pad_id=1)[0].tolist()
    [[5, 6], [1, 7]]
    """
    order = mask.argsort(dim=1, stable=True)  # padding first, each group in its order
    moved = mask.gather(1, order)
    return ids.gather(1, order).masked_fill(moved == 0, pad_id), moved


def prepend_certain(logits: Tensor, *, token_id: int) -> Tensor:
    """Put a position before the others whose label is given away; `ModelOutput.num_given` counts it.

    Args:
        logits: [B, T, V].
        token_id: The label that every example has there.

    Returns:
        [B, T + 1, V].
    """
    certain = logits.new_full((logits.shape[0], 1, logits.shape[2]), IMPOSSIBLE)
    certain[:, :, token_id] = 0.0
    return torch.cat([certain, logits], dim=1)


def shift_right(labels: Tensor, *, start_id: int | Tensor, pad_id: int) -> Tensor:
    """Return what the decoder reads while it predicts the labels: each one's predecessor.

    Args:
        labels: int64 [B, T]; negative where there is nothing to predict.
        start_id: Stands before the first label; [B] where examples differ.
        pad_id: Stands where the label is negative.

    Returns:
        int64 [B, T].

    >>> shift_right(torch.tensor([[7, 8, 1], [9, 1, -100]]), start_id=0, pad_id=0).tolist()
    [[0, 7, 8], [0, 9, 1]]
    """
    shifted = torch.empty_like(labels)
    shifted[:, 0] = start_id
    shifted[:, 1:] = labels[:, :-1].clamp_min(-1)
    return shifted.masked_fill_(shifted < 0, pad_id)


def start_ids(batch: Batch, *, own: int) -> int | Tensor:
    """Return what the decoder begins with.

    Args:
        batch: Has `start_ids` where its examples say.
        own: The model's own start.

    Returns:
        One id for all, or int64 [B].

    >>> start_ids({"start_ids": torch.tensor([7, -1])}, own=2)
    tensor([7, 2])
    """
    if "start_ids" not in batch:
        return own
    starts = batch["start_ids"]
    return starts.masked_fill(starts == OWN_START, own)
