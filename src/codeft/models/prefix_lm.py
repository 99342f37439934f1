"""The UniXcoder family: one stack that is encoder, decoder or both, by a token at its input's beginning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from tokenizers import AddedToken, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, RobertaModel

from codeft.models import loading
from codeft.models.attention import ATTENTION, AttentionRecorder
from codeft.models.base import AbstractCodeModel, Dimension, PrefixSite
from codeft.models.dropout import use_fast_dropout
from codeft.models.exported import ExportedModel
from codeft.models.generation import continue_beams, decoding, pad_left, shift_right
from codeft.models.heads import HEADS, ClassificationHead, pool
from codeft.models.networks import build_network, describe_architecture, load_network
from codeft.models.positions import is_count, longest_row, usable_positions
from codeft.models.prefix_network import PrefixLanguageModel
from codeft.models.prefix_snippet import text_usage
from codeft.models.state_dict import Part, lay_over, read_state_dict, tell_random
from codeft.types import Batch, CodeftError, ModelOutput, Output

AUTO = "auto"
ENCODER, DECODER, BOTH = "encoder-only", "decoder-only", "encoder-decoder"
MODES_OF: Mapping[Output, Sequence[str]] = {
    "text": (BOTH, DECODER),
    "label": (ENCODER,),
    "embedding": (ENCODER,),
}
"""The modes that can give an output; the first is taken by itself."""

BLANK = "<mask0>"
"""Stands in the source for what is to be written, and begins the target."""
PLACES = ("start", "end")
TOKENS = (*(f"<{mode}>" for mode in (ENCODER, DECODER, BOTH)), BLANK)

POOLER = "pooler"
"""Key of `architecture` beside `RobertaConfig`'s: whether the stack has its pre-trained pooler."""


class PrefixLMModel(AbstractCodeModel):
    """One RoBERTa stack with UniXcoder's three modes.

    Source: UniXcoder (arXiv 2203.03850) and its published scripts. A source is framed as
    `<s> <mode> </s> … </s>`:

    - encoder-only: every sub-token sees every other; a vector is the mean of all. Labels are read off it,
      too, by RoBERTa's head, where the scripts for clones compare two vectors.
    - encoder-decoder: the source is a prefix that sees itself whole, the target what follows it. `<mask0>`
      stands in the source, and the target begins with it.
    - decoder-only: the source sees only what is before, its frame has no end, and the target goes on where it
      ends. Only the target is learned, where the scripts for completion learn the source as well.

    The output layer is tied to the token embeddings. The pooler counts as trained, as in the numbers of
    parameters published for Telly, though nothing reads it: its gradient is zero.

    Attributes:
        network: transformers' `RobertaModel`; for text inside a `PrefixLanguageModel`.
        head: Gives the labels; None for text and embeddings.
        mode: One of the three.
    """

    network: Any
    max_source_length: int

    def __init__(
        self,
        *,
        weights: str,
        architecture: Mapping[str, Dimension] | None = None,
        mode: str = AUTO,
        mask_at: str = PLACES[0],
        tokenizer: str | None = None,
        dropout: float | None = None,
        revision: str | None = None,
        checkpoint: str | None = None,
        output: Output = "text",
        num_texts: int = 1,
    ) -> None:
        """Load or initialise the model; it begins in training mode, as any new module.

        Args:
            weights: Hub id, local folder, weights alone (see `loading.find_origin`), or `random` for new
                ones.
            architecture: Dimensions (`RobertaConfig`'s names, and `pooler`, whether there is one; none by
                default) of random weights; a checkpoint brings its own.
            mode: "encoder-only", "decoder-only", "encoder-decoder", or "auto" for encoder-decoder where the
                output is text and else encoder-only.
            mask_at: Where `<mask0>` stands in the source of an encoder-decoder, "start" or "end".
            tokenizer: Where the tokenizer is, if not with the weights; random weights take the mini's, and
                give it the tokens of the modes.
            dropout: Probability that replaces the checkpoint's, everywhere; None keeps it.
            revision: Commit, tag or branch of a hub id.
            checkpoint: Weights to lay over those, as training scripts save them: a file or a folder.
            output: What the task asks for.
            num_texts: Texts that a label is about.

        Raises:
            CodeftError: The model or its tokenizer can't be found, read or put together, or the mode can't
                give the output.
        """
        super().__init__()
        self.output, self.head = output, None
        self._untied = False
        self.mode = choose_mode(mode, output=output)
        if mask_at not in PLACES:
            raise CodeftError(f"model.mask_at must be {' or '.join(PLACES)}, not {mask_at!r}")
        origin = loading.find_origin(weights=weights, checkpoint=checkpoint, tokenizer=tokenizer)
        weights, tokenizer = origin.weights, origin.tokenizer
        known: set[int] = set()
        overrides: dict[str, Dimension] = {"is_decoder": output == "text", "add_cross_attention": False}
        if dropout is not None:
            overrides |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        network_class: Any = PrefixLanguageModel if output == "text" else RobertaModel
        if weights == loading.RANDOM:
            self.tokenizer = loading.load_tokenizer(loading.find_folder(tokenizer or loading.MINI))
            overrides["pad_token_id"] = self.tokenizer.pad_token_id
            dimensions = {**(architecture or {}), **overrides}
            has_pooler = bool(dimensions.pop(POOLER, False))
            self.network = build_network(network_class, dimensions)
        else:
            folder = loading.find_folder(weights, revision=revision, with_tokenizer=tokenizer is None)
            self.tokenizer = loading.load_tokenizer(loading.find_folder(tokenizer) if tokenizer else folder)
            prefix = "roberta." if output == "text" else ""
            self.network, missing = load_network(
                network_class, folder, overrides=overrides, essential=f"{prefix}encoder.layer."
            )
            has_pooler = not any(name.startswith(f"{prefix}pooler.") for name in missing)
            known = {id(p) for name, p in self.network.named_parameters() if name not in missing}
        if not has_pooler:
            self._stack.pooler = None
        config = self.network.config
        self.vocab_size = config.vocab_size
        frame_sources(
            self.tokenizer,
            mode=self.mode,
            blank=None if self.mode != BOTH else mask_at,
            may_add=weights == loading.RANDOM,
            source=tokenizer or weights,
        )
        loading.check_vocabulary(self.tokenizer, vocab_size=self.vocab_size, source=weights, given=tokenizer)
        self._pad_id, self._eos_id = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        self._blank_id = self.tokenizer.get_vocab()[BLANK]
        loading.check_padding(self.tokenizer, pad_id=config.pad_token_id, source=weights, given=tokenizer)
        self.max_source_length = usable_positions(config.max_position_embeddings, pad_id=self._pad_id)
        self.shares_positions = output == "text"
        if output == "label":
            self.head = ClassificationHead(
                config.hidden_size, num_texts=num_texts, dropout=config.hidden_dropout_prob
            )
        if origin.checkpoint is not None:
            head = [] if self.head is None else [Part(self.head, behind=HEADS, name="head")]
            stack = Part(self._stack, essential="encoder.layer.", name="stack")
            known |= lay_over(
                [stack, *head], read_state_dict(origin.checkpoint), source=str(origin.checkpoint)
            )
        if known:
            tell_random(self, known, source=origin.given, new=("head.",))
        self.network.set_attn_implementation(ATTENTION)
        use_fast_dropout(self.network)
        self._recorder = AttentionRecorder([block.attention.self for block in self._stack.encoder.layer])
        self.train()

    @classmethod
    def stated_positions(cls, values: Mapping[str, Any]) -> int | None:
        """Return what the table of positions leaves. See `AbstractCodeModel.stated_positions`."""
        rows, pad_id = values.get("max_position_embeddings"), values.get("pad_token_id", 1)
        return usable_positions(rows, pad_id=pad_id) if is_count(rows) and is_count(pad_id) else None

    @property
    def _stack(self) -> RobertaModel:
        return self.network.roberta if self.output == "text" else self.network

    @property
    def architecture(self) -> Mapping[str, Dimension]:
        """Return the stack's dimensions. See `AbstractCodeModel.architecture`."""
        return {**describe_architecture(self.network.config), POOLER: self._stack.pooler is not None}

    def forward(self, batch: Batch) -> ModelOutput:
        """Run the model; for text without `labels`, on the source. See `AbstractCodeModel.forward`."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        if self.output == "text":
            return self._read_and_write(ids, mask, batch.get("labels"))
        self._check_length(*longest_row(mask, limit=self.max_source_length))
        hidden = self._hidden_states(self.run_stack(self._read, ids, mask))
        vectors, attention = pool(hidden, mask, pooling="mean"), self._recorder.take()
        if self.head is not None:
            return ModelOutput(logits=self.head(vectors), attention=attention)
        return ModelOutput(embedding=vectors, attention=attention)

    def _read_and_write(self, ids: Tensor, mask: Tensor, labels: Tensor | None) -> ModelOutput:
        """Run over source and target at once; the attention is that of the source to itself."""
        source_length = ids.shape[1]
        parts = [mask]
        if labels is not None:
            written = self._written(labels)
            real = torch.ones_like(written)
            real[:, 1:] = written[:, 1:] != self._pad_id
            parts.append(real)
            ids, mask = torch.cat([ids, written], dim=1), torch.cat(parts, dim=1)
        self._check_length(*longest_row(*parts, limit=self.max_source_length))
        prefix_length = source_length if self.mode == BOTH else 0
        stack = partial(self.network.run_stack, prefix_length=prefix_length)
        tags = mask[:, :prefix_length].sum(dim=1)
        hidden = self._hidden_states(self.run_stack(stack, ids, mask, tags=tags))
        attention = self._recorder.take()
        if attention is not None:
            attention = attention[:, :, :source_length, :source_length]
        output = ModelOutput(attention=attention, attention_is_causal=self.mode == DECODER)
        if labels is None:
            return output
        told = hidden[:, source_length:]
        if self.mode == DECODER:  # the source's last sub-token tells the first of the target
            last = mask[:, :source_length].cumsum(dim=1).argmax(dim=1)
            row = torch.arange(len(ids), device=ids.device)
            told = torch.cat([hidden[row, last].unsqueeze(1), told], dim=1)
        output.logits = self.network.lm_head(told)
        return output

    def _read(self, ids: Tensor, mask: Tensor) -> Any:
        return self.network(input_ids=ids, attention_mask=mask)

    def _hidden_states(self, encoded: Any) -> Tensor:
        """Return the last hidden states [N, S, D], with a gradient of zero for a pooler that trains."""
        pooler = self._stack.pooler
        if pooler is None or not pooler.dense.weight.requires_grad:
            return encoded.last_hidden_state
        # Data-parallel training waits for it.
        return encoded.last_hidden_state + 0.0 * encoded.pooler_output.unsqueeze(1)

    def _written(self, labels: Tensor) -> Tensor:
        """Return what follows the source while the labels are predicted."""
        written = shift_right(labels, start_id=self._blank_id, pad_id=self._pad_id)
        return written if self.mode == BOTH else written[:, 1:]

    def generate(self, batch: Batch, *, max_length: int, num_beams: int) -> Tensor:
        """Decode by batched beam search. See `AbstractCodeModel.generate`."""
        mask = batch["attention_mask"]
        longest = int(mask.sum(dim=1).max())
        self._check_length(longest, max_length)
        ids, mask = pad_left(batch["input_ids"][:, :longest], mask[:, :longest], pad_id=self._pad_id)
        prefix_length = 0
        if self.mode == BOTH:
            prefix_length = ids.shape[1]
            ids = nn.functional.pad(ids, (0, 1), value=self._blank_id)
            mask = nn.functional.pad(mask, (0, 1), value=1)
        with self._recorder.paused(), torch.no_grad():
            read = self.network.run_stack(
                ids[:, :-1], mask[:, :-1], prefix_length=prefix_length, use_cache=True
            )
            return continue_beams(
                self.network,
                ids,
                mask,
                cache=read.past_key_values,
                max_length=max_length,
                num_beams=num_beams,
                eos_id=self._eos_id,
                pad_id=self._pad_id,
                prefix_length=prefix_length,
            )

    def embeddings(self) -> Sequence[nn.Module]:
        """Return the embeddings (tokens, positions, norm), and the pooler where the checkpoint has one."""
        stack = self._stack
        return [stack.embeddings] if stack.pooler is None else [stack.embeddings, stack.pooler]

    def blocks(self) -> Sequence[nn.Module]:
        """Return the stack's blocks, from the bottom up; what is frozen of them is frozen in both roles."""
        return list(self._stack.encoder.layer)

    def decoder_blocks(self) -> Sequence[nn.Module]:
        """Return nothing: the decoder's blocks are the encoder's."""
        return []

    def untie_output(self) -> None:
        """Give the output layer a copy of the token embeddings."""
        if self.output != "text":
            return
        self._untied = True
        table = self._stack.embeddings.word_embeddings.weight
        self.network.lm_head.weight = nn.Parameter(table.detach().clone())
        self.network.config.tie_word_embeddings = False  # or loading would tie them again

    def new_modules(self) -> Sequence[str]:
        """Return the output layer once it was untied. See `AbstractCodeModel.new_modules`."""
        return ("lm_head",) if self._untied else ()

    def prefix_site(self) -> PrefixSite:
        """Return the stack. See `AbstractCodeModel.prefix_site`."""
        config, heads = self.network.config, self.network.config.num_attention_heads
        width, first = config.hidden_size // heads, self._pad_id + 1
        return PrefixSite(self._stack, config.num_hidden_layers, heads, width, first_position=first)

    def exported(self) -> ExportedModel:
        """Return the stack, for text in a class that the snippet brings. See `AbstractCodeModel.exported`."""
        if self.output != "text":
            return ExportedModel(self.network, head=self.head, pooling="mean")
        network = self.network
        network.generation_config = decoding(eos_id=self._eos_id, pad_id=self._pad_id)
        untied = network.lm_head.weight is not self._stack.embeddings.word_embeddings.weight
        return ExportedModel(
            network, untied=untied, usage=text_usage(blank=BLANK if self.mode == BOTH else None)
        )

    def _check_length(self, source_length: int, target_length: int = 0) -> None:
        total = source_length + target_length
        if total <= self.max_source_length:
            return
        came = f"a source came with {source_length} sub-tokens: lower task.max_source_length"
        if target_length:
            came = (
                f"a source came with {source_length} sub-tokens and a target with {target_length}: "
                "lower task.max_source_length or task.max_target_length"
            )
        raise CodeftError(f"this model has {self.max_source_length} positions, {came}")


def choose_mode(mode: str, *, output: Output) -> str:
    """Return the mode for an output.

    Args:
        mode: As the user typed it.
        output: What the task asks for.

    Raises:
        CodeftError: There is no such mode, or it can't give that.

    >>> choose_mode("auto", output="text"), choose_mode("auto", output="label")
    ('encoder-decoder', 'encoder-only')
    """
    possible = MODES_OF[output]
    if mode == AUTO:
        return possible[0]
    if mode not in possible:
        what = {"text": "a text", "label": "a label", "embedding": "a vector"}[output]
        raise CodeftError(f"this task asks for {what}: model.mode must be {_either(possible)}, not {mode!r}")
    return mode


def _either(modes: Sequence[str]) -> str:
    return " or ".join((AUTO, *modes))


def frame_sources(
    tokenizer: PreTrainedTokenizerBase, *, mode: str, blank: str | None, may_add: bool, source: str
) -> None:
    """Have a tokenizer put a mode's special tokens around each text.

    Args:
        tokenizer: Changed in place.
        mode: One of the three.
        blank: Where `<mask0>` stands, "start" or "end"; None for nowhere.
        may_add: Whether tokens that the tokenizer lacks are added to it.
        source: Where it came from, for the error.

    Raises:
        CodeftError: It lacks some, and they may not be added.
    """
    missing = sorted(set(TOKENS) - tokenizer.get_vocab().keys())
    if missing and not may_add:
        raise CodeftError(
            f"the tokenizer of {source} lacks UniXcoder's {', '.join(missing)}: give UniXcoder's own "
            "(model.tokenizer=null), or choose the model= whose family it is"
        )
    # Those that are in the vocabulary keep their id; marked as special, they vanish where texts are decoded.
    tokenizer.add_tokens(
        [AddedToken(token, special=True, normalized=False) for token in TOKENS], special_tokens=True
    )
    begin, end = tokenizer.bos_token or tokenizer.cls_token, tokenizer.eos_token
    frame = [*([begin] if begin else []), f"<{mode}>", end]
    frame += [BLANK] * (blank == "start") + ["$A"] + [BLANK] * (blank == "end")
    frame += [] if mode == DECODER else [end]
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in {*frame} - {"$A"}]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=frame, special_tokens=special
    )
