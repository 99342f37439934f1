"""Writing checkpoints whole, and reading ones that may be damaged or of another model."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from codeft.types import CodeftError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then moves it there, so that a kill leaves the older one.

    Lightning's own writing is atomic only where the system's folder for temporary files lies on the same
    disk as the run's.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write `checkpoint` to `path`, whole or not at all.

        Raises:
            CodeftError: It can't be written, for instance because the disk is full.
        """
        path = Path(path)
        # A fixed name: a killed write leaves one file at most.
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except (OSError, RuntimeError) as error:  # torch wraps what the system says
            temporary.unlink(missing_ok=True)
            reason = next((e.strerror for e in _causes(error) if isinstance(e, OSError)), str(error))
            kept = "the one before stays as it was" if path.is_file() else "there is none before it"
            raise CodeftError(
                f"can't write the checkpoint {path}: {reason}; {kept}. Make room, then go on with resume="
            ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def check_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running anything in it.

    Args:
        path: A file that Lightning wrote.

    Returns:
        The checkpoint; its tensors are mapped, not read.

    Raises:
        CodeftError: The file isn't there, is damaged, or isn't a checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch doesn't compare the checksums
            broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(broken)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise CodeftError(f"expected a checkpoint at {path}, but there is none") from None
    except Exception as error:  # torch raises many types on a damaged file
        raise CodeftError(
            f"{path} is damaged or no checkpoint ({type(error).__name__}); use another one"
        ) from error
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(w, torch.Tensor) for w in weights.values()):
        raise CodeftError(f"{path} is no checkpoint of codeft's: it has no state_dict of tensors")
    return checkpoint


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Load a checkpoint's weights, every one of them.

    Raises:
        CodeftError: The checkpoint is damaged, of another model, or holds NaN or infinity.
    """
    module.load_state_dict(fitting_checkpoint(module, path)["state_dict"])


def fitting_checkpoint(module: torch.nn.Module, path: Path) -> dict[str, Any]:
    """Read a checkpoint whose weights are those of a module by name and shape, and finite.

    Raises:
        CodeftError: The checkpoint is damaged, of another model, or holds NaN or infinity.
    """
    checkpoint = check_checkpoint(path)
    state = checkpoint["state_dict"]
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys())
    unknown = sorted(state.keys() - own.keys())
    other = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    if missing or unknown or other:
        groups = (("missing", missing), ("not in this model", unknown), ("of another shape", other))
        told = "; ".join(f"{len(keys)} {name} ({', '.join(keys[:3])} …)" for name, keys in groups if keys)
        raise CodeftError(f"{path} is a checkpoint of another model: {told}")
    broken = [name for name, weight in state.items() if not torch.isfinite(weight).all()]
    if broken:
        raise CodeftError(
            f"{path} holds values that are no numbers, in {len(broken)} weights ({', '.join(broken[:3])} …); "
            "use another checkpoint"
        )
    return checkpoint
