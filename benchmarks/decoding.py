"""Beam-10 decoding of a validation set: codeft's batches against one example at a time."""

from __future__ import annotations

from functools import partial

import torch
from _race import faster, quick, race, shared_data, write
from _runs import build, translation
from torch import Tensor
from torch.nn import functional

from codeft.allocator import keep_freed_memory
from codeft.build import Parts
from codeft.types import Batch

BEAMS, LENGTH = 10, 64
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    short = quick()
    rows = 8 if short else 64
    parts = build(*translation(shared_data(), rows=rows, batch_size=32), "task.num_beams=10")
    parts.model.eval().to(DEVICE)
    together = batches(parts, size=32)
    alone = batches(parts, size=1)
    check(parts, together, alone)
    contestants = {
        "generate, batch 1": partial(decode, parts, alone),
        "codeft": partial(decode, parts, together),
        "a beam of its own an example, no cache": partial(decode_by_hand, parts, alone[: max(1, rows // 8)]),
    }
    seconds = race(contestants, rounds=1 if short else 3)
    published = "a beam of its own an example, no cache"
    seconds[published] = [value * rows / max(1, rows // 8) for value in seconds[published]]
    per_example = {"scale": 1 / rows, "unit": "s an example"}
    goal = 20 if DEVICE == "cuda" else 8
    what = f"beam-{BEAMS} decoding, {LENGTH} sub-tokens at most"
    results = [
        faster(
            what,
            {name: seconds[name] for name in ("generate, batch 1", "codeft")},
            rival="generate, batch 1",
            at_least=goal,
            **per_example,
        ),
        faster(
            what,
            {name: seconds[name] for name in (published, "codeft")},
            rival=published,
            at_least=goal,
            **per_example,
        ),
    ]
    write("decoding", results, data=f"{rows} Java functions of CodeXGLUE translation, mini as it comes")


def batches(parts: Parts, *, size: int) -> list[Batch]:
    data = parts.data
    data.eval_batch_size = size
    loader = data.loader(data.datasets["train"], train=False)
    return [{key: value.to(DEVICE) for key, value in batch.items() if key != "labels"} for batch in loader]


def decode(parts: Parts, found: list[Batch]) -> dict[int, list[int]]:
    texts = {}
    for batch in found:
        ids = parts.model.generate(batch, max_length=LENGTH, num_beams=BEAMS)
        pad, eos = parts.model.tokenizer.pad_token_id, parts.model.tokenizer.eos_token_id
        for index, row in zip(batch["index"].tolist(), ids.tolist(), strict=True):
            end = row.index(eos) if eos in row else len(row)
            texts[index] = [token for token in row[:end] if token != pad]
    return texts


def check(parts: Parts, together: list[Batch], alone: list[Batch]) -> None:
    """Batched and single decoding give the same sub-tokens, but for ties that rounding decides."""
    one, other = decode(parts, together), decode(parts, alone)
    same = sum(one[index] == other[index] for index in one)
    print(f"{same} of {len(one)} outputs are the same sub-token for sub-token")
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
