"""Batched beam search, the same for every encoder-decoder family."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from codeft.types import Batch


@torch.no_grad()
def search_beams(
    network: Any,
    batch: Batch,
    *,
    max_length: int,
    num_beams: int,
    start_id: int,
    eos_id: int,
    pad_id: int,
    encoded: Tensor | None = None,
) -> Tensor:
    """Decode a batch with a key-value cache; the encoder runs once, not once a beam.

    Hypotheses are ranked by their mean log-probability (length penalty 1), and an example is done when
    `num_beams` of its hypotheses have ended.

    Args:
        network: One of transformers' encoder-decoders.
        batch: Needs `input_ids` and `attention_mask`, [B, S].
        encoded: [B, L, D], what the encoder made of the batch; `attention_mask` is then [B, L]. None runs it.
        max_length: New sub-tokens at most.
        num_beams: Beams an example; 1 is greedy.
        start_id: What the decoder begins with.
        eos_id: What ends a hypothesis.
        pad_id: What fills a row after its end.

    Returns:
        int64 [B, at most max_length], the start token removed.
    """
    config = GenerationConfig(
        max_new_tokens=max_length,
        num_beams=num_beams,
        early_stopping=num_beams > 1,
        do_sample=False,
        use_cache=True,
        decoder_start_token_id=start_id,
        eos_token_id=eos_id,
        pad_token_id=pad_id,
    )
    hidden = {} if encoded is None else {"encoder_outputs": BaseModelOutput(last_hidden_state=encoded)}
    sequences = network.generate(
        batch["input_ids"], attention_mask=batch["attention_mask"], generation_config=config, **hidden
    )
    return sequences[:, 1:]


def shift_right(labels: Tensor, *, start_id: int, pad_id: int) -> Tensor:
    """Return what the decoder reads while it predicts the labels: each one's predecessor.

    Args:
        labels: int64 [B, T]; negative where there is nothing to predict.
        start_id: Stands before the first label.
        pad_id: Stands where the label is negative.

    Returns:
        int64 [B, T].

    >>> shift_right(torch.tensor([[7, 8, 1], [9, 1, -100]]), start_id=0, pad_id=0).tolist()
    [[0, 7, 8], [0, 9, 1]]
    """
    shifted = labels.new_full(labels.shape, start_id)
    shifted[:, 1:] = labels[:, :-1].clamp_min(-1)
    return shifted.masked_fill_(shifted < 0, pad_id)
