"""The BART family: PLBART, and AST-T5, whose network is BART's with relative positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PLBartForConditionalGeneration

from codeft.models import loading
from codeft.models.attention import ATTENTION, AttentionRecorder
from codeft.models.base import AbstractCodeModel, Dimension, PrefixSite
from codeft.models.dropout import FastDropout, use_fast_dropout
from codeft.models.exported import ExportedModel
from codeft.models.generation import decoding, search_beams, shift_right, start_ids
from codeft.models.heads import ClassificationHead, pool
from codeft.models.networks import build_network, describe_architecture, load_network, read_config
from codeft.models.positions import is_count
from codeft.models.relative_bart import PUBLISHED_TYPE, RelativeBart, translate_config, translate_name
from codeft.models.snippets import marked_usage
from codeft.models.state_dict import Part, lay_over, read_state_dict, tell_random
from codeft.types import Batch, CodeftError, ModelOutput, Output

ESSENTIAL = "model.encoder.layers."
"""What begins the names of the encoder's own weights."""

BUCKETS = "relative_attention_num_buckets"
"""Key of `architecture` that tells AST-T5's network from PLBART's."""


class BartModel(AbstractCodeModel):
    """An encoder-decoder with BART's layers.

    Source: PLBART (arXiv 2103.06333) and AST-T5 (arXiv 2401.03003), on BART (arXiv 1910.13461). One table of
    embeddings serves encoder, decoder and output layer until `untie_output`; positions and norms of the
    decoder's embeddings are its own. For labels and embeddings the encoder is taken alone, and a vector is
    the mean of its hidden states: no sub-token of theirs stands for the whole text. PLBART's own classifiers
    read the decoder instead.

    The decoder begins with what the batch says (PLBART's token for the target's language), else with the
    end token, as fairseq's do.

    Attributes:
        network: transformers' model; for labels and embeddings the encoder alone.
        head: Gives the labels; None for text and embeddings.
    """

    network: Any
    max_source_length: int

    def __init__(
        self,
        *,
        weights: str,
        architecture: Mapping[str, Dimension] | None = None,
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
            architecture: Dimensions of random weights (`PLBartConfig`'s names; AST-T5 has two more, see
                `RelativeBartConfig`); a checkpoint brings its own.
            tokenizer: Where the tokenizer is, if not with the weights; random weights take the mini's.
            dropout: Probability that replaces the checkpoint's on hidden states and attention; None keeps it.
            revision: Commit, tag or branch of a hub id.
            checkpoint: Weights to lay over those, as training scripts save them: a file or a folder.
            output: What the task asks for; only text needs the decoder.
            num_texts: Texts that a label is about.

        Raises:
            CodeftError: The model or its tokenizer can't be found, read or put together.
        """
        super().__init__()
        self.output, self.head = output, None
        self._untied = False
        origin = loading.find_origin(weights=weights, checkpoint=checkpoint, tokenizer=tokenizer)
        weights, tokenizer = origin.weights, origin.tokenizer
        known: set[int] = set()
        overrides = {} if dropout is None else {"dropout": dropout, "attention_dropout": dropout}
        if weights == loading.RANDOM:
            self.tokenizer = loading.load_tokenizer(loading.find_folder(tokenizer or loading.MINI))
            dimensions = {**(architecture or {}), **overrides, "pad_token_id": self.tokenizer.pad_token_id}
            network_class: Any = RelativeBart if BUCKETS in dimensions else PLBartForConditionalGeneration
            whole: Any = build_network(network_class, dimensions)
        else:
            folder = loading.find_folder(weights, revision=revision, with_tokenizer=tokenizer is None)
            words = loading.find_folder(tokenizer) if tokenizer else folder
            if read_config(folder).get("model_type") == PUBLISHED_TYPE:
                _check_words(words)
            self.tokenizer = loading.load_tokenizer(words)
            whole, known = _load_whole(folder, overrides=overrides)
        config = whole.config
        self.vocab_size = config.vocab_size
        self.max_source_length = config.max_position_embeddings
        loading.check_vocabulary(self.tokenizer, vocab_size=self.vocab_size, source=weights, given=tokenizer)
        loading.check_padding(self.tokenizer, pad_id=config.pad_token_id, source=weights, given=tokenizer)
        self._pad_id, self._eos_id = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        if output == "label":
            self.head = ClassificationHead(config.d_model, num_texts=num_texts, dropout=config.dropout)
        self.network = whole if output == "text" else whole.model.encoder
        if origin.checkpoint is not None:
            # Not PLBART's `classification_head`: it reads the decoder, and this head the encoder's mean.
            head = [Part(self.head, behind=("head",), name="head")] if self.head is not None else []
            own = Part(self.network, essential=ESSENTIAL if output == "text" else "layers.")
            known |= lay_over([own, *head], read_state_dict(origin.checkpoint), source=str(origin.checkpoint))
        if known:
            tell_random(self, known, source=origin.given, new=("head.",))
        if output == "text":
            whole.generation_config = GenerationConfig()  # the config's would force an end token
        _move_dropout(self._encoder)
        self.network.set_attn_implementation(ATTENTION)
        use_fast_dropout(self)
        self._recorder = AttentionRecorder([layer.self_attn for layer in self._encoder.layers])
        self.train()

    @classmethod
    def stated_positions(cls, values: Mapping[str, Any]) -> int | None:
        """Return the table of positions' size. See `AbstractCodeModel.stated_positions`."""
        rows = values.get("max_position_embeddings")
        return rows if is_count(rows) else None

    @property
    def _encoder(self) -> Any:
        return self.network.model.encoder if self.output == "text" else self.network

    @property
    def architecture(self) -> Mapping[str, Dimension]:
        """Return the config's dimensions. See `AbstractCodeModel.architecture`."""
        return describe_architecture(self.network.config)

    def forward(self, batch: Batch) -> ModelOutput:
        """Run the model; for text without `labels`, the encoder alone. See `AbstractCodeModel.forward`."""
        mask = batch["attention_mask"]
        self._check_length(batch["input_ids"].shape[1], what="source", key="task.max_source_length")
        hidden = self._encode(batch)
        attention = self._recorder.take()
        if self.output != "text":
            vectors = pool(hidden, mask, pooling="mean")
            if self.head is not None:
                return ModelOutput(logits=self.head(vectors), attention=attention)
            return ModelOutput(embedding=vectors, attention=attention)
        if "labels" not in batch:
            return ModelOutput(attention=attention)
        labels, embedding = batch["labels"], None
        if len(labels) < len(hidden):  # further texts are asked for as vectors
            embedding = pool(hidden, mask, pooling="mean")
            hidden, mask = hidden[: len(labels)], mask[: len(labels)]
        self._check_length(labels.shape[1], what="target", key="task.max_target_length")
        starts = start_ids(batch, own=self._eos_id)
        output = self.network(
            encoder_outputs=(hidden,),
            attention_mask=mask,
            decoder_input_ids=shift_right(labels, start_id=starts, pad_id=self._pad_id),
            use_cache=False,
        )
        return ModelOutput(logits=output.logits, embedding=embedding, attention=attention)

    def _encode(self, batch: Batch) -> Tensor:
        """Return the encoder's hidden states, [N, S, D]."""
        return self.run_stack(self._read, batch["input_ids"], batch["attention_mask"])

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state

    @torch.no_grad()
    def generate(self, batch: Batch, *, max_length: int, num_beams: int) -> Tensor:
        """Decode by batched beam search. See `AbstractCodeModel.generate`."""
        self._check_length(batch["input_ids"].shape[1], what="source", key="task.max_source_length")
        self._check_length(max_length, what="target", key="task.max_target_length")
        with self._recorder.paused():
            return search_beams(
                self.network,
                batch,
                encoded=self._encode(batch),
                max_length=max_length,
                num_beams=num_beams,
                start_id=start_ids(batch, own=self._eos_id),
                eos_id=self._eos_id,
                pad_id=self._pad_id,
            )

    def embeddings(self) -> Sequence[nn.Module]:
        """Return the shared table, and the encoder's positions and norm of its embeddings."""
        encoder = self._encoder
        return [encoder.embed_tokens, encoder.embed_positions, encoder.layernorm_embedding]

    def blocks(self) -> Sequence[nn.Module]:
        """Return the encoder's blocks, from the bottom up."""
        return list(self._encoder.layers)

    def decoder_blocks(self) -> Sequence[nn.Module]:
        """Return the decoder's blocks, from the bottom up; none where there is no decoder."""
        return list(self.network.model.decoder.layers) if self.output == "text" else []

    def untie_output(self) -> None:
        """Give the output layer and the decoder's embeddings a copy each of the shared table."""
        if self.output != "text":
            return
        self._untied = True
        for module in (self.network.lm_head, self.network.model.decoder.embed_tokens):
            module.weight = nn.Parameter(self.network.model.shared.weight.detach().clone())

    def new_modules(self) -> Sequence[str]:
        """Return copies of the table that were untied. See `AbstractCodeModel.new_modules`."""
        return ("lm_head", "model.decoder.embed_tokens") if self._untied else ()

    def prefix_site(self) -> PrefixSite | None:
        """Return the decoder: the encoder reads no cache. See `AbstractCodeModel.prefix_site`."""
        if self.output != "text":
            return None
        config, decoder = self.network.config, self.network.model.decoder
        heads = config.decoder_attention_heads
        return PrefixSite(
            decoder, config.decoder_layers, heads, config.d_model // heads, is_encoder_decoder=True
        )

    def exported(self) -> ExportedModel:
        """Return transformers' PLBART. See `AbstractCodeModel.exported`.

        Raises:
            CodeftError: transformers has no class for it.
        """
        network = self.network
        if isinstance(network, RelativeBart) or self.output != "text":
            what = "AST-T5" if isinstance(network, RelativeBart) else f"PLBART's {self.output}s"
            raise CodeftError(f"transformers has no class for {what}: codeft doesn't export it")
        network.generation_config = decoding(start_id=self._eos_id, eos_id=self._eos_id, pad_id=self._pad_id)
        network.config.decoder_start_token_id = self._eos_id
        untied = network.lm_head.weight is not network.model.shared.weight
        return ExportedModel(network, untied=untied, usage=marked_usage(type(network).__name__))

    def _check_length(self, length: int, *, what: str, key: str) -> None:
        if length > self.max_source_length:
            raise CodeftError(
                f"this model has {self.max_source_length} positions, a {what} came with {length} sub-tokens: "
                f"lower {key}"
            )


class EmbeddingNorm(nn.LayerNorm):
    """A norm and the dropout behind it as one module, so that both freeze with the embeddings."""

    def __init__(self, norm: nn.LayerNorm, *, dropout: float) -> None:
        """Take over a norm's parameters.

        Args:
            norm: What is replaced.
            dropout: Probability behind it.
        """
        super().__init__(norm.normalized_shape, eps=norm.eps)
        self.weight, self.bias = norm.weight, norm.bias
        self.dropout = FastDropout(dropout)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise, and drop in training."""
        return self.dropout(super().forward(input))


def _move_dropout(encoder: Any) -> None:
    """Take the dropout of the embeddings out of the encoder's own code, where it would follow its mode."""
    encoder.layernorm_embedding = EmbeddingNorm(encoder.layernorm_embedding, dropout=encoder.dropout)
    encoder.dropout = 0.0


def _check_words(folder: Path) -> None:
    """AST-T5's release downloads its vocabulary where it runs; here it has to be in a folder."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", loading.TIKTOKEN)):
        raise CodeftError(
            f"AST-T5 reads with GPT-4's vocabulary, and {folder} has no {loading.TIKTOKEN}: put that file "
            "(tiktoken's) there, or give a folder that has it: model.tokenizer=/path/to/folder"
        )


def _load_whole(folder: Path, *, overrides: Mapping[str, Dimension]) -> tuple[Any, set[int]]:
    """Return the network and the `id` of each parameter that the checkpoint has."""
    raw = read_config(folder)
    if raw.get("model_type") == PUBLISHED_TYPE:
        network, missing = load_network(
            RelativeBart,
            folder,
            overrides=overrides,
            essential=ESSENTIAL,
            config=translate_config(raw),
            rename=translate_name,
        )
    else:
        relative = raw.get("model_type") == RelativeBart.config_class.model_type
        network_class: Any = RelativeBart if relative else PLBartForConditionalGeneration
        network, missing = load_network(network_class, folder, overrides=overrides, essential=ESSENTIAL)
    return network, {id(p) for name, p in network.named_parameters() if name not in missing}
