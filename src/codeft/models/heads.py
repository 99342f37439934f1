"""What turns an encoder's hidden states into a vector or a label."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import RobertaForSequenceClassification, RobertaModel

from codeft.models.dropout import FastDropout
from codeft.types import CodeftError, Output

POOLINGS = ("first", "mean")

HEADS = ("classifier", "head")
"""How published scripts call a `ClassificationHead`, and how codeft does."""


def pool(hidden: Tensor, mask: Tensor, *, pooling: str) -> Tensor:
    """Return a vector for each text.

    Args:
        hidden: [N, S, D] hidden states of the last layer.
        mask: [N, S], 1 for a sub-token and 0 for padding.
        pooling: "first" takes the first sub-token's (`<s>`), "mean" the mean of all real ones.

    Returns:
        [N, D].
    """
    assert pooling in POOLINGS
    if pooling == "first":
        return hidden[:, 0]
    real = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * real).sum(1) / real.sum(1).clamp_min(1)


class ClassificationHead(nn.Module):
    """Two layers from the vectors of an example's texts to its label.

    Source: RoBERTa's head (arXiv 1907.11692); CodeXGLUE (arXiv 2102.04664) puts the vectors of a pair side by
    side. The names of its parameters are theirs.

    Args:
        width: D, of one vector.
        num_texts: Texts an example.
        num_labels: Labels to choose from.
        dropout: Probability before each layer.
    """

    def __init__(self, width: int, *, num_texts: int = 1, num_labels: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.num_texts = num_texts
        self.dense = nn.Linear(num_texts * width, width)
        self.dropout = FastDropout(dropout)
        self.out_proj = nn.Linear(width, num_labels)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the labels' scores before softmax, [B, num_labels].

        Args:
            vectors: [num_texts * B, D], in the order of `codeft.types.Batch`.
        """
        side_by_side = vectors.unflatten(0, (self.num_texts, -1)).transpose(0, 1).flatten(1)  # [B, n * D]
        hidden = self.dense(self.dropout(side_by_side)).tanh()
        return self.out_proj(self.dropout(hidden))


def fit_labels(name: str, tensor: Tensor, *, order: Sequence[int]) -> Tensor:
    """Return a parameter of a loaded head as `ClassificationHead` has it.

    A head with one output, which CodeXGLUE's defect detection puts through a sigmoid, becomes one of two with
    the same probabilities: softmax(0, z) is sigmoid(z).

    Args:
        name: The parameter's, in the head.
        tensor: The parameter.
        order: Which label each output of the loaded head means.

    >>> fit_labels("out_proj.bias", torch.tensor([0.5]), order=(0, 1))
    tensor([0.0000, 0.5000])
    >>> fit_labels("out_proj.bias", torch.tensor([0.1, 0.2]), order=(1, 0))
    tensor([0.2000, 0.1000])
    """
    if not name.startswith("out_proj."):
        return tensor
    if len(tensor) == 1:
        tensor = torch.cat([torch.zeros_like(tensor), tensor])
    if len(tensor) != len(order):
        return tensor
    return tensor[torch.tensor(order).argsort()]


def check_label_order(order: Sequence[int] | None, *, output: Output) -> Sequence[int]:
    """Return `model.label_order`, or 0, 1 where it isn't given.

    Raises:
        CodeftError: It isn't an order of two labels, or the task has no labels.
    """
    if order is None:
        return (0, 1)
    if sorted(order) != [0, 1]:
        raise CodeftError(f"model.label_order must be [0, 1] or [1, 0], not {list(order)}")
    if output != "label":
        raise CodeftError(f"model.label_order is for tasks with labels, and this one asks for {output}")
    return order


def as_roberta_classifier(
    encoder: RobertaModel, head: ClassificationHead
) -> RobertaForSequenceClassification:
    """Return encoder and head as transformers' classifier of one text; it shares their parameters."""
    config = copy.deepcopy(encoder.config)
    config.num_labels = head.out_proj.out_features
    config.problem_type = "single_label_classification"
    with torch.device("meta"):
        network = RobertaForSequenceClassification(config)
    network.roberta.embeddings, network.roberta.encoder = encoder.embeddings, encoder.encoder
    network.classifier.dense, network.classifier.out_proj = head.dense, head.out_proj
    return network.train(encoder.training)
