"""Adapters of the library peft in a model's own network: put in, merged into its weights, saved."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peft import PeftConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from torch import nn

from codeft.models.adapter_config import new_modules, own_parameters, settle_config
from codeft.models.base import AbstractCodeModel
from codeft.models.prefix import CONFIG, add_prefix, check_prefix, find_prefix, is_prefix
from codeft.types import CodeftError

ADAPTER = "default"
"""peft's name for the one adapter of a network."""
WRAPPED = "base_model.model."
"""What stands before a parameter's name in peft's files."""
WEIGHTS_FILE = "adapter_model.safetensors"


def check_config(model: AbstractCodeModel, config: PeftConfig) -> None:
    """Check that a method's config can be applied to a model.

    Raises:
        CodeftError: It can't, or the model has adapters already.
    """
    if has_adapters(model) or find_prefix(model) is not None:
        raise CodeftError("the model has adapters already: a run has one method with adapters")
    if is_prefix(config):
        check_prefix(model, config)
    else:
        settle_config(model, config)
    new_modules(model, config)


def inject_adapters(model: AbstractCodeModel, config: PeftConfig) -> None:
    """Put adapters into a model's network, or a prefix before it, and freeze what was pre-trained.

    Adapters and new modules train; so does the head, which lies outside the network. What was frozen before
    stays so, and so does an adapter on it.

    Args:
        model: Changed in place; its blocks stay the same modules.
        config: peft's.

    Raises:
        CodeftError: The config doesn't fit this model, or it has adapters already.
    """
    check_config(model, config)
    network = model.network
    names = new_modules(model, config)
    new = {id(p) for p in own_parameters(model, names)}
    frozen = {id(p) for p in network.parameters() if not p.requires_grad}
    if is_prefix(config):
        network.requires_grad_(False)
        add_prefix(model, config)
    else:
        settled = settle_config(model, config)
        try:
            inject_adapter_in_model(settled, network, adapter_name=ADAPTER)
        except (ValueError, TypeError, NotImplementedError, KeyError, RuntimeError, ImportError) as error:
            raise CodeftError(f"{CONFIG}: {' '.join(str(error).split())}") from error
        settled.modules_to_save = names or None  # for whoever reads the saved config
    for parameter in network.parameters():
        if id(parameter) in frozen:
            parameter.requires_grad_(False)
        elif id(parameter) in new:
            parameter.requires_grad_(True)
    for _, layer in _adapted_layers(network):
        base = layer.get_base_layer()
        if all(id(p) in frozen for p in base.parameters()):
            layer.requires_grad_(False)
        layer.train(base.training)


def has_adapters(model: AbstractCodeModel) -> bool:
    """Return whether a model's network has adapters; a prefix before it is none."""
    return any(True for _ in _adapted_layers(model.network))


def merge_adapters(model: AbstractCodeModel) -> AbstractCodeModel:
    """Return a model of the same outputs without adapters.

    Args:
        model: Left as it is.

    Returns:
        A copy whose weights have taken the adapters in; the model itself where it has none.

    Raises:
        CodeftError: The adapters hold NaN or infinity, or the model has a prefix.
    """
    merged = copy.deepcopy(model) if has_adapters(model) else model
    merge_in_place(merged)
    return merged


def merge_in_place(model: AbstractCodeModel) -> None:
    """Have a model's weights take its adapters in, and leave the model as its family builds it.

    Raises:
        CodeftError: See `merge_adapters`.
    """
    if find_prefix(model) is not None:
        raise CodeftError("a prefix can't be merged into weights: save it apart, adapter=separate")
    network: Any = model.network
    if not has_adapters(model):
        return
    for name, layer in list(_adapted_layers(network)):
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:
            raise CodeftError(f"can't merge the adapter of {name}: {error}") from error
        network.set_submodule(name, layer.get_base_layer())
    del network.peft_config


def save_adapter(model: AbstractCodeModel, folder: Path, *, base: str | None = None) -> None:
    """Write a model's adapters and new modules, or its prefix, in peft's format.

    `peft.PeftModel.from_pretrained(network, folder)` reads them, where `network` is of the class of
    `model.network` and has the weights that training began with; what the new modules hold there is replaced.
    A head for labels lies outside that network and isn't written.

    Args:
        model: With adapters or a prefix.
        folder: Made if it isn't there; gets `adapter_config.json` and `adapter_model.safetensors`.
        base: Where the weights are that training began with; noted in the config.

    Raises:
        CodeftError: The model has no adapters.
    """
    network: Any = model.network
    prefix = find_prefix(model)
    if prefix is not None:
        config, weights = prefix.describe()
        if model.new_modules():
            raise CodeftError("peft's format of a prefix has no room for an output layer that was untied")
    elif has_adapters(model):
        config = copy.deepcopy(network.peft_config[ADAPTER])
        config.base_model_name_or_path = ""  # peft would look there
        own = get_peft_model_state_dict(network, adapter_name=ADAPTER, save_embedding_layers=False)
        begins = tuple(f"{name}." for name in config.modules_to_save or ())
        own |= {name: value for name, value in network.state_dict().items() if name.startswith(begins)}
        weights = {WRAPPED + name: value for name, value in own.items()}
    else:
        raise CodeftError("the model has no adapters to save")
    config.inference_mode = True
    config.base_model_name_or_path = base
    config.task_type = config.task_type or _task_type(model)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()},
        str(folder / WEIGHTS_FILE),
        metadata={"format": "pt"},
    )
    config.save_pretrained(str(folder))


def _task_type(model: AbstractCodeModel) -> str:
    if model.output != "text":
        return "FEATURE_EXTRACTION"
    return "SEQ_2_SEQ_LM" if model.network.config.is_encoder_decoder else "CAUSAL_LM"


def _adapted_layers(network: nn.Module) -> Iterator[tuple[str, Any]]:
    return ((name, layer) for name, layer in network.named_modules() if isinstance(layer, BaseTunerLayer))
