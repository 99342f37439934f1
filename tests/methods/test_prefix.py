"""A learned prefix: what moves, that a cache and beams see it, and that peft reads it."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from peft import PeftModel, PrefixTuningConfig, PromptTuningConfig

from adapting import SIZES, adapt, answer, build_module, plain_logits, random_batch, train
from codeft.methods.adapters import AdapterCallback
from codeft.methods.layer_freeze import LayerFreezeCallback
from codeft.methods.structure_loss import choose_layer
from codeft.models import attention
from codeft.models.adapter_files import save_adapter
from codeft.models.adapters import merge_adapters
from codeft.types import CodeftError
from one_device import ONE_DEVICE

TEXT = ["t5", "plbart", "unixcoder", "gpt2", "starcoder2"]
ENCODERS = [(family, output) for family in ("roberta", "unixcoder") for output in ("label", "embedding")]
SITES = [*((family, "text") for family in TEXT), *ENCODERS]
NONE = [("t5", "label"), ("t5", "embedding"), ("plbart", "label"), ("roberta", "text")]
LENGTH = 5


@pytest.fixture(params=SIZES)
def family(request, _one_thread):
    return request.param


@pytest.fixture
def make(family, tiny_tokenizer):
    """Return a module around a new model, by its output."""
    return partial(build_module, family, tiny_tokenizer)


@pytest.fixture
def batch():
    return random_batch()


def prefix(**values) -> PrefixTuningConfig:
    return PrefixTuningConfig(num_virtual_tokens=LENGTH, **values)


@pytest.mark.parametrize(("family", "output"), SITES, indirect=["family"])
@pytest.mark.parametrize("projection", [False, True])
def test_only_the_prefix_and_the_head_move(make, batch, output, projection):
    module = make(output)
    old = {name for name, _ in module.named_parameters() if not name.startswith("model.head.")}
    without = answer(module.eval().model, batch)
    adapt(module, prefix(prefix_projection=projection))
    assert not torch.allclose(answer(module.model, batch), without)
    moved = train(module.train(), batch)
    assert moved == {name for name, _ in module.named_parameters()} - old
    assert any(name.startswith("model.prefix.") for name in moved)


@pytest.mark.parametrize("family", TEXT, indirect=True)
@pytest.mark.parametrize("num_beams", [1, 3])
def test_generation_sees_the_prefix(make, batch, num_beams):
    """What beam search with a cache decodes is what the model finds likeliest, one example at a time."""
    module = make()
    torch.manual_seed(3)
    for parameter in module.model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    adapt(module, prefix())
    model = module.eval().model
    del batch["labels"]
    found = model.generate(batch, max_length=6, num_beams=num_beams)
    for row, (ids, mask) in enumerate(zip(batch["input_ids"], batch["attention_mask"], strict=True)):
        kept = {"input_ids": ids[mask == 1][None], "attention_mask": mask[mask == 1][None]}
        alone = model.generate(kept, max_length=6, num_beams=num_beams)[0]
        assert found[row].tolist()[: len(alone)] == alone.tolist()
        if num_beams == 1:
            logits = model({**kept, "labels": alone[None]}).logits
            assert logits.argmax(-1)[0].tolist() == alone.tolist()


@pytest.mark.parametrize(
    ("family", "output"), [s for s in SITES if s != ("unixcoder", "text")], indirect=["family"]
)  # its class for text is codeft's own
@pytest.mark.parametrize("projection", [False, True])
def test_peft_reads_what_was_saved(make, family, batch, output, projection, tmp_path):
    module = make(output)
    base = copy.deepcopy(module.model.network)
    adapt(module, prefix(prefix_projection=projection))
    train(module, batch)
    model = module.eval().model
    expected = answer(model, batch)
    save_adapter(model, tmp_path)
    network = PeftModel.from_pretrained(base, str(tmp_path)).eval()
    if output == "text":
        theirs, expected = plain_logits(network, model, batch)
    else:
        plain = make(output).eval().model
        plain.head = model.head
        plain.network = network
        theirs = answer(plain, batch)
    torch.testing.assert_close(theirs, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("family", "output"), SITES, indirect=["family"])
def test_a_checkpoint_fits_the_model_that_reads_it(make, batch, output):
    module, again = make(output), make(output)
    adapt(module, prefix())
    train(module, batch)
    adapt(again, prefix(), stage="test")
    again.load_state_dict(module.state_dict())
    twin = copy.deepcopy(module.eval().model)
    expected = answer(module.model, batch)
    assert torch.equal(answer(again.eval().model, batch), expected)
    torch.nn.init.zeros_(module.model.prefix.encoder.embedding.weight)
    assert torch.equal(answer(twin, batch), expected), "a copy has its own prefix"


@pytest.mark.parametrize(("family", "output"), SITES, indirect=["family"])
def test_half_precision(make, batch, output):
    module = make(output)
    adapt(module, prefix())
    expected = answer(module.eval().model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(answer(module.model, batch).float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(("family", "output"), NONE, indirect=["family"])
def test_a_model_that_has_no_place_for_it_says_so(make, output):
    with pytest.raises(CodeftError, match=rf"method=prefix doesn't work for .*Model where .* is {output}"):
        AdapterCallback(config=prefix()).check_model(make(output).model)


@pytest.mark.parametrize(("family", "output"), [("roberta", "label")], indirect=["family"])
def test_it_takes_positions(make, output):
    module = make(output)
    limit = module.model.max_source_length
    module.task.max_source_length = limit
    with pytest.raises(CodeftError, match=rf"a prefix leaves the model {limit - LENGTH} positions"):
        adapt(module, prefix())
    assert module.model.max_source_length == limit - LENGTH
    for length in (0, -1, limit, 2.5):
        with pytest.raises(CodeftError, match=rf"at least 1, less than the model's {limit} positions"):
            config = PrefixTuningConfig(num_virtual_tokens=length)
            AdapterCallback(config=config).check_model(make(output).model)


@pytest.mark.parametrize("family", ["roberta"], indirect=True)
def test_positions_that_are_none_stay(make):
    """Padding's, and the one that data flow gives to variables."""
    module = make("label")
    adapt(module, prefix())
    first = module.model.tokenizer.pad_token_id + 1
    given = {
        "inputs_embeds": torch.zeros(1, 3, 16),
        "attention_mask": torch.full((1, 1, 3, 3), -1.0),  # added to scores
        "position_ids": torch.tensor([[first, first - 1, first + 1]]),
    }
    _, changed = module.model.prefix.provide(module.model.network, (), given)
    assert changed["position_ids"].tolist() == [[first + LENGTH, first - 1, first + 1 + LENGTH]]
    assert changed["attention_mask"].tolist() == [[[[0.0] * LENGTH + [-1.0] * 3] * 3]]
    assert changed["past_key_values"].get_seq_length() == LENGTH


@pytest.mark.parametrize("family", ["t5"], indirect=True)
def test_with_other_methods(make, batch, tmp_path):
    module = make()
    LayerFreezeCallback(k=2, untie_output=True).setup(ONE_DEVICE, module, "fit")
    adapt(module, prefix())
    moved = train(module, batch)
    assert "model.network.lm_head.weight" in moved and "model.prefix.encoder.embedding.weight" in moved
    with pytest.raises(CodeftError, match="no room for what else was trained"):
        save_adapter(module.model, tmp_path)
    with pytest.raises(CodeftError, match="can't be merged"):
        merge_adapters(module.model)
    with pytest.raises(CodeftError, match="a prefix in the decoder doesn't move the encoder's attention"):
        choose_layer(module.model, "auto")
    with pytest.raises(CodeftError, match="has adapters already"):
        adapt(module, prefix())
    with pytest.raises(CodeftError, match="PromptTuningConfig isn't supported"):
        adapt(make(), PromptTuningConfig(num_virtual_tokens=3))


# What SAT reads:

STACKS = [("unixcoder", "text"), ("gpt2", "text"), ("starcoder2", "text"), *ENCODERS]


def recorded(model, batch, *, layer, after_dropout=False):
    model.record_attention(layer, after_dropout=after_dropout)
    output = model(batch)
    model.record_attention(None)
    return output


@pytest.mark.parametrize(("family", "output"), STACKS, indirect=["family"])
def test_recorded_attention_is_the_texts_own(make, batch, output, monkeypatch):
    """The prefix's columns are cut off, and the others are what is left of an eager model's rows."""
    module = make(output)
    adapt(module, prefix())
    model, length = module.eval().model, batch["input_ids"].shape[1]
    seen = []
    cut = attention.weights_of_text
    monkeypatch.setattr(
        attention, "weights_of_text", lambda whole, **how: seen.append(whole) or cut(whole, **how)
    )
    result = recorded(model, batch, layer=1)
    found = result.attention
    torch.testing.assert_close(
        answer(model, batch), result.logits if output != "embedding" else result.embedding
    )
    assert found.shape == (2, 4, length, length)
    [whole] = seen
    assert whole.shape[-1] == whole.shape[-2] + LENGTH
    own = whole[:, :, :length, LENGTH : LENGTH + length]
    sums = whole[:, :, :length, LENGTH:].sum(-1, keepdim=True)
    real = batch["attention_mask"].bool()
    rows = real[:, None, :].expand(-1, 4, -1)
    torch.testing.assert_close(found[rows], (own / sums)[rows])
    torch.testing.assert_close(found.sum(-1)[rows], torch.ones(int(rows.sum())))
    assert found[1, :, :8, 8:].eq(0).all()  # padding
    if result.attention_is_causal:
        assert found.triu(1).eq(0).all()
    after = recorded(model, batch, layer=1, after_dropout=True).attention
    torch.testing.assert_close(after[rows], own[rows])  # nothing is dropped here, and nothing renormalised


@pytest.mark.parametrize("family", ["roberta"], indirect=True)
def test_recorded_attention_is_the_eager_models(make, batch):
    module = make("embedding")
    adapt(module, prefix())
    model = module.eval().model
    found = recorded(model, batch, layer=1).attention
    model.network.set_attn_implementation("eager")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    eager = model.network(input_ids=ids, attention_mask=mask, output_attentions=True).attentions[1]
    own = eager[..., LENGTH:] / eager[..., LENGTH:].sum(-1, keepdim=True)
    torch.testing.assert_close(found, own, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("family", "output"), STACKS, indirect=["family"])
def test_a_prefix_moves_attention_from_the_second_layer_up(make, batch, output):
    """In its own layer it takes the same share of all; the layer above reads what it changed."""
    module = make(output)
    adapt(module, prefix())
    model = module.eval().model
    assert choose_layer(model, "auto") == 1 and choose_layer(model, 2) == 2
    with pytest.raises(CodeftError, match="the lowest trainable layer is 1"):
        choose_layer(model, 0)
    weight = model.prefix.encoder.embedding.weight
    sizes = []
    for layer in (0, 1):
        loss = recorded(model, batch, layer=layer).attention.square().sum()
        [gradient] = torch.autograd.grad(loss, weight)
        sizes.append(gradient.abs().max().item())
    assert sizes[0] < 1e-5 < 1e-3 < sizes[1]


@pytest.mark.parametrize(("family", "output"), STACKS, indirect=["family"])
def test_a_prefix_that_is_frozen_moves_nothing(make, output):
    module = make(output)
    adapt(module, prefix())
    module.model.prefix.requires_grad_(False)
    with pytest.raises(CodeftError, match="all 3 encoder layers are frozen"):
        choose_layer(module.model, "auto")
