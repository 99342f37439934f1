"""What a stored config may name: an exact list, for a config may come from a stranger."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from codeft.types import CodeftError

ALLOWED_TARGETS = frozenset(
    {
        "codeft.data.data_flow_feature.DataFlowFeature",
        "codeft.data.sources.CodeSearchNetReader",
        "codeft.data.sources.CodeXGLUEReader",
        "codeft.data.sources.CorpusReader",
        "codeft.data.sources.LocalReader",
        "codeft.data.sources.SampleReader",
        "codeft.data.tree_feature.TreeFeature",
        "codeft.loggers.wandb_logger",
        "codeft.methods.adapters.AdapterCallback",
        "codeft.methods.layer_freeze.LayerFreezeCallback",
        "codeft.methods.structure_loss.SATStructureLossCallback",
        "codeft.models.bart.BartModel",
        "codeft.models.causal.CausalModel",
        "codeft.models.encoder.EncoderModel",
        "codeft.models.encoder_decoder.EncoderDecoderModel",
        "codeft.models.prefix_lm.PrefixLMModel",
        "codeft.optimizers.MuonWithAdamW",
        "codeft.schedules.constant_with_decay",
        "codeft.schedules.linear_with_warmup",
        "codeft.tasks.clone_detection.ClonePairsTask",
        "codeft.tasks.clone_detection.CloneRetrievalTask",
        "codeft.tasks.code_search.CodeSearchTask",
        "codeft.tasks.completion.CompletionTask",
        "codeft.tasks.defect_detection.DefectDetectionTask",
        "codeft.tasks.generation.GenerationTask",
        "codeft.tasks.pretraining.PretrainingTask",
        "codeft.tasks.refinement.RefinementTask",
        "codeft.tasks.summarization.SummarizationTask",
        "codeft.tasks.translation.TranslationTask",
        "peft.IA3Config",
        "peft.LoraConfig",
        "peft.PrefixTuningConfig",
        "pytorch_lightning.Trainer",
        "pytorch_lightning.callbacks.EarlyStopping",
        "pytorch_lightning.callbacks.LearningRateMonitor",
        "pytorch_lightning.loggers.CSVLogger",
        "pytorch_lightning.loggers.TensorBoardLogger",
        "pytorch_lightning.strategies.DDPStrategy",
        "torch.optim.Adam",
        "torch.optim.AdamW",
        "torch.optim.SGD",
    }
)


def check_targets(config: Any, *, trusted: frozenset[str] = frozenset()) -> None:
    """Check every `_target_` in a plain config, and what it resolves to.

    Args:
        config: Nested dicts and lists.
        trusted: Further dotted names that the user vouches for.

    Raises:
        CodeftError: A target isn't on the list, or names another thing than it says.
    """
    for target in _targets(config):
        if not isinstance(target, str) or target not in ALLOWED_TARGETS | trusted:
            raise CodeftError(
                f"the stored config names {target!r}, which codeft doesn't run from a file. If it is your "
                f"own class and you trust the file, say so: trust_targets=[{target}]"
            )
        if target not in trusted:
            _check_resolved(target)


def check_logger_names(config: dict[str, Any]) -> None:
    """Check that no logger of a stored config leads out of the run's folder: its names become folders there.

    Raises:
        CodeftError: A logger's value holds a path separator, or is "..".
    """
    loggers = config.get("logger")
    for logger, settings in loggers.items() if isinstance(loggers, dict) else ():
        for key, value in settings.items() if isinstance(settings, dict) else ():
            if key != "_target_" and _leads_elsewhere(value):
                raise CodeftError(f"the stored config's logger.{logger}.{key} {value!r} isn't a plain name")


def _leads_elsewhere(value: Any) -> bool:
    """Return whether a value isn't a number, null, or one folder's name."""
    if isinstance(value, str):
        return value == ".." or "/" in value or "\\" in value
    return isinstance(value, dict | list)


def _targets(config: Any) -> Iterator[Any]:
    """Yield the values of all `_target_` keys, without recursion."""
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "_target_" in node:
                yield node["_target_"]
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _check_resolved(target: str) -> None:
    """Check that an allowed name still leads to a class or function of its own package."""
    module, _, name = target.rpartition(".")
    thing = getattr(importlib.import_module(module), name, None)
    home = getattr(thing, "__module__", "")
    if not callable(thing) or home.partition(".")[0] != target.partition(".")[0] or thing.__name__ != name:
        raise CodeftError(f"{target} resolves to {thing!r}, which isn't what its name says")
