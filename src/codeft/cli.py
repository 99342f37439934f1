"""The command line: what all verbs share on the way from typed words to a checked config."""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codeft.types import CodeftError

if TYPE_CHECKING:
    from omegaconf import DictConfig

VERBS = ("train", "evaluate", "predict", "prepare", "pretrain")
GROUPS = ("task", "model", "data", "method", "trainer", "logger", "experiment")
LITERAL_KEYS = (
    "run",
    "resume",
    "input",
    "output",
    "predictions",
    "references",
    "sources",
    "to",
    "data.dir",
    "data.source",
    "data.train",
    "data.valid",
)
"""Keys whose values are paths that people type: taken literally, whatever characters they hold."""

RANK_CONFIG = "CODEFT_RANK_CONFIG"
"""Environment variable by which the first rank hands its resolved config to the ranks it starts."""

log = logging.getLogger(__name__)


def conf_dir() -> Path:
    """Return the folder of configs: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise CodeftError(f"expected codeft's configs in {package / 'conf'}; install codeft again")


def main() -> None:
    """Run `codeft VERB key=value …`."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb not in VERBS:
        wanted = nearest(verb, VERBS)
        if verb in ("", "-h", "--help"):
            print(f"codeft VERB key=value …\n\nverbs: {', '.join(VERBS)}\n")
            print("codeft VERB --help says more of each.")
            return
        sys.exit(f"codeft: unknown verb {verb!r}{wanted}; there are {', '.join(VERBS)}")
    sys.argv = [f"{sys.argv[0]}", *sys.argv[2:]]
    importlib.import_module(f"codeft.{verb}").main()


def run_verb(name: str, function: Callable[[DictConfig, Path], object]) -> None:
    """Compose the verb's config from the command line and call its function with it and its folder.

    In a multirun the function is called once a job. A `CodeftError` ends the program with its message
    alone.

    Args:
        name: The verb, and the stem of its primary config.
        function: Takes the composed config and the run's folder.
    """
    try:
        if RANK_CONFIG in os.environ and os.environ.get("LOCAL_RANK", "0") != "0":
            _run_rank(function)
        elif name in ("train", "pretrain") and any(
            argument.startswith("resume=") for argument in sys.argv[1:]
        ):
            _resume(function)
        else:
            sys.argv[1:] = [quote_literal(argument) for argument in sys.argv[1:]]
            check_choices(sys.argv[1:], folders=[conf_dir(), *_extra_folders(sys.argv[1:])])
            _run_hydra(name, function)
    except CodeftError as error:
        sys.exit(f"codeft: {error}")


def _run_hydra(name: str, function: Callable[[DictConfig, Path], object]) -> None:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import CompactHydraException
    from omegaconf import OmegaConf

    from codeft.config import finish_config

    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)

    def job(cfg: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        try:
            finish_config(cfg, hydra_config)
            function(cfg, Path(hydra_config.runtime.output_dir))
        except CodeftError as error:
            raise CompactHydraException(f"codeft: {error}") from error

    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(job)()


def _run_rank(function: Callable[[DictConfig, Path], object]) -> None:
    """Run as a rank that Lightning started: the config is the first rank's, whatever was typed."""
    from codeft.config import load_config

    path = Path(os.environ[RANK_CONFIG])
    function(load_config(path, trusted=True), path.parent)


def _resume(function: Callable[[DictConfig, Path], object]) -> None:
    """Go on with a run from its own config; only `trainer.*` may be changed."""
    from codeft.config import override_trainer
    from codeft.run_folder import RunFolder

    arguments = sys.argv[1:]
    typed = next(a for a in arguments if a.startswith("resume="))
    folder = RunFolder(Path(typed.removeprefix("resume=")))
    cfg = folder.load_config()
    override_trainer(cfg, [argument for argument in arguments if argument != typed])
    if not folder.last.is_file():
        raise CodeftError(f"there is nothing to resume in {folder.path}: it holds no {folder.last.name}")
    log_to(folder.path / "train.log")
    cfg.resume = str(folder.last)
    function(cfg, folder.path)


def log_to(path: Path) -> None:
    """Send the log to standard error and behind what a file already holds, as Hydra does in a new run."""
    handlers: list[logging.Handler] = [logging.StreamHandler(), logging.FileHandler(path, encoding="utf-8")]
    logging.basicConfig(
        level=logging.INFO, format="[%(asctime)s][%(name)s][%(levelname)s] - %(message)s", handlers=handlers
    )


def quote_literal(argument: str) -> str:
    r"""Quote the value of a literal key for Hydra's grammar; other arguments pass unchanged.

    >>> print(quote_literal("data.dir=my, data/${x}"))
    data.dir='my, data/\${x}'
    >>> quote_literal("k=6")
    'k=6'
    """
    key, equals, value = argument.partition("=")
    if not equals or key.lstrip("+") not in LITERAL_KEYS or value == "null":
        return argument
    if key in ("predictions", "sources") and value.startswith("[") and value.endswith("]"):
        return argument
    value = re.sub(r"(\\*)\$\{", lambda m: m.group(1) * 2 + r"\${", value)  # no interpolation
    value = re.sub(r"(\\*)('|$)", lambda m: m.group(1) * 2 + ("\\'" if m.group(2) else ""), value)
    return f"{key}='{value}'"


def folder_name(overrides: str) -> str:
    """Return a folder's name made of overrides, without characters that shells or globs read.

    >>> folder_name("k=6,method=[sat,telly]")
    'k-6-method-sat-telly'
    """
    return re.sub(r"[^\w.+]+", "-", overrides, flags=re.ASCII).strip("-.")[:80] or "default"


def nearest(word: str, known: Sequence[str]) -> str:
    """Return "; did you mean …?" where a known word is near, else nothing.

    >>> nearest("tely", ["telly", "sat"])
    "; did you mean 'telly'?"
    """
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


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
        for name in re.split(r"[,\s]+", value.strip("[]'\"")):
            if re.fullmatch(r"[\w.+-]+", name) and name not in known and name != "null":
                raise CodeftError(
                    f"unknown {group} {name!r}{nearest(name, known)} There are: {', '.join(known)}"
                )


def _extra_folders(arguments: Sequence[str]) -> list[Path]:
    """Return the config folders that the user named."""
    found = []
    for i, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if option in ("--config-dir", "-cd"):
            found.append(Path(value or (arguments[i + 1] if i + 1 < len(arguments) else ".")))
    return found
