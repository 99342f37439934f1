"""Weights without a config: what training scripts save, laid over a network."""

from __future__ import annotations

import logging
import pickle
import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from codeft.models.placement import Placement, group_modules, group_names, place_keys
from codeft.types import CodeftError

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
SAFE, PICKLED = "model*.safetensors", "pytorch_model*.bin"
NAMES = (SAFE, "model.bin", PICKLED)
"""What a folder calls its weights; several files where they are shards."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which a training checkpoint holds the weights."""
_CONSTANTS = (".position_ids", ".token_type_ids", ".attn.bias", ".attn.masked_bias")
"""Last words of buffers that were saved and say nothing."""
_ADAPTERS = ("base_layer", "lora_A", "lora_B", "lora_magnitude_vector", "ia3_l")
"""Words in the names of layers with an adapter of peft's; what it is multiplied by isn't in the file."""

_SHOWN_FOUND, _SHOWN_EXPECTED = 8, 3
"""Groups of names that an error lists: of what a checkpoint has, and of what it should have."""

log = logging.getLogger(__name__)

StateDict = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Part:
    """A module that a checkpoint may hold the weights of.

    Attributes:
        module: It gets them.
        behind: See `place_keys`.
        essential: Prefix of the parameters without which the checkpoint is of something else; a part without
            one may lack, and is left out where anything in it has another shape.
        adapt: Changes a tensor before it is laid into the place of this name.
        name: What the log calls it.
    """

    module: nn.Module
    behind: Sequence[str] = ()
    essential: str | None = None
    adapt: Callable[[str, Tensor], Tensor] | None = None
    name: str = "network"


def find_weights(path: Path) -> list[Path]:
    """Return the file or files of a checkpoint.

    Args:
        path: A file, or a folder with weights under one of the usual names.

    Raises:
        CodeftError: There is nothing like it, or more than one.
    """
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise CodeftError(f"expected weights ({', '.join(SUFFIXES)}), got the file {path}")
        return [path]
    if not path.is_dir():
        raise CodeftError(f"there are no weights at {path}: expected a file or a folder")
    kinds = [files for name in NAMES if (files := sorted(path.glob(name)))]
    if not kinds:
        raise CodeftError(f"no weights in {path}, expected one of {', '.join(NAMES)}")
    if (
        len(kinds) > 1 and kinds[0][0].suffix not in SUFFIXES[:1]
    ):  # transformers, too, takes the safe ones first
        names = ", ".join(files[0].name for files in kinds)
        raise CodeftError(f"{path} holds several weights ({names}): give the file that is meant")
    return kinds[0]


_MALFORMED = (
    EOFError, OSError, RuntimeError, ValueError, KeyError, AttributeError, TypeError, IndexError,
    NotImplementedError, RecursionError, OverflowError, MemoryError, struct.error,
)  # fmt: skip
"""What torch raises at files that aren't what they seem."""


def read_state_dict(path: Path) -> StateDict:
    """Read a checkpoint's tensors; of torch's files nothing else is ever loaded.

    Args:
        path: See `find_weights`. A file holds a state dict, or a training checkpoint with one inside.

    Raises:
        CodeftError: It can't be read, holds no tensors by name, or adapters beside the weights they change.
    """
    state: dict[str, Tensor] = {}
    for file in find_weights(path):
        try:
            if file.suffix == ".safetensors":
                content: Any = load_file(file)
            else:
                content = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise CodeftError(
                f"{file} is damaged or holds more than tensors, and codeft loads nothing else: save the "
                "state dict alone where it was made, torch.save(model.state_dict(), ...)"
            ) from error
        except (SafetensorError, *_MALFORMED) as error:
            raise CodeftError(f"can't read the weights in {file}: {_first_line(error)}") from error
        tensors = _unwrap(content)
        if not tensors:
            raise CodeftError(
                f"{file} holds no state dict: expected tensors by name, got {_describe(content)}"
            )
        _check_merged(tensors, file=file)
        state |= {name: _check_tensor(name, tensor, file=file) for name, tensor in tensors.items()}
    return state


def _check_merged(names: Iterable[str], *, file: Path) -> None:
    words = {word for name in names for word in name.split(".")}
    if found := [word for word in _ADAPTERS if word in words]:
        raise CodeftError(
            f"{file} holds adapters apart from the weights that they change ({', '.join(found)}), as a run "
            "with method=lora, dora or ia3 keeps them, and can't be laid over a model as it is: have them "
            "merged, codeft.export run=<the run's folder> to=<folder>, and give "
            "model.checkpoint=<that folder>"
        )


def _check_tensor(name: str, tensor: Tensor, *, file: Path) -> Tensor:
    """Return a tensor that torch can compute with: one of a byte a number becomes float32."""
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_complex():
        raise CodeftError(f"{file}: expected {name} to be a plain tensor of numbers, got {tensor.layout}")
    if tensor.is_floating_point() and tensor.dtype.itemsize == 1:
        try:
            tensor = tensor.float()
        except (NotImplementedError, RuntimeError):
            raise CodeftError(
                f"{file}: {name} is of type {tensor.dtype}, which can't become float32: give the "
                "weights in float32, float16 or bfloat16"
            ) from None
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise CodeftError(f"{file}: {name} holds numbers that aren't finite; use another checkpoint")
    return tensor


def _unwrap(content: Any) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        return {}
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a mapping with {', '.join(map(str, list(content)[:5])) or 'nothing in it'}"
    return f"an object of type {type(content).__name__}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


@torch.no_grad()
def lay_over(parts: Sequence[Part], state: StateDict, *, source: str, tell: bool = True) -> set[int]:
    """Copy a checkpoint's tensors into the modules that they belong to.

    The log says how many went where, and names what has no place.

    Args:
        parts: The modules, those first whose shared parameters count.
        state: The checkpoint's tensors.
        source: Names the checkpoint in messages.
        tell: Whether the log says it.

    Returns:
        The `id` of each parameter that was set.

    Raises:
        CodeftError: An essential part isn't in it, or its shapes are others.
    """
    left = {name for name, value in state.items() if not _says_nothing(name, value)}
    done: dict[int, Tensor] = {}
    told: list[str] = []
    for part in parts:
        places = part.module.state_dict(keep_vars=True)
        placement = place_keys(left, places, behind=part.behind)
        # In the network's order, so that it is the same name each time that a tied parameter goes by.
        tensors = {own: state[placement.mapping[own]] for own in places if own in placement.mapping}
        if part.adapt is not None:
            tensors = {own: part.adapt(own, tensor) for own, tensor in tensors.items()}
        wrong = {own for own, tensor in tensors.items() if tensor.shape != places[own].shape}
        _check(part, placement, wrong=wrong, places=places, tensors=tensors, source=source)
        for own, tensor in tensors.items() if not wrong else ():
            place = places[own]
            if place.is_floating_point() and not tensor.is_floating_point():
                raise CodeftError(
                    f"{source}: expected {own} in floating point, got {tensor.dtype} (quantized?)"
                )
            if id(place) in done and not torch.equal(done[id(place)], tensor):
                continue  # a tied parameter has one value only
            place.copy_(tensor)
            done[id(place)] = tensor
            left.discard(placement.mapping[own])
        if tensors and not wrong:
            told.append(_describe_part(part, placement, state=state, tensors=tensors))
    if told and tell:
        log.info("taken from %s, tensors: %s", source, ", ".join(told))
    taken = state.keys() - left
    placed = {(state[name].data_ptr(), state[name].shape) for name in taken}
    # A tied tensor has several names, and lies in a torch file once.
    left = {name for name in left if (state[name].data_ptr(), state[name].shape) not in placed}
    if left and tell:
        log.warning("in %s and not used: %s", source, "; ".join(group_modules(left, others=taken)))
    return set(done)


def _describe_part(part: Part, placement: Placement, *, state: StateDict, tensors: StateDict) -> str:
    """Say how many tensors a part took, and where a head's outputs became more."""
    grown = {
        (len(state[placement.mapping[own]]), len(tensor))
        for own, tensor in tensors.items()
        if tensor.ndim and len(tensor) != len(state[placement.mapping[own]])
    }
    changed = "".join(f" (its {before} output became {after})" for before, after in sorted(grown))
    return f"{part.name} {len(tensors)}{changed}"


def _says_nothing(name: str, tensor: Tensor) -> bool:
    """Return whether a tensor is a saved constant: positions, or the causal mask `bias` of scripts."""
    if f".{name}".endswith(_CONSTANTS):
        return True
    if name.rpartition(".")[2] != "bias" or tensor.ndim < 2 or tensor.shape[-1] != tensor.shape[-2]:
        return False
    return torch.equal(tensor, torch.ones_like(tensor).tril())


def _check(
    part: Part,
    placement: Placement,
    *,
    wrong: Collection[str],
    places: StateDict,
    tensors: StateDict,
    source: str,
) -> None:
    if part.essential is None:
        return
    needed = [name for name in places if name.startswith(part.essential)]
    if not any(name in placement.mapping for name in needed):
        raise CodeftError(
            f"{source} has none of the encoder's weights: it has "
            f"{_some(group_names(placement.leftover), limit=_SHOWN_FOUND) or 'no other weights'}; expected "
            f"{_some(group_names(needed), limit=_SHOWN_EXPECTED)}"
        )
    if wrong:
        shapes = {name: (tuple(tensors[name].shape), tuple(places[name].shape)) for name in wrong}
        told = "; ".join(f"{name} is {shapes[name][0]}, not {shapes[name][1]}" for name in sorted(wrong)[:5])
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CodeftError(
            f"the weights in {source} are of another size than the network: {told}{more}; give the "
            "model.architecture that they were trained with, or a base model of their size in model.weights"
        )


def _some(groups: Sequence[str], *, limit: int) -> str:
    more = f"; and {len(groups) - limit} more" if len(groups) > limit else ""
    return "; ".join(groups[:limit]) + more


def tell_random(model: nn.Module, known: Collection[int], *, source: str, new: Collection[str] = ()) -> None:
    """Name in the log every parameter that came from no checkpoint.

    Args:
        model: With all its parts.
        known: The `id` of each parameter that came from one.
        source: Names the checkpoint.
        new: Prefixes of what no checkpoint was expected to have: told, but no warning.
    """
    names = {name: id(parameter) in known for name, parameter in model.named_parameters()}
    expected = {name for name, is_known in names.items() if not is_known and name.startswith(tuple(new))}
    missing = {name for name, is_known in names.items() if not is_known} - expected
    if missing:
        told = group_modules(missing, others=names.keys() - missing)
        log.warning("not in the checkpoint of %s, so random: %s", source, "; ".join(told))
    if expected:
        told = group_modules(expected, others=names.keys() - expected)
        log.info("new, so random: %s", "; ".join(told))
