"""CodeXGLUE's decoder, against PyTorch's own layers put together as its paper and scripts describe."""

from __future__ import annotations

import logging
import re
import shutil

import pytest
import torch
from torch import nn
from transformers import RobertaConfig, RobertaModel

from codeft.models.encoder import EncoderModel
from codeft.models.roberta_decoder import FEED_FORWARD, CodexglueDecoder, rename_scripts
from codeft.types import CodeftError

LAYERS = 2


class Plain(nn.Module):
    """The network under the names that the scripts save, computed the plain way."""

    def __init__(self, config):
        super().__init__()
        self.encoder = RobertaModel(config)
        width = config.hidden_size
        layer = nn.TransformerDecoderLayer(width, config.num_attention_heads)
        self.decoder = nn.TransformerDecoder(layer, LAYERS)
        for name, parameter in self.decoder.named_parameters():  # the layers are copies, biases begin at 0
            std = 0.01 if "linear2" in name else 0.1  # or all positions would be one
            nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=std)
        self.dense = nn.Linear(width, width)
        nn.init.normal_(self.dense.weight, std=0.5)
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
        self.lm_head.weight = self.encoder.embeddings.word_embeddings.weight
        self.register_buffer("bias", torch.ones(64, 64).tril())

    def forward(self, ids, mask, targets):
        memory = self.encoder(ids, attention_mask=mask).last_hidden_state
        later = torch.ones(targets.shape[1], targets.shape[1], dtype=torch.bool).triu(1)
        hidden = self.decoder(
            self.encoder.embeddings(targets).transpose(0, 1),
            memory.transpose(0, 1),
            tgt_mask=later,
            memory_key_padding_mask=mask == 0,
        )
        return self.lm_head(torch.tanh(self.dense(hidden.transpose(0, 1))))


@pytest.fixture(scope="module")
def plain(roberta_folder):
    torch.manual_seed(11)
    return Plain(RobertaConfig.from_pretrained(roberta_folder)).eval()


@pytest.fixture(scope="module", params=["", "module."])
def saved(request, plain, tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "model.bin"
    torch.save({f"{request.param}{name}": tensor for name, tensor in plain.state_dict().items()}, path)
    return path


def load(folder, saved, **values):
    values = {"num_decoder_layers": LAYERS, "checkpoint": str(saved), **values}
    return EncoderModel(weights=str(folder), **values).eval()


def make_batch(model):
    batch = model.tokenizer(["def area(width):\n    return width", "x"], padding=True, return_tensors="pt")
    targets = model.tokenizer(["the area of", "if"], padding=True, return_tensors="pt")
    labels = targets["input_ids"].masked_fill(targets["attention_mask"] == 0, -100)
    return {**batch, "labels": labels}, targets["input_ids"]


def told(caplog):
    return [record.getMessage() for record in caplog.records if record.name.startswith("codeft")]


def test_logits_are_the_scripts(plain, roberta_folder, saved, caplog):
    caplog.set_level(logging.INFO)
    model = load(roberta_folder, saved)
    [said] = told(caplog)  # all has its place, and nothing is random
    assert re.fullmatch(r"taken from .*model\.bin, tensors: encoder \d+, decoder \d+", said)
    batch, targets = make_batch(model)
    with torch.no_grad():
        expected = plain(batch["input_ids"], batch["attention_mask"], targets[:, :-1])
        logits = model(batch).logits[:, 1:]  # the first label is the start itself
    real = batch["labels"][:, 1:] >= 0
    torch.testing.assert_close(logits[real], expected[real], rtol=0, atol=1e-5)
    assert expected[real].std() > 1  # they say something


def test_what_is_written_is_the_scripts(plain, roberta_folder, saved):
    """Greedy, token for token, with a cache and padding here and without either there."""
    model = load(roberta_folder, saved)
    batch, _ = make_batch(model)
    written = model.generate(batch, max_length=12, num_beams=1).tolist()
    start, end = model.tokenizer.bos_token_id, model.tokenizer.eos_token_id
    for ids, mask, row in zip(batch["input_ids"], batch["attention_mask"], written, strict=True):
        ids, tokens = ids[mask == 1][None], [start]
        while len(tokens) < 13 and tokens[-1] != end:
            with torch.no_grad():
                logits = plain(ids, torch.ones_like(ids), torch.tensor([tokens]))
            tokens.append(int(logits[0, -1].argmax()))
        assert row[: len(tokens) - 1] == tokens[1:]
    assert len({token for row in written for token in row}) > 6


def test_a_step_of_training_is_the_scripts(plain, roberta_folder, saved):
    """Without dropout the gradients agree; with it, it lies in the same places."""
    model = load(roberta_folder, saved, dropout=0.0)
    batch, targets = make_batch(model)
    logits = model.train()(batch).logits[:, 1:]
    gold = batch["labels"][:, 1:]
    nn.functional.cross_entropy(logits.transpose(1, 2), gold, ignore_index=-100).backward()
    plain.zero_grad()
    expected = plain(batch["input_ids"], batch["attention_mask"], targets[:, :-1])
    nn.functional.cross_entropy(expected.transpose(1, 2), gold, ignore_index=-100).backward()
    own, theirs = model.network.decoder, plain.decoder.layers[1]
    layer = own.roberta.encoder.layer[1]
    for found, wanted in (
        (layer.intermediate.dense.weight, theirs.linear1.weight),
        (layer.crossattention.output.LayerNorm.bias, theirs.norm2.bias),
        (own.lm_head.dense.weight, plain.dense.weight),
        (own.lm_head.decoder.weight, plain.lm_head.weight),
    ):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-4, atol=1e-6)
    with_dropout = load(roberta_folder, saved, dropout=0.37).network.decoder.roberta.encoder.layer[0]
    found = [m.p for m in with_dropout.modules() if isinstance(m, nn.Dropout)]
    wanted = [m.p for m in theirs.modules() if isinstance(m, nn.Dropout)]
    # PyTorch's attentions hold theirs as a number each.
    assert len(found) == len(wanted) + 2 and set(found) == {0.37}


def test_the_decoder_can_be_asked_for(roberta_folder, saved, caplog):
    caplog.set_level(logging.INFO)
    new = EncoderModel(weights=str(roberta_folder), num_decoder_layers=1, decoder="codexglue")
    assert isinstance(new.network.decoder, CodexglueDecoder)
    assert new.network.decoder.roberta.encoder.layer[0].intermediate.dense.out_features == FEED_FORWARD
    assert told(caplog) == ["new, so random: network.decoder.*"]
    reference = RobertaModel.from_pretrained(roberta_folder).state_dict()
    assert all(
        torch.equal(tensor, reference[name]) for name, tensor in new.network.encoder.state_dict().items()
    )
    caplog.clear()
    other = load(roberta_folder, saved, decoder="roberta")
    assert not isinstance(other.network.decoder, CodexglueDecoder)
    assert any("not used" in text and "decoder" in text for text in told(caplog))
    with pytest.raises(CodeftError, match="decoder must be auto, roberta or codexglue, not 'bart'"):
        load(roberta_folder, saved, decoder="bart")


def test_other_sizes_are_errors(roberta_folder, saved, plain, tmp_path):
    with pytest.raises(CodeftError, match=r"has 2 layers, and model.num_decoder_layers=6: set model.num_dec"):
        load(roberta_folder, saved, num_decoder_layers=6)
    state = dict(plain.state_dict())
    for number in range(LAYERS):
        state[f"decoder.layers.{number}.linear1.weight"] = torch.zeros(64, 32)
    torch.save(state, tmp_path / "model.bin")
    with pytest.raises(CodeftError, match="of another size than the network"):
        load(roberta_folder, tmp_path)


def test_what_a_scripts_decoder_lacks_is_told_as_a_warning(roberta_folder, plain, tmp_path, caplog):
    state = {name: tensor for name, tensor in plain.state_dict().items() if not name.startswith("dense.")}
    torch.save(state, tmp_path / "model.bin")
    load(roberta_folder, tmp_path)
    [text] = told(caplog)
    assert text.endswith("so random: network.decoder.lm_head.*")


def test_beside_a_config_the_decoder_is_found_too(plain, roberta_folder, saved, tmp_path):
    for file in roberta_folder.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, tmp_path)
    shutil.copy(saved, tmp_path)
    model = EncoderModel(weights=str(tmp_path), num_decoder_layers=LAYERS)
    layer = model.network.decoder.roberta.encoder.layer[1]
    assert torch.equal(layer.output.dense.weight, plain.decoder.layers[1].linear2.weight)


def test_a_runs_own_checkpoint_goes_on(roberta_folder, saved, tmp_path):
    """Laid over by `model.checkpoint`, and built again from the architecture alone."""
    model = load(roberta_folder, saved)
    torch.save(
        {"state_dict": {f"model.{n}": t for n, t in model.state_dict().items()}}, tmp_path / "best.ckpt"
    )
    again = load(roberta_folder, tmp_path / "best.ckpt")
    rebuilt = EncoderModel(
        weights="random",
        architecture=model.architecture,
        tokenizer=str(roberta_folder),
        num_decoder_layers=LAYERS,
    )
    rebuilt.load_state_dict(model.state_dict())
    batch, _ = make_batch(model)
    with torch.no_grad():
        expected = model(batch).logits
        assert torch.equal(again(batch).logits, expected)
        assert torch.equal(rebuilt.eval()(batch).logits, expected)


def test_freezing_and_untying(roberta_folder, saved):
    model = load(roberta_folder, saved)
    assert len(model.decoder_blocks()) == LAYERS
    table = model.network.encoder.embeddings.word_embeddings.weight
    assert model.network.decoder.lm_head.decoder.weight is table
    model.untie_output()
    assert model.network.decoder.lm_head.decoder.weight is not table
    batch, _ = make_batch(model)
    assert model(batch).logits.isfinite().all()


def test_it_isnt_exported(roberta_folder, saved):
    with pytest.raises(CodeftError, match=r"no class for the decoder of CodeXGLUE's.*model.decoder=roberta"):
        load(roberta_folder, saved).exported()


def test_other_tasks_leave_the_decoder_over(roberta_folder, saved, caplog):
    model = load(roberta_folder, saved, output="embedding")
    [text] = told(caplog)
    assert "not used" in text and "decoder" in text
    assert "decoder" not in model.architecture


def test_names_without_a_scripts_decoder_stay():
    state = {
        "dense.weight": torch.ones(1),
        "bias": torch.ones(1),
        "model.decoder.layers.0.fc1.bias": torch.ones(1),
    }
    assert rename_scripts({name: state[name] for name in ("dense.weight", "bias")}).keys() == {
        "dense.weight",
        "bias",
    }
