"""A model as transformers and torch alone know it: into a folder, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import EncoderDecoderModel, PretrainedConfig, PreTrainedModel

from codeft.models.heads import HEADS
from codeft.models.hub import HEAD
from codeft.models.networks import load_network, quiet_transformers
from codeft.models.placement import group_names
from codeft.types import CodeftError

WEIGHTS = "model.safetensors"

UNREAD = "pooler."
"""Marks parameters that codeft never reads: a checkpoint may lack them or have them."""

_HEADS = tuple(f"{name}." for name in HEADS)
"""What begins the names of a head for labels, where it is part of transformers' network."""

MODEL_TYPE = "model_type"
"""What every config has, and every part of one."""

_ANY_CONFIG = frozenset(PretrainedConfig().to_dict())

_UNTOLD = re.compile(r"drop|init|_ids?$|^use_cache$|^is_decoder$|^add_cross_attention$|^tie_")
"""Names in a config of what training alone reads, and of what codeft takes from elsewhere."""

TOLERANCE = 1e-5
"""Outputs that differ by less, relative to the largest, are the same."""


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A code model in transformers' own classes; it shares its parameters with the code model.

    Attributes:
        network: `from_pretrained` of its class reads what `write_exported` writes.
        head: Layers that no class of transformers has; None where the network is all.
        pooling: How the network's hidden states become a vector ("first" or "mean"); None where the network
            gives text or labels itself.
        untied: Whether the output layer has weights of its own (`AbstractCodeModel.untie_output`).
        usage: Python that uses the folder without codeft; None where one of `codeft.models.snippets` does. It
            assigns `folder` and what is to be read each on a line of its own.
    """

    network: PreTrainedModel
    head: nn.Module | None = None
    pooling: Literal["first", "mean"] | None = None
    untied: bool = False
    usage: str | None = None


def write_exported(exported: ExportedModel, folder: Path) -> None:
    """Write config and weights as transformers does, and the head beside them.

    A parameter that two modules share, and that transformers wouldn't tie again, is written twice. An encoder
    beside a decoder that has no pooler gets one of zeros: transformers builds it whatever the config says,
    and nothing reads it.

    Args:
        exported: What to write.
        folder: It is there.
    """
    network: Any = exported.network
    state, tied = dict(network.state_dict()), network.get_expanded_tied_weights_keys(all_submodels=True)
    seen: set[int] = set()
    for name, weight in state.items():
        if weight.data_ptr() in seen and name not in tied:
            state[name] = weight.clone()
        seen.add(weight.data_ptr())
    if isinstance(network, EncoderDecoderModel) and network.encoder.pooler is None:
        width = network.encoder.config.hidden_size
        state |= {f"encoder.{UNREAD}dense.weight": torch.zeros(width, width)}
        state |= {f"encoder.{UNREAD}dense.bias": torch.zeros(width)}
    with quiet_transformers():
        network.save_pretrained(str(folder), state_dict=state)
    if exported.head is not None:
        save_file({name: w.contiguous() for name, w in exported.head.state_dict().items()}, folder / HEAD)


def load_exported(exported: ExportedModel, folder: Path) -> None:
    """Load a folder's weights into an exported model, and so into the code model that it shares them with.

    Args:
        exported: Of a code model of the same architecture.
        folder: As `write_exported`, or transformers itself, writes it.

    Raises:
        CodeftError: A weight is missing, of another shape, not finite, or two differ that are one here;
            or the config describes another network than the model's.
    """
    network: Any = exported.network
    if exported.head is not None and not (folder / HEAD).is_file():
        raise CodeftError(
            f"{folder} has no head for this task, there is no {HEAD} as codeft.export writes it; "
            "give what was trained for this task"
        )
    loaded, missing = load_network(type(network), folder, overrides={}, essential="")
    lacking = [name for name in missing if UNREAD not in name]
    if lacking and all(name.startswith(_HEADS) for name in lacking):
        raise CodeftError(
            f"{folder} has no head for this task, it lacks {_told(lacking)}; "
            "give what was trained for this task"
        )
    if lacking:
        raise CodeftError(
            f"{folder} lacks weights of a fine-tuned {type(network).__name__}: {_told(lacking)}; "
            "give what was trained for this task"
        )
    _check_config(loaded.config.to_dict(), network.config.to_dict(), folder=folder)
    _copy(loaded.state_dict(), network.state_dict(), folder)
    if exported.head is not None:
        try:
            weights = load_file(folder / HEAD)
        except (OSError, SafetensorError) as error:
            raise CodeftError(f"expected the weights of the head in {folder / HEAD}: {error}") from None
        _copy(weights, exported.head.state_dict(), folder)


def _check_config(found: Mapping[str, Any], expected: Mapping[str, Any], *, folder: Path) -> None:
    """Check that a folder's config and the model say the same of what changes no weight's shape."""
    own, other = _flat(found), _flat(expected)
    unlike = [
        f"{name}={own[name]!r}, not {other[name]!r}"
        for name in sorted(own.keys() & other.keys())
        if own[name] != other[name]
    ]
    if unlike:
        raise CodeftError(
            f"{folder / 'config.json'} says {'; '.join(unlike)}, as the model has it: one of the two was "
            "changed after the weights were saved; export the run again"
        )


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config says of its family, its parts' values by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict) and MODEL_TYPE in value:
            flat |= {f"{name}.{inner}": its for inner, its in _flat(value).items()}
        elif name not in _ANY_CONFIG and not _UNTOLD.search(name):
            flat[name] = value
    return flat


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor], folder: Path) -> None:
    wanted = [name for name in target if UNREAD not in name]
    unlike = [name for name in wanted if name not in source or source[name].shape != target[name].shape]
    if unlike:
        raise CodeftError(f"{folder} holds a model of other dimensions: {_told(unlike)}")
    broken = [name for name in wanted if not torch.isfinite(source[name].float()).all()]
    if broken:
        raise CodeftError(f"{folder} holds values that are no numbers: {_told(broken)}; use another one")
    for name in wanted:
        target[name].copy_(source[name])
    changed = [name for name in wanted if not torch.equal(target[name], source[name].to(target[name].dtype))]
    if changed:
        raise CodeftError(f"{folder} has weights apart that are one in this model: {_told(changed)}")


def _told(names: Iterable[str]) -> str:
    return "; ".join(group_names(names))


@torch.no_grad()
def read_again(exported: ExportedModel, folder: Path) -> PreTrainedModel:
    """Load what was written by transformers alone, and check that it computes the same.

    Args:
        exported: What was written, in eval mode.
        folder: Where.

    Returns:
        The network as transformers loads it, in eval mode, on the CPU.

    Raises:
        CodeftError: It can't be loaded whole, or its outputs differ.
    """
    kind: Any = type(exported.network)
    with quiet_transformers():
        again, info = kind.from_pretrained(
            str(folder), local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    lacking = [name for name in info["missing_keys"] if UNREAD not in name]
    if lacking or info["unexpected_keys"]:
        names = [*lacking, *info["unexpected_keys"]]
        raise CodeftError(f"transformers doesn't read what was written, and that is codeft's fault: {names}")
    again.eval()
    device = next(exported.network.parameters()).device
    found, expected = (
        network(**{name: ids.to(where) for name, ids in probe(again).items()})[0].cpu()
        for network, where in ((again, torch.device("cpu")), (exported.network, device))
    )
    difference = ((found - expected).abs().max() / expected.abs().max().clamp_min(1)).item()
    if not difference < TOLERANCE and device.type == "cpu":
        raise CodeftError(
            f"what was written computes otherwise, by {difference:.1e}, and that is codeft's fault"
        )
    return again


def probe(network: PreTrainedModel, *, num_texts: int = 2, length: int = 7) -> dict[str, Tensor]:
    """Return inputs of two texts of different lengths, for a check.

    Args:
        network: Whose vocabulary is drawn from.
        num_texts: Rows.
        length: Columns.
    """
    config: Any = network.config
    embeddings: Any = network.get_input_embeddings()
    generator = torch.Generator().manual_seed(0)
    size, pad = embeddings.num_embeddings, config.pad_token_id or 0
    ids = torch.randint(size // 2, size, (num_texts, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[0, length - 2 :] = 0
    inputs = {"input_ids": ids.masked_fill(mask == 0, pad), "attention_mask": mask}
    if config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.randint(size // 2, size, (num_texts, 4), generator=generator)
    return inputs
