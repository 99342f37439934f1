from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import EncoderDecoderModel, RobertaModel

from codeft.models.encoder import EncoderModel
from codeft.models.exported import write_exported
from codeft.module import FineTuneModule
from codeft.tasks.pretraining import PretrainingTask
from codeft.tasks.summarization import SummarizationTask
from codeft.types import CodeftError


@pytest.fixture
def roberta(roberta_folder):
    return EncoderModel(weights=str(roberta_folder), num_decoder_layers=2)


def make_batch(model, sources, targets):
    ids = model.tokenizer(sources, padding=True, return_tensors="pt")
    labels = model.tokenizer(targets, padding=True, return_tensors="pt")
    masked = labels["input_ids"].masked_fill(labels["attention_mask"] == 0, -100)
    return {"input_ids": ids["input_ids"], "attention_mask": ids["attention_mask"], "labels": masked}


def test_the_encoder_is_the_checkpoint(roberta, roberta_folder):
    reference = RobertaModel.from_pretrained(roberta_folder).state_dict()
    loaded = roberta.network.encoder.state_dict()
    assert loaded.keys() == reference.keys()
    assert all(torch.equal(loaded[key], reference[key]) for key in reference)


def test_tied_weights_count_once_and_freeze_together(roberta):
    embeddings = roberta.network.encoder.embeddings
    total, _ = roberta.num_parameters()
    assert total == sum({id(p): p.numel() for p in roberta.parameters()}.values())
    table = embeddings.word_embeddings.weight
    assert roberta.network.decoder.lm_head.decoder.weight is table
    assert roberta.network.decoder.roberta.embeddings is embeddings
    shared = sum(p.numel() for p in embeddings.parameters())
    roberta.untie_output()
    assert roberta.num_parameters()[0] == total + shared + table.numel()
    assert len(roberta.blocks()) == 3 and len(roberta.decoder_blocks()) == 2


def test_pooler_belongs_to_the_embeddings_and_doesnt_train(roberta):
    assert roberta.embeddings() == [roberta.network.encoder.embeddings, roberta.network.encoder.pooler]
    assert not any(p.requires_grad for p in roberta.network.encoder.pooler.parameters())


def test_no_pooler_where_the_checkpoint_has_none(roberta_folder, tmp_path):
    model = EncoderModel(weights=str(roberta_folder))
    model.network.encoder.pooler = None
    model.network.encoder.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    assert len(EncoderModel(weights=str(tmp_path)).embeddings()) == 1


@pytest.mark.parametrize("has_pooler", [True, False])
def test_transformers_misses_nothing_of_an_export(roberta, tmp_path, has_pooler):
    if not has_pooler:
        roberta.network.encoder.pooler = None
    write_exported(roberta.exported(), tmp_path)
    _, info = EncoderDecoderModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]


def test_the_start_is_not_predicted(roberta):
    roberta.eval()
    batch = make_batch(roberta, ["return x", "x"], ["area of", "x"])
    start = roberta.tokenizer.bos_token_id
    assert batch["labels"][:, 0].eq(start).all()
    seen = []
    roberta.network.decoder.register_forward_pre_hook(
        lambda m, a, k: seen.append(k["input_ids"]), with_kwargs=True
    )
    logits = roberta(batch).logits
    assert seen[0].eq(start).sum(1).tolist() == [1, 1]
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), batch["labels"], ignore_index=-100, reduction="none"
    )
    assert losses[:, 0].eq(0).all() and (losses[0, 1:] > 0).all()
    assert logits.isfinite().all()
    assert not roberta.generate(batch, max_length=4, num_beams=2)[:, 0].eq(start).all()


def plain_loss(roberta, batch):
    """The decoder called directly, and torch's cross-entropy; the `<s>` of a target starts the decoder."""
    ids, mask, labels = batch["input_ids"], batch["attention_mask"], batch["labels"]
    encoded = roberta.network.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    logits = roberta.network.decoder(
        input_ids=labels[:, :-1].masked_fill(labels[:, :-1] < 0, roberta.tokenizer.pad_token_id),
        encoder_hidden_states=encoded,
        encoder_attention_mask=mask,
    ).logits
    return functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="sum")


def test_loss_is_the_mean_over_the_sub_tokens_that_are_predicted(roberta):
    roberta.eval()
    batch = make_batch(roberta, ["return x", "x"], ["area of", "x"])
    loss = SummarizationTask().loss(roberta(batch), batch)
    expected = plain_loss(roberta, batch) / int((batch["labels"][:, 1:] >= 0).sum())
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
    parameters = list(roberta.network.decoder.parameters())
    found, wanted = torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_loss_of_a_split_weighs_each_sub_token_alike(roberta):
    module = FineTuneModule(model=roberta, task=PretrainingTask(parts={"spans": 1})).eval()
    batches = [make_batch(roberta, ["x"], ["area of the width"]), make_batch(roberta, ["return x"], ["x"])]
    for batch in batches:
        module._evaluate({**batch, "index": torch.tensor([0])}, [])
    count = sum(int((batch["labels"][:, 1:] >= 0).sum()) for batch in batches)
    expected = sum(plain_loss(roberta, batch) for batch in batches) / count
    torch.testing.assert_close(module.eval_loss.compute(), expected, atol=1e-5, rtol=0)


def test_positions_limit_source_and_target(roberta):
    assert roberta.max_source_length == 64
    ids = torch.full((1, 64), 5)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    assert roberta(batch).logits.shape[:2] == (1, 64)
    longer = torch.full((1, 65), 5)
    with pytest.raises(CodeftError, match=r"64 positions, a source came with 65.*max_source_length"):
        roberta({**batch, "input_ids": longer, "attention_mask": torch.ones_like(longer)})
    with pytest.raises(CodeftError, match=r"a target came with 65.*max_target_length"):
        roberta({**batch, "labels": longer})
    with pytest.raises(CodeftError, match="a target came with 65"):
        roberta.generate(batch, max_length=65, num_beams=1)


def test_padding_takes_no_positions(roberta):
    roberta.eval()
    batch = make_batch(roberta, ["return x", "x"], ["area of", "x"])
    wider = {
        "input_ids": functional.pad(batch["input_ids"], (0, 70), value=roberta.tokenizer.pad_token_id),
        "attention_mask": functional.pad(batch["attention_mask"], (0, 70)),
        "labels": functional.pad(batch["labels"], (0, 70), value=-100),
    }
    logits, real = roberta(wider).logits[:, : batch["labels"].shape[1]], batch["labels"] >= 0
    torch.testing.assert_close(logits[real], roberta(batch).logits[real], atol=1e-5, rtol=1e-5)
    written = roberta.generate(wider, max_length=6, num_beams=2)
    assert torch.equal(written, roberta.generate(batch, max_length=6, num_beams=2))


def test_dropout_reaches_every_layer(roberta_folder):
    model = EncoderModel(weights=str(roberta_folder), dropout=0.37)
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.37}


def test_random_weights_take_the_tokenizers_padding(t5_folder):
    dimensions = {"vocab_size": 500, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = EncoderModel(
        weights="random", architecture=dimensions, tokenizer=str(t5_folder), num_decoder_layers=1
    ).eval()
    batch = make_batch(model, ["return x", "x"], ["area of", "x"])
    assert model(batch).logits.shape == (*batch["labels"].shape, 500)
    assert model.network.encoder.embeddings.padding_idx == 0
    assert model.generate(batch, max_length=3, num_beams=2).shape[0] == 2


def test_no_decoder_layers_is_an_error(roberta_folder):
    with pytest.raises(CodeftError, match="num_decoder_layers must be at least 1, got 0"):
        EncoderModel(weights=str(roberta_folder), num_decoder_layers=0)


def test_tokenizer_that_pads_otherwise_is_an_error(roberta_folder, t5_folder):
    with pytest.raises(CodeftError, match="tokenizer"):
        EncoderModel(weights=str(roberta_folder), tokenizer=str(t5_folder))


def test_a_real_tiny_codebert(shared_data):
    folder = shared_data / "models" / "tiny_codebert_bcb_hf"
    model = EncoderModel(weights=str(folder), num_decoder_layers=1).eval()
    weights = load_file(folder / "model.safetensors")
    loaded = model.network.encoder.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in weights.items())
    assert (len(model.blocks()), model.max_source_length, model.vocab_size) == (12, 512, 1000)
    batch = make_batch(model, ["int f() { return 1; }", "x"], ["one", "two three"])
    assert batch["labels"][:, 0].eq(0).all()
    assert batch["labels"][1, -1] == model.tokenizer.eos_token_id
    model.record_attention(3)
    assert model(batch).attention.shape[1] == 8
    assert model.generate(batch, max_length=5, num_beams=3).shape[0] == 2


def test_labels_of_a_tokenizer_without_a_start_token_are_all_learnt(tiny_tokenizer):
    """With `</s>` alone, an empty text begins with what the decoder begins with; other texts don't."""
    sizes = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    model = EncoderModel(weights="random", architecture=sizes, tokenizer=str(tiny_tokenizer)).eval()
    ids = torch.tensor(model.tokenizer(["def f"])["input_ids"])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    logits = model(batch).logits
    assert logits.shape[1] == ids.shape[1]
    assert logits.abs().max() < 100
