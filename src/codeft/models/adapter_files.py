"""Adapters in peft's files, and read again by peft."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from codeft.models.adapters import ADAPTER, adapted_layers, has_adapters
from codeft.models.base import AbstractCodeModel
from codeft.models.exported import TOLERANCE, probe
from codeft.models.networks import quiet_transformers
from codeft.models.prefix import find_prefix
from codeft.types import CodeftError

WRAPPED = "base_model.model."
"""What stands before a parameter's name in peft's files."""
WEIGHTS_FILE = "adapter_model.safetensors"

OWN_BEGINNINGS = (True, False, "gaussian")
"""LoRA's `init_lora_weights` that leave the weights beside the adapter as they were."""


def save_adapter(
    model: AbstractCodeModel, folder: Path, *, network: PreTrainedModel | None = None, base: str | None = None
) -> None:
    """Write a model's adapters and new modules, or its prefix, in peft's format.

    `peft.PeftModel.from_pretrained(base, folder)` reads them, where `base` is of the class of `network` and
    has the weights that training began with; what the new modules hold there is replaced. A head for labels
    is written where the network has it.

    Args:
        model: With adapters or a prefix.
        folder: Made if it isn't there; gets `adapter_config.json` and `adapter_model.safetensors`.
        network: What has the model's modules, maybe under other names (`AbstractCodeModel.exported`); None
            for the model's own.
        base: Where the weights are that training began with; noted in the config.

    Raises:
        CodeftError: The model has no adapters, or such that peft's files can't hold.
    """
    network = model.network if network is None else network
    prefix = find_prefix(model)
    if prefix is not None:
        if model.new_modules() or network is not model.network:
            raise CodeftError(
                "peft's files of a prefix have no room for what else was trained (an output layer, or a head)"
            )
        if _is_own(network):
            raise CodeftError(f"peft doesn't put a prefix before codeft's own class {type(network).__name__}")
        config, weights = prefix.describe()
    elif has_adapters(model):
        config, weights = _adapters_of(model, network)
    else:
        raise CodeftError("the model has no adapters to save: it wasn't trained with method=lora or the like")
    config.inference_mode = True
    config.base_model_name_or_path = base
    config.task_type = config.task_type or _task_type(model, network)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()},
        str(folder / WEIGHTS_FILE),
        metadata={"format": "pt"},
    )
    config.save_pretrained(str(folder))


def _adapters_of(model: AbstractCodeModel, network: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Return a config and weights under the names that the modules have in a network."""
    held: Any = model.network.peft_config
    config = copy.deepcopy(held[ADAPTER])
    begun = getattr(config, "init_lora_weights", True)
    if begun not in OWN_BEGINNINGS:
        raise CodeftError(
            f"init_lora_weights={begun} changed the weights beside the adapters, so that they are nothing "
            "without them: merge them (adapter=merged)"
        )
    places = {id(module): name for name, module in network.named_modules()}
    new = [places[id(model.network.get_submodule(name))] for name in config.modules_to_save or ()]
    if model.head is not None and id(model.head.dense) in places:
        new.append(places[id(model.head.dense)].rpartition(".")[0])
    if network is not model.network:
        if isinstance(config.target_modules, str):  # a pattern for whole names, which are others here
            config.target_modules = {name for name, _ in adapted_layers(network)}
        config.exclude_modules = None
    config.modules_to_save = new or None
    config.base_model_name_or_path = ""  # peft would look there
    network.peft_config = {ADAPTER: config}
    own = get_peft_model_state_dict(network, adapter_name=ADAPTER, save_embedding_layers=False)
    network.peft_config = held
    begins = tuple(f"{name}." for name in new)
    own |= {name: value for name, value in network.state_dict().items() if name.startswith(begins)}
    return config, {WRAPPED + name: value for name, value in own.items()}


def _is_own(network: nn.Module) -> bool:
    return not type(network).__module__.startswith("transformers.")


def _task_type(model: AbstractCodeModel, network: PreTrainedModel) -> str | None:
    if _is_own(network):
        return None
    if model.output == "text":
        return "SEQ_2_SEQ_LM" if network.config.is_encoder_decoder else "CAUSAL_LM"
    return "SEQ_CLS" if type(network).__name__.endswith("ForSequenceClassification") else "FEATURE_EXTRACTION"


@torch.no_grad()
def read_adapter_again(model: AbstractCodeModel, folder: Path, *, network: PreTrainedModel) -> None:
    """Have peft read what was saved onto the weights that training began with, and compare.

    Args:
        model: In eval mode, on the CPU.
        folder: As `save_adapter` wrote it.
        network: As it was given to `save_adapter`.

    Raises:
        CodeftError: The outputs differ.
    """
    prefix = find_prefix(model)
    if prefix is not None:
        prefix.enabled = False
    base: Any = copy.deepcopy(network)
    for name, layer in list(adapted_layers(base)):
        base.set_submodule(name, layer.get_base_layer())
    if has_adapters(model):
        del base.peft_config
    if prefix is not None:
        prefix.enabled = True
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tied weights, which is what the comparison looks at
        again = PeftModel.from_pretrained(base, str(folder)).eval()
    inputs = probe(network)
    found, expected = again(**inputs)[0], network(**inputs)[0]
    difference = ((found - expected).abs().max() / expected.abs().max().clamp_min(1)).item()
    if not difference < TOLERANCE:
        raise CodeftError(
            f"what was written computes otherwise, by {difference:.1e}, and that is codeft's fault"
        )
