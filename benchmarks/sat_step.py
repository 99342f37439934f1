"""A training step with SAT against the same step without, on the same batches of real code."""

from __future__ import annotations

from functools import partial

import torch
from _race import Result, quick, race, ratio, shared_data, spread, write
from _runs import BASE_T5, build, translation

from codeft.allocator import keep_freed_memory
from codeft.build import Parts
from codeft.losses.structure import StructureLossTerm

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    short, results = quick(), []
    sizes = {"mini, batches of 32": ([], 32, 256), "base size, batches of 8": (BASE_T5, 8, 64)}
    for name, (model, batch_size, rows) in sizes.items():
        if short and model:
            continue
        parts = build(*translation(shared_data(), rows=rows, batch_size=batch_size), *model, "method=sat")
        parts.model.to(DEVICE)
        term = StructureLossTerm(weight=1.0).to(DEVICE)
        optimizer = torch.optim.AdamW(list(parts.model.parameters()) + list(term.parameters()), lr=1e-5)
        batches = [
            {key: value.to(DEVICE) for key, value in batch.items()}
            for batch in list(parts.data.train_dataloader())[: 3 if model else 8]
        ]
        seconds = race(
            {
                "full": partial(steps, parts, None, optimizer, batches),
                "sat": partial(steps, parts, term, optimizer, batches),
            },
            rounds=2 if short else 7,
        )
        value = ratio(seconds, rival="sat", own="full")
        detail = spread(seconds, scale=1 / len(batches), unit="s a step")
        results.append(
            Result(
                f"a SAT training step, {name}",
                "method=full",
                value,
                "x its time",
                "<= 1.15x",
                value <= 1.15,
                detail,
            )
        )
    write("sat_step", results, data="CodeXGLUE translation, Java -> C#, fp32")


def steps(parts: Parts, term: StructureLossTerm | None, optimizer, batches) -> None:
    parts.model.train()
    parts.model.record_attention(None if term is None else 0)
    for batch in batches:
        output = parts.model(batch)
        loss = parts.task.loss(output, batch)
        if term is not None:
            loss = loss + term.weight * term(output, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parts.model.parameters(), 1.0)
        optimizer.step()
    if DEVICE == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
