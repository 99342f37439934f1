"""What every model family offers to tasks and methods."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from codeft.models.attention import AttentionRecorder
from codeft.models.frozen_prefix import FrozenPrefix, Stack
from codeft.models.heads import ClassificationHead
from codeft.types import Batch, ModelOutput, Output

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from codeft.models.exported import ExportedModel


Dimension: TypeAlias = "int | float | str | bool | list[Any] | dict[str, Any] | None"
"""A value in a model's `architecture`; what a list or a mapping holds is plain, too."""


PREFIX = "prefix"
"""Name of a learned prefix among a model's children."""


@dataclass(frozen=True, slots=True)
class PrefixSite:
    """A pre-trained stack of layers whose self-attention can read a learned prefix from a cache.

    Attributes:
        stack: Takes `past_key_values`.
        num_layers: Layers of the stack.
        num_heads: Heads of keys and values in a layer.
        head_dim: Width of a head.
        first_position: The first sub-token's position; those below it mean something else (padding) and stay.
        is_encoder_decoder: Whether the stack is the decoder of an encoder-decoder.
    """

    stack: nn.Module
    num_layers: int
    num_heads: int
    head_dim: int
    first_position: int = 0
    is_encoder_decoder: bool = False


class AbstractCodeModel(nn.Module, ABC):
    """A code pre-trained model behind one interface; concrete families wrap transformers' classes.

    Attributes:
        network: transformers' model, which does the work.
        tokenizer: The model's own tokenizer.
        max_source_length: Positions that the encoder has; None where it has no limit (T5).
        shares_positions: Whether a target that is written takes its positions from the source's.
        vocab_size: Rows of the embedding table.
        output: What `forward` gives.
        head: Gives the labels where they are asked for.
        further_inputs: What `forward` reads beside the source's sub-tokens, where a batch has it.
        can_skip_blocks: Whether `frozen_prefix` may be set.
        frozen_prefix: What runs the stack while its bottom blocks are skipped; None where they aren't.
    """

    network: PreTrainedModel
    output: Output
    head: ClassificationHead | None
    tokenizer: PreTrainedTokenizerBase
    max_source_length: int | None
    shares_positions: bool = False
    vocab_size: int
    further_inputs: ClassVar[frozenset[str]] = frozenset()
    can_skip_blocks: bool = True
    frozen_prefix: FrozenPrefix | None = None
    _recorder: AttentionRecorder

    @classmethod
    def check_output(cls, output: Output) -> None:
        """Raise `CodeftError` where no model of this family gives what a task asks for."""
        return

    @classmethod
    def stated_positions(cls, values: Mapping[str, Any]) -> int | None:
        """Return `max_source_length` of a model of this family, as far as a config alone tells it.

        Args:
            values: `architecture`, or what a `config.json` says.

        Returns:
            The number; None where there is no limit or it isn't told.
        """
        return None

    @property
    @abstractmethod
    def architecture(self) -> Mapping[str, Dimension]:
        """All dimensions by which `weights="random", architecture=…` builds this very network again."""

    @abstractmethod
    def forward(self, batch: Batch) -> ModelOutput:
        """Run the model on `input_ids` and `attention_mask`, for text also on `labels` (teacher forcing).

        An encoder-decoder takes labels of the first texts of a batch alone, and then gives a vector of each
        text, too.
        """

    @abstractmethod
    def generate(self, batch: Batch, *, max_length: int, num_beams: int) -> Tensor:
        """Decode by batched beam search.

        Args:
            batch: Needs `input_ids` and `attention_mask`.
            max_length: New sub-tokens at most.
            num_beams: Beams an example; 1 is greedy.

        Returns:
            int64 [B, at most max_length], without the decoder's start token, padded with the pad id.
        """

    @abstractmethod
    def embeddings(self) -> Sequence[nn.Module]:
        """Return what K = 0 freezes: token and position embeddings with their norms, and the pooler."""

    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """Return the encoder's blocks, from the bottom up."""

    @abstractmethod
    def decoder_blocks(self) -> Sequence[nn.Module]:
        """Return the decoder's blocks from the bottom up; empty where there is no decoder."""

    @abstractmethod
    def untie_output(self) -> None:
        """Give the output layer (and the decoder's embeddings) weights of their own, copied."""

    def new_modules(self) -> Sequence[str]:
        """Return the names in `network` of modules that no checkpoint brings: new ones, and untied copies.

        Where only adapters train, these train in full. A head lies outside `network` and isn't among them.
        """
        return ()

    def prefix_site(self) -> PrefixSite | None:
        """Return where a learned prefix goes; None where the model can't have one."""
        return None

    def record_attention(self, layer: int | None, *, after_dropout: bool = False) -> None:
        """Have `forward` return the attention weights of one encoder layer; None stops it.

        Only that layer is written out for it; all others stay as they are.

        Args:
            layer: 0 is the lowest.
            after_dropout: Record what the layer multiplies the values with, dropout included.

        Raises:
            CodeftError: The model has no such layer.
        """
        self._recorder.record(layer, after_dropout=after_dropout)

    def run_stack(self, stack: Stack, ids: Tensor, mask: Tensor, *, tags: Tensor | None = None) -> Any:
        """Run the embeddings and `blocks`, from what `frozen_prefix` keeps where it is set.

        Args:
            stack: Runs all of it on ids and mask.
            ids: int64 [N, L].
            mask: [N, L], 1 for a sub-token and 0 for padding.
            tags: See `FrozenPrefix.run`.
        """
        if self.frozen_prefix is None:
            return stack(ids, mask)
        return self.frozen_prefix.run(stack, ids, mask, tags=tags)

    def pass_on(self, block: nn.Module, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return what a block that changes nothing would return.

        Args:
            block: One of `blocks`.
            hidden: [N, L, D], its input.
            *args: What else it is called with.
            **kwargs: The same.
        """
        return hidden

    @abstractmethod
    def exported(self) -> ExportedModel:
        """Return this model in transformers' own classes, sharing its parameters; see `ExportedModel`.

        Loading weights into what is returned loads them into this model: `codeft.export` and the use of what
        it wrote are the same way in both directions.
        """

    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Write config, weights and tokenizer in transformers' format.

        Args:
            folder: Made if it isn't there.
            dtype: Of the stored weights; None keeps the model's.
        """
        from codeft.models.networks import quiet_transformers  # which imports this file

        network = self.network
        if dtype is not None:
            network = copy.deepcopy(network)
            nn.Module.to(network, dtype=dtype)  # in place; transformers' own `to` has lost its types
        with quiet_transformers():
            network.save_pretrained(str(folder))
        self.tokenizer.backend_tokenizer.no_truncation()  # set by the last encoding, and no part of it
        self.tokenizer.save_pretrained(str(folder))

    def save_code(self, folder: Path) -> None:
        """Write what else a run must hold so that `architecture` builds this network again: code of its own.

        Args:
            folder: The tokenizer's.
        """
        return

    def num_parameters(self) -> tuple[int, int]:
        """Return (total, trainable); a tied weight counts once."""
        parameters = list(self.parameters())
        return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)

    def trainable_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the named parameters that train."""
        return ((name, p) for name, p in self.named_parameters() if p.requires_grad)
