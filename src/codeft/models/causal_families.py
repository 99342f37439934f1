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
        attention: The self-attention's place in a block.
        embeddings: The places in the base of what turns ids into the lowest block's input.
        embedding_dropout: The base's attribute that holds the probability of its embeddings' dropout, where
            that isn't a module; None where there is none.
    """

    network: type[PreTrainedModel]
    dropouts: tuple[str, ...] = ("attention_dropout",)
    blocks: str = "layers"
    attention: str = "self_attn"
    embeddings: tuple[str, ...] = ("embed_tokens",)
    embedding_dropout: str | None = None


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
    config = read_config(folder)
    model_type = config.get(MODEL_TYPE)
    if model_type not in FAMILIES and "auto_map" in config:
        raise CodeftError(
            f"the model in {folder} needs Python code that lies beside its weights, and running a download's "
            f"code is running a stranger's: codeft never does. Known without it: {', '.join(FAMILIES)}"
        )
    return find_family(model_type, source=str(folder / "config.json"))


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
