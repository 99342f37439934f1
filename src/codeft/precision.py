"""Which precision a run computes in: `auto` becomes what the device has, and is stored as that."""

from __future__ import annotations

import logging
from typing import Any

import torch
from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator, XLAAccelerator

AUTO = "auto"
FULL = "32-true"
MIXED = "bf16-mixed"

log = logging.getLogger(__name__)


def resolve_precision(precision: Any, *, accelerator: object) -> Any:
    """Return a trainer's precision; "auto" is bf16 on a CUDA GPU or CPU that computes in it, else fp32.

    Args:
        precision: As the trainer's config names it.
        accelerator: Likewise.
    """
    if precision != AUTO:
        return precision
    return MIXED if has_bf16(accelerator) else FULL


def usable_precision(precision: Any, *, accelerator: object) -> Any:
    """Return a run's precision where it is used again, or fp32 where the device doesn't compute in bf16.

    Args:
        precision: The run's.
        accelerator: Of the device that it is used on now.
    """
    if not str(precision).startswith("bf16") or has_bf16(accelerator):
        return precision
    log.warning(
        "the run's precision is %s, which this device doesn't compute in: %s is used, and scores may differ "
        "a little; trainer.precision=%s emulates it, slowly",
        precision, FULL, precision,
    )  # fmt: skip
    return FULL


def tell_emulated(precision: Any, *, accelerator: object) -> None:
    """Warn where training goes on in a precision that the device only emulates."""
    if str(precision).startswith("bf16") and not has_bf16(accelerator):
        log.warning(
            "the run is trained in %s, and goes on so, though this device only emulates it, slowly; "
            "trainer.precision=%s changes it in mid-run",
            precision, FULL,
        )  # fmt: skip


def has_bf16(accelerator: object) -> bool:
    """Return whether an accelerator is known to multiply in bf16; where it is emulated, fp32 is faster.

    Args:
        accelerator: As a trainer's config names it. Others than CUDA's and the CPU aren't known to.
    """
    kind = _kind(accelerator)
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and cpu_has_bf16()


def _kind(accelerator: object) -> str:
    """Return the accelerator that Lightning will choose, by its name there."""
    if accelerator not in ("auto", "gpu"):
        return accelerator if isinstance(accelerator, str) else ""
    if accelerator == "auto" and XLAAccelerator.is_available():
        return "tpu"
    if MPSAccelerator.is_available():
        return "mps"
    if CUDAAccelerator.is_available():
        return "cuda"
    return "cpu" if accelerator == "auto" else ""


def cpu_has_bf16() -> bool:
    """Return whether the CPU multiplies in bf16: an x86 one with avx512_bf16."""
    return torch.cpu._is_avx512_bf16_supported()  # the public `get_capabilities` is much younger
