"""The families of decoder-only models that codeft knows, and where each keeps its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import (
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
    Starcoder2ForCausalLM,
)

from codeft.models.networks import read_config
from codeft.types import CodeftError

MODEL_TYPE = "model_type"
"""Key of `architecture` beside the config's: transformers' name of the family."""


@dataclass(frozen=True, slots=True)
class Family:
    """Where a family of transformers keeps what codeft freezes, records and changes.

    Attributes:
        network: transformers' class.
        dropouts: Every dropout's key in the config.
        blocks: The blocks' place in the network's base.
        attention: The self-attention's place in a block; None where it can't be recorded.
        embeddings: The places in the base of what turns ids into the lowest block's input.
        embedding_dropout: The base's attribute that holds the probability of its embeddings' dropout, where
            that isn't a module; None where there is none.
        parameters: The places of parameters, in none of the embeddings, that make the lowest block's input.
    """

    network: type[PreTrainedModel]
    dropouts: tuple[str, ...] = ("attention_dropout",)
    blocks: str = "layers"
    attention: str | None = "self_attn"
    embeddings: tuple[str, ...] = ("embed_tokens",)
    embedding_dropout: str | None = None
    parameters: tuple[str, ...] = ()


FAMILIES = {
    "gpt2": Family(
        GPT2LMHeadModel,
        dropouts=("resid_pdrop", "embd_pdrop", "attn_pdrop"),
        blocks="h",
        attention="attn",
        embeddings=("wte", "wpe", "drop"),
    ),
    "llama": Family(LlamaForCausalLM),
    "mistral": Family(MistralForCausalLM),
    "qwen2": Family(Qwen2ForCausalLM),
    "qwen3": Family(Qwen3ForCausalLM),
    "starcoder2": Family(
        Starcoder2ForCausalLM,
        dropouts=("attention_dropout", "residual_dropout", "embedding_dropout"),
        embedding_dropout="embedding_dropout",
    ),
}
"""By transformers' `model_type`."""


def read_family(folder: Path) -> Family:
    """Return the family of the model in a folder.

    Raises:
        CodeftError: There is no model, or it is of none of the families.
    """
    return find_family(read_config(folder).get(MODEL_TYPE), source=str(folder / "config.json"))


def find_family(model_type: object, *, source: str) -> Family:
    """Return a family by its `model_type`.

    Args:
        model_type: transformers' name, or None where there is none.
        source: Where it comes from, for the error.

    Raises:
        CodeftError: It is none of the families.
    """
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        found = "none" if model_type is None else repr(model_type)
        raise CodeftError(
            f"a decoder-only model needs a {MODEL_TYPE} out of {', '.join(FAMILIES)}; {source} has {found}"
        )
    return FAMILIES[model_type]
