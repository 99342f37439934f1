"""The T5 family: the mini model, CodeT5, CodeT5+ (220M, 770M, and the encoder for embeddings)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

from codeft.models import loading
from codeft.models.attention import ATTENTION, AttentionRecorder
from codeft.models.base import AbstractCodeModel, Dimension, PrefixSite
from codeft.models.dropout import use_fast_dropout
from codeft.models.exported import ExportedModel
from codeft.models.generation import decoding, search_beams, shift_right
from codeft.models.heads import ClassificationHead, pool
from codeft.models.networks import build_network, describe_architecture, load_network, read_config
from codeft.models.projected_t5 import ProjectedT5
from codeft.models.snippets import projected_usage
from codeft.models.state_dict import Part, lay_over, read_state_dict, tell_random
from codeft.types import Batch, CodeftError, ModelOutput, Output

EMBED_DIM = "embed_dim"
"""Key of `architecture` that tells CodeT5+'s embedding model from the others."""

ESSENTIAL = "encoder.block."
"""What begins the names of the encoder's own weights."""


class EncoderDecoderModel(AbstractCodeModel):
    """A T5-style encoder-decoder.

    Source: CodeT5 (arXiv 2109.00859), CodeT5+ (arXiv 2305.07922), on T5 (arXiv 1910.10683). One table of
    embeddings serves encoder, decoder and output layer until `untie_output`. For labels and embeddings the
    encoder is taken alone, and a vector is the mean of its hidden states (Sentence-T5, arXiv 2108.08877);
    CodeT5+'s embedding model projects its first one instead, as it was trained to, and has no decoder.

    Attributes:
        network: transformers' model; for labels and embeddings the encoder alone.
        head: Gives the labels; None for text and embeddings.
    """

    network: Any

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
            weights: Hub id, local folder, `asset:mini`, weights alone (see `loading.find_origin`), or
                `random` for new ones.
            architecture: Dimensions (`T5Config`'s names) of random weights; a checkpoint brings its own.
            tokenizer: Where the tokenizer is, if not with the weights; random weights take the mini's.
            dropout: Probability that replaces the checkpoint's; None keeps it.
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
        has_projection = EMBED_DIM in (architecture or {})
        if has_projection and output == "text":
            raise CodeftError(_no_text(weights))
        origin = loading.find_origin(weights=weights, checkpoint=checkpoint, tokenizer=tokenizer)
        weights, tokenizer = origin.weights, origin.tokenizer
        known: set[int] = set()
        overrides = {} if dropout is None else {"dropout_rate": dropout}
        if weights == loading.RANDOM:
            folder = loading.find_folder(tokenizer or loading.MINI)
            network_class = _network_class(output, has_projection=has_projection)
            self.network = build_network(network_class, {**(architecture or {}), **overrides})
        else:
            folder = loading.find_folder(weights, revision=revision, with_tokenizer=tokenizer is None)
            has_projection = read_config(folder).get("model_type") == ProjectedT5.config_class.model_type
            if has_projection and output == "text":
                raise CodeftError(_no_text(weights))
            network_class = _network_class(output, has_projection=has_projection)
            self.network, missing = load_network(
                network_class, folder, overrides=overrides, essential=ESSENTIAL
            )
            known = {id(p) for name, p in self.network.named_parameters() if name not in missing}
            folder = loading.find_folder(tokenizer) if tokenizer else folder
        if has_projection and output != "embedding":
            self.network.proj = None  # nothing reads it, and DDP wants gradients for all there is
        self.tokenizer = loading.load_tokenizer(folder)
        self.vocab_size = self.network.config.vocab_size
        self.max_source_length = None
        loading.check_vocabulary(self.tokenizer, vocab_size=self.vocab_size, source=weights, given=tokenizer)
        self._pad_id, self._eos_id = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        if output == "text":
            # T5 starts the decoder with its padding; a config may say otherwise.
            start_id = self.network.generation_config.decoder_start_token_id
            self._start_id = self._pad_id if start_id is None else start_id
        elif output == "label":
            config = self.network.config
            self.head = ClassificationHead(config.d_model, num_texts=num_texts, dropout=config.dropout_rate)
        if origin.checkpoint is not None:
            # Not CodeT5's `classifier`: it reads the decoder's last state, and this head the encoder's mean.
            head = [Part(self.head, behind=("head",), name="head")] if self.head is not None else []
            known |= lay_over(
                [Part(self.network, essential=ESSENTIAL), *head],
                read_state_dict(origin.checkpoint),
                source=str(origin.checkpoint),
            )
        if known:
            tell_random(self, known, source=origin.given, new=("head.",))
        # T5 has one dropout for both ends of its encoder; apart, the first can be frozen with the embeddings.
        self._embedding_dropout = nn.Dropout(self.network.config.dropout_rate)
        self._output_dropout = nn.Dropout(self.network.config.dropout_rate)
        self.network.encoder.dropout = nn.Identity()
        self.network.set_attn_implementation(ATTENTION)
        use_fast_dropout(self)
        self._recorder = AttentionRecorder(
            [block.layer[0].SelfAttention for block in self.network.encoder.block]
        )
        self.train()

    @property
    def architecture(self) -> Mapping[str, Dimension]:
        """Return `T5Config`'s dimensions. See `AbstractCodeModel.architecture`."""
        return describe_architecture(self.network.config)

    def forward(self, batch: Batch) -> ModelOutput:
        """Run the model; for text without `labels`, the encoder alone. See `AbstractCodeModel.forward`."""
        mask, hidden = batch["attention_mask"], self._encode(batch)
        attention = self._recorder.take()
        if self.output != "text":
            if self.head is not None:
                vectors = pool(hidden, mask, pooling="mean")
                return ModelOutput(logits=self.head(vectors), attention=attention)
            projected = isinstance(self.network, ProjectedT5)
            vectors = self.network.embed(hidden) if projected else pool(hidden, mask, pooling="mean")
            return ModelOutput(embedding=vectors, attention=attention)
        if "labels" not in batch:
            return ModelOutput(attention=attention)
        embedding = None
        if len(batch["labels"]) < len(hidden):  # further texts are asked for as vectors
            embedding = pool(hidden, mask, pooling="mean")
            hidden, mask = hidden[: len(batch["labels"])], mask[: len(batch["labels"])]
        decoder_ids = shift_right(batch["labels"], start_id=self._start_id, pad_id=self._pad_id)
        output = self.network(
            encoder_outputs=(hidden,), attention_mask=mask, decoder_input_ids=decoder_ids, use_cache=False
        )
        return ModelOutput(logits=output.logits, embedding=embedding, attention=attention)

    def _encode(self, batch: Batch) -> Tensor:
        """Return the encoder's hidden states, [N, S, D]."""
        hidden = self.run_stack(self._read, batch["input_ids"], batch["attention_mask"])
        return self._output_dropout(hidden)

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        encoder = self.network.encoder
        embedded = self._embedding_dropout(encoder.embed_tokens(ids))
        return encoder(inputs_embeds=embedded, attention_mask=mask).last_hidden_state

    def pass_on(self, block: nn.Module, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Hand on the position bias, too, which T5's lowest block makes for all."""
        bias = args[1]
        if bias is None:
            attention: Any = block.get_submodule("layer.0.SelfAttention")
            bias = attention.compute_bias(hidden.shape[1], hidden.shape[1], device=hidden.device)
        return hidden, bias, None

    @torch.no_grad()
    def generate(self, batch: Batch, *, max_length: int, num_beams: int) -> Tensor:
        """Decode by batched beam search. See `AbstractCodeModel.generate`."""
        with self._recorder.paused():
            return search_beams(
                self.network,
                batch,
                encoded=self._encode(batch),
                max_length=max_length,
                num_beams=num_beams,
                start_id=self._start_id,
                eos_id=self._eos_id,
                pad_id=self._pad_id,
            )

    def embeddings(self) -> Sequence[nn.Module]:
        """Return the shared table and its dropout; T5's relative bias is block 0's."""
        return [self.network.shared, self._embedding_dropout]

    def blocks(self) -> Sequence[nn.Module]:
        """Return the encoder's blocks, from the bottom up."""
        return list(self.network.encoder.block)

    def decoder_blocks(self) -> Sequence[nn.Module]:
        """Return the decoder's blocks, from the bottom up; none where there is no decoder."""
        return list(self.network.decoder.block) if self.output == "text" else []

    def untie_output(self) -> None:
        """Give the output layer and the decoder's embeddings a copy each of the shared table."""
        if self.output != "text":
            return
        self._untied = True
        for module in (self.network.lm_head, self.network.decoder.embed_tokens):
            module.weight = nn.Parameter(self.network.shared.weight.detach().clone())

    def new_modules(self) -> Sequence[str]:
        """Return copies of the table that were untied. See `AbstractCodeModel.new_modules`."""
        return ("lm_head", "decoder.embed_tokens") if self._untied else ()

    def prefix_site(self) -> PrefixSite | None:
        """Return the decoder: T5's encoder reads no cache. See `AbstractCodeModel.prefix_site`."""
        if self.output != "text":
            return None
        config, decoder = self.network.config, self.network.decoder
        return PrefixSite(
            decoder, config.num_decoder_layers, config.num_heads, config.d_kv, is_encoder_decoder=True
        )

    def exported(self) -> ExportedModel:
        """Return transformers' T5, or its encoder. See `AbstractCodeModel.exported`."""
        network = self.network
        if isinstance(network, ProjectedT5):
            encoder = _as_encoder(network)
            if self.head is None:
                return ExportedModel(encoder, head=network.proj, pooling="first", usage=projected_usage())
            return ExportedModel(encoder, head=self.head, pooling="mean")
        if self.output != "text":
            return ExportedModel(network, head=self.head, pooling="mean")
        network.config.decoder_start_token_id = self._start_id
        network.generation_config = decoding(
            start_id=self._start_id, eos_id=self._eos_id, pad_id=self._pad_id
        )
        return ExportedModel(network, untied=network.lm_head.weight is not network.shared.weight)


def _as_encoder(network: ProjectedT5) -> T5EncoderModel:
    """Return the encoder of a network that has a projection, in transformers' class."""
    dimensions = describe_architecture(network.config)
    config: Any = T5Config.from_dict({name: dimensions[name] for name in dimensions if name != EMBED_DIM})
    with torch.device("meta"):
        encoder = T5EncoderModel(config)
    encoder.shared, encoder.encoder = network.shared, network.encoder
    return encoder.train(network.training)


def _network_class(output: Output, *, has_projection: bool) -> Any:
    if has_projection:
        return ProjectedT5
    return T5ForConditionalGeneration if output == "text" else T5EncoderModel


def _no_text(weights: str) -> str:
    return (
        f"{'this model' if weights == loading.RANDOM else weights} gives vectors and has no decoder, but the "
        "task asks for text: choose another model=, such as codet5p_220m"
    )
