"""Decoder-only models: Qwen2.5-Coder, StarCoder2, DeepSeek-Coder (Llama), CodeGPT (GPT-2) and their kin."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache, DynamicCache, GenerationConfig

from codeft.models import loading
from codeft.models.attention import ATTENTION, AttentionRecorder
from codeft.models.base import AbstractCodeModel, Dimension, PrefixSite
from codeft.models.causal_families import FAMILIES, MODEL_TYPE, Family, find_family, read_family
from codeft.models.dropout import FastDropout, use_fast_dropout
from codeft.models.exported import ExportedModel
from codeft.models.generation import continue_beams, decoding, pad_left, prepend_certain
from codeft.models.networks import build_network, load_network, own_dimensions
from codeft.models.positions import is_count
from codeft.models.remote_code import RemoteCode, tell_unpinned
from codeft.models.remote_network import (
    build_remote,
    load_remote,
    needs_code,
    remote_dimensions,
    remote_usage,
    save_code,
)
from codeft.models.remote_parts import RemoteFamily, check_generation, examine
from codeft.models.state_dict import Part, lay_over, read_state_dict, tell_random
from codeft.types import Batch, CodeftError, ModelOutput, Output


class CausalModel(AbstractCodeModel):
    """A decoder-only language model that reads the source and goes on with the target.

    The sequence is the source as the tokenizer frames it, then the target without what begins a text:
    `<s> source </s> target </s>` where the tokenizer has a start token, `source </s> target </s>` where it
    has none. So the source's own end token stands between them, the loss is the target's alone, and what
    begins a target (`<s>`) is not asked to be predicted: the loss leaves it out (`ModelOutput.num_given`).
    Padding never stands inside a sequence, so training is that of transformers' model on the ids one after
    the other.

    The stack counts as the encoder: K freezes its bottom blocks, and SAT teaches the attention of source to
    source, in which a sub-token sees only those before it. There is no decoder beside it.

    Attributes:
        network: transformers' model with its output layer.
        head: None, for there are neither labels nor embeddings.
    """

    network: Any
    shares_positions = True

    def __init__(
        self,
        *,
        weights: str,
        architecture: Mapping[str, Dimension] | None = None,
        tokenizer: str | None = None,
        dropout: float | None = None,
        revision: str | None = None,
        checkpoint: str | None = None,
        trust_remote_code: bool = False,
        output: Output = "text",
        num_texts: int = 1,
    ) -> None:
        """Load or initialise the model, in float32; it begins in training mode.

        Args:
            weights: Hub id, local folder, weights alone (see `loading.find_origin`), or `random` for new
                ones.
            architecture: `model_type` (see `causal_families.FAMILIES`) and dimensions by the names of that
                family's config, of random weights; a checkpoint brings its own.
            tokenizer: Where the tokenizer is, if not with the weights; random weights take the mini's. One
                without a padding token pads with its end token.
            dropout: Probability that replaces the checkpoint's, everywhere; None keeps it.
            revision: Commit, tag or branch of a hub id.
            checkpoint: Weights to lay over those, as training scripts save them: a file or a folder.
            trust_remote_code: Run the Python code that comes with the weights, or for random ones with the
                tokenizer, where model or tokenizer are of no class that is known.
            output: What the task asks for; only text is to be had.
            num_texts: Texts that a label is about.

        Raises:
            CodeftError: The task asks for a label or an embedding; or the model or its tokenizer can't be
                found, read or put together, or needs code of its own that wasn't asked for.
        """
        super().__init__()
        self.check_output(output)
        self.output, self.head = output, None
        self._untied = False
        self._family: Family
        code = RemoteCode(asked=trust_remote_code is True)
        origin = loading.find_origin(weights=weights, checkpoint=checkpoint, tokenizer=tokenizer)
        weights, tokenizer = origin.weights, origin.tokenizer
        known: set[int] = set()
        if weights == loading.RANDOM:
            dimensions = copy.deepcopy(dict(architecture or {}))  # transformers writes into the nested ones
            model_type = dimensions.pop(MODEL_TYPE, None)
            folder = loading.find_folder(tokenizer or loading.MINI, code=code.allowed)
            comes_with_code = model_type not in FAMILIES and needs_code(folder, model_type=model_type)
            if comes_with_code:
                code.permit(folder, what="model")
            else:
                self._family = find_family(model_type, source="model.architecture")
            self.tokenizer = loading.load_tokenizer(folder, pad_with_end=True, code=code)
            if comes_with_code:
                self.network = build_remote(folder, dimensions)
            else:
                dimensions |= self._overrides(dropout)
                dimensions |= {"bos_token_id": self.tokenizer.bos_token_id}
                dimensions |= {"eos_token_id": self.tokenizer.eos_token_id}
                self.network = build_network(self._family.network, dimensions)
        else:
            folder = loading.find_folder(
                weights,
                revision=revision,
                code=code.allowed,
                # One that comes with code may have a vocabulary of any name.
                with_tokenizer=tokenizer is None and not code.allowed,
            )
            comes_with_code = needs_code(folder)
            if comes_with_code:
                code.permit(folder, what="model")
                if folder != Path(weights).expanduser():
                    tell_unpinned(weights, folder, revision=revision)
                self.network, missing = load_remote(folder)
            else:
                self._family = read_family(folder)
                self.network, missing = load_network(
                    self._family.network,
                    folder,
                    overrides=self._overrides(dropout),
                    essential=f"{self._family.network.base_model_prefix}.{self._family.blocks}.",
                )
            known = {id(p) for name, p in self.network.named_parameters() if name not in missing}
            folder = loading.find_folder(tokenizer, code=code.allowed) if tokenizer else folder
            self.tokenizer = loading.load_tokenizer(folder, pad_with_end=True, code=code)
        if comes_with_code:
            if dropout is not None:
                raise CodeftError(
                    f"{type(self.network).__name__} comes with code of its own, whose dropouts codeft "
                    f"doesn't know: leave model.dropout={dropout} away"
                )
            self._family = examine(self.network, source=weights)
        if origin.checkpoint is not None:
            prefix = "" if comes_with_code else f"{self._family.network.base_model_prefix}."
            essential = f"{prefix}{self._family.blocks}."
            known |= lay_over(
                [Part(self.network, essential=essential)],
                read_state_dict(origin.checkpoint),
                source=str(origin.checkpoint),
            )
        if known:
            tell_random(self, known, source=origin.given)
        config = self.network.config
        self.vocab_size = len(self.network.get_input_embeddings().weight)
        loading.check_vocabulary(self.tokenizer, vocab_size=self.vocab_size, source=weights, given=tokenizer)
        # A class of its own may give it another name, and none but the name is known.
        self.max_source_length = getattr(config, "max_position_embeddings", None)
        self._pad_id, self._eos_id = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        # What begins a target, as tasks encode it: a start token; more stands before sources alone.
        frame: list[int] = self.tokenizer("")["input_ids"]
        self._starts = frame[:1] if len(frame) == 2 else []
        # A checkpoint's own settings (a penalty on repetition, say) would fill what the search leaves open.
        self.network.generation_config = GenerationConfig(
            eos_token_id=self._eos_id, pad_token_id=self._pad_id, bos_token_id=self.tokenizer.bos_token_id
        )
        # An end token that pads must learn, too.
        self.network.get_input_embeddings().padding_idx = None
        # A function's dropout can't be frozen with the embeddings, a module's can.
        self._embedding_dropout: nn.Module = nn.Identity()
        if self._family.embedding_dropout is not None:
            self._embedding_dropout = FastDropout(getattr(self._base, self._family.embedding_dropout))
            setattr(self._base, self._family.embedding_dropout, 0.0)
        if not comes_with_code:  # else it has what it can take
            self.network.set_attn_implementation(ATTENTION)
        use_fast_dropout(self.network)
        place = self._family.attention
        self._recorder = AttentionRecorder(
            [] if place is None else [block.get_submodule(place) for block in self.blocks()]
        )
        if comes_with_code:
            check_generation(self.generate, self.eval().network, end=self._eos_id)
        self.train()

    def _overrides(self, dropout: float | None) -> dict[str, Dimension]:
        return {} if dropout is None else dict.fromkeys(self._family.dropouts, dropout)

    @classmethod
    def check_output(cls, output: Output) -> None:
        """Raise `CodeftError` where it isn't text. See `AbstractCodeModel.check_output`."""
        if output != "text":
            raise CodeftError(
                f"a decoder-only model has no encoder, and this task asks for a{'n' * (output[0] in 'ae')} "
                f"{output}: take a model with an encoder (model=codebert or model=codet5, say)"
            )

    @classmethod
    def stated_positions(cls, values: Mapping[str, Any]) -> int | None:
        """Return the table of positions' size. See `AbstractCodeModel.stated_positions`."""
        rows = values.get("max_position_embeddings", values.get("n_positions"))
        return rows if is_count(rows) else None

    @property
    def _base(self) -> Any:
        """What runs without the output layer; of a class of its own, whatever its `forward` does counts."""
        return self.network if self._own else self.network.base_model

    @property
    def can_skip_blocks(self) -> bool:  # type: ignore[override]
        """Whether `frozen_prefix` may be set: what code of its own hands from block to block isn't known."""
        return self._own is None

    @property
    def _own(self) -> RemoteFamily | None:
        return self._family if isinstance(self._family, RemoteFamily) else None

    @property
    def architecture(self) -> Mapping[str, Dimension]:
        """Return `model_type` and its config's dimensions. See `AbstractCodeModel.architecture`."""
        config = self.network.config
        own = remote_dimensions(config) if self._own else own_dimensions(config)
        return {MODEL_TYPE: config.model_type, **own}

    def forward(self, batch: Batch) -> ModelOutput:
        """Run the model; without `labels` on the source alone. See `AbstractCodeModel.forward`."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        labels = batch.get("labels", ids.new_empty(len(ids), 0))[:, len(self._starts) :]
        joined, predictors = join_target(ids, mask, labels, pad_id=self._pad_id)
        self._check_length(joined.shape[1])
        # Real sub-tokens never see the padding on their right, so no mask is needed beside the causal one.
        if self._own:
            states = self.network(input_ids=joined, use_cache=False).logits  # [B, L, V]
        else:
            lengths = mask.sum(dim=1) + (labels >= 0).sum(dim=1)
            real = torch.arange(joined.shape[1], device=ids.device) < lengths[:, None]
            states = self.run_stack(self._read_joined, joined, real)
        output = ModelOutput(attention=self._recorder.take(), attention_is_causal=True)
        if output.attention is not None:
            output.attention = _of_sources(output.attention, mask)
        if "labels" in batch:
            states = states.gather(1, predictors[:, :, None].expand(-1, -1, states.shape[2]))
            output.logits = states if self._own else self.network.get_output_embeddings()(states)  # [B, T, V]
            if self._starts:
                output.logits = prepend_certain(output.logits, token_id=self._starts[0])
                output.num_given = 1
        return output

    def _read_joined(self, ids: Tensor, mask: Tensor) -> Tensor:
        embedded = self._embedding_dropout(self.network.get_input_embeddings()(ids))  # [B, L, D]
        return self._base(inputs_embeds=embedded, use_cache=False).last_hidden_state

    def generate(self, batch: Batch, *, max_length: int, num_beams: int) -> Tensor:
        """Decode by batched beam search. See `AbstractCodeModel.generate`."""
        mask = batch["attention_mask"]
        longest = int(mask.sum(dim=1).max())
        self._check_length(longest + max_length)
        ids, mask = pad_left(batch["input_ids"][:, :longest], mask[:, :longest], pad_id=self._pad_id)
        if self._own is None or self._own.pads_left:
            return self._continue(ids, mask, max_length=max_length, num_beams=num_beams)
        rows = ids.new_full((len(ids), max_length), self._pad_id)  # sources of one length need no padding
        for length in mask.sum(dim=1).unique().tolist():
            alike = mask.sum(dim=1) == length
            found = self._continue(
                ids[alike, longest - length :],
                mask[alike, longest - length :],
                max_length=max_length,
                num_beams=num_beams,
            )
            rows[alike, : found.shape[1]] = found
        return rows

    def _continue(self, ids: Tensor, mask: Tensor, *, max_length: int, num_beams: int) -> Tensor:
        with self._recorder.paused():
            return continue_beams(
                self.network,
                ids,
                mask,
                cache=self._read(ids[:, :-1], mask[:, :-1]),
                max_length=max_length,
                num_beams=num_beams,
                eos_id=self._eos_id,
                pad_id=self._pad_id,
            )

    @torch.no_grad()
    def _read(self, ids: Tensor, mask: Tensor) -> Cache:
        """Return keys and values of prompts, padded on the left, so that they are read once for all beams."""
        if ids.shape[1] == 0:
            return DynamicCache(config=self.network.config)
        positions = {}
        if self._own is None or self._own.takes_positions:
            positions = {"position_ids": (mask.cumsum(dim=1) - 1).clamp_min(0)}
        output = self._base(input_ids=ids, attention_mask=mask, use_cache=True, **positions)
        return output.past_key_values

    def embeddings(self) -> Sequence[nn.Module]:
        """Return the embeddings of tokens and, in GPT-2, of positions, and their dropout."""
        modules = [self._base.get_submodule(name) for name in self._family.embeddings]
        alone = nn.ParameterList([self._base.get_parameter(name) for name in self._family.parameters])
        return [*modules, self._embedding_dropout, alone]

    def blocks(self) -> Sequence[nn.Module]:
        """Return the stack's blocks, from the bottom up."""
        return list(self._base.get_submodule(self._family.blocks))

    def decoder_blocks(self) -> Sequence[nn.Module]:
        """Return none: the one stack's blocks are `blocks`."""
        return []

    def untie_output(self) -> None:
        """Give the output layer a copy of the embeddings, where it has no weights of its own."""
        table, output = self.network.get_input_embeddings(), self.network.get_output_embeddings()
        if output.weight is table.weight:
            self._untied = True
            output.weight = nn.Parameter(table.weight.detach().clone())
            self.network.config.tie_word_embeddings = False

    def record_attention(self, layer: int | None, *, after_dropout: bool = False) -> None:
        """Record one layer; see `AbstractCodeModel.record_attention`.

        Raises:
            CodeftError: Also where a class of the model's own has attention of its own.
        """
        if layer is not None and self._family.attention is None:
            raise CodeftError(
                f"{type(self.network).__name__}, which comes with code of its own, doesn't go through "
                "transformers' attention interface: its attention can't be recorded, so the structure loss "
                "would have nothing to teach; leave method=sat away"
            )
        super().record_attention(layer, after_dropout=after_dropout)

    def new_modules(self) -> Sequence[str]:
        """Return the output layer once it was untied. See `AbstractCodeModel.new_modules`."""
        return ("lm_head",) if self._untied else ()

    def prefix_site(self) -> PrefixSite | None:
        """Return the stack; None for a class of its own. See `AbstractCodeModel.prefix_site`."""
        if self._own:
            return None
        config, blocks = self.network.config, self.blocks()
        heads, groups = config.num_attention_heads, getattr(config, "num_key_value_heads", None)
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        return PrefixSite(self._base, len(blocks), groups or heads, width)

    def exported(self) -> ExportedModel:
        """Return transformers' decoder-only model. See `AbstractCodeModel.exported`."""
        network = self.network
        network.config.pad_token_id = self._pad_id
        network.generation_config = decoding(eos_id=self._eos_id, pad_id=self._pad_id)
        untied = network.get_output_embeddings().weight is not network.get_input_embeddings().weight
        return ExportedModel(network, untied=untied, usage=remote_usage() if self._own else None)

    def save_code(self, folder: Path) -> None:
        """Write code and config of a class of its own. See `AbstractCodeModel.save_code`."""
        if self._own:
            save_code(self.network, folder)

    def _check_length(self, length: int) -> None:
        if self.max_source_length is not None and length > self.max_source_length:
            raise CodeftError(
                f"this model has {self.max_source_length} positions for source and target together, and "
                f"{length} were asked for: lower task.max_source_length or task.max_target_length"
            )


def join_target(ids: Tensor, mask: Tensor, labels: Tensor, *, pad_id: int) -> tuple[Tensor, Tensor]:
    """Set each target right behind its source; the padding goes to the right end.

    Args:
        ids: int64 [B, S], the sources.
        mask: [B, S], 1 for a real sub-token, all of them before the padding.
        labels: int64 [B, T], the targets; negative where there is nothing to predict.
        pad_id: Fills a row after its end.

    Returns:
        The sequences, int64 [B, L], L the longest's length; and for each label the place of its predecessor,
        int64 [B, T], any place where there is nothing to predict.

    >>> ids, mask = torch.tensor([[5, 6, 1], [7, 1, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    >>> joined, predictors = join_target(ids, mask, torch.tensor([[8, 1], [9, 1]]), pad_id=0)
    >>> joined.tolist(), predictors.tolist()
    ([[5, 6, 1, 8, 1], [7, 1, 9, 1, 0]], [[2, 3], [1, 2]])
    """
    real = torch.cat([mask.bool(), labels >= 0], dim=1)  # [B, S + T]
    lengths = real.sum(dim=1)
    order = real.long().argsort(dim=1, descending=True, stable=True)[:, : int(lengths.max())]
    joined = torch.cat([ids, labels], dim=1).gather(1, order)
    padding = torch.arange(joined.shape[1], device=ids.device) >= lengths[:, None]
    places = real.long().cumsum(dim=1)[:, ids.shape[1] :] - 1
    return joined.masked_fill(padding, pad_id), (places - 1).clamp_min(0)


def _of_sources(attention: Tensor, mask: Tensor) -> Tensor:
    """Cut attention [B, H, L, L] of whole sequences to their sources [B, H, S, S], 0 at their padding."""
    length, lacking = mask.shape[1], max(0, mask.shape[1] - attention.shape[2])
    attention = functional.pad(attention[:, :, :length, :length], (0, lacking, 0, lacking))
    real = mask.to(attention.dtype)
    return attention * real[:, None, :, None] * real[:, None, None, :]
