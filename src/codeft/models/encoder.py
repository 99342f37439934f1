"""The RoBERTa family (CodeBERT, GraphCodeBERT, RoBERTa) as an encoder, with a new decoder or head on top."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import RobertaModel

from codeft.models import loading
from codeft.models.attention import ATTENTION, AttentionRecorder
from codeft.models.base import AbstractCodeModel, Dimension, PrefixSite
from codeft.models.data_flow import DATA_FLOW, append_variables
from codeft.models.dropout import use_fast_dropout
from codeft.models.exported import ExportedModel
from codeft.models.generation import decoding, prepend_certain, search_beams, shift_right
from codeft.models.heads import (
    HEADS,
    ClassificationHead,
    as_roberta_classifier,
    check_label_order,
    fit_labels,
    pool,
)
from codeft.models.networks import build_network, describe_architecture, is_scripts_own, load_network
from codeft.models.positions import is_count, longest_row, usable_positions
from codeft.models.roberta_decoder import AUTO, CODEXGLUE, add_decoder, plan_decoder
from codeft.models.state_dict import Part, lay_over, read_state_dict, tell_random
from codeft.types import Batch, CodeftError, ModelOutput, Output

ESSENTIAL = "encoder.layer."
"""What begins the names of the encoder's own weights."""

POOLER = "pooler"
"""Key of `architecture` beside `RobertaConfig`'s: whether the encoder has its pre-trained pooler."""
DECODER = "decoder"
"""Another key: of which kind the decoder is, where there is one."""


class EncoderModel(AbstractCodeModel):
    """A pre-trained RoBERTa encoder and a transformer decoder or a head for labels, new or from a checkpoint.

    Source: CodeBERT (arXiv 2002.08155) and GraphCodeBERT (arXiv 2009.08366), with the sequence-to-sequence
    set-up of CodeXGLUE (arXiv 2102.04664): encoder and decoder share one embedding module (tokens,
    positions, norm) and the output layer is tied to its tokens. Deviations: a new decoder's layers are
    RoBERTa's (GELU, the encoder's feed-forward width), and so is the output layer's head, unless
    `decoder="codexglue"` asks for the scripts' own (`roberta_decoder.add_decoder`).

    The decoder begins with the tokenizer's `<s>`. Labels that begin with it, too, are not asked to be
    predicted: that position's logits are certain, and the loss leaves it out (`ModelOutput.num_given`).

    Labels are read off the first sub-token (RoBERTa's head); an embedding is the mean of all (UniXcoder's,
    arXiv 2203.03850).

    Attributes:
        network: transformers' encoder-decoder; for labels and embeddings the encoder alone.
        head: Gives the labels; None for text and embeddings.
    """

    network: Any
    max_source_length: int
    further_inputs: ClassVar[frozenset[str]] = frozenset({DATA_FLOW})

    def __init__(
        self,
        *,
        weights: str,
        architecture: Mapping[str, Dimension] | None = None,
        num_decoder_layers: int = 6,
        decoder: str = AUTO,
        tokenizer: str | None = None,
        dropout: float | None = None,
        revision: str | None = None,
        checkpoint: str | None = None,
        label_order: Sequence[int] | None = None,
        output: Output = "text",
        num_texts: int = 1,
    ) -> None:
        """Load or initialise the encoder, and initialise decoder or head; the model begins in training mode.

        Args:
            weights: Hub id, local folder, weights alone (see `loading.find_origin`), or `random` for a new
                encoder.
            architecture: Dimensions (`RobertaConfig`'s names, and `pooler`, whether there is one; none by
                default) of random weights; a checkpoint brings its own.
            num_decoder_layers: Layers of the decoder, at least 1.
            decoder: "roberta" for RoBERTa's layers, "codexglue" for those of CodeXGLUE's scripts, "auto" for
                what the checkpoint holds, RoBERTa's where it holds none.
            tokenizer: Where the tokenizer is, if not with the weights; random weights take the mini's.
            dropout: Probability that replaces the checkpoint's, everywhere; None keeps it.
            revision: Commit, tag or branch of a hub id.
            checkpoint: Weights to lay over those, as training scripts save them: a file or a folder.
            label_order: Which label each column of the loaded head means; None for 0, 1.
            output: What the task asks for; only text needs the decoder.
            num_texts: Texts that a label is about.

        Raises:
            CodeftError: The model or its tokenizer can't be found, read or put together.
        """
        super().__init__()
        self.output, self.head = output, None
        self._untied = False
        if num_decoder_layers < 1:
            raise CodeftError(f"model.num_decoder_layers must be at least 1, got {num_decoder_layers}")
        origin = loading.find_origin(weights=weights, checkpoint=checkpoint, tokenizer=tokenizer)
        weights, tokenizer = origin.weights, origin.tokenizer
        order = check_label_order(label_order, output=output)
        overrides: dict[str, Dimension] = {}
        if dropout is not None:
            overrides = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        stored: object = None
        over = origin.checkpoint
        if weights == loading.RANDOM:
            self.tokenizer = loading.load_tokenizer(loading.find_folder(tokenizer or loading.MINI))
            overrides["pad_token_id"] = self.tokenizer.pad_token_id
            dimensions = {**(architecture or {}), **overrides}
            has_pooler, stored = dimensions.pop(POOLER, False), dimensions.pop(DECODER, None)
            encoder = build_network(RobertaModel, dimensions)
            _settle_pooler(encoder, keep=bool(has_pooler))
            known: set[int] = set()
        else:
            folder = loading.find_folder(weights, revision=revision, with_tokenizer=tokenizer is None)
            self.tokenizer = loading.load_tokenizer(loading.find_folder(tokenizer) if tokenizer else folder)
            encoder, known = _load_encoder(folder, overrides=overrides)
            if over is None and output == "text" and is_scripts_own(folder):
                over = folder  # a script's decoder lies beside the encoder
        config = encoder.config
        self.vocab_size = config.vocab_size
        loading.check_vocabulary(self.tokenizer, vocab_size=self.vocab_size, source=weights, given=tokenizer)
        loading.check_padding(self.tokenizer, pad_id=config.pad_token_id, source=weights, given=tokenizer)
        self.max_source_length = usable_positions(
            config.max_position_embeddings, pad_id=self.tokenizer.pad_token_id
        )
        self._pad_id, self._eos_id = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        starts = (self.tokenizer.bos_token_id, self.tokenizer.cls_token_id, self._eos_id)
        self._start_id = next(start for start in starts if start is not None)
        self._labels_hold_start = self.tokenizer(loading.PROBE)["input_ids"][0] == self._start_id
        if output == "label":
            self.head = ClassificationHead(
                config.hidden_size, num_texts=num_texts, dropout=config.hidden_dropout_prob
            )
        state = {} if over is None else read_state_dict(over)
        self.network, self._decoder_kind, essential = encoder, None, None
        if output == "text":
            plan = plan_decoder(
                decoder, state, stored=stored, num_layers=num_decoder_layers, source=origin.given
            )
            self._decoder_kind, state, essential = plan.kind, plan.state, plan.essential
            self.network = add_decoder(encoder, kind=plan.kind, num_layers=num_decoder_layers)
        # transformers' own classifiers have a head beside the encoder, in a folder like any other.
        known |= self._load_head(None if weights == loading.RANDOM else folder, order=order)
        if over is not None:
            parts = [Part(self._encoder, essential=ESSENTIAL, name="encoder")]
            if output == "text":
                decoder_part = Part(
                    self.network.decoder, behind=("decoder",), essential=essential, name="decoder"
                )
                parts.append(decoder_part)
            if self.head is not None:
                parts.append(self._head_part(order))
            known |= lay_over(parts, state, source=str(over))
        if label_order is not None and (self.head is None or id(self.head.out_proj.weight) not in known):
            raise CodeftError(
                "model.label_order says what the columns of a loaded head mean, but none was loaded from "
                f"{origin.given}: leave it away, or give weights with a head for this task"
            )
        if known:
            new = ("head.",) if essential else ("head.", "network.decoder.")
            tell_random(self, known, source=origin.given, new=new)
        self.network.set_attn_implementation(ATTENTION)
        use_fast_dropout(self.network)
        self._recorder = AttentionRecorder([block.attention.self for block in self._encoder.encoder.layer])
        self.train()

    @classmethod
    def stated_positions(cls, values: Mapping[str, Any]) -> int | None:
        """Return what the table of positions leaves. See `AbstractCodeModel.stated_positions`."""
        rows, pad_id = values.get("max_position_embeddings"), values.get("pad_token_id", 1)
        return usable_positions(rows, pad_id=pad_id) if is_count(rows) and is_count(pad_id) else None

    @property
    def _encoder(self) -> RobertaModel:
        return self.network.encoder if self.output == "text" else self.network

    @property
    def architecture(self) -> Mapping[str, Dimension]:
        """Return the encoder's dimensions and the decoder's kind. See `AbstractCodeModel.architecture`."""
        encoder = self._encoder
        own: dict[str, Dimension] = {POOLER: encoder.pooler is not None}
        if self._decoder_kind is not None:
            own[DECODER] = self._decoder_kind
        return describe_architecture(encoder.config) | own

    def forward(self, batch: Batch) -> ModelOutput:
        """Run the model; for text without `labels`, the encoder alone. See `AbstractCodeModel.forward`."""
        hidden, seen = self._encode(batch)
        mask, length = batch["attention_mask"], batch["input_ids"].shape[1]
        attention = self._recorder.take()
        if attention is not None:
            attention = attention[..., :length, :length]  # the source's, without the variables behind it
        if self.output == "label":
            assert self.head is not None
            vectors = pool(hidden[:, :length], mask, pooling="first")
            return ModelOutput(logits=self.head(vectors), attention=attention)
        if self.output == "embedding":
            vectors = pool(hidden[:, :length], mask, pooling="mean")
            return ModelOutput(embedding=vectors, attention=attention)
        if "labels" not in batch:
            return ModelOutput(attention=attention)
        labels = batch["labels"]
        [length] = longest_row(labels + 1, limit=self.max_source_length)  # a label may be 0
        self._check_length(length, what="target", key="task.max_target_length")
        decoder_ids = shift_right(labels, start_id=self._start_id, pad_id=self._pad_id)
        if self._labels_hold_start:
            decoder_ids = decoder_ids[:, 1:]  # the labels' own <s> is the start
        logits = self.network.decoder(
            input_ids=decoder_ids,
            encoder_hidden_states=hidden,
            encoder_attention_mask=seen,
            use_cache=False,
        ).logits
        if self._labels_hold_start:
            logits = prepend_certain(logits, token_id=self._start_id)
        return ModelOutput(logits=logits, num_given=int(self._labels_hold_start), attention=attention)

    def generate(self, batch: Batch, *, max_length: int, num_beams: int) -> Tensor:
        """Decode by batched beam search. See `AbstractCodeModel.generate`."""
        self._check_length(max_length, what="target", key="task.max_target_length")
        with torch.no_grad(), self._recorder.paused():
            hidden, seen = self._encode(batch)
            return search_beams(
                self.network,
                {**batch, "attention_mask": seen},
                encoded=hidden,
                max_length=max_length,
                num_beams=num_beams,
                start_id=self._start_id,
                eos_id=self._eos_id,
                pad_id=self._pad_id,
            )

    def _encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the hidden states, [N, L, D], and which are real, [N, L]; without data flow, L is S."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        [length] = longest_row(mask, limit=self.max_source_length)
        self._check_length(length, what="source", key="task.max_source_length")
        if "flow_start" not in batch:
            return self.run_stack(self._read, ids, mask), mask
        flow = append_variables(
            self._encoder.embeddings.word_embeddings(ids),
            batch,
            special=(ids == self._start_id) | (ids == self._eos_id),
            pad_id=self._pad_id,
        )
        encoded = self._encoder(
            inputs_embeds=flow.embeddings,
            attention_mask=flow.attention_mask,
            position_ids=flow.position_ids,
        )
        return encoded.last_hidden_state, flow.real

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state

    def embeddings(self) -> Sequence[nn.Module]:
        """Return the embeddings (tokens, positions, norm), and the pooler where the checkpoint has one."""
        encoder = self._encoder
        return [encoder.embeddings] if encoder.pooler is None else [encoder.embeddings, encoder.pooler]

    def blocks(self) -> Sequence[nn.Module]:
        """Return the encoder's blocks, from the bottom up."""
        return list(self._encoder.encoder.layer)

    def decoder_blocks(self) -> Sequence[nn.Module]:
        """Return the decoder's blocks, from the bottom up; none where there is no decoder."""
        return list(self.network.decoder.roberta.encoder.layer) if self.output == "text" else []

    def untie_output(self) -> None:
        """Give the output layer and the decoder's embeddings a copy each of the encoder's."""
        if self.output != "text":
            return
        self._untied = True
        decoder, embeddings = self.network.decoder, self.network.encoder.embeddings
        decoder.roberta.embeddings = copy.deepcopy(embeddings).requires_grad_()
        decoder.lm_head.decoder.weight = nn.Parameter(embeddings.word_embeddings.weight.detach().clone())

    def new_modules(self) -> Sequence[str]:
        """Return the decoder's, but for embeddings that it shares. See `AbstractCodeModel.new_modules`."""
        if self.output != "text":
            return ()
        new = ("decoder.roberta.encoder", "decoder.lm_head")
        return (*new, "decoder.roberta.embeddings") if self._untied else new

    def prefix_site(self) -> PrefixSite | None:
        """Return the encoder, where it stands alone. See `AbstractCodeModel.prefix_site`."""
        if self.output == "text":  # the decoder is new and trains as a whole
            return None
        config, heads = self.network.config, self.network.config.num_attention_heads
        width, first = config.hidden_size // heads, self._pad_id + 1
        return PrefixSite(self.network, config.num_hidden_layers, heads, width, first_position=first)

    def exported(self) -> ExportedModel:
        """Return transformers' encoder-decoder, encoder or classifier. See `AbstractCodeModel.exported`.

        A head over one text is RoBERTa's own; one over a pair has no class in transformers.

        Raises:
            CodeftError: The decoder is that of CodeXGLUE's scripts, for which transformers has no class.
        """
        if self._decoder_kind == CODEXGLUE:
            raise CodeftError(
                "transformers has no class for the decoder of CodeXGLUE's scripts (its output layer has a "
                "tanh where RoBERTa's has GELU and a norm): codeft doesn't export it; use the run itself "
                "(codeft.predict run=..., codeft.evaluate run=...), or train with model.decoder=roberta"
            )
        if self.output == "embedding":
            return ExportedModel(self.network, pooling="mean")
        if self.head is not None:
            if self.head.num_texts > 1:
                return ExportedModel(self.network, head=self.head, pooling="first")
            return ExportedModel(as_roberta_classifier(self.network, self.head))
        network = self.network
        embeddings, decoder = network.encoder.embeddings, network.decoder
        untied = decoder.lm_head.decoder.weight is not embeddings.word_embeddings.weight
        for config in (network.config, network.config.decoder, decoder.config):
            config.tie_word_embeddings = not untied  # the output layer to the decoder's own embeddings
        network.config.decoder_start_token_id = self._start_id
        network.config.pad_token_id, network.config.eos_token_id = self._pad_id, self._eos_id
        network.generation_config = decoding(
            start_id=self._start_id, eos_id=self._eos_id, pad_id=self._pad_id
        )
        return ExportedModel(network, untied=untied)

    def _load_head(self, folder: Path | None, *, order: Sequence[int]) -> set[int]:
        """Load the head that lies in a model's folder, if there is one; return the `id`s of what was set."""
        if self.head is None or folder is None:
            return set()
        state = {name: p for name, p in read_state_dict(folder).items() if HEADS[0] in name.split(".")}
        return lay_over([self._head_part(order)], state, source=str(folder))

    def _head_part(self, order: Sequence[int]) -> Part:
        assert self.head is not None
        return Part(self.head, behind=HEADS, adapt=partial(fit_labels, order=order), name="head")

    def _check_length(self, length: int, *, what: str, key: str) -> None:
        if length > self.max_source_length:
            raise CodeftError(
                f"this model has {self.max_source_length} positions, a {what} came with {length} sub-tokens: "
                f"lower {key}"
            )


def _load_encoder(folder: Path, *, overrides: Mapping[str, Dimension]) -> tuple[RobertaModel, set[int]]:
    """Return the encoder and the `id` of each parameter that the checkpoint has."""
    encoder, missing = load_network(RobertaModel, folder, overrides=overrides, essential=ESSENTIAL)
    _settle_pooler(encoder, keep=not any(name.startswith("pooler.") for name in missing))
    return encoder, {id(parameter) for name, parameter in encoder.named_parameters() if name not in missing}


def _settle_pooler(encoder: RobertaModel, *, keep: bool) -> None:
    """Drop the pooler or freeze it: nothing that decodes reads it, and DDP wants gradients for the rest."""
    if not keep:
        encoder.pooler = None
    elif encoder.pooler is not None:
        encoder.pooler.requires_grad_(False)
