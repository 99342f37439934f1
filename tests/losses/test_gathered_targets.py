"""Code search on two processes learns what one process with both batches does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from codeft.tasks.code_search import CodeSearchTask
from codeft.types import ModelOutput

ROWS, WIDTH = 4, 6


class Encoder(nn.Module):
    """Queries and functions through one layer, as a bi-encoder's are."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, rows: torch.Tensor) -> ModelOutput:
        return ModelOutput(embedding=self.layer(rows).tanh())


def start(hard_negatives: int) -> tuple[Encoder, torch.Tensor, torch.Tensor]:
    """The same weights, rows [text, process, row, width] and their keys [process, row, key], everywhere."""
    torch.manual_seed(3)
    rows = torch.randn(2 + hard_negatives, 2, ROWS, WIDTH)
    keys = torch.arange(2 * ROWS * (3 + hard_negatives)).reshape(2, ROWS, -1)
    keys[1, 0, 2] = keys[0, 1, 2]  # a query of the other process
    keys[1, 2, 1] = keys[0, 3, 1]  # a function of the other process
    keys[0, 2, 2] = keys[0, 0, 2]  # a query of the own one
    if hard_negatives:
        keys[1, 1, 3] = keys[0, 2, 1]  # a function that answers a query of the other process
    return Encoder(), rows, keys


def learn(encoder: nn.Module, rows: torch.Tensor, keys: torch.Tensor, *, hard_negatives: int) -> torch.Tensor:
    task = CodeSearchTask(hard_negatives=hard_negatives)
    loss = task.loss(encoder(rows.reshape(-1, WIDTH)), {"keys": keys.flatten(0, -2)})
    loss.backward()
    return loss.detach()


def run_rank(rank: int, folder: str, hard_negatives: int) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    encoder, rows, keys = start(hard_negatives)
    loss = learn(DistributedDataParallel(encoder), rows[:, rank], keys[rank], hard_negatives=hard_negatives)
    torch.save([loss, encoder.layer.weight.grad, encoder.layer.bias.grad], f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("hard_negatives", [0, 1])
def test_two_processes_learn_what_one_with_both_batches_does(tmp_path: Path, hard_negatives: int) -> None:
    multiprocessing.start_processes(
        run_rank, (str(tmp_path), hard_negatives), nprocs=2, start_method="fork"
    )  # forked: each would else import everything anew
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    encoder, rows, keys = start(hard_negatives)
    loss = learn(encoder, rows, keys, hard_negatives=hard_negatives)
    torch.testing.assert_close((ranks[0][0] + ranks[1][0]) / 2, loss)
    for own_loss, weight, bias in ranks:
        assert (own_loss - loss).abs() > 1e-4, "each process has its own queries"
        torch.testing.assert_close(weight, encoder.layer.weight.grad)
        torch.testing.assert_close(bias, encoder.layer.bias.grad)
