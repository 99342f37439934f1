from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import RobertaConfig, RobertaForMaskedLM, RobertaModel, T5Config, T5ForConditionalGeneration

from codeft.models.placement import place_keys

ROBERTA = sorted(
    RobertaModel(
        RobertaConfig(
            vocab_size=9, hidden_size=4, num_hidden_layers=2, num_attention_heads=2, intermediate_size=4
        )
    ).state_dict()
)
T5 = sorted(
    T5ForConditionalGeneration(
        T5Config(vocab_size=9, d_model=4, d_kv=2, num_heads=2, num_layers=2, d_ff=4)
    ).state_dict()
)
HEAD = ["dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias"]
CLASSIFIERS = ["classifier", "head"]

WORDS = st.lists(st.from_regex(r"[a-z_]{1,6}|[0-9]", fullmatch=True), max_size=4)


def under(prefix, names):
    return [f"{prefix}.{name}" if prefix else name for name in names]


@given(prefix=WORDS, network=st.sampled_from([ROBERTA, T5]), others=st.lists(WORDS, max_size=5))
def test_a_whole_network_is_found_behind_any_names(prefix, network, others):
    found = under(".".join(prefix), network)
    further = {".".join(["other", *words]) for words in others}
    placement = place_keys([*found, *further], set(network))
    assert placement.mapping == dict(zip(network, found, strict=True))
    assert placement.leftover == sorted(further) and not placement.missing


@given(st.lists(WORDS, max_size=8), st.lists(WORDS, max_size=8))
def test_every_name_is_placed_once_left_over_or_missing(found, wanted):
    names, places = {".".join(words) for words in found}, {".".join(words) for words in wanted}
    placement = place_keys(names, places)
    assert sorted([*placement.mapping.values(), *placement.leftover]) == sorted(names)
    assert sorted([*placement.mapping, *placement.missing]) == sorted(places)
    assert all(name == own or name.endswith(f".{own}") for own, name in placement.mapping.items())


@pytest.mark.parametrize("prefix", ["", "encoder", "encoder.roberta", "module.encoder", "roberta"])
def test_what_codexglues_scripts_wrap(prefix):
    found = under(prefix, ROBERTA)
    assert place_keys([*found, "lm_head.bias"], ROBERTA).leftover == ["lm_head.bias"]


def test_one_stack_in_two_roles_is_taken_as_the_encoder():
    found = [*under("encoder", ROBERTA), *under("decoder", ROBERTA), "bias", "dense.weight", "lm_head.weight"]
    placement = place_keys(found, ROBERTA)
    assert set(placement.mapping.values()) == set(under("encoder", ROBERTA))


def test_a_decoder_of_another_kind_has_no_place():
    decoder = ["self_attn.in_proj_weight", "multihead_attn.out_proj.bias", "linear1.weight", "norm3.bias"]
    found = [*under("encoder", ROBERTA), *under("decoder.layers.0", decoder), "dense.bias", "lm_head.weight"]
    assert place_keys(found, ROBERTA).leftover == sorted(set(found) - set(under("encoder", ROBERTA)))
    assert not place_keys(found, {"roberta.encoder.layer.0.output.dense.bias"}, behind=["decoder"]).mapping


def test_the_outer_of_two_heads_is_the_one_that_was_trained():
    found = [
        *under("encoder.roberta", ROBERTA),
        *under("encoder.classifier", HEAD),
        *under("classifier", HEAD),
    ]
    placement = place_keys(found, HEAD, behind=CLASSIFIERS)
    assert placement.mapping == dict(zip(HEAD, under("classifier", HEAD), strict=True))
    inner = place_keys(found[: -len(HEAD)], HEAD, behind=CLASSIFIERS)
    assert inner.mapping["dense.bias"] == "encoder.classifier.dense.bias"


def test_a_head_is_only_taken_from_where_heads_are():
    assert not place_keys(under("encoder", ROBERTA), HEAD, behind=CLASSIFIERS).mapping


def test_codet5s_scripts_wrap_a_whole_t5():
    found = [*under("encoder", T5), "classifier.dense.weight"]
    placement = place_keys(found, T5)
    assert not placement.missing and placement.leftover == ["classifier.dense.weight"]


def test_names_of_the_first_checkpoints():
    old = [name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta") for name in ROBERTA]
    assert old != ROBERTA
    placement = place_keys(under("roberta", old), ROBERTA)
    assert not placement.missing and not placement.leftover


def test_a_masked_language_models_own_names():
    config = RobertaConfig(
        vocab_size=9, hidden_size=4, num_hidden_layers=2, num_attention_heads=2, intermediate_size=4
    )
    placement = place_keys(RobertaForMaskedLM(config).state_dict(), ROBERTA)
    assert all(name.startswith("pooler.") for name in placement.missing)
    assert all(name.startswith("lm_head.") for name in placement.leftover)
