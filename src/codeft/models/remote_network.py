"""A network whose class comes with its weights: loaded, built again, and written with its code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, __version__
from transformers.dynamic_module_utils import custom_object_save

from codeft.error_text import one_line
from codeft.models.base import Dimension
from codeft.models.causal_families import FAMILIES, MODEL_TYPE
from codeft.models.networks import load_network, read_config
from codeft.models.remote_code import AUTO_MAP, load_class
from codeft.models.snippets import continuation_usage
from codeft.types import CodeftError


def needs_code(folder: Path, *, model_type: object = None) -> bool:
    """Return whether a folder's model is of a class that comes with it.

    Args:
        folder: May hold no model.
        model_type: What its config must name; None for any.
    """
    if not (folder / "config.json").is_file():
        return False
    config = read_config(folder)
    named = config.get(MODEL_TYPE)
    return named not in FAMILIES and bool(config.get(AUTO_MAP)) and model_type in (None, named)


def load_network_class(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Run a model's code, which was permitted.

    Returns:
        The network's class, and what `config.json` says, in the words of the class's config.

    Raises:
        CodeftError: There are no such classes, or the code can't be run.
    """
    config = read_config(folder)
    config_class = load_class(folder, config, "AutoConfig")
    network_class = load_class(folder, config, "AutoModelForCausalLM")
    network_class.config_class = config_class  # some classes leave it to transformers' own registry
    return network_class, {**config, MODEL_TYPE: config_class.model_type}


def load_remote(folder: Path) -> tuple[Any, set[str]]:
    """Load a checkpoint into the class that comes with it, whose code was permitted; see `load_network`.

    Raises:
        CodeftError: See `load_network_class` and `load_network`; or the code doesn't fit this transformers.
    """
    network_class, config = load_network_class(folder)
    try:
        return load_network(network_class, folder, overrides={}, essential="", config=config)
    except CodeftError:
        raise
    except Exception as error:  # whatever a stranger's code raises
        said = one_line(error)
        raise CodeftError(
            f"{network_class.__name__} (the code in {folder}) can't be loaded by transformers {__version__}, "
            f"{type(error).__name__}: {said}"
        ) from error


def build_remote(folder: Path, dimensions: Mapping[str, Any]) -> Any:
    """Return a network with random weights of the class in a folder, whose code was permitted.

    Args:
        folder: Code and `config.json`.
        dimensions: Replace those of the config.

    Raises:
        CodeftError: See `load_network_class`; or the class refuses its config.
    """
    network_class, config = load_network_class(folder)
    try:
        return network_class(network_class.config_class.from_dict({**config, **dimensions}))
    except Exception as error:  # whatever a stranger's code raises
        raise CodeftError(
            f"{network_class.__name__} can't be built by {folder / 'config.json'}: {one_line(error)}"
        ) from error


def save_code(network: Any, folder: Path) -> None:
    """Write a network's code and config, by which `build_remote` builds it again.

    Raises:
        CodeftError: They can't be written.
    """
    try:
        custom_object_save(network, str(folder), config=network.config)
        network.config.save_pretrained(str(folder))
    except OSError as error:
        raise CodeftError(f"can't write the model's code into {str(folder)!r}: {error}") from error


def remote_usage() -> str:
    """Return the snippet that uses an exported folder without codeft, by the code in it."""
    return continuation_usage("AutoModelForCausalLM", options=", trust_remote_code=True")


def remote_dimensions(config: PretrainedConfig) -> dict[str, Dimension]:
    """Return what a config says but what every config of transformers has."""
    usual = {*PretrainedConfig().to_dict(), AUTO_MAP}
    return {name: value for name, value in config.to_dict().items() if name not in usual}
