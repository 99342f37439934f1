"""A learned prefix: keys and values that every layer's attention sees before the text's own."""

from __future__ import annotations

import copy
from typing import Any, TypeGuard

import torch
from peft import PeftConfig, PrefixEncoder, PrefixTuningConfig
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache, DynamicCache, EncoderDecoderCache

from codeft.models.base import PREFIX, AbstractCodeModel, PrefixSite
from codeft.types import CodeftError

CONFIG = "callbacks.adapter.config"
"""Where the config of an adapter or a prefix is typed; errors name it."""


class LearnedPrefix(nn.Module):
    """Puts learned keys and values into a stack's cache before it reads a text.

    Source: prefix-tuning (arXiv 2101.00190) and, for encoders, P-tuning v2 (arXiv 2110.07602), as peft has
    them: of an encoder-decoder only the decoder's self-attention has a prefix, where the first paper gives
    the encoder and cross-attention one too.

    Args:
        config: peft's; what it leaves open is taken from the site.
        site: The stack, and the shape of its attention.

    Attributes:
        enabled: Whether the stack has the prefix; a copy of it is one without, where it is made meanwhile.
    """

    def __init__(self, config: PrefixTuningConfig, *, site: PrefixSite) -> None:
        super().__init__()
        self.config: Any = copy.deepcopy(config)
        self.config.num_layers, self.config.num_attention_heads = site.num_layers, site.num_heads
        self.config.token_dim = site.num_heads * site.head_dim
        self.config.num_transformer_submodules = 2 if site.is_encoder_decoder else 1
        self.config.encoder_hidden_size = config.encoder_hidden_size or self.config.token_dim
        self._first_position = site.first_position
        self.encoder = PrefixEncoder(self.config)
        self.enabled = True
        site.stack.register_forward_pre_hook(self.provide, with_kwargs=True)

    @property
    def length(self) -> int:
        """Return the number of virtual sub-tokens."""
        return self.config.num_virtual_tokens

    def forward(self) -> Tensor:
        """Return keys and values of all layers, flat: [length, 2 * num_layers * D]."""
        tokens = torch.arange(self.length, device=self.encoder.embedding.weight.device)
        return self.encoder(tokens)

    def provide(
        self, stack: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Change what a stack is called with, unless not `enabled`: a hook before its `forward`."""
        if not self.enabled:
            return None
        inputs = next(
            x for x in (kwargs.get("input_ids"), kwargs.get("inputs_embeds"), *args) if x is not None
        )
        cache = self._fill(kwargs, inputs)
        changed: dict[str, Any] = {"past_key_values": cache}
        mask, positions = kwargs.get("attention_mask"), kwargs.get("position_ids")
        seen = cache.get_seq_length() + inputs.shape[1]
        # Whoever goes on with a cache may count the prefix already.
        if mask is not None and mask.shape[-1] < seen:
            visible = 1 if mask.ndim == 2 else 0  # one of four dimensions is added to scores
            changed["attention_mask"] = functional.pad(mask, (self.length, 0), value=visible)
            counted = False
        else:
            counted = mask is not None or (positions is not None and int(positions.max()) + 1 >= seen)
        if positions is not None and not counted:
            real = positions >= self._first_position
            changed["position_ids"] = positions + self.length * real
        return args, {**kwargs, **changed}

    def _fill(self, kwargs: dict[str, Any], inputs: Tensor) -> Cache:
        cache = kwargs.get("past_key_values")
        if cache is None:
            crosses = kwargs.get("encoder_hidden_states") is not None
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache()) if crosses else DynamicCache()
        if cache.get_seq_length() > 0:  # filled when the text began
            return cache
        own = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
        heads = self.config.num_attention_heads
        flat = self().view(self.length, 2 * self.config.num_layers, heads, -1)  # [n, 2L, H, D]
        kind = inputs.device.type
        if torch.is_autocast_enabled(kind):  # the text's own keys will be of this type
            flat = flat.to(torch.get_autocast_dtype(kind))
        pairs = flat.permute(1, 2, 0, 3).unsqueeze(1).expand(-1, len(inputs), -1, -1, -1)  # [2L, B, H, n, D]
        for layer in range(self.config.num_layers):
            own.update(pairs[2 * layer], pairs[2 * layer + 1], layer)
        return cache

    def describe(self) -> tuple[Any, dict[str, Tensor]]:
        """Return a config and weights as peft stores them: keys and values alone, however they are made.

        For an encoder-decoder peft reads four entries a layer and drops the two of cross-attention, but has
        two: layers would share entries. Twice the layers give each its own.
        """
        config, flat = copy.deepcopy(self.config), self()
        if config.num_transformer_submodules == 2:
            own = flat.view(self.length, config.num_layers, -1)
            flat = torch.cat([own, torch.zeros_like(own)], dim=2).flatten(1)
            config.num_layers *= 2
        return config, {"prompt_embeddings": flat}


def is_prefix(config: PeftConfig) -> TypeGuard[PrefixTuningConfig]:
    """Return whether a config of peft's asks for a prefix."""
    return isinstance(config, PrefixTuningConfig)


def find_prefix(model: AbstractCodeModel) -> LearnedPrefix | None:
    """Return a model's prefix, None where it has none."""
    return next((child for child in model.children() if isinstance(child, LearnedPrefix)), None)


def check_prefix(model: AbstractCodeModel, config: PrefixTuningConfig) -> PrefixSite:
    """Return where a model's prefix goes.

    Raises:
        CodeftError: This model can't have one, or none of that length.
    """
    site = model.prefix_site()
    if site is None:
        raise CodeftError(
            f"method=prefix doesn't work for {type(model).__name__} where the output is {model.output}: "
            "it needs a pre-trained stack that reads keys and values from a cache; method=lora works"
        )
    length, limit = config.num_virtual_tokens, model.max_source_length
    highest = "" if limit is None else f", less than the model's {limit} positions"
    whole = isinstance(length, int) and not isinstance(length, bool)
    if not whole or length < 1 or (limit is not None and length >= limit):
        raise CodeftError(
            f"{CONFIG}.num_virtual_tokens must be a whole number of at least 1{highest}, not {length!r}"
        )
    return site


def add_prefix(model: AbstractCodeModel, config: PrefixTuningConfig) -> None:
    """Give a model a prefix; where its positions are limited, the prefix takes its share of them."""
    site = check_prefix(model, config)
    prefix = LearnedPrefix(config, site=site)
    model.add_module(PREFIX, prefix)
    if model.max_source_length is not None:
        model.max_source_length -= prefix.length
