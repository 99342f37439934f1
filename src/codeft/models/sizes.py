"""Sizes that a config names, checked before a network is built of them: so many bytes hold no more."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig, PreTrainedModel

from codeft.error_text import one_line
from codeft.types import CodeftError

_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "encoder_layers")
_DECODER_LAYERS = ("num_decoder_layers", "decoder_layers")
_POSITIONS = ("max_position_embeddings", "n_positions")
_OTHERS = (
    "vocab_size", "type_vocab_size",
    "hidden_size", "d_model", "n_embd",
    "intermediate_size", "d_ff", "n_inner", "encoder_ffn_dim", "decoder_ffn_dim",
    "num_attention_heads", "num_heads", "n_head", "encoder_attention_heads", "decoder_attention_heads",
    "num_key_value_heads", "head_dim", "d_kv",
)  # fmt: skip
_DISTANCE = "relative_attention_max_distance"
"""Has no weights."""

SIZES = {
    **dict.fromkeys((*_LAYERS, *_POSITIONS, *_OTHERS, _DISTANCE), 1),
    **dict.fromkeys(_DECODER_LAYERS, 0),  # only the encoder is used
    "relative_attention_num_buckets": 4,  # T5 halves them twice
}
"""Sizes in the configs of codeft's families, and their least values.

No pattern finds them: `pruned_heads`, `no_rope_layers` and the like are none.
"""

_PICKLE = b"\x80"
"""What torch's old format begins with."""

_MOST_LAYERS = 1_000
"""Where a file doesn't say how many tensors it has (torch's old format)."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much weights can hold.

    Attributes:
        num_bytes: Of their files; a parameter takes one at least.
        num_tensors: In them; a layer has one at least.
    """

    num_bytes: int
    num_tensors: int


def measure(files: Sequence[Path]) -> Room:
    """Return how much files of weights can hold; they aren't loaded.

    Raises:
        CodeftError: One is damaged.
    """
    try:
        return Room(sum(file.stat().st_size for file in files), sum(map(_count_tensors, files)))
    except (SafetensorError, zipfile.BadZipFile, OSError, ValueError) as error:
        names = ", ".join(map(str, files))
        raise CodeftError(f"can't load the weights in {names}: {one_line(error)}") from error


def _count_tensors(file: Path) -> int:
    if not file.is_file():
        raise ValueError("expected a file, got a folder, a device or a pipe")
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as content:
            return len(content.keys())
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return sum("/data/" in name for name in archive.namelist())
    with file.open("rb") as pickled:
        if pickled.read(1) != _PICKLE:
            raise ValueError("expected a file of torch's, got a damaged one or another")
    return _MOST_LAYERS


def check_sizes(values: Mapping[str, Any], *, source: str, room: Room | None = None) -> None:
    """Check that what a config calls sizes can be sizes.

    Args:
        values: A config's values by name; None is a default.
        source: Where they come from, for the error.
        room: What the weights can hold; None where they are to be made.

    Raises:
        CodeftError: One is no whole number, is too small, or is larger than the weights.

    >>> check_sizes({"num_layers": 0}, source="config.json")
    Traceback (most recent call last):
    codeft.types.CodeftError: config.json: num_layers must be a whole number of at least 1, not 0
    """
    has_angles = any(name.startswith("rope") for name in values)  # positions without weights
    for name, value in values.items():
        if value is None or name not in SIZES:
            continue
        least = SIZES[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise CodeftError(
                f"{source}: {name} must be a whole number of at least {least}, not {_shown(value)}"
            )
        if room is None or (has_angles and name in _POSITIONS) or name == _DISTANCE:
            continue
        if value > room.num_bytes:
            raise CodeftError(
                f"{source}: {name}={_shown(value)} can't be, for the weights have {room.num_bytes:,} bytes: "
                "restore what was saved with them"
            )
        if name in (*_LAYERS, *_DECODER_LAYERS) and value > room.num_tensors:
            raise CodeftError(
                f"{source}: {name}={_shown(value)} can't be, for the weights have {room.num_tensors:,} "
                "tensors: restore what was saved with them"
            )
    _check_ratios(values, source=source, has_angles=has_angles)
    _check_start(values, source=source)


def check_same_sizes(
    values: Mapping[str, Any], config: Mapping[str, Any], *, source: str, other: str
) -> None:
    """Check that two files name the same sizes.

    Args:
        values: Sizes by name, and other values.
        config: What the other says, perhaps in parts (an encoder's, a decoder's).
        source: The first file, for the error.
        other: The second.

    Raises:
        CodeftError: They don't.
    """
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    for name, value in values.items():
        found = [part[name] for part in parts if name in part]
        if name in SIZES and value is not None and found and value not in found:
            raise CodeftError(
                f"{source} says {name}={_shown(value)}, but {other} {_shown(found[0])}: one of them was "
                "changed; export the run again"
            )


def _check_ratios(values: Mapping[str, Any], *, source: str, has_angles: bool) -> None:
    """Check pairs of sizes that no family's own config checks, and that fail only in use."""
    buckets, distance = (values.get(f"relative_attention_{name}") for name in ("num_buckets", "max_distance"))
    if buckets is not None and distance is not None and distance <= buckets // 2:
        raise CodeftError(
            f"{source}: relative_attention_max_distance must be more than half of "
            f"relative_attention_num_buckets={buckets}, not {distance}"
        )
    heads, groups = values.get("num_attention_heads"), values.get("num_key_value_heads")
    if heads is not None and groups is not None and heads % groups:
        raise CodeftError(
            f"{source}: num_attention_heads={heads} must be a multiple of num_key_value_heads={groups}"
        )
    hidden, width = values.get("hidden_size"), values.get("head_dim")
    if width is None and hidden is not None and heads is not None:
        width = hidden // heads
    if has_angles and width is not None and (width % 2 or not width):
        raise CodeftError(
            f"{source}: a head's width must be an even number, not {width}, where angles turn it"
        )


def _check_start(values: Mapping[str, Any], *, source: str) -> None:
    """Check the id that a decoder begins with; codeft takes all others from the tokenizer."""
    start, size = values.get("decoder_start_token_id"), values.get("vocab_size")
    if start is None:
        return
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise CodeftError(f"{source}: decoder_start_token_id must be a token's id, not {_shown(start)}")
    if size is not None and start >= size:
        raise CodeftError(
            f"{source}: decoder_start_token_id={_shown(start)} is no id of a vocabulary of {size}"
        )


def _shown(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value}" if abs(value) < 10**30 else "a number of more than 30 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def build_empty(network_class: type[PreTrainedModel], config: PretrainedConfig) -> PreTrainedModel:
    """Return a network of shapes alone, which takes no memory."""
    with torch.device("meta"):
        return network_class(config)


def check_total(empty: PreTrainedModel, *, source: str, room: Room) -> None:
    """Check that a network isn't larger than weights can be.

    Args:
        empty: See `build_empty`.
        source: Where its sizes come from, for the error.
        room: What the weights can hold.

    Raises:
        CodeftError: It is.
    """
    total = sum(parameter.numel() for parameter in empty.parameters())
    if total > room.num_bytes:
        raise CodeftError(
            f"{source} describes a network of {total:,} parameters, but the weights have {room.num_bytes:,} "
            "bytes: restore what was saved with them"
        )
