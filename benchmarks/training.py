"""Training throughput against transformers' Trainer, each in a process of its own, by turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from typing import Any

import torch
from _race import Result, quick, ratio, shared_data, spread, tell, write
from _runs import BASE_T5, build, summarization, translation

WARM_UP = 2  # steps that aren't counted
KEPT = "freed memory kept"

KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""What `codeft.allocator.keep_freed_memory` sets, as glibc reads it from the environment."""
DATA = "CodeXGLUE translation and CodeSearchNet Ruby; real (not padding) sub-tokens of source and target"


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--contestant":
        print(json.dumps(contest(**json.loads(sys.argv[2]))))
        return
    torch.set_num_threads(1)  # as in each contestant: the report says so
    short = quick()
    settings = [
        ("mini, Java -> C#", "translation", [], 32, 10),
        ("mini, Ruby summarization", "summarization", [], 32, 10),
        ("base size, Java -> C#", "translation", BASE_T5, 8, 3),
    ]
    results = []
    for what, task, model, batch_size, num_steps in settings[:1] if short else settings:
        job = {"task": task, "model": model, "batch_size": batch_size, "num_steps": 4 if short else num_steps}
        seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}  # a token
        for number in range(1 if short else 3):
            names = list(seconds)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                seconds[name].append(start(name, job))
                tell(f"{what}, round {number + 1}: {name} {1e6 * seconds[name][-1]:.3g} us a sub-token")
        for rival, own, goal in (
            ("Trainer, its defaults", "codeft, its defaults", 2.0),
            ("Trainer, bf16 and grouped by length", "codeft, its defaults", 1.1),
            ("Trainer, bf16, grouped by length, freed memory kept", "codeft, its defaults", 1.1),
            ("Trainer, its defaults", "codeft, fp32", 1.0),
            ("Trainer, its defaults, freed memory kept", "codeft, fp32", 1.0),
        ):
            value = ratio(seconds, rival=rival, own=own)
            detail = spread({name: seconds[name] for name in (rival, own)}, scale=1e6, unit="us a sub-token")
            detail += f"; {allocator_of(rival)}"
            results.append(
                Result(
                    f"training throughput, {what}: {own}",
                    rival,
                    value,
                    "x",
                    f">= {goal}x",
                    value >= goal,
                    detail,
                )
            )
        write("training", results, data=DATA)


def allocator_of(rival: str) -> str:
    if rival.endswith(KEPT):
        return "glibc keeps freed memory in both"
    return "codeft has glibc keep freed memory, the Trainer runs with glibc as it is"


def start(name: str, job: dict[str, Any]) -> float:
    """Return a contestant's seconds a real sub-token."""
    words = [sys.executable, __file__, "--contestant", json.dumps({"name": name, **job})]
    environment = os.environ | (KEPT_MEMORY if name.endswith(KEPT) else {})
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout.splitlines()[-1]))


def contest(*, name: str, task: str, model: list[str], batch_size: int, num_steps: int) -> float:
    torch.set_num_threads(1)
    rows = (num_steps + WARM_UP) * batch_size
    overrides = {"translation": translation, "summarization": summarization}[task]
    parts = build(*overrides(shared_data(), rows=rows, batch_size=batch_size), *model)
    return CONTESTANTS[name](parts, batch_size)


def with_codeft(parts, batch_size: int, *, precision: str) -> float:
    import pytorch_lightning as pl

    from codeft.allocator import keep_freed_memory
    from codeft.precision import resolve_precision

    class Meter(pl.Callback):
        seconds, tokens, last = 0.0, 0, 0.0

        def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
            now = time.perf_counter()
            if index >= WARM_UP:
                self.seconds += now - self.last
                self.tokens += real_tokens(batch)
            self.last = time.perf_counter()

    keep_freed_memory()
    meter = Meter()
    resolved = resolve_precision(precision, accelerator="auto")
    trainer = pl.Trainer(
        accelerator="auto", devices=1, max_epochs=1, precision=resolved, logger=False, callbacks=[meter],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0, gradient_clip_val=1.0, use_distributed_sampler=False,
    )  # fmt: skip
    parts.data.setup = lambda stage: None
    trainer.fit(parts.module, datamodule=parts.data)
    return meter.seconds / meter.tokens


def with_trainer(parts, batch_size: int, **settings: Any) -> float:
    import tempfile

    import transformers
    from transformers import DataCollatorForSeq2Seq, T5ForConditionalGeneration, Trainer, TrainingArguments

    class Meter(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs) -> None:
            marks.append(time.perf_counter())

    class Counting(Trainer):
        def training_step(self, model, inputs, *rest):
            tokens.append(real_tokens(inputs))
            return super().training_step(model, inputs, *rest)

    marks: list[float] = []
    tokens: list[int] = []
    encodings = parts.data.datasets["train"].encodings
    rows = [
        {
            "input_ids": e.input_ids.tolist(),
            "attention_mask": [1] * len(e.input_ids),
            "labels": e.labels.tolist(),
            "length": len(e.input_ids),
        }
        for e in encodings
    ]
    model = T5ForConditionalGeneration(T5_CONFIG(parts))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=batch_size, num_train_epochs=1, save_strategy="no",
            report_to=[], disable_tqdm=True, use_cpu=not torch.cuda.is_available(), **settings,
        )  # fmt: skip
        collator = DataCollatorForSeq2Seq(parts.model.tokenizer, model=model)
        Counting(
            model=model, args=arguments, train_dataset=rows, data_collator=collator, callbacks=[Meter()]
        ).train()
    return (marks[-1] - marks[WARM_UP - 1]) / sum(tokens[WARM_UP:])


def T5_CONFIG(parts):
    """Return the config of the very network that codeft trains, on transformers' own attention."""
    import copy

    config = copy.deepcopy(parts.model.network.config)
    config._attn_implementation = "sdpa"
    config.decoder_start_token_id = config.pad_token_id
    return config


def real_tokens(batch) -> int:
    return int(batch["attention_mask"].sum()) + int((batch["labels"] != -100).sum())


GROUPED_IN_BF16 = {"bf16": True, "train_sampling_strategy": "group_by_length"}
CONTESTANTS = {
    "Trainer, its defaults": with_trainer,
    "codeft, its defaults": partial(with_codeft, precision="auto"),
    "Trainer, bf16 and grouped by length": partial(with_trainer, **GROUPED_IN_BF16),
    f"Trainer, bf16, grouped by length, {KEPT}": partial(with_trainer, **GROUPED_IN_BF16),
    "codeft, fp32": partial(with_codeft, precision="32-true"),
    f"Trainer, its defaults, {KEPT}": with_trainer,
}


if __name__ == "__main__":
    main()
