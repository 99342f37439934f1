"""CodeT5+'s embedding model from a checkpoint under its published names."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5EncoderModel

from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.types import CodeftError

PUBLISHED = {
    "architectures": ["CodeT5p_Embedding"],
    "auto_map": {"AutoModel": "modeling_codet5p_embedding.CodeT5pEmbeddingModel"},
    "model_type": "codet5p_embedding",
    "vocab_size": 420,
    "d_model": 32,
    "embed_dim": 8,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 3,
    "num_heads": 4,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-06,
    "feed_forward_proj": "relu",
    "is_encoder_decoder": False,
    "is_gated_act": False,
    "dense_act_fn": "relu",
    "pad_token_id": 0,
    "eos_token_id": 1,
}


@pytest.fixture(scope="module")
def weights():
    """T5's encoder by transformers' names, and the projection."""
    torch.manual_seed(0)
    names = {"vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads"}
    encoder = T5EncoderModel(T5Config(**{name: PUBLISHED[name] for name in names}))
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    return state | {"proj.weight": torch.randn(8, 32), "proj.bias": torch.randn(8)}


@pytest.fixture(scope="module", params=["safetensors", "torch"])
def folder(request, weights, t5_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("codet5p_embedding")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(t5_folder / name, folder)
    (folder / "config.json").write_text(json.dumps(PUBLISHED))
    if request.param == "torch":
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def batch(folder):
    tokenizer = EncoderDecoderModel(weights=str(folder), output="embedding").tokenizer
    found = tokenizer(["return width", "x"], padding=True, return_tensors="pt")
    return {key: found[key] for key in ("input_ids", "attention_mask")}


@torch.no_grad()
def test_a_vector_is_the_projected_first_state(folder, weights, batch):
    model = EncoderDecoderModel(weights=str(folder), output="embedding").eval()
    names = {"vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads"}
    encoder = T5EncoderModel(T5Config(**{name: PUBLISHED[name] for name in names})).eval()
    encoder.load_state_dict({name: value for name, value in weights.items() if "proj" not in name})
    first = encoder(**batch).last_hidden_state[:, 0]
    expected = first @ weights["proj.weight"].T + weights["proj.bias"]
    found = model(batch).embedding
    torch.testing.assert_close(found, expected / expected.norm(dim=-1, keepdim=True), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2))


@torch.no_grad()
def test_a_vector_depends_neither_on_padding_nor_on_its_batch(folder, batch):
    model = EncoderDecoderModel(weights=str(folder), output="embedding").eval()
    together = model(batch).embedding
    real = batch["attention_mask"][1].bool()
    alone = {key: value[1:2, real] for key, value in batch.items()}
    torch.testing.assert_close(model(alone).embedding[0], together[1], atol=1e-5, rtol=1e-4)


def test_labels_come_from_the_head_alone(folder, batch):
    model = EncoderDecoderModel(weights=str(folder), output="label", num_texts=2)
    assert model.network.proj is None
    model(batch).logits.sum().backward()
    assert [name for name, p in model.trainable_parameters() if p.grad is None] == []


def test_the_projection_trains_with_the_rest(folder, batch):
    model = EncoderDecoderModel(weights=str(folder), output="embedding")
    model(batch).embedding.sum().backward()
    assert [name for name, p in model.trainable_parameters() if p.grad is None] == []
    assert len(model.blocks()) == 3 and not model.decoder_blocks()
    assert model.network.proj not in model.embeddings()


def test_text_is_refused_before_anything_is_loaded(folder):
    for settings in (
        {"weights": "Salesforce/codet5p-110m-embedding", "architecture": {"embed_dim": 256}},
        {"weights": str(folder)},
    ):
        with pytest.raises(CodeftError, match=r"no decoder, but the task asks for text: choose .*220m"):
            EncoderDecoderModel(**settings)


@pytest.mark.parametrize("output", ["label", "embedding"])
@torch.no_grad()
def test_it_is_built_again_from_its_architecture(folder, batch, output):
    model = EncoderDecoderModel(weights=str(folder), output=output).eval()
    assert model.architecture["embed_dim"] == 8
    again = EncoderDecoderModel(
        weights="random", architecture=model.architecture, tokenizer=str(folder), output=output
    ).eval()
    again.load_state_dict(model.state_dict())
    ours, theirs = again(batch), model(batch)
    assert torch.equal(*((o.logits if output == "label" else o.embedding) for o in (ours, theirs)))


def test_what_it_saves_it_reads(folder, tmp_path, weights):
    EncoderDecoderModel(weights=str(folder), output="embedding").save(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert torch.equal(stored["proj.weight"], weights["proj.weight"])
    again = EncoderDecoderModel(weights=str(tmp_path), output="embedding")
    assert torch.equal(again.network.proj.bias, weights["proj.bias"])


def test_a_missing_projection_is_told(folder, tmp_path, weights, caplog):
    copy = shutil.copytree(folder, tmp_path / "copy")
    for file in copy.glob("*model.*"):
        file.unlink()
    kept = {name: value for name, value in weights.items() if "proj" not in name}
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
    EncoderDecoderModel(weights=str(copy), output="embedding")
    assert "so random: network.proj" in caplog.text


def test_recorded_attention_and_vectors_go_together(folder, batch):
    model = EncoderDecoderModel(weights=str(folder), output="embedding").eval()
    plain = model(batch).embedding
    model.record_attention(1)
    output = model(batch)
    torch.testing.assert_close(output.embedding, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.attention.sum(-1), torch.ones(output.attention.shape[:-1]))
