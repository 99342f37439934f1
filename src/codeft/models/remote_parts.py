"""Where a network whose class comes with its weights keeps its parts, found by running it on a short text."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, Cache
from transformers.masking_utils import sdpa_mask

from codeft.error_text import one_line
from codeft.models.attention import ATTENTION, AttentionRecorder, attend
from codeft.models.causal_families import Family
from codeft.models.networks import quiet_transformers
from codeft.types import CodeftError

NOTED = "codeft_noted"
"""transformers' name for an attention that notes who calls it."""

TOLERANCE = 1e-4
"""Logits that differ by less, relative to the largest, are the same."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RemoteFamily(Family):
    """Where a class of a model's own keeps its parts; places are in the whole network, not in its base.

    Attributes:
        pads_left: Whether padding before a text leaves its logits as they are.
        takes_positions: Whether `forward` takes `position_ids`.
    """

    pads_left: bool = False
    takes_positions: bool = False


def examine(network: Any, *, source: str) -> RemoteFamily:
    """Find a network's parts, and check that it computes what codeft relies on.

    A short text is read in several ways. What runs before the lowest block is found by watching which modules
    are called, and which parameters have a gradient there. Where the network goes through transformers'
    attention interface, codeft's attention takes the place of its own; else its own stays.

    Args:
        network: On the CPU, with its weights; left in training mode.
        source: For errors.

    Raises:
        CodeftError: The blocks aren't to be found; or the network isn't causal, keeps no cache of
            transformers' kind, or can't be run so.
    """
    name = f"{type(network).__name__} (the code that comes with {source})"
    blocks = _find_blocks(network, name=name)
    size = _check_ends(network, name=name)
    ids = torch.randint(size // 2, size, (1, 5), generator=torch.Generator().manual_seed(0))
    network.eval()
    try:
        modules, parameters = _find_before(network, blocks, ids, name=name)
        with torch.no_grad():
            whole = _logits(network, ids)
            attention = _use_attention(network, blocks, ids, whole)
            _check_cache(network, ids, whole, name=name)
            takes_positions = "position_ids" in inspect.signature(network.forward).parameters
            pads_left = _pads_left(network, ids, whole, takes_positions=takes_positions)
    except CodeftError:
        raise
    except Exception as error:  # whatever a stranger's code raises
        said = one_line(error)
        raise CodeftError(
            f"{name} doesn't run as transformers' decoder-only models do, {type(error).__name__}: {said}"
        ) from error
    network.train()
    return RemoteFamily(
        type(network),
        dropouts=(),
        blocks=blocks,
        attention=attention,
        embeddings=modules,
        parameters=parameters,
        pads_left=pads_left,
        takes_positions=takes_positions,
    )


def check_generation(generate: Callable[..., Tensor], network: Any, *, end: int) -> None:
    """Decode two short texts, for some classes prepare their inputs as an older transformers did.

    Args:
        generate: `AbstractCodeModel.generate`.
        network: What it decodes by, in eval mode.
        end: Id of the end token.

    Raises:
        CodeftError: It fails.
    """
    ids = torch.full((2, 2), end)
    mask = torch.tensor([[1, 1], [1, 0]])
    try:
        generate({"input_ids": ids, "attention_mask": mask}, max_length=2, num_beams=2)
    except Exception as error:  # whatever a stranger's code raises
        said = one_line(error)
        raise CodeftError(
            f"transformers' generate can't decode by {type(network).__name__}, whose code comes with it, "
            f"{type(error).__name__}: {said}"
        ) from error


def _find_blocks(network: Any, *, name: str) -> str:
    count = getattr(network.config, "num_hidden_layers", None)
    base = network.base_model
    found = [
        place
        for place, module in base.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    if len(found) != 1:
        raise CodeftError(
            f"expected one ModuleList of num_hidden_layers={count} blocks in {name}, found "
            f"{', '.join(found) or 'none'}: codeft can't tell its layers"
        )
    places = {id(module): place for place, module in network.named_modules()}
    return places[id(base.get_submodule(found[0]))]


def _check_ends(network: Any, *, name: str) -> int:
    """Return how many rows the table of embeddings has."""
    ends = [network.get_input_embeddings(), network.get_output_embeddings()]
    if not network.can_generate() or not all(
        isinstance(getattr(module, "weight", None), Tensor) for module in ends
    ):
        raise CodeftError(
            f"{name} is no model that transformers' generate can use (GenerationMixin), or doesn't say where "
            "its embeddings and output layer are: codeft can't decode by it"
        )
    return len(ends[0].weight)


def _logits(network: Any, ids: Tensor) -> Tensor:
    return network(input_ids=ids, use_cache=False).logits


def _same(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= TOLERANCE * expected.abs().max())


def _find_before(
    network: Any, blocks: str, ids: Tensor, *, name: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the places of what runs before the lowest block: modules, and parameters that are in none."""
    stack = list(network.get_submodule(blocks))
    inside = {id(module) for block in stack for module in block.modules()}
    called: list[nn.Module] = []
    entered: list[int] = []
    inputs: list[Tensor] = []

    def note(module: nn.Module, args: Any, kwargs: Any) -> None:
        if not entered:
            called.append(module)

    def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
        if not entered:
            given = [*args, *kwargs.values()]
            inputs.extend(value for value in given if isinstance(value, Tensor) and value.requires_grad)
        entered.append(stack.index(module))

    leaves = [m for m in network.modules() if id(m) not in inside and not any(m.children())]
    hooks = [leaf.register_forward_pre_hook(note, with_kwargs=True) for leaf in leaves]
    hooks += [block.register_forward_pre_hook(enter, with_kwargs=True) for block in stack]
    try:
        with torch.enable_grad():
            _logits(network, ids)
            total = torch.stack([value.float().sum() for value in inputs]).sum() if inputs else None
    finally:
        for hook in hooks:
            hook.remove()
    if entered != list(range(len(stack))) or total is None:
        raise CodeftError(
            f"{name} doesn't run its blocks ({blocks}) one after the other: codeft can't freeze "
            "the bottom ones"
        )
    places = {id(module): place for place, module in network.named_modules()}
    modules = tuple(dict.fromkeys(places[id(module)] for module in called))
    held = {id(p) for module in called for p in module.parameters()}
    held |= {id(p) for block in stack for p in block.parameters()}
    others = [(place, p) for place, p in network.named_parameters() if id(p) not in held and p.requires_grad]
    gradients: Sequence[Tensor | None] = ()
    if others:
        gradients = torch.autograd.grad(total, [p for _, p in others], allow_unused=True)
    found = zip(others, gradients, strict=True)
    return modules, tuple(place for (place, _), gradient in found if gradient is not None)


def _use_attention(network: Any, blocks: str, ids: Tensor, whole: Tensor) -> str | None:
    """Put codeft's attention into a network that lets it, and return its place in a block; else None."""
    own = network.config._attn_implementation
    place = _find_attention(network, blocks, ids)
    if place is not None:
        network.set_attn_implementation(ATTENTION)
        if _same(_logits(network, ids), whole) and _is_recorded(network, blocks, place, ids):
            return place
    with quiet_transformers():
        network.set_attn_implementation(own)
    log.info(
        "%s doesn't go through transformers' attention interface: its own attention stays, and the structure "
        "loss (method=sat) can't teach it",
        type(network).__name__,
    )
    return None


def _find_attention(network: Any, blocks: str, ids: Tensor) -> str | None:
    """Return the place in every block of what calls transformers' attention interface, where there is one."""
    callers: list[int] = []

    def note(module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        callers.append(id(module))
        return attend(module, *args, **kwargs)

    AttentionInterface.register(NOTED, note)
    AttentionMaskInterface.register(NOTED, sdpa_mask)
    try:
        with quiet_transformers():
            network.set_attn_implementation(NOTED)
            _logits(network, ids)
    except Exception:  # it takes no other attention than those it was written with
        return None
    finally:
        AttentionInterface.register(NOTED, attend)
    places = set()
    for block in network.get_submodule(blocks):
        found = [place for place, module in block.named_modules() if id(module) in callers]
        if len(found) != 1:
            return None
        places.update(found)
    return places.pop() if len(places) == 1 else None


def _is_recorded(network: Any, blocks: str, place: str, ids: Tensor) -> bool:
    """Return whether a block's attention can be recorded as `AttentionRecorder` does it."""
    try:
        recorder = AttentionRecorder([block.get_submodule(place) for block in network.get_submodule(blocks)])
        recorder.record(0)
        _logits(network, ids)
        weights = recorder.take()
        recorder.record(None)
    except Exception:  # a module without a config, say
        return False
    length = ids.shape[1]
    if not isinstance(weights, Tensor) or weights.dim() != 4 or weights.shape[2:] != (length, length):
        return False
    ones = torch.ones(weights.shape[:3])
    return bool(torch.allclose(weights.sum(-1), ones, atol=1e-4) and weights.triu(1).eq(0).all())


def _check_cache(network: Any, ids: Tensor, whole: Tensor, *, name: str) -> None:
    first = network(input_ids=ids[:, :-1], use_cache=True)
    if not _same(first.logits, whole[:, :-1]):
        raise CodeftError(f"{name} isn't causal: what stands behind a sub-token changes what it says there")
    cache = first.past_key_values
    if not isinstance(cache, Cache) or cache.get_seq_length() != ids.shape[1] - 1:
        raise CodeftError(
            f"{name} keeps no keys and values in a Cache of transformers (it gives {type(cache).__name__}): "
            "codeft can't decode by it"
        )
    step = network(
        input_ids=ids[:, -1:], attention_mask=torch.ones_like(ids), past_key_values=cache, use_cache=True
    )
    if not _same(step.logits, whole[:, -1:]):
        raise CodeftError(
            f"{name} says something else with its cache than without: codeft can't decode by it"
        )


def _pads_left(network: Any, ids: Tensor, whole: Tensor, *, takes_positions: bool) -> bool:
    padding = ids.new_zeros(1, 2)
    mask = torch.cat([padding, torch.ones_like(ids)], dim=1)
    positions = {"position_ids": (mask.cumsum(dim=1) - 1).clamp_min(0)} if takes_positions else {}
    padded = torch.cat([padding, ids], dim=1)
    found = network(input_ids=padded, attention_mask=mask, use_cache=False, **positions).logits
    return _same(found[:, 2:], whole)
