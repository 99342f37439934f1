"""Beam-10 decoding of a validation set: codeft's batches against one example at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from _race import faster, quick, race, shared_data, write
from _runs import build, translation
from torch import Tensor
from torch.nn import functional

from codeft.allocator import keep_freed_memory
from codeft.build import Parts
from codeft.models.generation import decoding
from codeft.types import Batch

BEAMS, LENGTH = 10, 64
WHY_NOT = (
    "a batch saves what a step costs beside its sums; on one core the sums of one example's 10 beams, "
    "and the encoder's, take most of the time already"
)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    keep_freed_memory()
    short = quick()
    rows = 8 if short else 64
    parts = build(*translation(shared_data(), rows=1000, batch_size=32), f"data.val_limit={rows}")
    data = parts.data
    data.datasets["valid"] = data.encode(data.read("valid"), training=False, name="valid")
    parts.model.to(DEVICE)
    teach(parts, num_steps=3 if short else 150)
    parts.model.eval()
    together, alone = batches(parts, size=32), batches(parts, size=1)
    check(parts, together, alone)
    few = alone[: max(1, rows // 8)]
    own, one, many, published = (
        "codeft",
        "generate, batch 1",
        "generate, batch 32",
        "a beam an example, no cache",
    )
    seconds = race(
        {
            own: partial(decode, parts, together, by=search),
            one: partial(decode, parts, alone, by=generate),
            many: partial(decode, parts, together, by=generate),
            published: partial(decode_by_hand, parts, few),
        },
        rounds=1 if short else 3,
    )
    seconds[published] = [value * rows / len(few) for value in seconds[published]]
    what = f"beam-{BEAMS} decoding, {LENGTH} sub-tokens at most, {torch.get_num_threads()} threads"
    results = [
        faster(
            what,
            {name: seconds[name] for name in (rival, own)},
            rival=rival,
            at_least=goal,
            scale=1 / rows,
            unit="s an example",
            remark=WHY_NOT if rival == one and DEVICE == "cpu" else "",
        )
        for rival, goal in ((one, 20 if DEVICE == "cuda" else 8), (many, 1), (published, 8))
    ]
    write(
        "decoding",
        results,
        data=f"{rows} Java functions of CodeXGLUE's validation split, mini after 150 steps of training",
    )


def teach(parts: Parts, *, num_steps: int) -> None:
    """Fine-tune for a moment: a model that has learned nothing ends nowhere, or at once."""
    optimizer = torch.optim.AdamW(parts.model.parameters(), lr=1e-3)
    parts.model.train()
    steps, loader = 0, parts.data.train_dataloader()
    while steps < num_steps:
        for batch in loader:
            moved = {key: value.to(DEVICE) for key, value in batch.items()}
            with torch.autocast(DEVICE, dtype=torch.bfloat16):
                loss = parts.task.loss(parts.model(moved), moved)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            if steps == num_steps:
                break


def batches(parts: Parts, *, size: int) -> list[Batch]:
    data = parts.data
    data.eval_batch_size = size
    loader = data.loader(data.datasets["valid"], train=False)
    return [{key: value.to(DEVICE) for key, value in batch.items() if key != "labels"} for batch in loader]


def decode(parts: Parts, found: list[Batch], *, by: Callable[[Parts, Batch], Tensor]) -> dict[int, list[int]]:
    texts = {}
    for batch in found:
        for index, row in zip(batch["index"].tolist(), by(parts, batch).tolist(), strict=True):
            eos = parts.model.tokenizer.eos_token_id
            texts[index] = row[: row.index(eos)] if eos in row else row
    return texts


def search(parts: Parts, batch: Batch) -> Tensor:
    return parts.model.generate(batch, max_length=LENGTH, num_beams=BEAMS)


def generate(parts: Parts, batch: Batch) -> Tensor:
    """Decode by transformers, under the same rules."""
    tokenizer = parts.model.tokenizer
    pad_id = tokenizer.pad_token_id
    settings = decoding(
        max_length=LENGTH, num_beams=BEAMS, eos_id=tokenizer.eos_token_id, pad_id=pad_id, start_id=pad_id
    )
    return parts.model.network.generate(
        batch["input_ids"], attention_mask=batch["attention_mask"], generation_config=settings
    )[:, 1:]


def check(parts: Parts, together: list[Batch], alone: list[Batch]) -> None:
    """Batched and single decoding give the same sub-tokens, but for ties that rounding decides."""
    one, other = decode(parts, together, by=search), decode(parts, alone, by=generate)
    same = sum(one[index] == other[index] for index in one)
    mean = sum(map(len, other.values())) / len(other)
    print(
        f"{same} of {len(one)} outputs are the same sub-token for sub-token; {mean:.1f} sub-tokens on average"
    )
    assert same >= 0.95 * len(one)


@torch.no_grad()
def decode_by_hand(parts: Parts, found: list[Batch]) -> None:
    """The published way: a beam an example, and the whole decoder again at each step."""
    network, eos = parts.model.network, parts.model.tokenizer.eos_token_id
    for batch in found:
        mask = batch["attention_mask"]
        hidden = network.encoder(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        hidden, mask = hidden.expand(BEAMS, -1, -1), mask.expand(BEAMS, -1)
        ids = torch.full((BEAMS, 1), parts.model.tokenizer.pad_token_id, device=DEVICE)
        scores: Tensor = torch.tensor([0.0] + [-1e9] * (BEAMS - 1), device=DEVICE)
        finished = 0
        for _ in range(LENGTH):
            logits = network(
                encoder_outputs=(hidden,), attention_mask=mask, decoder_input_ids=ids, use_cache=False
            ).logits
            totals = scores[:, None] + functional.log_softmax(logits[:, -1].float(), dim=-1)
            best, places = totals.flatten().topk(2 * BEAMS)
            origin, token = places // logits.shape[-1], places % logits.shape[-1]
            finished += int((token[:BEAMS] == eos).sum())
            if finished >= BEAMS:
                break
            going = (token != eos).nonzero()[:BEAMS, 0]
            ids = torch.cat([ids[origin[going]], token[going, None]], dim=1)
            scores = best[going]


if __name__ == "__main__":
    main()
