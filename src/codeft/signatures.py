"""Values from a config against the signature that takes them: a wrong type is told by the key's name."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from codeft.types import CodeftError

_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}


def check_values(function: Callable[..., Any], values: Mapping[str, Any], *, prefix: str = "") -> None:
    """Check plain values by the annotations of the function that takes them.

    What an annotation that isn't understood may take passes, and so does a default. Of lists and mappings
    only that they are none of the plain types is checked.

    Args:
        function: A function or class.
        values: Arguments by name: texts, numbers, booleans, null, lists and mappings.
        prefix: What stands before a name in the config, such as "data.".

    Raises:
        CodeftError: Some are of another type; all of them are named.

    Examples:
        >>> def fit(*, epochs: int, patience: int | None = None): ...
        >>> check_values(fit, {"epochs": 3, "patience": None})
        >>> check_values(fit, {"epochs": 3, "patience": "long"}, prefix="trainer.")
        Traceback (most recent call last):
        codeft.types.CodeftError: trainer.patience must be a whole number or null, not 'long'
    """
    plain: Any = inspect.unwrap(function.__init__ if isinstance(function, type) else function)  # type: ignore[misc]
    wrong = []
    for name, parameter in inspect.signature(plain).parameters.items():
        value = values.get(name)
        if name not in values or value == parameter.default:
            continue
        options = list(_options(_evaluate(parameter.annotation, plain)))
        if not any(_fits(value, option) for option in options):
            expected = " or ".join(dict.fromkeys(map(_describe, options)))
            wrong.append(f"{prefix}{name} must be {expected}, not {value!r}")
    if wrong:
        raise CodeftError("; ".join(wrong))


def check_value(name: str, value: object, *, kind: type, low: int, high: int | None = None) -> None:
    """Check one number that no constructor takes.

    Args:
        name: The key as typed.
        value: Its value.
        kind: int or float.
        low: The least that is allowed.
        high: The most that is allowed; None where there is no end.

    Raises:
        CodeftError: It is of another type or outside the range.

    Examples:
        >>> check_value("seed", 1234, kind=int, low=0)
        >>> check_value("seed", -1, kind=int, low=0)
        Traceback (most recent call last):
        codeft.types.CodeftError: seed must be a whole number of at least 0, not -1
    """
    ends = f"of at least {low}" if high is None else f"from {low} to {high}"
    number = _fits(value, kind) and isinstance(value, int | float)
    if not number or not low <= value <= (float("inf") if high is None else high):  # type: ignore[operator]
        raise CodeftError(f"{name} must be {_NAMES[kind]} {ends}, not {value!r}")


def _evaluate(annotation: Any, function: Any) -> Any:
    """Return what an annotation means, Any where it names what is imported for type checkers alone."""
    if annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    try:
        return typing.get_type_hints(
            types.SimpleNamespace(__annotations__={"x": annotation}), function.__globals__
        )["x"]
    except (NameError, TypeError, AttributeError):
        return Any


def _options(hint: Any) -> Iterator[Any]:
    """Yield the members of nested unions; each value of a Literal as the value's own."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _options(part)
    else:
        yield hint


def _fits(value: object, option: Any) -> bool:
    if typing.get_origin(option) is typing.Literal:
        return value in typing.get_args(option)
    if option in (int, float):
        return isinstance(value, int if option is int else int | float) and not isinstance(value, bool)
    if option in _NAMES:
        return isinstance(value, option)
    origin = typing.get_origin(option) or option
    if isinstance(value, list | dict) or not isinstance(origin, type) or origin in (object, Any):
        return True  # Any, a type variable, a callable: not for us to judge
    return isinstance(value, origin) or (isinstance(value, str) and hasattr(origin, "__fspath__"))


def _describe(option: Any) -> str:
    if typing.get_origin(option) is typing.Literal:
        return " or ".join(map(str, typing.get_args(option)))
    return _NAMES.get(option) or getattr(option, "__name__", str(option)).lower()
