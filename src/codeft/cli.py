"""The command line: what all verbs share on the way from typed words to a checked config."""

from __future__ import annotations

import importlib
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft.logs import log_to, quiet_libraries
from codeft.overrides import (
    check_choices,
    config_folders,
    dotted_names,
    folder_name,
    nearest,
    quote_literal,
    swept_keys,
)
from codeft.types import CodeftError, RunStopped

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from codeft.sweep import Job

VERBS = ("train", "evaluate", "predict", "prepare", "pretrain", "export", "similarity", "report", "probe")

RANK_CONFIG = "CODEFT_RANK_CONFIG"
"""Environment variable by which the first rank hands its resolved config to the ranks it starts."""

TRUST_CODE = "model.trust_remote_code"
"""Key by which the user asks for code that comes with a model; `codeft.models.remote_code` says more."""

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
    if verb in ("", "-h", "--help"):
        from codeft.usage import summary

        verbs = "\n".join(f"  {name:12}{summary(name)}" for name in VERBS)
        print(f"codeft VERB key=value …\n\n{verbs}\n\ncodeft VERB --help says more of each.")
        return
    if verb not in VERBS:
        sys.exit(f"codeft: unknown verb {verb!r}{nearest(verb, VERBS)} There are: {', '.join(VERBS)}")
    sys.argv = [f"{sys.argv[0]}", *sys.argv[2:]]
    importlib.import_module(f"codeft.{verb}").main()


def run_verb(name: str, function: Callable[[DictConfig, Path], dict[str, Any]]) -> None:
    """Compose the verb's config from the command line and call its function with it and its folder.

    In a multirun the function is called once a job. A `CodeftError` ends the program with its message
    alone, a signal with how to go on.

    Args:
        name: The verb, and the stem of its primary config.
        function: Takes the composed config and the run's folder.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        from codeft.usage import print_usage

        print_usage(name, conf_dir())
        return
    quiet_libraries()
    command = shlex.join(["codeft", name, *sys.argv[1:]])  # as it was typed, before anything is quoted
    try:
        if RANK_CONFIG in os.environ and not _is_first_rank():
            _run_rank(function)
        elif name in ("train", "pretrain") and any(
            argument.startswith("resume=") for argument in sys.argv[1:]
        ):
            _resume(name, function, command)
        else:
            # Hydra takes options only in front of all overrides or behind them.
            sys.argv[1:] = sorted(
                map(quote_literal, sys.argv[1:]), key=lambda word: word not in ("-m", "--multirun")
            )
            check_choices(sys.argv[1:], folders=[conf_dir(), *config_folders(sys.argv[1:])])
            _run_hydra(name, function, command)
    except CodeftError as error:
        sys.exit(f"codeft: {error}")
    except RunStopped as stop:
        code, told = 128 + stop.signal, signal.Signals(stop.signal).name
        again = [sys.executable, "-m", f"codeft.{name}", f"resume={stop.folder}"]  # works in any shell
        print(f"stopped by {told}; go on with: {shlex.join(again)}", file=sys.stderr)
        sys.exit(code)
    except KeyboardInterrupt:
        print(f"codeft: {name} was interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _run_hydra(name: str, function: Callable[[DictConfig, Path], dict[str, Any]], command: str) -> None:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from codeft.config import explain
    from codeft.run_folder import RunFolder
    from codeft.sweep import Job, report_sweep, validation_score

    swept = swept_keys(sys.argv[1:])
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    OmegaConf.register_new_resolver(
        "swept", lambda typed: ",".join(o for o in typed if o.partition("=")[0] in swept), replace=True
    )
    jobs: list[Job] = []
    sweep: list[Path] = []  # its folder; none for a single run

    def run(cfg: DictConfig) -> float | None:
        hydra_config = HydraConfig.get()
        if hydra_config.mode == RunMode.MULTIRUN:
            sweep[:] = [Path(hydra_config.sweep.dir).absolute()]
        jobs.append(Job(list(hydra_config.overrides.task), Path(hydra_config.runtime.output_dir)))
        _run_job(jobs[-1], name, function, cfg, command)
        if sweep and jobs[-1].error is not None:
            log.error("job %s failed: %s", hydra_config.job.num, jobs[-1].error)
        return validation_score(jobs[-1])  # for a sweeper that looks for the best

    try:
        with _full_errors():
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(run)()
    except (HydraException, OmegaConfBaseException) as error:
        raise CodeftError(explain(error)) from error
    except OSError as error:
        if jobs:
            raise
        raise CodeftError(
            f"can't write into {error.filename!r}: {error.strerror}; set hydra.run.dir="
        ) from error
    finally:
        if sweep and _is_first_rank():
            report_sweep(jobs, sweep[0])
    failed = [job.error for job in jobs if job.error is not None]
    if failed and not sweep and not any(word.startswith("hydra.run.dir=") for word in sys.argv[1:]):
        RunFolder(jobs[0].folder).discard()
    if failed and len(jobs) > 1:
        raise CodeftError(f"{len(failed)} of {len(jobs)} jobs failed; the first: {failed[0]}")
    if failed:
        raise failed[0]


def _run_job(
    job: Job, name: str, function: Callable[[DictConfig, Path], dict[str, Any]], cfg: DictConfig, command: str
) -> None:
    """Call the verb's function and keep what it returns, or why it failed: Hydra would add its own words."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf.errors import OmegaConfBaseException

    from codeft.config import explain, finish_config, note_command
    from codeft.run_folder import RunFolder

    try:
        finish_config(cfg, HydraConfig.get())
        note_command(cfg, command)
        if name in ("train", "pretrain", "evaluate") and _is_first_rank():
            RunFolder(job.folder).check_new()
        job.metrics = function(cfg, job.folder)
    except (CodeftError, OmegaConfBaseException) as error:
        job.error = CodeftError(explain(error))
        job.error.__cause__ = error


def _is_first_rank() -> bool:
    return os.environ.get("LOCAL_RANK", "0") == "0"


@contextmanager
def _full_errors() -> Iterator[None]:
    """Have Hydra raise its errors, which it would print beside a hint at stack traces."""
    name = "HYDRA_FULL_ERROR"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _run_rank(function: Callable[[DictConfig, Path], dict[str, Any]]) -> None:
    """Run as a rank that Lightning started: the config is the first rank's, whatever was typed."""
    from codeft.config import load_config

    path = Path(os.environ[RANK_CONFIG])
    logging.basicConfig(level=logging.WARNING)
    function(load_config(path, trusted=True), path.parent)


def _resume(name: str, function: Callable[[DictConfig, Path], dict[str, Any]], command: str) -> None:
    """Go on with a run from its own config; only `trainer.*` may be changed, and code vouched for."""
    from omegaconf.errors import OmegaConfBaseException

    from codeft.config import (
        distrust_code,
        explain,
        literal_config,
        note_command,
        override_trainer,
        read_override,
    )
    from codeft.run_folder import RunFolder

    arguments = sys.argv[1:]
    typed = next(a for a in arguments if a.startswith("resume="))
    trusting = [argument for argument in arguments if argument.startswith("trust_targets=")]
    asking = [argument for argument in arguments if argument.lstrip("+").startswith(f"{TRUST_CODE}=")]
    folder = RunFolder(Path(typed.removeprefix("resume=")))
    cfg = folder.load_config(trust_targets=[name for words in trusting for name in dotted_names(words)])
    distrust_code(cfg.model, asked=read_override(asking[-1])[1] if asking else None)
    override_trainer(cfg, [argument for argument in arguments if argument not in (typed, *trusting, *asking)])
    folder.check_unfinished(cfg)
    folder.check_writable()
    log_to(folder.path / f"{name}.log")
    note_command(cfg, command)
    cfg.merge_with(literal_config({"resume": str(folder.last) if folder.last.is_file() else None}))
    if cfg.resume is None:
        log.warning("%s holds no checkpoint yet: the run begins again", folder.path)
    try:
        function(cfg, folder.path)
    except OmegaConfBaseException as error:  # a key that codeft.train writes is missing
        raise CodeftError(f"{folder.config}: {explain(error)}") from error
