"""Parameter-efficient fine-tuning: the pre-trained weights stay, small adapters of the library peft train."""

from __future__ import annotations

import pytorch_lightning as pl
from peft import PeftConfig

from codeft.models.adapters import check_config, inject_adapters, merge_in_place
from codeft.models.base import AbstractCodeModel
from codeft.models.prefix import CONFIG, find_prefix, is_prefix
from codeft.module import FineTuneModule
from codeft.types import CodeftError


class AdapterCallback(pl.Callback):
    """Puts adapters into the model; they and what pre-training doesn't know train, and nothing else does.

    What pre-training doesn't know is a head for labels, a new decoder, and output layers that were untied. A
    checkpoint holds the whole model with its adapters.

    Source: LoRA (arXiv 2106.09685), DoRA (arXiv 2402.09353), IA3 (arXiv 2205.05638) and prefix-tuning (arXiv
    2101.00190), as peft has them; `codeft.models.prefix.LearnedPrefix` says how the last differs.

    Args:
        config: peft's, such as `peft.LoraConfig`; without `target_modules` peft's own for the network's type
            are taken.

    Raises:
        CodeftError: `config` is none of peft's, or doesn't fit the model (at `check_model` and `setup`).
    """

    def __init__(self, *, config: PeftConfig) -> None:
        if not isinstance(config, PeftConfig):
            raise CodeftError(f"{CONFIG} needs a _target_ of peft's, such as peft.LoraConfig, not {config!r}")
        self.config = config
        self._injected = False

    @property
    def can_merge(self) -> bool:
        """Return whether the model's weights can take the adapters in."""
        return not is_prefix(self.config)

    def check_model(self, model: AbstractCodeModel) -> None:
        """Raise what `setup` would raise, as far as the model tells.

        Raises:
            CodeftError: The config doesn't fit the model.
        """
        check_config(model, self.config)

    def merge(self, model: AbstractCodeModel) -> None:
        """Have the model's weights take the adapters in; the model is then as its family builds it.

        Raises:
            CodeftError: It is a prefix, or the adapters hold NaN or infinity.
        """
        merge_in_place(model)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Put the adapters in at every stage, so that a checkpoint fits; what they adapt freezes with it."""
        assert isinstance(pl_module, FineTuneModule)
        if not self._injected:
            inject_adapters(pl_module.model, self.config)
            self._injected = True
        limit, asked = pl_module.model.max_source_length, pl_module.task.max_source_length
        if find_prefix(pl_module.model) is not None and limit is not None and asked > limit:
            raise CodeftError(
                f"a prefix leaves the model {limit} positions: set task.max_source_length={limit}"
            )
