"""AST-T5 from a checkpoint under its published names, against a plain computation of the same sums."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from ast_t5_reference import DIMENSIONS, Reference, make_weights, row_of
from safetensors.torch import load_file, save_file

from codeft.models.bart import BartModel
from codeft.models.relative_bart import bucket, translate_name
from codeft.types import CodeftError


@pytest.fixture(scope="module")
def ast_t5(ast_t5_folder):
    return BartModel(weights=str(ast_t5_folder)).eval()


@pytest.fixture
def copied(ast_t5_folder, tmp_path):
    return shutil.copytree(ast_t5_folder, tmp_path / "copy")


@torch.no_grad()
def test_logits_are_those_of_the_plain_computation(ast_t5, ast_t5_folder):
    reference = Reference(load_file(ast_t5_folder / "model.safetensors"))
    lengths, targets = (30, 3, 17), [[7, 8, 2], [9, 2, -100], [11, 12, 2]]
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 420, (3, 30), generator=draw)
    mask = (torch.arange(30) < torch.tensor(lengths)[:, None]).long()
    ids = ids.masked_fill(mask == 0, 1)
    logits = ast_t5({"input_ids": ids, "attention_mask": mask, "labels": torch.tensor(targets)}).logits
    for i, (length, target) in enumerate(zip(lengths, targets, strict=True)):
        real = [label for label in target if label >= 0]
        expected = reference.logits(ids[i, :length], torch.tensor([2, *real[:-1]]))
        torch.testing.assert_close(logits[i, : len(real)], expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("output", ["label", "embedding"])
def test_the_encoder_alone_is_the_same(ast_t5_folder, output):
    model = BartModel(weights=str(ast_t5_folder), output=output).eval()
    reference = Reference(load_file(ast_t5_folder / "model.safetensors"))
    ids = torch.tensor([[5, 6, 7, 2]])
    hidden = model.network(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    torch.testing.assert_close(hidden[0], reference.run("encoder", ids[0]), atol=2e-5, rtol=1e-4)


def test_recorded_attention_has_the_bias(ast_t5):
    ids = torch.tensor([[5, 6, 7, 8, 2]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    plain = ast_t5(batch).logits
    ast_t5.record_attention(0)
    recorded = ast_t5(batch)
    torch.testing.assert_close(recorded.logits, plain, atol=1e-5, rtol=1e-5)
    table = ast_t5.blocks()[0].self_attn.relative_bias.table.weight
    recorded.attention[0, 0, 0].square().sum().backward()
    assert table.grad is not None and table.grad[:, 0].abs().sum() > 0
    ast_t5.record_attention(None)


@pytest.mark.parametrize(("buckets", "farthest"), [(16, 12), (32, 128), (128, 128), (128, 256)])
def test_buckets(buckets, farthest):
    distances = torch.arange(-1023, 1024)
    rows = bucket(distances, num_buckets=buckets, max_distance=farthest)
    expected = [row_of(d, buckets=buckets, max_distance=farthest) for d in distances.tolist()]
    assert rows.tolist() == expected
    assert (rows.min(), rows.max()) == (0, buckets - 2)
    assert (rows.diff() >= 0).all()


def test_a_bias_belongs_to_its_block(ast_t5):
    for block in ast_t5.blocks():
        assert any("relative_bias" in name for name, _ in block.named_parameters())
    assert not any("relative_bias" in n for b in ast_t5.decoder_blocks() for n, _ in b.named_parameters())


def test_every_published_name_is_known_here(ast_t5):
    ours = set(ast_t5.network.state_dict()) - {"final_logits_bias"}
    assert {translate_name(name) for name in make_weights(seed=0)} == ours


def test_positions_and_dropout_are_the_published(ast_t5_folder):
    model = BartModel(weights=str(ast_t5_folder))
    assert model.max_source_length == 1024
    config = model.network.config
    assert (config.dropout, config.attention_dropout, config.activation_dropout) == (0.1, 0.1, 0.1)


def test_what_it_saves_it_reads(ast_t5, tmp_path, capfd):
    ast_t5.save(tmp_path)
    assert capfd.readouterr() == ("", "")
    again = BartModel(weights=str(tmp_path)).eval()
    assert again.architecture == ast_t5.architecture
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), ast_t5.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"feed_forward_proj": "gated-gelu"}, "feed_forward_proj=gated-gelu, expected relu"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
        ({"d_kv": 16}, "heads don't add up"),
        ({"num_heads": None}, "num_heads must be a whole number"),
        ({"d_ff": 48}, "can't load the weights"),
    ],
)
def test_another_variant_is_an_error(copied, change, said):
    (copied / "config.json").write_text(json.dumps(DIMENSIONS | change))
    with pytest.raises(CodeftError, match=said):
        BartModel(weights=str(copied))


def test_a_config_that_says_too_little_is_an_error(copied):
    (copied / "config.json").write_text(json.dumps({"model_type": "fairseq_t5", "d_model": 32}))
    with pytest.raises(CodeftError, match=r"doesn't say .*num_heads, num_layers"):
        BartModel(weights=str(copied))


def test_a_checkpoint_without_the_bias_is_told(copied, caplog):
    weights = load_file(copied / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "relative" not in name}
    save_file(kept, copied / "model.safetensors")
    BartModel(weights=str(copied))
    assert "model.encoder.layers.{0,1,2}.self_attn.relative_bias.table.weight" in caplog.text


def test_a_torch_file_is_read_too(copied, ast_t5):
    weights = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    torch.save(weights, copied / "pytorch_model.bin")
    again = BartModel(weights=str(copied))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), ast_t5.parameters(), strict=True))
    (copied / "pytorch_model.bin").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(CodeftError, match="can't load the weights"):
        BartModel(weights=str(copied))
    (copied / "pytorch_model.bin").unlink()
    with pytest.raises(CodeftError, match=r"can.t load the weights in .*: no weights in"):
        BartModel(weights=str(copied))
