"""SAT's structure loss, forward and backward, against GeomLoss: trees and attention of real code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import islice

import torch
from _race import Result, faster, need, quick, race, shared_data, write
from _runs import build, translation
from torch import Tensor

from codeft.losses.sinkhorn import shared_sinkhorn_divergence, sinkhorn_divergence
from codeft.losses.structure import INITIAL_OFFSET, INITIAL_SLOPE, _of_sub_tokens, pairwise_distances

BLUR = 0.05
PADDED = 256  # sub-tokens, as SAT's authors pad
LENGTH = 128  # sub-tokens, of the clouds without padding
REPEATS = 5  # of short work in a round
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

Clouds = tuple[Tensor, Tensor, Tensor]
"""Attention [B, H, N, N], structure [B, N, N], which rows are real [B, N]."""


def main() -> None:
    need("geomloss")
    torch.set_num_threads(1)
    short = quick()
    batches = list(islice(real_clouds(), 2 if short else 6))
    errors = [check(batch) for batch in batches[:2]]
    rounds = 2 if short else 7
    full = full_clouds(real_clouds(), num_examples=2 if short else 6)
    padded = [to_length(batch, PADDED) for batch in batches]
    same_work = race(
        {
            "GeomLoss": partial(run, with_geomloss, [full] * REPEATS),
            "codeft": partial(run, with_codeft_pair_by_pair, [full] * REPEATS),
            "codeft, the tree's term once": partial(run, with_codeft, [full] * REPEATS),
        },
        rounds=rounds,
    )
    real_lengths = race(
        {
            "GeomLoss": partial(run, with_geomloss, batches * REPEATS),
            "GeomLoss, each example alone": partial(run, with_geomloss_alone, batches * REPEATS),
            "codeft": partial(run, with_codeft, batches * REPEATS),
        },
        rounds=rounds,
    )
    as_published = race(
        {"GeomLoss": partial(run, with_geomloss, padded), "codeft": partial(run, with_codeft, batches)},
        rounds=rounds,
    )
    shape = " x ".join(map(str, full[0].flatten(0, 1).shape))
    results = [
        faster(
            f"structure loss, same shape and same work: {shape}, no padding, each pair of clouds by itself",
            same_work,
            rival="GeomLoss", at_least=5,
        ),
        faster(
            "the same clouds; codeft computes the tree's own term once an example, not once a head",
            same_work,
            rival="GeomLoss", own="codeft, the tree's term once", at_least=5,
        ),
        faster(
            "real lengths for both, each batch cropped to its longest example",
            real_lengths,
            rival="GeomLoss", at_least=5,
        ),
        faster(
            "real lengths for both, GeomLoss called on each example by itself",
            real_lengths,
            rival="GeomLoss, each example alone", at_least=5,
        ),
        faster(
            f"as published: GeomLoss on batches padded to {PADDED}, codeft on real lengths",
            as_published,
            rival="GeomLoss", at_least=80,
        ),
        Result(
            "largest relative difference, value and gradient", "GeomLoss, one example at a time", max(errors),
            "", "<= 1e-4", max(errors) <= 1e-4, "two real batches",
        ),
    ]  # fmt: skip
    if DEVICE == "cuda":
        results.append(memory([full]))
    data = (
        f"{len(batches)} batches of 8 Java functions, 4 heads of mini's lowest layer, in length buckets, "
        f"and the first {LENGTH} sub-tokens of {len(full[0])} functions; forward and backward, "
        f"{REPEATS} times a round but as published"
    )
    write("structure_loss", results, data=data)


def real_clouds() -> Iterator[Clouds]:
    """Yield attention and trees of training batches, restricted to the sub-tokens that have a leaf."""
    parts = build(*translation(shared_data(), rows=2000, batch_size=8), "method=sat")
    parts.model.eval()
    parts.model.record_attention(0)
    for batch in parts.data.train_dataloader():
        with torch.no_grad():
            attention = parts.model({key: value for key, value in batch.items() if key != "labels"}).attention
        distances = _of_sub_tokens(
            pairwise_distances(batch["tree_depth"], batch["tree_lca_depth"]), batch["tree_leaf"]
        )
        structure = INITIAL_SLOPE * distances.float() + INITIAL_OFFSET
        yield compact(attention, structure, batch["tree_leaf"] >= 0)


def full_clouds(batches: Iterable[Clouds], *, num_examples: int) -> Clouds:
    """Return the first examples that are long enough, cut to one length, so that nothing is padded."""
    chosen: list[tuple[Tensor, Tensor]] = []
    for attention, structure, mask in batches:
        for i in (mask.sum(1) >= LENGTH).nonzero().flatten().tolist():
            rows = attention[i, :, :LENGTH, :LENGTH]
            chosen.append((rows / rows.sum(-1, keepdim=True), structure[i, :LENGTH, :LENGTH]))
        if len(chosen) >= num_examples:
            break
    attention, structure = (torch.stack(clouds) for clouds in zip(*chosen[:num_examples], strict=True))
    return attention, structure, torch.ones(structure.shape[:2], dtype=torch.bool, device=structure.device)


def compact(attention: Tensor, structure: Tensor, real: Tensor) -> Clouds:
    """Move each example's real rows and columns to the front and cut the rest off; rows sum to 1 again."""
    order = (~real).int().argsort(dim=1, stable=True)
    length = int(real.sum(1).max())
    rows = order[:, :length, None].expand(-1, -1, length)
    columns = order[:, None, :length].expand(-1, length, -1)
    example = torch.arange(len(real))[:, None, None]
    mask = real.gather(1, order)[:, :length]
    both = mask[:, :, None] & mask[:, None, :]
    structure = structure[example, rows, columns] * both
    attention = (
        torch.stack([head[example, rows, columns] for head in attention.unbind(1)], dim=1) * both[:, None]
    )
    attention = attention / attention.sum(-1, keepdim=True).clamp_min(1e-30)
    return attention.to(DEVICE), structure.to(DEVICE), mask.to(DEVICE)


def to_length(clouds: Clouds, length: int) -> Clouds:
    attention, structure, mask = clouds
    more = max(0, length - mask.shape[1])
    pad = torch.nn.functional.pad
    return pad(attention, (0, more, 0, more)), pad(structure, (0, more, 0, more)), pad(mask, (0, more))


def run(loss, batches: list[Clouds]) -> None:
    for attention, structure, mask in batches:
        x, y = attention.detach().requires_grad_(), structure.detach().requires_grad_()
        loss(x, y, mask).mean().backward()
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def with_codeft(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    return shared_sinkhorn_divergence(x, y, x_mask=mask, y_mask=mask, blur=BLUR)


def with_codeft_pair_by_pair(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Share nothing between the heads of an example: the work that GeomLoss does."""
    heads = x.shape[1]
    mask = mask.repeat_interleave(heads, dim=0)
    return sinkhorn_divergence(
        x.flatten(0, 1), y.repeat_interleave(heads, dim=0), x_mask=mask, y_mask=mask, blur=BLUR
    )


@cache
def geomloss() -> Callable[..., Tensor]:
    from geomloss import SamplesLoss

    return SamplesLoss("sinkhorn", p=2, blur=BLUR, scaling=0.5, backend="tensorized")


def with_geomloss(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    heads = x.shape[1]
    weights = (mask / mask.sum(1, keepdim=True)).repeat_interleave(heads, dim=0)
    return geomloss()(weights, x.flatten(0, 1).contiguous(), weights, y.repeat_interleave(heads, dim=0))


def with_geomloss_alone(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Call it on each example at its own length, its heads as the batch."""
    values = []
    for i, length in enumerate(mask.sum(1).tolist()):
        u, v = x[i, :, :length, :length].contiguous(), y[i, :length, :length]
        values.append(geomloss()(u, v.expand(len(u), -1, -1).contiguous()))
    return torch.stack(values)


def check(clouds: Clouds) -> float:
    """Return the largest relative difference from GeomLoss called on each example by itself."""
    attention, structure, mask = clouds
    x, y = attention.clone().requires_grad_(), structure.clone().requires_grad_()
    values = with_codeft(x, y, mask)
    values.sum().backward()
    worst = 0.0
    for i, length in enumerate(mask.sum(1).tolist()):
        u = attention[i, :, :length, :length].clone().contiguous().requires_grad_()
        v = structure[i, :length, :length].clone().requires_grad_()
        theirs = geomloss()(u, v.expand(len(u), -1, -1).contiguous())
        theirs.sum().backward()
        pairs = [
            (values[i], theirs),
            (x.grad[i, :, :length, :length], u.grad),
            (y.grad[i, :length, :length], v.grad),
        ]
        worst = max(worst, *(((own - other).norm() / other.norm()).item() for own, other in pairs))
    return worst


def memory(batches: list[Clouds]) -> Result:
    peaks = {}
    for name, loss in (("GeomLoss", with_geomloss), ("codeft", with_codeft)):
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run(loss, batches)
        peaks[name] = torch.cuda.max_memory_allocated() - before
    part = peaks["codeft"] / peaks["GeomLoss"]
    detail = ", ".join(f"{name} {peak / 2**20:.0f} MiB" for name, peak in peaks.items())
    return Result("GPU memory of the loss", "GeomLoss", part, "x its memory", "<= 1/3", part <= 1 / 3, detail)


if __name__ == "__main__":
    main()
