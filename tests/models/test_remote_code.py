"""Models that come with code of their own: refused unless asked for, then computing what it does."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from codeft.models.causal import CausalModel
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.loading import load_tokenizer
from codeft.models.remote_code import RemoteCode, tell_unpinned
from codeft.types import CodeftError
from own_code import INTERFACE, MODELING, build, isolate, mark

GROUPED = {
    "vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "initializer_range": 0.3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def folder(tmp_path, tiny_tokenizer):
    return build(tmp_path / "own model", tiny_tokenizer)


def load(folder, **values):
    return CausalModel(weights=str(folder), trust_remote_code=True, **values).eval()


def batch_of(model):
    sources = model.tokenizer(["def area(width): return", "x", "y"], padding=True, return_tensors="pt")
    targets = model.tokenizer(["if", "area of the width", "x"], padding=True, return_tensors="pt")
    return {
        "input_ids": sources["input_ids"],
        "attention_mask": sources["attention_mask"],
        "labels": targets["input_ids"].masked_fill(targets["attention_mask"] == 0, -100),
    }


def rows_of(batch, i):
    return batch["input_ids"][i][batch["attention_mask"][i].bool()], batch["labels"][i][
        batch["labels"][i] >= 0
    ]


def own(folder):
    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()


def test_it_is_refused_unasked_and_not_run(folder):
    with pytest.raises(
        CodeftError,
        match=r"\(configuration_own.py, modeling_own.py\).*anything that your account can.*"
        r"model.trust_remote_code=true",
    ):
        CausalModel(weights=str(folder))
    assert not mark().exists()


def test_where_it_is_asked_for_the_log_says_once_what_is_run(folder, caplog):
    with caplog.at_level(logging.WARNING):
        load(folder)
    assert mark().exists()
    told = [record.message for record in caplog.records if "running the Python code" in record.message]
    assert len(told) == 1
    assert "modeling_own.py" in told[0] and "anything that your account can" in told[0]


def test_its_config_means_by_a_name_what_it_likes(folder):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"head_dim": 0, "num_layers": [1, 2, 3]}))
    load(folder)


@torch.no_grad()
def test_loss_is_that_of_its_own_logits(folder):
    model, network = load(folder), own(folder)
    batch = batch_of(model)
    losses, count = torch.zeros(()), 0
    for i in range(3):
        source, target = rows_of(batch, i)
        logits = network(input_ids=torch.cat([source, target])[None]).logits[0, len(source) - 1 : -1]
        losses, count = (
            losses + functional.cross_entropy(logits, target, reduction="sum"),
            count + len(target),
        )
    logits = model(batch).logits
    loss = functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=-100)
    torch.testing.assert_close(loss, losses / count, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("takes_positions", [True, False])
def test_greedy_search_is_that_without_a_cache(tmp_path, tiny_tokenizer, takes_positions):
    modeling = MODELING
    if not takes_positions:  # padding before a text would then move its positions
        modeling = MODELING.replace("attention_mask=None, position_ids=None,", "attention_mask=None,")
        modeling = modeling.replace("attention_mask, position_ids,", "attention_mask, None,")
        modeling = modeling.replace(
            "def forward(self, input_ids, attention_mask=None,",
            "def forward(self, input_ids, attention_mask=None, position_ids=None,",
        )
    folder = build(tmp_path / "model", tiny_tokenizer, modeling=modeling)
    model, network = load(folder), own(folder)
    assert model._own.pads_left == model._own.takes_positions == takes_positions
    batch = batch_of(model)
    found = model.generate(batch, max_length=6, num_beams=1)
    for i in range(3):
        ids, _ = rows_of(batch, i)
        expected = []
        while len(expected) < 6 and model.tokenizer.eos_token_id not in expected:
            ids = torch.cat([ids, network(input_ids=ids[None]).logits[0, -1].argmax()[None]])
            expected.append(int(ids[-1]))
        assert found[i, : len(expected)].tolist() == expected
    beams = model.generate(batch, max_length=6, num_beams=3)
    config = {"max_new_tokens": 6, "num_beams": 3, "early_stopping": True, "do_sample": False}
    for i in range(3):
        ids, _ = rows_of(batch, i)
        alone = network.generate(ids[None], attention_mask=torch.ones(1, len(ids)), eos_token_id=1,
                                 pad_token_id=0, **config)[0, len(ids) :]  # fmt: skip
        assert beams[i, : len(alone)].tolist() == alone.tolist()


def test_what_makes_the_lowest_blocks_input_is_found(folder):
    model = load(folder)
    network = model.network
    assert list(model.blocks()) == list(network.stack.blocks)
    embedded = {id(p) for module in model.embeddings() for p in module.parameters()}
    assert embedded == {id(network.stack.words.weight), id(network.stack.positions)}
    assert network.stack.drop in model.embeddings()


def test_attention_of_its_own_isnt_taught(folder, caplog):
    with caplog.at_level(logging.INFO):
        model = load(folder)
    assert "doesn't go through transformers' attention interface" in caplog.text
    with pytest.raises(CodeftError, match=r"OwnForCausalLM.*attention can't be recorded"):
        model.record_attention(0)
    model.record_attention(None)


@torch.no_grad()
def test_attention_through_transformers_interface_is_recorded(tmp_path, tiny_tokenizer):
    folder = build(tmp_path / "model", tiny_tokenizer, modeling=INTERFACE, **GROUPED)
    model = load(folder)
    batch = batch_of(model)
    eager = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, attn_implementation="eager"
    ).eval()
    plain = model(batch).logits
    model.record_attention(1)
    output = model(batch)
    torch.testing.assert_close(output.logits, plain, atol=1e-5, rtol=1e-5)
    for i in range(3):
        source, target = rows_of(batch, i)
        expected = eager(input_ids=torch.cat([source, target])[None], output_attentions=True)
        size = len(source)
        torch.testing.assert_close(
            output.attention[i, :, :size, :size],
            expected.attentions[1][0, :, :size, :size],
            atol=1e-5,
            rtol=0,
        )


def test_is_built_again_from_its_code_and_architecture(folder, tmp_path):
    model = load(folder)
    plain = json.loads(json.dumps(model.architecture))
    kept = tmp_path / "kept"
    kept.mkdir()
    model.tokenizer.save_pretrained(str(kept))
    model.save_code(kept)
    values = {"weights": "random", "architecture": plain, "tokenizer": str(kept)}
    with pytest.raises(CodeftError, match=r"model.trust_remote_code=true"):
        CausalModel(**values)
    again = CausalModel(**values, trust_remote_code=True).eval()
    again.load_state_dict(model.state_dict())
    batch = batch_of(model)
    assert torch.equal(again(batch).logits, model(batch).logits)
    assert again.architecture == model.architecture


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (".tril(before)", "", "isn't causal"),
        ("past_key_values=cache)", "past_key_values=None)", r"no keys and values in a Cache .*NoneType"),
        ("nn.ModuleList([", "nn.Sequential(*[", "expected one ModuleList of num_hidden_layers=3 blocks"),
        ("for block in self.blocks:", "for block in self.blocks[::-1]:", "one after the other"),
        ("import OwnConfig", "import OwnConfig, Missing", "can't be run, ImportError: .*Missing"),
        ("OwnPreTrainedModel, GenerationMixin)", "OwnPreTrainedModel)", "no model that transformers'"),
        ("# prepare", "prepare_inputs_for_generation = lambda self, ids, **values: values['past'][0]",
         "generate can't decode by OwnForCausalLM"),
        ("num_heads, layer\n", "num_heads, layer\n        self.missing()\n", "can't be loaded .*missing"),
        ("self.config.scale", "self.scales", "doesn't run .*AttributeError"),
    ],
)  # fmt: skip
def test_what_codeft_cant_rely_on_is_told(folder, old, new, said):
    path = folder / "modeling_own.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(CodeftError, match=said):
        load(folder)


def test_dropout_of_code_of_its_own_isnt_known(folder):
    with pytest.raises(CodeftError, match=r"leave model.dropout=0.2 away"):
        load(folder, dropout=0.2)


def test_code_of_another_repository_isnt_followed(folder):
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoConfig"] = "someone/else--configuration_own.OwnConfig"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CodeftError, match="another repository"):
        load(folder)
    assert not mark().exists()


def test_a_known_type_runs_no_code_even_where_it_is_asked_for(tmp_path, tiny_tokenizer):
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = shutil.copytree(tiny_tokenizer, tmp_path / "model")
    GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=4)).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoConfig": "own.OwnConfig"}}))
    (folder / "own.py").write_text("raise SystemExit('run')")
    assert type(load(folder).network) is GPT2LMHeadModel


def own_tokenizer(folder):
    """Give a folder a tokenizer of a class of its own."""
    path = folder / "tokenizer_config.json"
    said = json.loads(path.read_text())
    said |= {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "words.OwnTokenizer"]}}
    path.write_text(json.dumps(said))
    (folder / "words.py").write_text(
        "import os\nfrom pathlib import Path\nfrom transformers import PreTrainedTokenizerFast\n"
        "Path(os.environ['OWN_MARK']).touch()\n\n\nclass OwnTokenizer(PreTrainedTokenizerFast):\n    pass\n"
    )


def test_a_tokenizer_of_its_own(tmp_path, tiny_tokenizer, folder):
    words = shutil.copytree(tiny_tokenizer, tmp_path / "words")
    own_tokenizer(words)
    from transformers import GPT2Config, GPT2LMHeadModel

    plain = tmp_path / "plain"
    GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=4)).save_pretrained(plain)
    values = {"weights": str(plain), "tokenizer": str(words)}
    with pytest.raises(CodeftError, match=r"tokenizer in .*\(words.py\).*model.trust_remote_code=true"):
        CausalModel(**values)
    assert not mark().exists()
    model = CausalModel(**values, trust_remote_code=True)
    assert type(model.tokenizer).__name__ == "OwnTokenizer" and mark().exists()


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(
    ("file", "auto_map"),
    [
        ("tokenizer_config.json", {"AutoTokenizer": [None, "other/model--words.OwnTokenizer"]}),
        ("tokenizer_config.json", ["other/model--words.OwnTokenizer", None]),
        ("config.json", {"AutoConfig": "other/model--words.OwnConfig"}),
    ],
)
def test_a_tokenizers_code_of_another_repository_isnt_followed(
    monkeypatch, tmp_path, tiny_tokenizer, caplog, file, auto_map, asked
):
    words = shutil.copytree(tiny_tokenizer, tmp_path / "words")
    own_tokenizer(words)
    path = words / file
    said = json.loads(path.read_text()) if path.is_file() else {"model_type": "own"}
    path.write_text(json.dumps(said | {"auto_map": auto_map}))
    fetched = []
    monkeypatch.setattr(
        "transformers.models.auto.tokenization_auto.get_class_from_dynamic_module",
        lambda *args, **kwargs: fetched.append(args),
    )
    with pytest.raises(CodeftError, match=rf"{file} names code of another repository \(other/model--words"):
        load_tokenizer(words, code=RemoteCode(asked=asked))
    assert not fetched and not mark().exists() and "running the Python code" not in caplog.text


def test_other_families_have_no_such_key(t5_folder, tmp_path):
    folder = shutil.copytree(t5_folder, tmp_path / "t5")
    own_tokenizer(folder)
    (folder / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoModel": "own.Own"}}')
    with pytest.raises(CodeftError, match=r"no model.trust_remote_code for it, but for decoder-only models"):
        EncoderDecoderModel(weights=str(folder))
    assert not mark().exists()


@pytest.mark.parametrize(("revision", "told"), [(None, True), ("v1", True), ("a" * 40, False)])
def test_a_hubs_code_that_isnt_pinned_is_told(tmp_path, caplog, revision, told):
    tell_unpinned("owner/model", tmp_path / ("b" * 40), revision=revision)
    assert (f"model.revision={'b' * 40} pins it" in caplog.text) == told
