"""The words that users type: which are taken literally, which are mistyped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from codeft.error_text import nearest
from codeft.types import CodeftError

GROUPS = ("task", "model", "data", "method", "trainer", "logger", "experiment")
LITERAL_KEYS = (
    "run", "runs", "resume", "input", "output", "query", "index", "predictions", "references", "sources",
    "to", "data.dir", "data.source", "data.train", "data.valid", "model.tokenizer",
    "data.splits.train", "data.splits.valid", "data.splits.test",
)  # fmt: skip
"""Keys whose values are taken literally, whatever characters they hold: paths and sentences."""

RUN_FOLDER_KEYS = ("hydra.run.dir", "hydra.sweep.dir")
"""Keys whose values are paths too, unless they are in Hydra's grammar: quoted, escaped or interpolated."""


def quote_literal(argument: str) -> str:
    r"""Quote the value of a literal key for Hydra's grammar; other arguments pass unchanged.

    `null` still means none, and so does nothing at all.

    >>> print(quote_literal("data.dir=my, data/${x}"))
    data.dir='my, data/\${x}'
    >>> quote_literal("k=6")
    'k=6'
    """
    key, equals, value = argument.partition("=")
    if key == "lang" and not re.search(r"['\"]", value):
        return f"{key}=" + re.sub(r"[^,\[\]]*#[^,\[\]]*", r"'\g<0>'", value)  # c# is a language
    run_folder = key in RUN_FOLDER_KEYS and not re.search(r"\$\{|\\|^['\"]", value)
    literal = key.lstrip("+") in LITERAL_KEYS and value != "null"
    return f"{key}='{_quoted(value)}'" if equals and value and (literal or run_folder) else argument


def _quoted(value: str) -> str:
    if value == "???":  # which would mean "not given yet"
        value = "./???"
    value = re.sub(r"(\\*)\$\{", lambda m: m.group(1) * 2 + r"\${", value)  # no interpolation
    return re.sub(r"(\\*)('|$)", lambda m: m.group(1) * 2 + ("\\'" if m.group(2) else ""), value)


def dotted_names(argument: str) -> list[str]:
    """Return the names in the value of an argument.

    >>> dotted_names("trust_targets=[my.Own, my.Other]")
    ['my.Own', 'my.Other']
    """
    return re.findall(r"[\w.]+", argument.partition("=")[2])


def folder_name(overrides: str) -> str:
    """Return a folder's name made of overrides, without characters that shells or globs read.

    >>> folder_name("k=6,method=[sat,telly]")
    'k-6-method-sat-telly'
    """
    return re.sub(r"[^\w.+]+", "-", overrides, flags=re.ASCII).strip("-.")[:80] or "default"


def swept_keys(arguments: Sequence[str]) -> set[str]:
    """Return the keys of the arguments that stand for several jobs of a multirun.

    >>> swept_keys(["method=[sat,telly]", "k=0,6", "seed=1"])
    {'k'}
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    found = set()
    for argument in arguments:
        with suppress(HydraException):  # an option, or what Hydra will say
            override = OverridesParser.create().parse_override(argument)
            if override.is_sweep_override():
                found.add(override.get_key_element())
    return found


def check_choices(arguments: Sequence[str], *, folders: Sequence[Path]) -> None:
    """Check the names that were chosen for config groups before Hydra does, for a clearer error.

    Args:
        arguments: The command line.
        folders: Where configs may lie.

    Raises:
        CodeftError: A name isn't there; the message lists what is, the nearest first.
    """
    for argument in arguments:
        group, equals, value = argument.partition("=")
        if not equals or group not in GROUPS:
            continue
        known = sorted({path.stem for folder in folders for path in folder.glob(f"{group}/*.yaml")})
        if value == "null":
            raise CodeftError(f"{group} can't be null; leave it away, or choose of: {', '.join(known)}")
        for name in re.split(r"[,\s]+", value.strip("[]'\"")):
            if re.fullmatch(r"[\w.+-]+", name) and name not in known:
                raise CodeftError(
                    f"unknown {group} {name!r}{nearest(name, known)} There are: {', '.join(known)}"
                )
        for together in re.findall(r"\[(.*?)\]", value):
            names = re.findall(r"[\w.+-]+", together)
            _check_together(group, names)
            if group == "method":
                _check_callbacks(names, folders=folders)


def _check_together(group: str, names: Sequence[str]) -> None:
    """Check that no choice comes twice, and none together with its `_reference` mode."""
    for name in names:
        same = [
            other for other in names if other.removesuffix("_reference") == name.removesuffix("_reference")
        ]
        if len(same) > 1:
            raise CodeftError(f"{group}=[{','.join(names)}] chooses {' and '.join(same)}: keep one of them")


def _check_callbacks(names: Sequence[str], *, folders: Sequence[Path]) -> None:
    """Check that no two methods are one callback: the later's keys would be mixed into the other's."""
    taken: dict[str, str] = {}
    for name in names:
        for callback in sorted(_callbacks(name, folders=folders)):
            other = taken.setdefault(callback, name)
            if other != name:
                raise CodeftError(
                    f"method=[{','.join(names)}]: {other} and {name} exclude one another, both are "
                    f"callbacks.{callback}: keep one of them"
                )


def _callbacks(name: str, *, folders: Sequence[Path], seen: frozenset[str] = frozenset()) -> set[str]:
    """Return the callbacks that a method's YAML brings, itself or by the methods that it begins from."""
    import yaml

    file = next((file for folder in folders if (file := folder / "method" / f"{name}.yaml").is_file()), None)
    if file is None or name in seen:
        return set()
    try:
        method = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):  # Hydra says what is wrong with it
        return set()
    if not isinstance(method, dict):
        return set()
    callbacks, defaults = method.get("callbacks"), method.get("defaults")
    parts = callbacks.items() if isinstance(callbacks, dict) else ()
    found = {str(key) for key, part in parts if isinstance(part, dict) and "_target_" in part}
    for base in defaults if isinstance(defaults, list) else ():
        if isinstance(base, str):
            found |= _callbacks(base.removeprefix("/method/"), folders=folders, seen=seen | {name})
    return found


def config_folders(arguments: Sequence[str]) -> list[Path]:
    """Return the config folders that the user named.

    >>> config_folders(["--config-dir", "mine", "k=6"])
    [PosixPath('mine')]
    """
    found = []
    for i, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if option in ("--config-dir", "-cd"):
            found.append(Path(value or (arguments[i + 1] if i + 1 < len(arguments) else ".")))
    return found
