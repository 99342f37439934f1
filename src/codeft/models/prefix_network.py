"""One RoBERTa stack that reads a prefix in both directions and writes what follows it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, GenerationMixin, RobertaConfig, RobertaModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.roberta.modeling_roberta import RobertaPreTrainedModel


class PrefixLanguageModel(RobertaPreTrainedModel, GenerationMixin):
    """transformers' `RobertaModel` with an output layer tied to its token embeddings.

    Source: UniXcoder (arXiv 2203.03850), section 3.1. The output layer has neither a bias nor a layer before
    it, as in its published scripts.

    Args:
        config: With `is_decoder`, without which the stack keeps no cache.
    """

    _tied_weights_keys = {"lm_head.weight": "roberta.embeddings.word_embeddings.weight"}  # noqa: RUF012

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        for layer in self.roberta.encoder.layer:
            layer.attention.self.is_causal = False  # the mask is always given, and says it
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        prefix_length: int = 0,
        past_key_values: Cache | None = None,
        use_cache: bool = False,
        logits_to_keep: int = 0,
        return_dict: bool = True,
    ) -> CausalLMOutputWithPast:
        """Return the scores of what follows each sub-token; transformers' `generate` calls this.

        Args:
            input_ids: int64 [B, Q], the last Q columns of what there is.
            attention_mask: [B, K], 1 for a sub-token and 0 for padding, of all columns so far; None where
                there is no padding, for then transformers leaves it out.
            prefix_length: Columns that see each other.
            past_key_values: Those of the first K - Q columns; filled with the others'.
            use_cache: Whether to make a cache where none is given.
            logits_to_keep: How many of the last columns to score; 0 for all.
            return_dict: Ignored; transformers passes it.
        """
        if attention_mask is None:
            seen = 0 if past_key_values is None else past_key_values.get_seq_length()
            attention_mask = input_ids.new_ones(len(input_ids), seen + input_ids.shape[1])
        output = self.run_stack(
            input_ids, attention_mask, prefix_length=prefix_length, cache=past_key_values, use_cache=use_cache
        )
        logits = self.lm_head(output.last_hidden_state[:, -logits_to_keep:])
        return CausalLMOutputWithPast(logits=logits, past_key_values=output.past_key_values)

    def run_stack(
        self,
        ids: Tensor,
        mask: Tensor,
        *,
        prefix_length: int,
        cache: Cache | None = None,
        use_cache: bool = False,
    ) -> Any:
        """Return what `RobertaModel` does: hidden states [B, Q, D], the pooler's output, the cache.

        Args:
            ids: See `forward`.
            mask: See `forward`.
            prefix_length: See `forward`.
            cache: See `forward`.
            use_cache: See `forward`.
        """
        num_columns = ids.shape[1]
        # RoBERTa counts positions itself only where there is no cache; they begin after the padding's.
        assert self.config.pad_token_id is not None
        positions = mask.cumsum(dim=1) * mask + self.config.pad_token_id
        return self.roberta(
            ids,
            attention_mask=prefix_mask(
                mask, num_queries=num_columns, prefix_length=prefix_length, dtype=self.dtype
            ),
            position_ids=positions[:, -num_columns:],
            past_key_values=cache,
            use_cache=use_cache,
        )


def prefix_mask(
    mask: Tensor, *, num_queries: int, prefix_length: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return what is added to attention's scores: 0 where a column may be seen, the least number where not.

    A query sees itself, what stands before it, and, from within the prefix, all of the prefix; never padding
    but itself.

    Args:
        mask: [B, K], 1 for a sub-token and 0 for padding.
        num_queries: Q; the queries are the last Q columns.
        prefix_length: Columns that see each other.
        dtype: Of the result.

    Returns:
        [B, 1, Q, K].

    >>> prefix_mask(torch.tensor([[1, 1, 0, 1]]), num_queries=4, prefix_length=2).eq(0).int()[0, 0].tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]
    """
    num_columns = mask.shape[1]
    key = torch.arange(num_columns, device=mask.device)
    query = key[num_columns - num_queries :, None]
    seen = (key <= query) | ((key < prefix_length) & (query < prefix_length))  # QK
    allowed = (seen & (mask != 0)[:, None, :]) | (key == query)  # BQK
    hidden = torch.zeros(allowed.shape, dtype=dtype, device=mask.device)
    return hidden.masked_fill_(~allowed, torch.finfo(dtype).min).unsqueeze(1)
