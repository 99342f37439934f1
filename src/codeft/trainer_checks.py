"""Whether a run has a length, trains and validates, by what `trainer` is told; known before it trains."""

from __future__ import annotations

from omegaconf import DictConfig

from codeft.signatures import check_value
from codeft.types import CodeftError

_SPLITS = {"train": "train on", "val": "validate on, and a validation picks the checkpoint"}


def check_trainer(trainer: DictConfig) -> None:
    """Check what Lightning would take and trip over, or take and train nothing.

    Raises:
        CodeftError: The run has no length, or no step, or no validation to pick its checkpoint.
    """
    check_value("trainer.accumulate_grad_batches", trainer.accumulate_grad_batches, kind=int, low=1)
    if trainer.get("gradient_clip_val") is not None:
        check_value("trainer.gradient_clip_val", trainer.gradient_clip_val, kind=float, low=0)
    epochs, steps = trainer.max_epochs, trainer.get("max_steps", -1)
    if epochs in (None, -1) and steps in (None, -1):
        raise CodeftError(f"trainer.max_epochs={epochs} needs trainer.max_steps, or training never ends")
    if epochs not in (None, -1):
        check_value("trainer.max_epochs", epochs, kind=int, low=1)
    if steps not in (None, -1):
        check_value("trainer.max_steps", steps, kind=int, low=1)
    if trainer.get("fast_dev_run"):
        raise CodeftError("trainer.fast_dev_run keeps no checkpoint: dry_run=true tries whether a run fits")
    for split, use in _SPLITS.items():
        key = f"limit_{split}_batches"
        if trainer.get(key) is not None:
            check_value(f"trainer.{key}", trainer[key], kind=float, low=0)
            if trainer[key] == 0:
                raise CodeftError(f"trainer.{key}=0 leaves nothing to {use}: leave it away, or set 1 or more")
    part = trainer.get("limit_test_batches")
    if part is not None and not (isinstance(part, float) and part == 1):
        raise CodeftError(
            f"trainer.limit_test_batches={part} would test a part of the rows, or none: data.test_limit= "
            "says how many are tested, and test=false leaves the test alone"
        )
    every, interval = trainer.get("check_val_every_n_epoch", 1), trainer.get("val_check_interval")
    if every is not None:
        check_value("trainer.check_val_every_n_epoch", every, kind=int, low=1)
    if interval is not None:
        check_value("trainer.val_check_interval", interval, kind=float, low=0)
        if interval == 0:
            raise CodeftError("trainer.val_check_interval=0: set a share of an epoch, or a number of batches")


def counts_batches(trainer: DictConfig) -> bool:
    """Return whether batches are counted, so that only the data says whether there are as many."""
    keys = ("limit_train_batches", "limit_val_batches", "overfit_batches")
    in_epoch = trainer.get("check_val_every_n_epoch", 1) is not None
    by_batches = isinstance(trainer.get("val_check_interval"), int) and in_epoch
    return by_batches or any(trainer.get(key) for key in keys)


def check_length(trainer: DictConfig, *, num_train: int, num_val: int) -> None:
    """Check, once the data is there, that an epoch has batches, and validates where it is asked to.

    Args:
        trainer: The run's `trainer`.
        num_train: Training batches of an epoch, on one device.
        num_val: Validation batches, on one device.

    Raises:
        CodeftError: A share is less than a batch, or the interval between validations is beyond an epoch.
    """
    overfit = trainer.get("overfit_batches") or None
    counts = {"train": num_train, "val": num_val}
    for split, count in counts.items():
        key = f"limit_{split}_batches" if overfit is None else "overfit_batches"
        share = trainer.get(key)
        if share is None:
            continue
        counts[split] = min(count, share) if isinstance(share, int) else int(count * share)
        if not counts[split]:
            least = "set 1 for one batch" + (f", or {1 / count:.2g} or more" if count > 1 else "")
            raise CodeftError(
                f"trainer.{key}={share} is less than one of the {count} {split} batches: {least}"
            )
    interval, every = trainer.get("val_check_interval"), trainer.get("check_val_every_n_epoch", 1)
    if isinstance(interval, int) and every is not None and interval > counts["train"]:
        raise CodeftError(
            f"trainer.val_check_interval={interval} is beyond an epoch of {counts['train']} batches: set 1.0 "
            "for one validation an epoch, or trainer.check_val_every_n_epoch=null to count over epochs"
        )
