"""Beam search against transformers' own `generate`, on tiny random networks that end at all lengths."""

from __future__ import annotations

import pytest
import torch
import transformers
from transformers import BartConfig, BartForConditionalGeneration, RobertaConfig, T5Config
from transformers.modeling_outputs import BaseModelOutput

from codeft.models import beam_search as module
from codeft.models.attention import ATTENTION
from codeft.models.beam_search import beam_search
from codeft.models.generation import decoding
from codeft.types import CodeftError

VOCAB, EOS, PAD, START = 24, 2, 1, 0


def make_t5():
    config = T5Config(vocab_size=VOCAB, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
                      decoder_start_token_id=START, pad_token_id=PAD, eos_token_id=EOS)  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


def make_bart():
    config = BartConfig(vocab_size=VOCAB, d_model=16, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32,
                        decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
                        max_position_embeddings=64, decoder_start_token_id=START, pad_token_id=PAD,
                        eos_token_id=EOS, bos_token_id=0, forced_eos_token_id=None)  # fmt: skip
    return BartForConditionalGeneration(config)


def make_roberta():
    config = RobertaConfig(vocab_size=VOCAB, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                           intermediate_size=32, max_position_embeddings=64, pad_token_id=PAD)  # fmt: skip
    both = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(config, config)
    return transformers.EncoderDecoderModel(both)


@pytest.fixture(params=[make_t5, make_bart, make_roberta], ids=["t5", "bart", "roberta"])
def network(request):
    torch.manual_seed(5)
    network = request.param().eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" not in name.lower():
                parameter.normal_(std=0.6)  # peaked and varied, so that beams differ and end
        lean_to_end(network)
    network.set_attn_implementation(ATTENTION)
    return network


def lean_to_end(network):
    """Make an end likelier, for these two would rarely come to one."""
    if isinstance(network, BartForConditionalGeneration):
        network.final_logits_bias[:, EOS] = 6.0
    elif isinstance(network, transformers.EncoderDecoderModel):
        network.decoder.lm_head.bias[EOS] += 3.0


def sources(num, *, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 12, (num,), generator=generator)
    mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    ids = torch.randint(3, VOCAB, mask.shape, generator=generator)
    return ids.masked_fill(mask == 0, PAD), mask


@torch.no_grad()
def both(network, *, num, num_beams, max_length, seed=0, starts=None):
    """Return what codeft and transformers decode, as lists without padding."""
    ids, mask = sources(num, seed=seed)
    hidden = network.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    starts = torch.full((num,), START) if starts is None else starts
    settings = {"max_length": max_length, "num_beams": num_beams, "eos_id": EOS, "pad_id": PAD}
    own = beam_search(network, hidden, mask, start_ids=starts, **settings)
    config = decoding(**settings)
    config.decoder_start_token_id = starts.tolist()
    theirs = network.generate(
        ids, attention_mask=mask, generation_config=config, encoder_outputs=BaseModelOutput(hidden)
    )[:, 1:]
    return [until_end(rows) for rows in (own, theirs)]


def until_end(rows):
    return [row[: row.index(EOS) + 1] if EOS in row else row for row in rows.tolist()]


@pytest.mark.parametrize("num_beams", [1, 2, 5, 10])
@pytest.mark.parametrize("seed", range(4))
def test_equals_generate(network, num_beams, seed):
    own, theirs = both(network, num=17, num_beams=num_beams, max_length=14, seed=seed)
    assert own == theirs


def test_the_examples_end_at_many_lengths_else_the_others_prove_little(network):
    own, _ = both(network, num=40, num_beams=5, max_length=14)
    assert len({len(row) for row in own}) > 3


@pytest.mark.parametrize("max_length", [1, 2, 3])
def test_equals_generate_where_hypotheses_are_cut(network, max_length):
    own, theirs = both(network, num=9, num_beams=4, max_length=max_length)
    assert own == theirs


def test_one_example_may_leave_at_a_time_or_none_before_the_last(network, monkeypatch):
    found = []
    for share in (1, 10**9):
        monkeypatch.setattr(module, "_LEAVING", share)
        found.append(both(network, num=23, num_beams=4, max_length=14)[0])
    assert found[0] == found[1]


def test_each_example_begins_as_it_says(network):
    starts = torch.tensor([0, 5, 9, 5, 0, 7])
    own, theirs = both(network, num=6, num_beams=3, max_length=10, starts=starts)
    assert own == theirs


def test_more_beams_than_sub_tokens(network):
    own, theirs = both(network, num=3, num_beams=VOCAB + 3, max_length=5)
    assert own == theirs and all(0 < len(row) <= 5 for row in own)


def test_rows_are_padded_after_their_end(network):
    ids, mask = sources(12, seed=3)
    hidden = network.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    found = beam_search(network, hidden, mask, start_ids=torch.zeros(12, dtype=torch.int64), max_length=14,
                        num_beams=3, eos_id=EOS, pad_id=PAD)  # fmt: skip
    for row in found.tolist():
        if EOS in row:
            assert set(row[row.index(EOS) + 1 :]) <= {PAD}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_whatever_the_default_type_is(network, dtype):
    """As a trainer sets it in `bf16-true` and `16-true`."""
    expected, _ = both(network, num=5, num_beams=3, max_length=8)
    torch.set_default_dtype(dtype)
    try:
        assert both(network, num=5, num_beams=3, max_length=8)[0] == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_under_autocast(network):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own, theirs = both(network, num=30, num_beams=3, max_length=8)
    same = sum(a == b for a, b in zip(own, theirs, strict=True))
    assert same >= 24  # in bf16 many scores tie


def test_logits_that_are_no_numbers_are_an_error(network):
    with torch.no_grad():
        network.get_output_embeddings().weight.fill_(torch.nan)
    with pytest.raises(CodeftError, match="NaN"):
        both(network, num=3, num_beams=2, max_length=4)
