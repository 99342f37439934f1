"""Which parameter of a checkpoint goes where in a network, by their names alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

_OLD_NAMES = (
    (re.compile(r"(?<=LayerNorm\.)gamma$"), "weight"),
    (re.compile(r"(?<=LayerNorm\.)beta$"), "bias"),
)


@dataclass(frozen=True, slots=True)
class Placement:
    """What of a checkpoint a network takes.

    Attributes:
        mapping: The checkpoint's name of each parameter that it has, by the network's.
        leftover: Names in the checkpoint that have no place, sorted.
        missing: Names in the network that the checkpoint doesn't have, sorted.
    """

    mapping: dict[str, str] = field(default_factory=dict)
    leftover: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def place_keys(found: Iterable[str], wanted: Collection[str], *, behind: Sequence[str] = ()) -> Placement:
    """Find a network's parameters in a checkpoint that holds it inside other modules.

    Scripts wrap a network into modules of their own, whose names then stand before the network's
    (`module.encoder.roberta.`). All of a network stands behind the same names: of those behind which some of
    it is found, the ones before most of it; of equals, those without a `decoder`, then the fewest.

    Args:
        found: The checkpoint's names.
        wanted: The network's names.
        behind: What the names before it must end with, such as `classifier`; nothing where any will do.

    Examples:
        >>> place_keys(["module.encoder.a.w", "module.encoder.b", "module.head"], {"a.w", "c"}).mapping
        {'a.w': 'module.encoder.a.w'}
        >>> place_keys(["encoder.classifier.w", "classifier.w"], {"w"}, behind=["classifier"])
        Placement(mapping={'w': 'classifier.w'}, leftover=['encoder.classifier.w'], missing=[])
    """
    names = {_modern(name): name for name in found}
    inside: dict[tuple[str, ...], dict[str, str]] = {}
    for modern, name in names.items():
        words = modern.split(".")
        for length in range(len(words)):
            own = ".".join(words[length:])
            if own in wanted and _stands_behind(words[:length], behind):
                inside.setdefault(tuple(words[:length]), {})[own] = name
    mapping: dict[str, str] = {}
    if inside:
        prefix = min(inside, key=lambda words: (-len(inside[words]), "decoder" in words, len(words), words))
        mapping = inside[prefix]
    taken = set(mapping.values())
    return Placement(
        mapping=mapping,
        leftover=sorted(name for name in names.values() if name not in taken),
        missing=sorted(name for name in wanted if name not in mapping),
    )


def group_names(names: Iterable[str]) -> list[str]:
    """Shorten a list of parameter names: those that differ in their first number only share an entry.

    >>> group_names(["block.0.q.weight", "block.1.q.weight", "norm.bias"])
    ['block.{0,1}.q.weight', 'norm.bias']
    """
    groups: dict[str, list[int]] = {}
    for name in names:
        number = re.search(r"(?<=\.)\d+(?=\.)", name)
        pattern = name if number is None else f"{name[: number.start()]}#{name[number.end() :]}"
        groups.setdefault(pattern, []).extend([] if number is None else [int(number[0])])
    return sorted(
        pattern.replace("#", f"{{{','.join(map(str, sorted(numbers)))}}}")
        for pattern, numbers in groups.items()
    )


def group_modules(names: Collection[str], *, others: Iterable[str]) -> list[str]:
    """Shorten a list of parameter names: a module all of whose parameters are in it is one entry.

    Args:
        names: What to list.
        others: The further parameters of the same network or file.

    >>> group_modules(["decoder.a.w", "decoder.0.b", "layer.0.c"], others=["layer.0.d", "layer.1.c"])
    ['decoder.*', 'layer.{0}.c']
    """
    shared = {prefix for name in others for prefix in _prefixes(name)}
    members: dict[str, list[str]] = {}
    for name in names:
        own = next((prefix for prefix in _prefixes(name) if prefix not in shared), name)
        members.setdefault(own, []).append(name)
    return group_names(found[0] if len(found) == 1 else f"{own}.*" for own, found in members.items())


def _prefixes(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:length]) for length in range(1, len(words) + 1)]


def _stands_behind(words: Sequence[str], behind: Sequence[str]) -> bool:
    return not behind or any(list(words[-len(end.split(".")) :]) == end.split(".") for end in behind)


def _modern(name: str) -> str:
    """Return a parameter's name as torch gives it; the first checkpoints of BERT kept TensorFlow's."""
    for pattern, new in _OLD_NAMES:
        name = pattern.sub(new, name)
    return name
