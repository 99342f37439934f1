"""transformers' networks, new or from a checkpoint, with errors that say what to do."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from codeft.models.base import Dimension
from codeft.types import CodeftError

Network = TypeVar("Network", bound=PreTrainedModel)

INVALID_CONFIG = (StrictDataclassError, TypeError, ValueError, ZeroDivisionError)
UNREADABLE = (
    SafetensorError, pickle.UnpicklingError, EOFError, OSError, RuntimeError, ValueError, KeyError,
    ImportError,
)  # fmt: skip

log = logging.getLogger(__name__)


def build_network(network_class: type[Network], architecture: Mapping[str, Dimension]) -> Network:
    """Return a network with random weights, drawn from torch's global generator.

    Args:
        network_class: transformers' class.
        architecture: Dimensions, by the names of the class's config.

    Raises:
        CodeftError: A dimension is unknown to this family, or its value is refused.
    """
    config_class: Any = network_class.config_class
    with quiet_transformers():
        known = sorted(config_class().to_dict())
    unknown = sorted(set(architecture) - set(known))
    if unknown:
        raise CodeftError(
            f"model.architecture has {', '.join(unknown)}, which {config_class.__name__} doesn't know; "
            f"it knows {', '.join(known)}"
        )
    try:
        return network_class(config_class(**architecture))
    except INVALID_CONFIG as error:
        raise CodeftError(f"model.architecture describes no {config_class.model_type}: {error}") from error


def describe_architecture(config: PretrainedConfig) -> dict[str, Dimension]:
    """Return the dimensions in a network's config, as `build_network` takes them.

    What every config of transformers has (names, versions, what to return) isn't among them.
    """
    own = own_dimensions(config)
    return {name: value for name, value in own.items() if isinstance(value, int | float | str | bool)}


def own_dimensions(config: PretrainedConfig) -> dict[str, Dimension]:
    """Return what a config says of its own family, with lists, mappings and None."""
    with quiet_transformers():  # some families' own defaults contradict each other
        own = type(config)().to_dict().keys() - PretrainedConfig().to_dict().keys()
    return {name: value for name, value in config.to_dict().items() if name in own}


def load_network(
    network_class: type[Network], folder: Path, *, overrides: Mapping[str, Dimension], essential: str
) -> tuple[Network, set[str]]:
    """Load a checkpoint as float32, on SDPA attention.

    Args:
        network_class: transformers' class.
        folder: Holds `config.json` and `*.safetensors`, or a torch file, of which only tensors are read.
        overrides: What replaces the checkpoint's own config.
        essential: Prefix of the parameters without which the checkpoint is of another architecture.

    Returns:
        The network and the names of its parameters that the checkpoint didn't have; they are random.

    Raises:
        CodeftError: Not a model folder, another family's, a damaged file, shapes that contradict the config,
            or nothing in it for the essential parameters.
    """
    config = _load_config(network_class.config_class, folder, overrides=overrides)
    try:
        with quiet_transformers():
            loaded: Any = network_class.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                attn_implementation="sdpa",
                local_files_only=True,
                output_loading_info=True,
            )
    except UNREADABLE as error:
        raise CodeftError(f"can't load the weights in {folder}: {error}") from error
    network, info = loaded
    missing = set(info["missing_keys"])
    wanted = {name for name, _ in network.named_parameters() if name.startswith(essential)}
    if wanted <= missing:
        found = "; ".join(group_names(info["unexpected_keys"])) or "no other weights"
        raise CodeftError(
            f"the checkpoint in {folder} has none of the encoder's weights: expected "
            f"{'; '.join(group_names(wanted))}; it has {found}"
        )
    return network, missing


def warn_of_random(names: Iterable[str], *, source: str) -> None:
    """Name in the log the parameters that didn't come from the checkpoint; say nothing if all came."""
    groups = group_names(names)
    if groups:
        log.warning("not in the checkpoint of %s, so random: %s", source, "; ".join(groups))


def group_names(names: Iterable[str]) -> list[str]:
    """Shorten a list of parameter names: those that differ in their first number only share an entry.

    >>> group_names(["block.0.q.weight", "block.1.q.weight", "norm.bias"])
    ['block.{0,1}.q.weight', 'norm.bias']
    """
    groups: dict[str, list[int]] = {}
    for name in names:
        number = re.search(r"(?<=\.)\d+(?=\.)", name)
        pattern = name if number is None else f"{name[: number.start()]}*{name[number.end() :]}"
        groups.setdefault(pattern, []).extend([] if number is None else [int(number[0])])
    return sorted(
        pattern.replace("*", f"{{{','.join(map(str, sorted(numbers)))}}}")
        for pattern, numbers in groups.items()
    )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars and reports; what matters in them is told by codeft itself."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _load_config(config_class: Any, folder: Path, *, overrides: Mapping[str, Dimension]) -> PretrainedConfig:
    if not (folder / "config.json").is_file():
        raise CodeftError(
            f"{folder} is not a model folder, it has no config.json: expected what save_pretrained writes"
        )
    try:
        raw, _ = PretrainedConfig.get_config_dict(folder)
        if not isinstance(raw, dict):
            raise TypeError(f"expected an object, got {type(raw).__name__}")
        if raw.get("quantization_config") is not None:
            raise ValueError("it asks for quantized weights, which codeft doesn't load: give others")
        if raw.get("model_type") == config_class.model_type:
            return config_class.from_dict(raw | dict(overrides))
    except (OSError, *INVALID_CONFIG) as error:
        raise CodeftError(f"can't read {folder / 'config.json'}: {error}") from error
    raise CodeftError(
        f"{folder} holds a model of type '{raw.get('model_type')}', expected '{config_class.model_type}': "
        "choose the model= whose family it is"
    )
