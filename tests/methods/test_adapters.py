"""Adapters: what moves, what stays, and that they come back from checkpoints, merged or in peft's files."""

from __future__ import annotations

import copy
import json
from functools import partial

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel
from transformers import EncoderDecoderModel as TransformersEncoderDecoder

from adapting import SIZES, adapt, answer, build_module, plain_logits, random_batch, train
from codeft.methods.adapters import AdapterCallback
from codeft.methods.layer_freeze import LayerFreezeCallback
from codeft.methods.structure_loss import choose_layer
from codeft.models.adapter_files import save_adapter
from codeft.models.adapters import has_adapters, merge_adapters
from codeft.types import CodeftError
from one_device import ONE_DEVICE

CONFIGS = {
    "lora": partial(LoraConfig, r=4, lora_alpha=8),
    "dora": partial(LoraConfig, r=4, lora_alpha=8, use_dora=True),
    "ia3": IA3Config,
    "all-linear": partial(LoraConfig, r=4, lora_alpha=8, target_modules="all-linear"),
}
NAMES = {  # what makes queries, and what attention doesn't depend on
    "t5": ("q", "v"),
    "plbart": ("q_proj", "v_proj"),
    "roberta": ("query", "value"),
    "unixcoder": ("query", "value"),
    "gpt2": ("c_attn", "c_proj"),
    "starcoder2": ("q_proj", "v_proj"),
}
OUTPUTS = ("text", "label", "embedding")


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


def is_adapter(name: str) -> bool:
    return "lora_" in name or "ia3_" in name


def is_new(name: str, *, family: str) -> bool:
    """The head for labels and RoBERTa's decoder, but for the embeddings that it shares with the encoder."""
    decoder = ("model.network.decoder.roberta.encoder.", "model.network.decoder.lm_head.")
    return name.startswith("model.head.") or (family == "roberta" and name.startswith(decoder))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("method", CONFIGS)
def test_only_adapters_and_new_modules_move(make, family, batch, method, output):
    module = make(output)
    old = {name for name, _ in module.named_parameters()}
    new = {name for name in old if is_new(name, family=family)}
    adapt(module, CONFIGS[method]())
    adapters = {name for name, _ in module.named_parameters() if is_adapter(name)}
    trainable = {name for name, p in module.named_parameters() if p.requires_grad}
    assert trainable == adapters | new
    assert not any("decoder" in name for name in adapters) or family != "roberta"
    assert train(module, batch) == trainable


def test_lora_adapts_queries_and_values(make, family):
    module = make()
    total = module.model.num_parameters()[0]
    adapt(module, LoraConfig(r=4))
    downs = {name: p for name, p in module.named_parameters() if "lora_A" in name}
    layers = 3 + 2 * 2 if family in ("t5", "plbart") else 3  # of pre-trained attention
    ends = {"gpt2": {"c_attn"}}.get(family, set(NAMES[family]))
    assert {name.split(".lora_A")[0].rpartition(".")[2] for name in downs} == ends
    assert len(downs) == layers * len(ends)
    ups = {name: module.get_parameter(name.replace("lora_A", "lora_B")) for name in downs}
    added = sum(p.numel() for part in (downs, ups) for p in part.values())
    assert module.model.num_parameters()[0] == total + added
    if family != "roberta":
        assert module.model.num_parameters()[1] == added


@pytest.mark.parametrize("method", CONFIGS)
def test_fresh_adapters_change_nothing(make, batch, method):
    module = make()
    module.eval()
    before = answer(module.model, batch)
    adapt(module, CONFIGS[method]())
    torch.testing.assert_close(answer(module.model, batch), before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("method", CONFIGS)
def test_merged_weights_answer_as_the_adapters_did(make, batch, method, output):
    module = make(output)
    plain = {name: p.shape for name, p in module.model.named_parameters()}
    adapt(module, CONFIGS[method]())
    train(module, batch)
    module.eval()
    expected = answer(module.model, batch)
    merged = merge_adapters(module.model)
    assert {name: p.shape for name, p in merged.named_parameters()} == plain
    torch.testing.assert_close(answer(merged, batch), expected, rtol=1e-5, atol=1e-5)
    assert has_adapters(module.model) and not has_adapters(merged)
    torch.testing.assert_close(answer(module.model, batch), expected, rtol=0, atol=0)
    assert merge_adapters(merged) is merged
    assert not any("peft" in name for name in vars(merged.network))
    if output == "text":
        values = {"max_length": 6, "num_beams": 2}
        assert torch.equal(merged.generate(batch, **values), module.model.generate(batch, **values))


def save_base(model, family, folder):
    """Save what training begins with as whoever uses the adapter has it, and return how to load it."""
    if family == "roberta" and model.output == "text":
        model.network.encoder.save_pretrained(folder)
        layers = {"decoder_num_hidden_layers": 2}
        return lambda: TransformersEncoderDecoder.from_encoder_decoder_pretrained(folder, folder, **layers)
    model.network.save_pretrained(folder)
    return partial(type(model.network).from_pretrained, folder)


@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("method", CONFIGS)
def test_peft_reads_what_was_saved(make, family, batch, method, untied, tmp_path):
    module = make()
    load = save_base(module.model, family, tmp_path / "base")
    if untied:
        module.model.untie_output()
    adapt(module, CONFIGS[method]())
    train(module, batch)
    module.eval()
    save_adapter(module.model, tmp_path / "adapter")
    files = {"adapter_config.json", "adapter_model.safetensors"}
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == files
    network = PeftModel.from_pretrained(load(), str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        torch.testing.assert_close(*plain_logits(network, module.model, batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("output", ["label", "embedding"])
def test_peft_reads_an_encoders_adapter(make, family, batch, output, tmp_path):
    module = make(output)
    load = save_base(module.model, family, tmp_path / "base")
    adapt(module, LoraConfig(r=4))
    train(module, batch)
    expected = answer(module.eval().model, batch)
    save_adapter(module.model, tmp_path / "adapter")
    module.model.network = PeftModel.from_pretrained(load(), str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(answer(module.model, batch), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", ["telly first", "lora first"])
def test_below_k_adapters_stay_frozen(make, batch, order):
    module = make()
    adapters, telly = AdapterCallback(config=LoraConfig(r=4)), LayerFreezeCallback(k=2)
    for callback in (telly, adapters) if order == "telly first" else (adapters, telly):
        callback.setup(ONE_DEVICE, module, "fit")
    below = module.model.blocks()[:2]
    assert not any(p.requires_grad for block in below for p in block.parameters())
    assert not any(child.training for block in below for child in block.modules())
    assert all(child.training for child in module.model.blocks()[2].modules())
    moved = train(module, batch)
    assert {name for name in moved if is_adapter(name)} == {
        name for name, p in module.named_parameters() if is_adapter(name) and p.requires_grad
    }
    frozen = {id(p) for block in below for p in block.parameters()}
    assert not any(id(p) in frozen for name, p in module.named_parameters() if name in moved)


@pytest.mark.parametrize("order", ["telly first", "lora first"])
def test_untied_copies_train_beside_adapters(make, batch, order):
    module = make()
    callbacks = [AdapterCallback(config=LoraConfig(r=4)), LayerFreezeCallback(k=0, untie_output=True)]
    for callback in callbacks if order == "lora first" else reversed(callbacks):
        callback.setup(ONE_DEVICE, module, "fit")
    output = module.model.network.get_output_embeddings().weight
    assert output.requires_grad
    assert not any(p.requires_grad for part in module.model.embeddings() for p in part.parameters())
    assert any(p is output for name, p in module.named_parameters() if name in train(module, batch))


def test_surgery_happens_once_at_every_stage(make):
    for stage in ("fit", "test", "predict"):
        module = make()
        callback = AdapterCallback(config=LoraConfig(r=4))
        callback.setup(ONE_DEVICE, module, stage)
        assert has_adapters(module.model)
        names = [name for name, _ in module.named_parameters()]
        callback.setup(ONE_DEVICE, module, "test")
        assert [name for name, _ in module.named_parameters()] == names


def test_a_checkpoint_fits_the_model_that_reads_it(make, batch):
    module, again = make(), make()
    adapt(module, LoraConfig(r=4))
    train(module, batch)
    adapt(again, LoraConfig(r=4), stage="test")
    again.load_state_dict(module.state_dict())
    assert torch.equal(answer(again.eval().model, batch), answer(module.eval().model, batch))


def test_attention_is_recorded_through_adapters(make, batch):
    module = make()
    adapt(module, LoraConfig(r=4))
    module.model.record_attention(1)
    attention = module.model(batch).attention
    assert attention is not None and attention.requires_grad


def test_sat_finds_a_layer_that_adapters_can_move(make, family):
    module = make()
    LayerFreezeCallback(k=1).setup(ONE_DEVICE, module, "fit")
    state = torch.get_rng_state()
    adapt(module, LoraConfig(r=4, target_modules=[NAMES[family][0]]))
    assert not torch.equal(state, torch.get_rng_state())
    state = torch.get_rng_state()
    assert choose_layer(module.model, "auto") == 1
    assert torch.equal(state, torch.get_rng_state()), "looking at a model draws no random numbers"
    with pytest.raises(CodeftError, match="encoder layer 0 is frozen"):
        choose_layer(module.model, 0)
    module = make()
    adapt(module, LoraConfig(r=4, target_modules=[NAMES[family][1]]))
    for layer in ("auto", 0, 2):
        with pytest.raises(
            CodeftError, match="nothing that trains in the encoder layers moves their attention"
        ):
            choose_layer(module.model, layer)


@pytest.mark.parametrize("family", ["t5", "roberta"], indirect=True)
def test_modules_of_the_users_train_and_are_saved(make, family, batch, tmp_path):
    norm = {"t5": "decoder.final_layer_norm", "roberta": "encoder.layer.2.output.LayerNorm"}[family]
    module = make("embedding" if family == "roberta" else "text")
    config = LoraConfig(r=4, modules_to_save=[norm])
    adapt(module, config)
    moved = train(module, batch)
    assert {name for name in moved if not is_adapter(name)} == {
        name for name, _ in module.named_parameters() if f".{norm}." in name
    }
    save_adapter(module.model, tmp_path)
    stored = json.loads((tmp_path / "adapter_config.json").read_text())
    assert all(name.endswith(norm) for name in stored["modules_to_save"])
    assert config.modules_to_save == [norm] and config.target_modules is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"target_modules": ["nothing"]},
            r"target_modules=\['nothing'\] matches nothing.*its linear layers are",
        ),
        ({"target_modules": "("}, "a pattern can't be read"),
        ({"modules_to_save": ["nothing"]}, "modules_to_save names 'nothing', but there is no such module"),
        ({"megatron_config": {}, "megatron_core": "antigravity"}, "megatron_config isn't supported"),
    ],
)
def test_what_does_not_fit_is_told_before_training(make, values, said):
    module = make()
    with pytest.raises(CodeftError, match=said):
        AdapterCallback(config=LoraConfig(r=4, **values)).check_model(module.model)
    assert not has_adapters(module.model)


@pytest.mark.parametrize("family", ["t5", "roberta"], indirect=True)
def test_the_table_is_no_new_module(make, family):
    name = {"t5": "shared", "roberta": "word_embeddings"}[family]
    with pytest.raises(CodeftError, match=f"names '{name}', but its weights are the embeddings'"):
        AdapterCallback(config=LoraConfig(modules_to_save=[name])).check_model(make().model)


def test_other_errors(make, tmp_path):
    module = make()
    with pytest.raises(CodeftError, match="no adapters to save"):
        save_adapter(module.model, tmp_path)
    with pytest.raises(CodeftError, match=r"callbacks\.adapter\.config: .*r"):
        adapt(module, LoraConfig(r=0))
    with pytest.raises(CodeftError, match=r"needs a _target_ of peft's"):
        AdapterCallback(config={"r": 8})
    module = make()
    adapt(module, LoraConfig(r=4))
    with pytest.raises(CodeftError, match="has adapters already"):
        adapt(module, LoraConfig(r=4))


def test_a_network_that_peft_does_not_know_needs_names(make):
    module = make()
    module.model.network.config = copy.copy(module.model.network.config)
    module.model.network.config.model_type = "unheard-of"
    with pytest.raises(CodeftError, match=r"of type 'unheard-of': name them, callbacks\.adapter\.config"):
        AdapterCallback(config=LoraConfig()).check_model(module.model)
