"""transformers' networks, new or from a checkpoint, with errors that say what to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from codeft.error_text import one_line
from codeft.models.base import Dimension
from codeft.models.sizes import SIZES, build_empty, check_sizes, check_total, measure
from codeft.models.state_dict import NAMES, PICKLED, SAFE, Part, StateDict, lay_over, read_state_dict
from codeft.types import CodeftError

Network = TypeVar("Network", bound=PreTrainedModel)

INVALID_CONFIG = (
    StrictDataclassError, TypeError, ValueError, ZeroDivisionError, AttributeError, LookupError,
    RecursionError, OverflowError,
)  # fmt: skip
"""What transformers raises at values that aren't what they should be."""

UNREADABLE = (
    SafetensorError, pickle.UnpicklingError, EOFError, OSError, RuntimeError, ValueError, KeyError,
    ImportError,
)  # fmt: skip


_SHOWN = 3
"""Tensors of another shape that are named."""


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
    check_sizes(_own_sizes(config_class, architecture), source="model.architecture")
    try:
        return network_class(config_class(**architecture))
    except (*INVALID_CONFIG, RuntimeError) as error:  # torch has no room for so much
        raise CodeftError(
            f"model.architecture describes no {config_class.model_type}: {one_line(error)}"
        ) from error


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
    network_class: type[Network],
    folder: Path,
    *,
    overrides: Mapping[str, Dimension],
    essential: str,
    config: Mapping[str, Any] | None = None,
    rename: Callable[[str], str] | None = None,
) -> tuple[Network, set[str]]:
    """Load a checkpoint as float32, on SDPA attention.

    Args:
        network_class: transformers' class.
        folder: Holds `config.json` and `*.safetensors`, or a torch file, of which only tensors are read. The
            network may lie in modules of a script's own.
        overrides: What replaces the checkpoint's own config.
        essential: Prefix of the parameters without which the checkpoint is of another architecture.
        config: What `read_config` would give, where it has to be put into the class's words first.
        rename: Gives the name that a parameter of the checkpoint has here; None where it is the same.

    Returns:
        The network and the names of its parameters that the checkpoint didn't have; they are random.

    Raises:
        CodeftError: Not a model folder, another family's, a damaged file, shapes that contradict the config,
            or nothing in it for the essential parameters.
    """
    raw = read_config(folder) if config is None else config
    settings = make_config(network_class, raw, folder=folder, overrides=overrides)
    network: Any
    if is_scripts_own(folder):
        network, missing = network_class(settings), None
    else:
        network, missing = _from_pretrained(network_class, folder, settings, rename=rename)
    wanted = {name for name, _ in network.named_parameters() if name.startswith(essential)}
    if missing is None or wanted <= missing:  # in a script's own modules, or under its own file name
        part, source = Part(network, essential=essential), f"the checkpoint in {folder}"
        known = lay_over([part], _read_weights(folder, rename=rename), source=source, tell=False)
        missing = {name for name, parameter in network.named_parameters() if id(parameter) not in known}
    return network, missing


def is_scripts_own(folder: Path) -> bool:
    """Return whether a model's folder holds its weights under the name that scripts give them alone."""
    return not any(folder.glob(SAFE)) and not any(folder.glob(PICKLED)) and any(folder.glob("model.bin"))


def _from_pretrained(
    network_class: type[Network],
    folder: Path,
    settings: PretrainedConfig,
    *,
    rename: Callable[[str], str] | None,
) -> tuple[Network, set[str]]:
    try:
        with quiet_transformers():
            loaded: Any = network_class.from_pretrained(
                folder if rename is None else None,
                config=settings,
                state_dict=None if rename is None else _read_weights(folder, rename=rename),
                dtype=torch.float32,
                # A class of a model's own may not have it, and then chooses itself.
                attn_implementation="sdpa" if network_class._supports_sdpa else None,
                local_files_only=True,
                output_loading_info=True,
            )
    except UNREADABLE as error:
        told = _misfits(network_class, settings, folder, rename=rename) or one_line(error)
        raise CodeftError(f"can't load the weights in {folder}: {told}") from error
    network, info = loaded
    return network, set(info["missing_keys"])


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


def read_config(folder: Path) -> dict[str, Any]:
    """Return what a checkpoint's `config.json` says.

    Raises:
        CodeftError: There is none, it can't be read, or it asks for quantized weights.
    """
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
    except (OSError, *INVALID_CONFIG) as error:
        raise CodeftError(f"can't read {folder / 'config.json'}: {one_line(error)}") from error
    return raw


def _read_weights(folder: Path, *, rename: Callable[[str], str] | None) -> StateDict:
    weights = read_state_dict(folder)
    return weights if rename is None else {rename(name): value for name, value in weights.items()}


def make_config(
    network_class: Any, raw: Mapping[str, Any], *, folder: Path, overrides: Mapping[str, Dimension]
) -> PretrainedConfig:
    """Return the config that `config.json` describes, once a network of it could be built.

    Args:
        network_class: transformers' class, or one that came with the model.
        raw: What the file says.
        folder: Holds the file, and weights that the sizes are checked against.
        overrides: What replaces it.

    Raises:
        CodeftError: It is another family's, or describes no network, or a larger one than the weights.
    """
    config_class: Any = network_class.config_class
    kind = raw.get("model_type")
    if kind != config_class.model_type and raw.get("auto_map"):
        raise CodeftError(
            f"the model in {folder} comes with code of its own to run (trust_remote_code, for its type "
            f"'{kind}'), which could do anything on this machine. This family is read by classes that codeft "
            f"knows, '{config_class.model_type}' here, and never by such code: there is no "
            "model.trust_remote_code for it, but for decoder-only models alone"
        )
    if kind != config_class.model_type:
        raise CodeftError(
            f"{folder} holds a model of type '{kind}', expected '{config_class.model_type}': "
            "choose the model= whose family it is"
        )
    file = folder / "config.json"
    room = measure(files) if (files := [file for name in NAMES for file in folder.glob(name)]) else None
    values = {**raw, **overrides}
    is_own = _is_own_code(network_class)
    if not is_own:  # which may mean by a name what it likes
        check_sizes(_own_sizes(config_class, values), source=str(file), room=room)
    try:
        settings = config_class.from_dict(values)
        empty = None if is_own else build_empty(network_class, settings)
    except (*INVALID_CONFIG, RuntimeError) as error:
        raise CodeftError(f"can't read {file}: {one_line(error)}") from error
    if room is not None and empty is not None:
        check_total(empty, source=str(file), room=room)
    return settings


def _is_own_code(network_class: type[PreTrainedModel]) -> bool:
    """Return whether a class came with a model; it may raise whatever it likes when it is built."""
    return network_class.__module__.startswith("transformers_modules.")


def _own_sizes(config_class: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config's values by the names that its family has for them, without other families' sizes."""
    with quiet_transformers():
        known = config_class().to_dict()
    renamed = {config_class.attribute_map.get(name, name): value for name, value in values.items()}
    return {name: value for name, value in renamed.items() if name in known or name not in SIZES}


def _misfits(
    network_class: Any, settings: PretrainedConfig, folder: Path, *, rename: Callable[[str], str] | None
) -> str:
    """Name the tensors of a checkpoint that are of another shape than the network's; "" where none is."""
    if _is_own_code(network_class):
        return ""
    try:
        found = _read_weights(folder, rename=rename)
    except CodeftError:
        return ""
    wanted = build_empty(network_class, settings).state_dict()
    shapes = {name: (tuple(found[name].shape), tuple(wanted[name].shape)) for name in wanted if name in found}
    told = [f"{name} is {has}, not {wants}" for name, (has, wants) in shapes.items() if has != wants]
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f"{folder / 'config.json'} describes other sizes: {'; '.join(told[:_SHOWN])}{more}" if told else ""
