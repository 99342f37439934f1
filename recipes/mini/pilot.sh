#!/usr/bin/env bash
# Trains small models with each objective and measures them with one yardstick; goes on where it was cut off.
#   recipes/mini/pilot.sh STATE CORPUS [STEPS] [SEEDS]
# STATE/pilot.jsonl has a line a finished run. STEPS: of 8,192 sub-tokens each; 2,000 take about two hours a run on a core.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
state="$1" corpus="$2" steps="${3:-2000}" seeds="${4:-1 2}" objectives="${OBJECTIVES:-span ast_t5 mixture}"
python="${PYTHON:-.venv/bin/python}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
mkdir -p "$state"
if [[ ! -d "$state/tokenizer" ]]; then
  "$python" recipes/mini/tokenizer.py "$corpus/pretrain.jsonl.gz" "$state/tokenizer"
fi
for seed in $seeds; do
  for objective in $objectives; do
    run="$state/$objective-$steps-$seed"
    if grep -qsF "\"$run/model\"" "$state/pilot.jsonl"; then continue; fi
    if [[ -f "$run/metrics.json" ]]; then
      words=()
    elif [[ -f "$run/checkpoints/last.ckpt" ]]; then
      words=(resume="$run")
    else
      words=(
        objective="$objective" seed="$seed" model.tokenizer="$state/tokenizer"
        data.train="$corpus/pretrain.jsonl.gz" data.valid="$corpus/pretrain_valid.jsonl.gz" data.val_limit=300
        trainer.max_steps="$steps" trainer.val_check_interval=500 trainer.accelerator=cpu trainer.devices=1
        trainer.precision=bf16-mixed checkpoint.every_minutes=5 hydra.run.dir="$run"
      )
    fi
    if (( ${#words[@]} )); then nice -n 19 "$python" -m codeft.pretrain "${words[@]}"; fi
    layout=ast_t5
    if [[ "$objective" == span ]]; then layout=t5; fi
    nice -n 19 "$python" recipes/mini/yardstick.py measure "$run/model" --layout "$layout" --json "$state/pilot.jsonl"
  done
done
