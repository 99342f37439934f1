"""From a composed or stored config to objects."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, UnsupportedValueType

from codeft.error_text import nearest, one_line
from codeft.overrides import GROUPS
from codeft.signatures import check_values
from codeft.targets import check_logger_names, check_targets
from codeft.types import CodeftError

if TYPE_CHECKING:
    from hydra.conf import HydraConf

METHOD_KEYS = ("k", "alpha")
"""Keys at the top that people sweep over and that only some methods read."""

READ_BY = {"data.dir": "data=local, data=codexglue or data=codesearchnet", "data.source": "data=local"}
"""Keys that people type and only some data sets have, and which ones do."""

_RANDOM = "random"
"""What `model.weights` may be beside a path or a hub id, whatever folders there are."""

log = logging.getLogger(__name__)


def finish_config(cfg: DictConfig, hydra_config: HydraConf) -> None:
    """Note what was chosen, forget keys that no method reads, and leave the test split alone in a sweep.

    Args:
        cfg: The composed config; gets `choices` (task, model, method, data by name), and `test` or
            `split` in a sweep.
        hydra_config: Hydra's own config of the job.
    """
    from hydra.types import RunMode

    with open_dict(cfg):
        cfg.choices = {group: chosen(group, hydra_config) for group in CHOICES}
    has_reader = OmegaConf.select(cfg, "data.reader", throw_on_missing=False)
    for key in READ_BY if has_reader else ():
        if OmegaConf.select(cfg, key, throw_on_missing=False) and not _is_read(cfg, key):
            raise CodeftError(f"data={cfg.choices.data} doesn't read {key}; choose {READ_BY[key]}")
    _make_paths_absolute(cfg)
    composed = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(composed, dict)
    check = check_sections if "callbacks" in cfg else check_plain  # a run that trains, or another verb
    check({str(name): section for name, section in composed.items()})
    for key in METHOD_KEYS:
        if key in cfg and cfg[key] is not None and not _is_read(cfg, key):
            log.warning("%s=%s has no effect: method=%s doesn't read it", key, cfg[key], cfg.choices.method)
            cfg[key] = None
    if hydra_config.mode == RunMode.MULTIRUN:  # who looks at many would choose one by its test scores
        if "test" in cfg and cfg.test is None:
            cfg.test = False
        if cfg.get("run") and "split" in cfg and cfg.split is None:
            cfg.split = "valid"


def _make_paths_absolute(cfg: DictConfig) -> None:
    """Let stored paths of data and models lead there from any folder; a hub id stays as it is."""
    from hydra.utils import to_absolute_path

    paths = {"data": ("dir", "source", "train", "valid"), "model": ("weights", "checkpoint", "tokenizer")}
    for section, keys in paths.items():
        for key in keys:
            path = OmegaConf.select(cfg, f"{section}.{key}", throw_on_missing=False)
            if not path or not isinstance(path, str) or (key == "weights" and path == _RANDOM):
                continue
            absolute = to_absolute_path(path)
            if section == "data" or Path(absolute).exists():
                cfg[section][key] = _escape(absolute)


def explain(error: Exception) -> str:
    """Say what was wrong with a config in one line, as far as Hydra and OmegaConf know.

    Args:
        error: What Hydra or OmegaConf raised; a mistyped key is answered with the nearest one.
    """
    from hydra.errors import OverrideParseException

    cause: Any = error.__cause__
    unknown = re.match(r"Could not override '([^']+)'", str(error))
    parent = getattr(cause, "parent_node", None)
    if unknown and isinstance(parent, DictConfig):
        if unknown[1] in READ_BY:
            return f"the chosen data doesn't read {unknown[1]}; choose {READ_BY[unknown[1]]}"
        groups = () if "." in unknown[1] else GROUPS
        key, known = str(cause.key), sorted({*map(str, parent.keys()), *groups})
        there_are = f"Known here: {', '.join(known)}; +{unknown[1]}=… adds it"
        return f"unknown key {unknown[1]}{nearest(key, known)} {there_are}"
    if present := re.match(r"Could not append to config\. An item is already at '([^']+)'", str(error)):
        return f"{present[1]} is there already; leave out the +: {present[1]}=…"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: {error.full_key}=…"
    if isinstance(error, CodeftError):
        return str(error)
    lines = str(error).splitlines()
    if missing := re.search(r"Missing mandatory value: ([\w.]+)", lines[0]):
        return f"{missing[1]} must be given: {missing[1]}=…"
    if isinstance(error, OverrideParseException):
        return (
            f"can't read {error.override!r} ({lines[0]}); a value of odd characters needs quotes of its own"
        )
    return lines[0]


def chosen(group: str, hydra_config: HydraConf) -> str | None:
    """Return the name chosen for a config group; several are joined by "+", in alphabetical order.

    Hydra's own record is None where a list was chosen, so the overrides are asked first.
    """
    for override in reversed(hydra_config.overrides.task):
        name, _, value = override.partition("=")
        if name == group:
            return "+".join(sorted(re.findall(r"[\w.-]+", value))) or "full"
    choice = hydra_config.runtime.choices.get(group)
    return None if choice is None else str(choice)


def _is_read(cfg: DictConfig, key: str) -> bool:
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(plain, dict)
    rest = {name: value for name, value in plain.items() if name != key}
    return f"${{{key}}}" in repr(rest)


CHOICES = ("task", "model", "method", "data")
"""Groups whose choices a run's config tells."""

_MAPPINGS = ("task", "model", "data", "callbacks", "optimizer", "trainer", "logger", "checkpoint", "choices")
_PLAIN = (
    "k", "alpha", "seed", "lang", "patience", "test", "dry_run", "resume", "run", "split", "references",
    "sources", "threshold", "input", "output", "query", "index", "top", "search", "to", "tokenizer_rows",
    "overwrite", "adapter", "onnx", "push_to_hub", "private",
)  # fmt: skip
"""Keys at the top that hold one value, whatever the verb."""

_PARTIAL = ("optimizer", "scheduler")


def check_sections(plain: Mapping[str, Any]) -> None:
    """Check that a training run's config has the form that `codeft.train` composes.

    Args:
        plain: Nested dicts and lists.

    Raises:
        CodeftError: A section is missing or isn't one.
    """
    sections: dict[str, Any] = {name: plain.get(name) for name in _MAPPINGS}
    data = plain.get("data")
    if isinstance(data, dict):
        sections |= {f"data.{name}": data.get(name) for name in ("reader", "features")}
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise CodeftError(f"a run's config needs {name} with keys of its own, not {section!r}")
        if name not in _PARTIAL and "_partial_" in section:
            raise CodeftError(f"{name} can't be partial")
    for name in CHOICES:
        if not isinstance(sections["choices"].get(name, 0), str | None):
            raise CodeftError(f"choices.{name} must be what was chosen, or null, and be there")
    for name in ("callbacks", "logger", "data.features"):
        for key, part in sections[name].items():
            if part and not (isinstance(part, dict) and isinstance(part.get("_target_"), str)):
                raise CodeftError(f"{name}.{key} needs a _target_, or null to leave it out, not {part!r}")
    check_plain(plain)


def check_plain(plain: Mapping[str, Any]) -> None:
    """Check what a verb's or a run's config has at its top beside sections.

    Args:
        plain: Nested dicts and lists.

    Raises:
        CodeftError: A key that holds one value has several, or a text is none.
    """
    for name in _PLAIN:
        if isinstance(plain.get(name), dict | list):
            raise CodeftError(f"{name} must be one value, not {plain[name]!r}")
    if not isinstance(plain.get("lang"), str | None):
        raise CodeftError(f"lang must be text or null, not {plain['lang']!r}")
    trusted = plain.get("trust_targets", [])
    if not isinstance(trusted, list) or not all(isinstance(name, str) for name in trusted):
        raise CodeftError(f"expected trust_targets=[<dotted name>, …], not {trusted!r}")


class _PlainLoader(yaml.SafeLoader):
    """Refuses aliases, by which a small file unfolds into gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise CodeftError("a stored config holds no aliases")
        return super().compose_node(parent, index)


def load_config(path: Path, *, trusted: bool = False, trust_targets: Sequence[str] = ()) -> DictConfig:
    """Read a stored config; nothing in it is interpolated.

    Args:
        path: A `config.yaml` that a run wrote.
        trusted: Whether this very program just wrote the file.
        trust_targets: Dotted names that the user vouches for.

    Raises:
        CodeftError: The file can't be read, isn't a config, or names what isn't allowed.
    """
    try:
        plain = yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)
    except OSError as error:
        raise CodeftError(f"expected a run's config at {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise CodeftError(f"{path} is no YAML file: {str(error).splitlines()[0]}") from None
    if not isinstance(plain, dict):
        raise CodeftError(f"{path} is no config: expected keys and values, found {type(plain).__name__}")
    if not trusted:
        check_targets(plain, trusted=frozenset(trust_targets))
        check_logger_names(plain)
    return literal_config(plain)


def literal_config(plain: dict[str, Any]) -> DictConfig:
    """Return a config of plain values in which nothing is interpolated.

    Raises:
        CodeftError: A value is of a type that a config can't hold (YAML has dates).
    """
    try:
        return OmegaConf.create(_escape(plain))
    except UnsupportedValueType as error:
        raise CodeftError(f"a config holds a value that is neither text nor number: {error}") from None


def _escape(node: Any) -> Any:
    """Keep texts that look like interpolations as they are."""
    if isinstance(node, dict):
        return {key: _escape(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_escape(value) for value in node]
    if isinstance(node, str):
        return re.sub(r"(\\*)\$\{", lambda m: m.group(1) * 2 + r"\${", node)
    return node


def note_command(cfg: DictConfig, command: str) -> None:
    """Add a command line, as it was typed, to those that made the run: the first, then each that resumed."""
    with open_dict(cfg):
        cfg.command = _escape([*(cfg.get("command") or []), command])


def override_trainer(cfg: DictConfig, arguments: Sequence[str]) -> None:
    """Apply `trainer.*` overrides to a stored config, and `scheduler.decay=` where its scheduler has one.

    Raises:
        CodeftError: An argument is something else.
    """
    has_decay = OmegaConf.select(cfg, "scheduler.decay") is not None
    for argument in arguments:
        ends_it = has_decay and argument.startswith("scheduler.decay=")  # the steps before it are the same
        if not (ends_it or re.match(r"\+{0,2}trainer\.[\w.]+=", argument)):
            raise CodeftError(f"only trainer.* can be changed when resuming, not {argument!r}")
        key, value = read_override(argument)
        OmegaConf.update(cfg, key, value, force_add=True)


def read_override(argument: str) -> tuple[str, Any]:
    """Return the key and the value of a `key=value`, read as Hydra does.

    Raises:
        CodeftError: It can't be read.

    >>> read_override("++trainer.max_epochs=2"), read_override("model.trust_remote_code=True")
    (('trainer.max_epochs', 2), ('model.trust_remote_code', True))
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException as error:
        raise CodeftError(f"can't read {argument!r}: {error}") from None
    return override.key_or_group, override.value()


def distrust_code(model: Any, *, asked: object) -> None:
    """Have a stored config run no code that comes with its model unless the user asks for it, now and here.

    What a folder says of itself isn't asked: it may come from a stranger.

    Args:
        model: The `model` of a stored config; changed in place.
        asked: What the user typed; None for nothing.

    Raises:
        CodeftError: It was asked for, and this model has none.
    """
    key = "trust_remote_code"
    if not asked and key not in model:
        return
    if key not in model:
        raise CodeftError(f"model.{key} is for decoder-only models, and this one runs no code: leave it away")
    if not isinstance(asked, bool | None):
        raise CodeftError(f"model.{key} must be true or false, not {asked!r}")
    model[key] = bool(asked)


def instantiate(config: Any, **values: Any) -> Any:
    """Build what a config describes; containers are plain, `values` are passed on by name.

    Values are passed to the constructor itself: Hydra would turn a dataclass into a DictConfig.

    Raises:
        CodeftError: The constructor refused its values, with what it said, or a value isn't of the type that
            its signature names.
    """
    import hydra.utils

    if not isinstance(config, DictConfig) or not isinstance(config.get("_target_"), str):
        raise CodeftError(f"expected keys and values with a _target_, not {config!r}")
    # Hydra resolves and then reads, so a text that looks like an interpolation needs two layers of escapes.
    literal = literal_config(_escape(OmegaConf.to_container(config, resolve=True)))
    try:
        if values:
            built = hydra.utils.instantiate(literal, _convert_="all", _partial_=True)(**values)
        else:
            built = hydra.utils.instantiate(literal, _convert_="all")
    except Exception as error:  # a constructor may raise anything, and says best what it doesn't like
        cause = error if isinstance(error, CodeftError) else error.__cause__ or error
        if isinstance(cause, CodeftError):
            raise cause from None
        _check_types(config, given=values)
        said = one_line(cause)
        raise CodeftError(f"can't build {config['_target_']}: {said}") from error
    _check_types(config, given=values)
    return built


def _check_types(config: DictConfig, *, given: Mapping[str, Any]) -> None:
    """Check a config's plain values, but for those replaced by given ones, by its target's signature."""
    import hydra.utils

    try:
        target = hydra.utils.get_object(config["_target_"])
    except Exception:  # there is no such name, or Hydra won't run it: so much was said when it was called
        return
    key = config._get_full_key(None)
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    values = {str(name): value for name, value in plain.items() if name not in given}
    check_values(target, values, prefix=f"{key}." if key else "")
