"""Each rank draws its own numbers, and the same ones again after a resume."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from codeft.callbacks.random_state import RandomStateCallback


def draw() -> list[float]:
    return [torch.rand(()).item(), float(np.random.rand()), random.random()]


def start(rank: int, *, state: dict | None = None) -> list[float]:
    """Begin a run with the run's seed, or go on with one, and return what its first batch would draw."""
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    callback = RandomStateCallback()
    if state is not None:
        callback.load_state_dict(state)
    callback.on_train_start(SimpleNamespace(global_rank=rank), None)
    return draw()


@pytest.fixture(autouse=True)
def _as_before():
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_rng_state(states[0]), np.random.set_state(states[1]), random.setstate(states[2])


def apart(*drawn: list[float]) -> bool:
    return all(len(set(numbers)) == len(drawn) for numbers in zip(*drawn, strict=True))


def test_ranks_of_a_new_run_draw_apart_and_the_first_as_ever():
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    alone = draw()
    assert start(0) == alone
    assert apart(alone, start(1), start(2))
    assert start(1) == start(1)


def test_one_process_goes_on_where_it_was():
    start(0)
    state = json.loads(json.dumps(RandomStateCallback().state_dict()))
    expected = draw()
    assert start(0, state=state) == expected


def test_a_state_without_other_ranks_is_not_drawn_by_them_too():
    start(0)
    state = RandomStateCallback().state_dict()
    del state["other_ranks"]  # what one process wrote
    assert apart(start(0, state=state), start(1, state=state), start(2, state=state))


def run_rank(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    start(rank)
    saved = RandomStateCallback().state_dict()
    expected = draw()
    stored = [saved]
    distributed.broadcast_object_list(stored)  # a checkpoint is what the first rank writes
    drawn = start(rank, state=stored[0])
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump([expected, drawn], file)
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_each_go_on_where_they_were(tmp_path):
    # Forked: each would else import everything anew.
    multiprocessing.start_processes(run_rank, (str(tmp_path),), nprocs=2, start_method="fork")
    (expected_0, drawn_0), (expected_1, drawn_1) = (
        json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)
    )
    assert drawn_0 == expected_0 and drawn_1 == expected_1
    assert apart(drawn_0, drawn_1)
