"""Says how far a pre-training run is, from its files alone.

Usage: python recipes/mini/look.py RUN
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from codeft.pretraining import loss_curve
from codeft.run_folder import RunFolder


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    folder = RunFolder(parser.parse_args().run)
    checkpoint: dict[str, Any] = torch.load(folder.last, weights_only=True, map_location="cpu")
    tokens = next(state for state in checkpoint["callbacks"].values() if "source_tokens" in state)
    position = checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"][0]["ranks"][0]
    minutes = (time.time() - folder.last.stat().st_mtime) / 60
    print(f"step {checkpoint['global_step']:,}; checkpoint written {minutes:.0f} minutes ago")
    print(
        f"{tokens['source_tokens']:,} source and {tokens['target_tokens']:,} target sub-tokens on each device"
    )
    print(f"stream: epoch {position['positions'][0][0] + 1}; examples: {position['counts']}")
    for name in ("train/loss_step", "val/loss"):
        points = loss_curve(folder, name)[-5:]
        print(f"{name}:", ", ".join(f"{step:,}: {value:.3f}" for step, value in points) or "none yet")


if __name__ == "__main__":
    main()
