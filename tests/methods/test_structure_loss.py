from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch.utils.data import DataLoader

from codeft.cli import conf_dir
from codeft.data.collate import Collator, Item
from codeft.data.tree_feature import TreeFeature
from codeft.methods.structure_loss import SATStructureLossCallback, choose_layer
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.tokenizer import train_tokenizer
from codeft.module import FineTuneModule
from codeft.tasks.translation import TranslationTask
from codeft.types import Batch, CodeftError, Example

SOURCES = (
    "public int size() { return this.size; }",
    "public void set(int i, String s) { if (i < n) { items[i] = s; } }",
    "public String name(Item item) { return item == null ? null : item.getName(); }",
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> EncoderDecoderModel:
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [source.replace("item", f"item{i}") for i in range(60) for source in SOURCES]
    train_tokenizer(iter(texts), vocab_size=420).save_pretrained(folder)
    torch.manual_seed(0)
    architecture = {
        "vocab_size": 420, "d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64, "num_layers": 3,
        "num_decoder_layers": 1, "dropout_rate": 0.1, "pad_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip
    return EncoderDecoderModel(weights="random", architecture=architecture, tokenizer=str(folder))


@pytest.fixture
def module(pristine: EncoderDecoderModel) -> FineTuneModule:
    task = TranslationTask(lang="java-cs", max_source_length=80, max_target_length=60, num_beams=1)
    optimizer = partial(torch.optim.AdamW, lr=1e-3)
    return FineTuneModule(model=copy.deepcopy(pristine), task=task, optimizer=optimizer)


@pytest.fixture
def batch(module: FineTuneModule) -> Batch:
    feature = TreeFeature()
    examples = [Example(str(i), source, target=source, lang="java") for i, source in enumerate(SOURCES)]
    encodings = module.task.encode(examples, module.model.tokenizer)
    items = [
        Item(i, encoding, [{"tree": feature.compute(example, encoding)}])
        for i, (example, encoding) in enumerate(zip(examples, encodings, strict=True))
    ]
    return Collator(pad_id=0, features={"tree": feature})(items)


def fit(
    module: FineTuneModule, batch: Batch, folder: Path, *callbacks: pl.Callback, steps: int = 3
) -> pl.Trainer:
    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, callbacks=list(callbacks), default_root_dir=folder,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader([batch] * steps, batch_size=None))
    return trainer


class Freeze(pl.Callback):
    def __init__(self, layers: int) -> None:
        self.layers = layers

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for block in pl_module.model.blocks()[: self.layers]:
            block.requires_grad_(False)


def test_adds_alpha_times_the_loss(module: FineTuneModule, batch: Batch, tmp_path: Path) -> None:
    trainer = fit(module, batch, tmp_path, SATStructureLossCallback(alpha=10.0), steps=1)
    logged = {key: value.item() for key, value in trainer.logged_metrics.items()}
    assert logged["train/structure_loss_step"] > 0
    total = logged["train/task_loss_step"] + 10.0 * logged["train/structure_loss_step"]
    assert logged["train/loss_step"] == pytest.approx(total)


def test_training_lowers_the_structure_loss(module: FineTuneModule, batch: Batch, tmp_path: Path) -> None:
    module.model.eval()  # no dropout: the same attention is measured before and after

    def structure_loss() -> float:
        module.model.record_attention(0)
        with torch.no_grad():
            return module.loss_terms["structure"](module.model(batch), batch).item()

    callback = SATStructureLossCallback(alpha=100.0, learning_rate=0.0)
    callback.setup(pl.Trainer(logger=False, accelerator="cpu"), module, "fit")
    before = structure_loss()
    fit(module, batch, tmp_path, callback, steps=15)
    assert structure_loss() < 0.9 * before
    assert module.loss_terms["structure"].loss.slope.item() == pytest.approx(-0.0033)  # learning rate 0


@pytest.mark.parametrize("reference", [False, True])
def test_bridge_learns_at_its_own_rate(
    reference: bool, module: FineTuneModule, batch: Batch, tmp_path: Path
) -> None:
    callback = SATStructureLossCallback(alpha=1.0, learning_rate=1e-2, reference=reference)
    callback.setup(pl.Trainer(logger=False, accelerator="cpu"), module, "fit")
    before = module.loss_terms["structure"].loss.slope.item()
    fit(module, batch, tmp_path, callback, steps=1)
    moved = abs(module.loss_terms["structure"].loss.slope.item() - before)
    assert moved == pytest.approx(1e-2, rel=0.05)  # Adam's first step is the learning rate


def test_alpha_0_trains_as_without_the_method(module: FineTuneModule, batch: Batch, tmp_path: Path) -> None:
    module.model.eval()  # recorded attention draws its dropout otherwise than SDPA does
    plain = copy.deepcopy(module)
    fit(plain, batch, tmp_path)
    fit(module, batch, tmp_path, SATStructureLossCallback(alpha=0.0))
    ours = module.model.state_dict()
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(ours[name], weight, rtol=0, atol=1e-4)


def test_records_in_training_steps_only(module: FineTuneModule, batch: Batch, tmp_path: Path) -> None:
    seen: list[bool] = []

    class Spy(pl.Callback):
        def on_before_zero_grad(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: object
        ) -> None:
            with torch.no_grad():
                seen.append(pl_module.model(batch).attention is not None)

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            with torch.no_grad():
                seen.append(pl_module.model(batch).attention is not None)

    fit(module, batch, tmp_path, SATStructureLossCallback(alpha=1.0), Spy(), steps=2)
    assert seen == [True, True, False]


def compared(
    module: FineTuneModule, batch: Batch, folder: Path, callback: SATStructureLossCallback
) -> torch.Tensor:
    """Return the attention [B, H, S, S] that the loss saw in a training step."""
    seen: list[torch.Tensor] = []
    callback.setup(pl.Trainer(logger=False, accelerator="cpu"), module, "fit")
    loss = module.loss_terms["structure"].loss
    loss.register_forward_pre_hook(lambda _, values: seen.append(values[0].detach()))
    fit(module, batch, folder, callback, steps=1)
    return seen[0]


def configured(method: str, *overrides: str) -> SATStructureLossCallback:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=[f"method={method}", *overrides])
    return instantiate(cfg.callbacks.structure_loss)


def test_sat_reads_attention_before_dropout(module: FineTuneModule, batch: Batch, tmp_path: Path) -> None:
    rows = compared(module, batch, tmp_path, configured("sat"))
    text = batch["attention_mask"].bool()
    torch.testing.assert_close(rows.sum(-1).mT[text], torch.ones(int(text.sum()), 4))
    assert (rows.permute(0, 2, 3, 1)[text[:, :, None] & text[:, None]] > 0).all()


def test_sat_reference_reads_attention_after_dropout(
    module: FineTuneModule, batch: Batch, tmp_path: Path
) -> None:
    """A tenth of the weights are dropped, and the others grow."""
    rows = compared(module, batch, tmp_path, configured("sat_reference"))
    text = batch["attention_mask"].bool()
    weights = rows.permute(0, 2, 3, 1)[text[:, :, None] & text[:, None]]
    assert 0.05 < (weights == 0).float().mean() < 0.15
    assert (rows.sum(-1).mT[text] - 1).abs().mean() > 0.01


@pytest.mark.parametrize("method", ["sat", "sat_reference"])
def test_one_head_may_be_taught_alone(
    method: str, module: FineTuneModule, batch: Batch, tmp_path: Path
) -> None:
    module.model.eval()  # no dropout: the two losses see one attention
    losses = []
    for value in (1, 0):
        callback = configured(method, f"callbacks.structure_loss.multi_head_loss={value}")
        own = copy.deepcopy(module)
        callback.setup(pl.Trainer(logger=False, accelerator="cpu"), own, "fit")
        loss = own.loss_terms["structure"].loss
        with torch.no_grad():
            loss.slope.fill_(-0.1)
            loss.offset.fill_(0.5)
        own.model.record_attention(0)
        with torch.no_grad():
            output = own.model(batch)
            losses.append(own.loss_terms["structure"](output, batch).item())
            alone = replace(output, attention=output.attention[:, :1])
            single = own.loss_terms["structure"](alone, batch).item()
    assert losses[1] == single != losses[0]


def test_heads_are_0_or_1(command, tiny: list[str], tmp_path: Path) -> None:
    words = ["method=sat", "callbacks.structure_loss.multi_head_loss=2", f"hydra.run.dir={tmp_path}"]
    with pytest.raises(SystemExit, match="multi_head_loss must be 0 or 1"):
        command("train", *tiny, *words)


@pytest.mark.parametrize("freeze_first", [False, True])
def test_teaches_the_lowest_layer_that_trains(
    freeze_first: bool, module: FineTuneModule, batch: Batch, tmp_path: Path
) -> None:
    asked: list[int | None] = []
    record = module.model.record_attention
    module.model.record_attention = lambda layer, **values: (asked.append(layer), record(layer, **values))
    callbacks = [SATStructureLossCallback(alpha=1.0), Freeze(2)]
    fit(module, batch, tmp_path, *(reversed(callbacks) if freeze_first else callbacks), steps=1)
    assert asked == [2, None]


def test_choose_layer_names_what_is_wrong(module: FineTuneModule) -> None:
    model = module.model
    assert [choose_layer(model, layer) for layer in ("auto", 0, 2)] == [0, 0, 2]
    for layer in (3, -1, "first", True):
        with pytest.raises(CodeftError, match="from 0 to 2"):
            choose_layer(model, layer)
    model.blocks()[0].requires_grad_(False)
    assert choose_layer(model, "auto") == 1
    with pytest.raises(CodeftError, match="nothing to teach there; the lowest trainable layer is 1"):
        choose_layer(model, 0)
    for block in model.blocks():
        block.requires_grad_(False)
    with pytest.raises(CodeftError, match="all 3 encoder layers are frozen"):
        choose_layer(model, "auto")
    model.blocks = lambda: []
    with pytest.raises(CodeftError, match="no encoder layers"):
        choose_layer(model, "auto")


@pytest.mark.parametrize("alpha", [None, -0.1, float("nan"), float("inf"), "much", True])
def test_alpha_must_be_given_and_sane(alpha: object) -> None:
    with pytest.raises(CodeftError, match="alpha"):
        SATStructureLossCallback(alpha=alpha)


def test_batch_without_trees_is_refused(module: FineTuneModule, batch: Batch, tmp_path: Path) -> None:
    bare = {key: value for key, value in batch.items() if not key.startswith("tree")}
    with pytest.raises(CodeftError, match=r"data\.features\.tree"):
        fit(module, bare, tmp_path, SATStructureLossCallback(alpha=1.0))


def test_checkpoint_brings_the_bridge_back(module: FineTuneModule, batch: Batch, tmp_path: Path) -> None:
    again = copy.deepcopy(module)
    trainer = fit(module, batch, tmp_path, SATStructureLossCallback(alpha=1.0, learning_rate=0.1), steps=2)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    SATStructureLossCallback(alpha=1.0).setup(trainer, again, "test")
    again.load_state_dict(torch.load(tmp_path / "run.ckpt", weights_only=True)["state_dict"])
    assert again.loss_terms["structure"].loss.slope == module.loss_terms["structure"].loss.slope


def test_reference_needs_padded_batches(tiny: list[str], command, tmp_path: Path) -> None:
    reference = ["method=sat", "callbacks.structure_loss.reference=true", f"hydra.run.dir={tmp_path}"]
    with pytest.raises(SystemExit, match="pad_to_max=true"):
        command("train", *tiny, *reference)


def test_sources_that_dont_parse_are_counted() -> None:
    feature = TreeFeature()
    task = TranslationTask(lang="java-cs")
    examples = [
        Example("a", "int f() { return 1; }", lang="java"),
        Example("b", "int f( { ] return", lang="java"),
    ]
    texts = iter(
        [example.source * 400 + str(range(10**6)) for example in examples] + list(map(str, range(4000)))
    )
    for example, encoding in zip(
        examples, task.encode(examples, train_tokenizer(texts, vocab_size=400)), strict=True
    ):
        feature.compute(example, encoding)
    assert feature.num_unparsed == 1
    assert feature.note().startswith("1 sources")
