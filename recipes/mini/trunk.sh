#!/usr/bin/env bash
# Starts the long pre-training of the embedded model, or goes on with it; stops it on SIGTERM with a checkpoint.
#   recipes/mini/trunk.sh STATE CORPUS [further words for codeft pretrain]
# STATE is a folder outside of the checkout; CORPUS holds pretrain.jsonl.gz and pretrain_valid.jsonl.gz.
# OBJECTIVE=span or ast_t5 has another objective than the mixture.
# Run it from a clone of its own that nobody edits: configs are read when a run is resumed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
state="$1" corpus="$2"
shift 2
python="${PYTHON:-.venv/bin/python}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
# Kernels for so many shapes are kept; batches have hundreds, and 1,024 (the default) take 600 MB.
export ONEDNN_PRIMITIVE_CACHE_CAPACITY="${ONEDNN_PRIMITIVE_CACHE_CAPACITY:-64}"
mkdir -p "$state"
if compgen -G "$state/trunk/checkpoints/last.ckpt" > /dev/null; then
  words=(resume="$state/trunk")
  for word in "$@"; do  # the others stand in the run's config
    if [[ "$word" == trainer.* ]]; then words+=("$word"); fi
  done
else
  words=(
    objective="${OBJECTIVE:-mixture}" data.train="$corpus/pretrain.jsonl.gz" data.valid="$corpus/pretrain_valid.jsonl.gz"
    hydra.run.dir="$state/trunk" trainer.accelerator=cpu trainer.devices=1 trainer.precision=bf16-mixed
    trainer.max_steps=1000000 trainer.val_check_interval=500 data.val_limit=500 checkpoint.every_minutes=5
    scheduler._target_=codeft.schedules.constant_with_decay scheduler.warmup=200 +scheduler.decay=0 "$@"
  )
fi
exec nice -n 19 "$python" -m codeft.pretrain "${words[@]}"
