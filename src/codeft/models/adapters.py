"""Adapters of the library peft in a model's own network: put in, and merged into its weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from peft import PeftConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from codeft.error_text import one_line
from codeft.models.adapter_config import new_modules, own_parameters, settle_config
from codeft.models.base import AbstractCodeModel
from codeft.models.prefix import CONFIG, add_prefix, check_prefix, find_prefix, is_prefix
from codeft.types import CodeftError

ADAPTER = "default"
"""peft's name for the one adapter of a network."""


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
            raise CodeftError(f"{CONFIG}: {one_line(error)}") from error
        settled.modules_to_save = names or None  # for whoever reads the saved config
    for parameter in network.parameters():
        if id(parameter) in frozen:
            parameter.requires_grad_(False)
        elif id(parameter) in new:
            parameter.requires_grad_(True)
    for _, layer in adapted_layers(network):
        base = layer.get_base_layer()
        if all(id(p) in frozen for p in base.parameters()):
            layer.requires_grad_(False)
        layer.train(base.training)


def has_adapters(model: AbstractCodeModel) -> bool:
    """Return whether a model's network has adapters; a prefix before it is none."""
    return any(True for _ in adapted_layers(model.network))


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
        raise CodeftError("a prefix can't be merged into weights: export it apart, adapter=separate")
    network: Any = model.network
    if not has_adapters(model):
        return
    for name, layer in list(adapted_layers(network)):
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:
            raise CodeftError(f"can't merge the adapter of {name}: {error}") from error
        network.set_submodule(name, layer.get_base_layer())
    del network.peft_config


def adapted_layers(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the layers of a network that have an adapter, by name."""
    return ((name, layer) for name, layer in network.named_modules() if isinstance(layer, BaseTunerLayer))
