"""What a config of peft's means for a model: which modules get adapters, and which train in full."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from peft import IA3Config, PeftConfig
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
)
from torch import nn
from transformers.pytorch_utils import Conv1D

from codeft.models.base import AbstractCodeModel
from codeft.models.prefix import CONFIG
from codeft.types import CodeftError

ALL_LINEAR = "all-linear"

LIKE = {"codet5p_embedding": "t5", "plbart": "bart", "relative_bart": "bart", "starcoder2": "mistral"}
"""Types of networks that peft has no targets for, and one whose attention has the same names."""

IA3_TARGETS = TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING | {
    "starcoder2": ["k_proj", "v_proj", "mlp.c_proj"]
}
IA3_INNER = TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING | {"starcoder2": ["mlp.c_proj"]}
"""Those of them whose input is scaled."""


def settle_config(model: AbstractCodeModel, config: PeftConfig) -> Any:
    """Return a copy of a config whose modules are those of a model, without its new ones.

    Without `target_modules` peft's own for the type of the pre-trained network are taken: for LoRA what makes
    the queries and values of attention.

    Args:
        model: Without adapters.
        config: peft's, of a kind that changes a network's layers.

    Raises:
        CodeftError: The kind or a key isn't supported, or there are no such modules; or peft knows none for
            this network.
    """
    if config.is_prompt_learning or config.peft_type not in PEFT_TYPE_TO_TUNER_MAPPING:
        raise CodeftError(f"{CONFIG}: {type(config).__name__} isn't supported, but peft.LoraConfig is")
    settled: Any = copy.deepcopy(config)  # of one of many classes
    if getattr(settled, "megatron_config", None) is not None:  # peft imports whatever module it names
        raise CodeftError(f"{CONFIG}.megatron_config isn't supported: leave it null")
    network_type = _network_type(model)
    if isinstance(config, IA3Config):
        targets = _of_type(IA3_TARGETS, network_type)
        if settled.feedforward_modules is None:
            inner = _of_type(IA3_INNER, network_type) if settled.target_modules is None else None
            settled.feedforward_modules = set(inner or ())
    else:
        mapping = PEFT_TYPE_TO_TUNER_MAPPING[settled.peft_type].target_module_mapping
        targets = _of_type(mapping, network_type)
    if settled.target_modules is None:
        if targets is None:
            raise CodeftError(
                f"peft has no target modules of {settled.peft_type.value} for a network of type "
                f"'{network_type}': name them, {CONFIG}.target_modules=[…]"
            )
        settled.target_modules = set(targets)
    passed_over = [*_unread_layers(model), *new_modules(model, config)]
    if any(isinstance(module, Conv1D) for module in model.network.modules()):
        settled.fan_in_fan_out = True  # GPT-2's matrices lie the other way round
    settled.exclude_modules = _exclude(settled.exclude_modules, passed_over)
    settled.modules_to_save = None  # they train where they are: peft would put copies in their place
    _check_targets(model, settled)
    return settled


def new_modules(model: AbstractCodeModel, config: PeftConfig) -> list[str]:
    """Return the names in `model.network` of what trains in full beside adapters.

    Args:
        model: Its own new modules are among them.
        config: `modules_to_save` names more, by the ends of their names.

    Raises:
        CodeftError: The network has no module of such a name, or its weights are the embeddings'.
    """
    found = list(model.new_modules())
    for end in getattr(config, "modules_to_save", None) or ():
        names = [name for name, _ in model.network.named_modules() if f".{name}".endswith(f".{end}")]
        own = [name for name in names if own_parameters(model, [name])]
        if not own:
            why = "its weights are the embeddings'" if names else "there is no such module"
            raise CodeftError(f"{CONFIG}.modules_to_save names {end!r}, but {why}")
        found += [name for name in own if name not in found]
    return found


def own_parameters(model: AbstractCodeModel, names: Iterable[str]) -> list[nn.Parameter]:
    """Return the parameters of modules of the network, without those that are the embeddings' too."""
    shared = {id(p) for module in model.embeddings() for p in module.parameters()}
    modules = [model.network.get_submodule(name) for name in names]
    return [p for module in modules for p in module.parameters() if id(p) not in shared]


def _network_type(model: AbstractCodeModel) -> str:
    config: Any = model.network.config
    return config.encoder.model_type if config.model_type == "encoder-decoder" else config.model_type


def _of_type(mapping: Mapping[str, list[str]], network_type: str) -> list[str] | None:
    return mapping.get(network_type) or mapping.get(LIKE.get(network_type, ""))


def _unread_layers(model: AbstractCodeModel) -> list[str]:
    """Return the linear layers among what K = 0 freezes, which is the pooler: no task reads it."""
    frozen = {id(module) for part in model.embeddings() for module in part.modules()}
    modules = model.network.named_modules()
    return [name for name, module in modules if id(module) in frozen and isinstance(module, nn.Linear)]


def _exclude(given: str | Sequence[str] | None, names: Sequence[str]) -> str | Sequence[str] | None:
    """Return what peft shall pass over: what was given, and modules with all that is in them."""
    if not names:
        return given
    parts = [rf"({'|'.join(map(re.escape, names))})(\..*)?"]
    if isinstance(given, str):
        parts.append(given)
    elif given:
        parts.append(rf"(.*\.)?({'|'.join(map(re.escape, given))})")
    return "|".join(f"({part})" for part in parts)


def _check_targets(model: AbstractCodeModel, settled: Any) -> None:
    targets = settled.target_modules
    if targets == ALL_LINEAR:
        return
    modules = dict(model.network.named_modules())
    try:
        found = any(check_target_module_exists(settled, name) for name in modules if name)
    except re.error as error:
        raise CodeftError(f"{CONFIG}: a pattern can't be read: {error}") from None
    if not found:
        linear = {
            name.rpartition(".")[2] for name, module in modules.items() if isinstance(module, nn.Linear)
        }
        raise CodeftError(
            f"{CONFIG}.target_modules={targets if isinstance(targets, str) else sorted(targets)} matches "
            f"nothing in this model; its linear layers are {', '.join(sorted(linear))}"
        )
