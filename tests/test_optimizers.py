"""Muon and AdamW as one optimizer, held against torch's two."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Muon
from torch.optim.lr_scheduler import LambdaLR

from codeft.losses.base import AbstractLossTerm
from codeft.module import FineTuneModule
from codeft.optimizers import IS_MATRIX, MuonWithAdamW
from codeft.tasks.summarization import SummarizationTask

LR, EMBEDDING_LR = 0.01, 0.05


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def groups(network):
    """Matrices and vectors, as the module hands them over."""
    return [
        {"params": [p for p in network.parameters() if p.ndim == 2], IS_MATRIX: True},
        {"params": [p for p in network.parameters() if p.ndim == 1], IS_MATRIX: False, "weight_decay": 0.0},
    ]


def train(network, *optimizers, steps, schedules=()):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        network(torch.randn(8, 4, generator=generator)).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        for schedule in schedules:
            schedule.step()


def halving(optimizer):
    return LambdaLR(optimizer, lambda step: 0.5**step)


def test_equals_the_two_of_torch(network):
    twin = copy.deepcopy(network)
    both = MuonWithAdamW(groups(network), lr=LR, embedding_lr=EMBEDDING_LR, weight_decay=0.1)
    train(network, both, steps=5, schedules=[halving(both)])
    matrices, vectors = (group["params"] for group in groups(twin))
    muon = Muon(matrices, lr=LR, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = AdamW(vectors, lr=EMBEDDING_LR, betas=(0.9, 0.99), weight_decay=0.0)
    train(twin, muon, adamw, steps=5, schedules=[halving(muon), halving(adamw)])
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_goes_on_from_its_state(network, tmp_path):
    optimizer = MuonWithAdamW(groups(network), lr=LR, embedding_lr=EMBEDDING_LR)
    schedule = halving(optimizer)
    train(network, optimizer, steps=2, schedules=[schedule])
    torch.save([optimizer.state_dict(), schedule.state_dict(), network.state_dict()], tmp_path / "state")
    train(network, optimizer, steps=2, schedules=[schedule])

    states = torch.load(tmp_path / "state", weights_only=True)
    again = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    resumed = MuonWithAdamW(groups(again), lr=LR, embedding_lr=EMBEDDING_LR)
    resumed_schedule = halving(resumed)
    for part, state in zip((resumed, resumed_schedule, again), states, strict=True):
        part.load_state_dict(state)
    train(again, resumed, steps=2, schedules=[resumed_schedule])
    for ours, theirs in zip(again.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_plain_parameters_are_the_rest(network):
    optimizer = MuonWithAdamW(network.parameters(), lr=LR, embedding_lr=EMBEDDING_LR)
    assert {group["lr"] for group in optimizer.param_groups} == {EMBEDDING_LR}
    train(network, optimizer, steps=1)


def test_a_bad_value_is_refused(network):
    with pytest.raises(ValueError, match="earning rate"):
        MuonWithAdamW(groups(network), lr=-1.0, embedding_lr=EMBEDDING_LR)


class Embedded(nn.Module):
    """A table, a matrix, a bias and a norm."""

    def __init__(self):
        super().__init__()
        self.table, self.linear, self.norm = nn.Embedding(5, 4), nn.Linear(4, 3), nn.LayerNorm(3)

    def trainable_parameters(self):
        return list(self.named_parameters())


class Term(AbstractLossTerm):
    """Learns a number."""

    def __init__(self):
        super().__init__()
        self.name, self.weight, self.learning_rate = "term", 1.0, None
        self.scale = nn.Parameter(torch.ones(2, 2))

    def forward(self, output, batch):
        return self.scale.sum()


def test_biases_norms_and_loss_terms_have_no_weight_decay():
    """Where there is no gradient, decay alone moves a parameter."""
    torch.manual_seed(0)
    model = Embedded()
    nn.init.ones_(model.linear.bias)
    nn.init.ones_(model.norm.bias)
    task = SummarizationTask(max_target_length=8, num_beams=1)
    module = FineTuneModule(model=model, task=task, optimizer=partial(AdamW, lr=0.1, weight_decay=0.5))
    module.loss_terms["term"] = Term()
    named = {**dict(model.named_parameters()), "scale": module.loss_terms["term"].scale}
    before = {name: parameter.detach().clone() for name, parameter in named.items()}
    for parameter in named.values():
        parameter.grad = torch.zeros_like(parameter)
    module.configure_optimizers().step()
    moved = {name for name, parameter in named.items() if not torch.equal(parameter, before[name])}
    assert moved == {"table.weight", "linear.weight"}
