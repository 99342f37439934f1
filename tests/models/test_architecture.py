"""A model is built again from its `architecture` alone, shape by shape and number by number."""

from __future__ import annotations

import pytest
import torch

from codeft.models.loading import RANDOM


def rebuilt(model, folder, **extra):
    again = type(model)(weights=RANDOM, architecture=model.architecture, tokenizer=str(folder), **extra)
    again.load_state_dict(model.state_dict())
    return again.eval()


@pytest.fixture
def extra(family):
    return {"num_decoder_layers": 2} if family == "roberta" else {}


def test_the_rebuilt_network_computes_the_same(model, folder, batch, extra):
    again = rebuilt(model, folder, **extra)
    with torch.no_grad():
        assert torch.equal(again(batch).logits, model(batch).logits)
    assert again.network.config.to_dict().keys() == model.network.config.to_dict().keys()


def test_an_architecture_describes_itself(model, folder, extra):
    assert rebuilt(model, folder, **extra).architecture == model.architecture


def test_a_random_model_without_pooler_stays_without(roberta_folder):
    from codeft.models.encoder import EncoderModel

    dimensions = {"vocab_size": 420, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = EncoderModel(
        weights=RANDOM, architecture=dimensions, num_decoder_layers=1, tokenizer=str(roberta_folder)
    )
    assert model.network.encoder.pooler is None
    assert model.architecture["pooler"] is False
    assert rebuilt(model, roberta_folder, num_decoder_layers=1).network.encoder.pooler is None
