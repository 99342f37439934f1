#!/usr/bin/env bash
# Makes a finished model of the long pre-training as it stands: a copy of it, whose learning rate falls to 0.
#   recipes/mini/branch.sh STATE NAME DECAY_STEPS
# The model lies in STATE/NAME/model; the trunk isn't touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
state="$1" name="$2" decay="$3"
python="${PYTHON:-.venv/bin/python}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
# Kernels for so many shapes are kept; batches have hundreds, and 1,024 (the default) take 600 MB.
export ONEDNN_PRIMITIVE_CACHE_CAPACITY="${ONEDNN_PRIMITIVE_CACHE_CAPACITY:-64}"
if [[ ! -d "$state/$name" ]]; then
  mkdir -p "$state/$name.part"
  cp -r "$state/trunk/." "$state/$name.part"
  rm -f "$state/$name.part/metrics.json"  # of a trunk that came to its end
  mv "$state/$name.part" "$state/$name"
fi
steps="$("$python" - "$state/$name/checkpoints/last.ckpt" "$state/$name/branch_end" "$decay" <<'PY'
import sys
from pathlib import Path

import torch

checkpoint, noted, decay = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
if not noted.exists():  # so that a branch that was cut off ends where it was to end
    noted.write_text(str(torch.load(checkpoint, weights_only=True)["global_step"] + decay))
print(noted.read_text())
PY
)"
# One validation, at the end: between two of the trunk's the last steps would count for nothing.
exec nice -n 19 "$python" -m codeft.pretrain resume="$state/$name" \
  trainer.max_steps="$steps" trainer.val_check_interval="$steps" scheduler.decay="$decay"
