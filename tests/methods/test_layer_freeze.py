"""Which parameters Telly-K leaves alone, and which modules it keeps quiet."""

from __future__ import annotations

import json
from functools import partial

import pytest
import pytorch_lightning as pl
import torch

from codeft.methods.layer_freeze import LayerFreezeCallback
from codeft.models.encoder import EncoderModel
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.prefix_lm import PrefixLMModel
from codeft.module import FineTuneModule
from codeft.tasks.summarization import SummarizationTask
from codeft.types import CodeftError
from one_device import ONE_DEVICE

LAYERS, DECODER_LAYERS = 3, 2


@pytest.fixture(params=["t5", "roberta", "prefix"])
def module(request, tiny_tokenizer, _one_thread):
    """A model of 3 layers, and 2 of a decoder where it has one, ready to train."""
    torch.manual_seed(0)
    if request.param == "t5":
        sizes = {"vocab_size": 400, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_heads": 4}
        layers = {"num_layers": LAYERS, "num_decoder_layers": DECODER_LAYERS}
        model = EncoderDecoderModel(
            weights="random", tokenizer=str(tiny_tokenizer), architecture=sizes | layers
        )
    else:
        sizes = {"vocab_size": 404, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 32}
        layers = {"num_hidden_layers": LAYERS, "max_position_embeddings": 66, "type_vocab_size": 1}
        ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
        settings = {
            "weights": "random", "tokenizer": str(tiny_tokenizer), "architecture": sizes | layers | ids
        }  # fmt: skip
        if request.param == "roberta":
            model = EncoderModel(**settings, num_decoder_layers=DECODER_LAYERS)
        else:
            model = PrefixLMModel(**settings)
    task = SummarizationTask(max_target_length=8, num_beams=1)
    return FineTuneModule(
        model=model, task=task, optimizer=partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5)
    )


@pytest.fixture
def batch():
    torch.manual_seed(1)
    ids, labels = torch.randint(3, 290, (2, 12)), torch.randint(3, 290, (2, 6))
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": labels,
        "index": torch.arange(2),
    }


def loss_of(module, batch):
    return module.task.loss(module.model(batch), batch)


def moved(module, batch) -> set[str]:
    """Return the names of the parameters that an optimizer step changes, weight decay included."""
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    module._trainer = pl.Trainer(logger=False, enable_progress_bar=False, enable_checkpointing=False)
    optimizer = module.configure_optimizers()
    loss_of(module, batch).backward()
    optimizer.step()
    return {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}


def names_of(module, parts) -> set[str]:
    ids = {id(p) for part in parts for p in part.parameters()}
    return {name for name, p in module.named_parameters() if id(p) in ids}


@pytest.mark.parametrize("k", ["base", *range(LAYERS + 1)])
def test_exactly_the_layers_above_k_move(module, batch, k):
    model = module.model
    frozen = [] if k == "base" else [*model.embeddings(), *model.blocks()[:k]]
    expected = {name for name, _ in module.named_parameters()} - names_of(module, frozen)
    unused = {name for name in expected if "pooler" in name}  # no loss reads it
    LayerFreezeCallback(k=k).setup(ONE_DEVICE, module, "fit")
    if not expected:
        with pytest.raises(CodeftError, match="every parameter of the model is frozen"):
            moved(module, batch)
        return
    assert moved(module, batch) == expected - unused
    assert model.num_parameters()[1] == sum(p.numel() for n, p in module.named_parameters() if n in expected)


def test_decoder_layers_freeze_too(module, batch):
    if not module.model.decoder_blocks():
        pytest.skip("one stack is encoder and decoder")
    expected_still = names_of(module, [*module.model.embeddings(), *module.model.decoder_blocks()[:1]])
    LayerFreezeCallback(k=0, decoder_k=1).setup(ONE_DEVICE, module, "fit")
    assert not moved(module, batch) & expected_still


def test_an_untied_output_trains_and_is_copied_once(module, batch):
    before = loss_of(module.eval(), batch)
    callback = LayerFreezeCallback(k=0, untie_output=True)
    callback.setup(ONE_DEVICE, module, "fit")
    assert torch.equal(loss_of(module.eval(), batch), before)
    names = moved(module, batch)
    after = {name: p.detach().clone() for name, p in module.named_parameters()}
    callback.setup(ONE_DEVICE, module, "test")
    assert all(torch.equal(p, after[name]) for name, p in module.named_parameters())
    assert {id(p) for p in module.model.network.get_output_embeddings().parameters()} & {
        id(p) for name, p in module.named_parameters() if name in names
    }


def test_frozen_layers_run_without_dropout_unless_reference(module):
    model = module.model
    LayerFreezeCallback(k=2, reference=True).setup(ONE_DEVICE, module, "fit")
    assert all(child.training for child in model.modules())
    LayerFreezeCallback(k=2).setup(ONE_DEVICE, module, "fit")
    quiet = {id(child) for part in (*model.embeddings(), *model.blocks()[:2]) for child in part.modules()}
    assert all(child.training == (id(child) not in quiet) for child in model.modules())


def test_what_is_frozen_computes_the_same_again(module, batch):
    LayerFreezeCallback(k=2).setup(ONE_DEVICE, module, "fit")
    seen: dict[int, list[torch.Tensor]] = {1: [], 2: []}  # the last frozen block's output, and the next one's
    for layer, outputs in seen.items():
        module.model.blocks()[layer].register_forward_hook(
            lambda _, __, output, outputs=outputs: outputs.append(
                output if isinstance(output, torch.Tensor) else output[0]
            )
        )
    for _ in range(2):
        module.model(batch)
    assert torch.equal(*seen[1])
    assert not torch.equal(*seen[2])  # dropout is on there


def test_nothing_freezes_outside_fit(module):
    LayerFreezeCallback(k=2).setup(ONE_DEVICE, module, "test")
    assert module.model.num_parameters()[0] == module.model.num_parameters()[1]
    assert all(child.training for child in module.model.modules())


@pytest.mark.parametrize("k", [-1, LAYERS + 1, 1.0, True, "all", "2"])
def test_a_wrong_k_names_the_range(module, k):
    with pytest.raises(CodeftError, match=rf"base, auto or a whole number from 0 to {LAYERS}.*not {k!r}"):
        LayerFreezeCallback(k=k).setup(ONE_DEVICE, module, "fit")


def test_a_missing_k_says_what_to_type(module):
    with pytest.raises(CodeftError, match=r"needs k: .*for instance k=1"):
        LayerFreezeCallback(k=None).setup(ONE_DEVICE, module, "fit")


@pytest.mark.parametrize("decoder_k", [-1, DECODER_LAYERS + 1, "base"])
def test_a_wrong_decoder_k_names_the_range(module, decoder_k):
    most = len(module.model.decoder_blocks())
    with pytest.raises(CodeftError, match=rf"decoder_k must be a whole number from 0 to {most}"):
        LayerFreezeCallback(k=0, decoder_k=decoder_k).setup(ONE_DEVICE, module, "fit")


def test_k_base_equals_full_bit_for_bit_and_frozen_layers_stay_quiet(command, tiny, tmp_path, monkeypatch):
    """Whole runs: the modes must survive the validation in the middle of an epoch."""
    import codeft.fitting

    modes: list[list[bool]] = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            modes.append([block.training for block in pl_module.model.blocks()])

    real = codeft.fitting.run_callbacks
    monkeypatch.setattr(codeft.fitting, "run_callbacks", lambda *arguments: [*real(*arguments), Watch()])
    for name, overrides in (
        ("full", ["method=full"]),
        ("base", ["method=telly", "k=base"]),
        ("k1", ["method=telly", "k=1", "trainer.val_check_interval=0.5"]),
    ):
        modes.clear()
        command("train", *tiny, *overrides, f"hydra.run.dir={tmp_path / name}")
        assert modes == 12 * [[name != "k1", True]]
    full, base, k1 = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("full", "base", "k1")
    )
    assert all(torch.equal(full[name], base[name]) for name in full)
    assert not all(torch.equal(full[name], k1[name]) for name in full)
    metrics = json.loads((tmp_path / "k1" / "metrics.json").read_text())
    assert metrics["k"] == 1 and metrics["params"]["trainable"] < metrics["params"]["total"]
    assert json.loads((tmp_path / "base" / "metrics.json").read_text())["k"] == "base"
