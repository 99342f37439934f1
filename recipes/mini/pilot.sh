#!/usr/bin/env bash
# Trains small models with each objective and measures them with one yardstick; goes on where it was cut off.
#   recipes/mini/pilot.sh STATE CORPUS [STEPS] [SEEDS]
# STATE/pilot.jsonl has a line a finished run. STEPS: of 8,192 sub-tokens each; 2,000 take about two hours a run on a core.
# Each run is a short trunk, whose last fifth is a branch: the best one's trunk can be the beginning of the long run.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."
state="$1" corpus="$2" steps="${3:-2000}" seeds="${4:-1 2}" objectives="${OBJECTIVES:-span ast_t5 mixture}"
python="${PYTHON:-.venv/bin/python}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
decay=$(( steps / 5 ))
mkdir -p "$state"
if [[ ! -d "$state/tokenizer" ]]; then
  "$python" recipes/mini/tokenizer.py "$corpus/pretrain.jsonl.gz" "$state/tokenizer"
fi
for seed in $seeds; do
  for objective in $objectives; do
    run="$state/$objective-$steps-$seed"
    if grep -qsF "\"$run/decayed/model\"" "$state/pilot.jsonl"; then continue; fi
    if [[ ! -f "$run/trunk/metrics.json" ]]; then
      OBJECTIVE="$objective" bash "$here/trunk.sh" "$run" "$corpus" seed="$seed" model.tokenizer="$state/tokenizer" \
        scheduler.warmup=$(( steps / 20 )) data.val_limit=300 \
        trainer.max_steps=$(( steps - decay )) trainer.val_check_interval="$decay"
    fi
    if [[ ! -f "$run/decayed/metrics.json" ]]; then bash "$here/branch.sh" "$run" decayed "$decay"; fi
    layout=ast_t5
    if [[ "$objective" == span ]]; then layout=t5; fi
    nice -n 19 "$python" recipes/mini/yardstick.py measure "$run/decayed/model" --layout "$layout" --json "$state/pilot.jsonl"
  done
done
