"""The mask of a prefix language model, and the stack under it against transformers' own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache, RobertaConfig, RobertaModel

from codeft.models.prefix_network import PrefixLanguageModel, prefix_mask

PREFIX = [  # <s> <mode> </s> a, then the target; a row for each query
    [1, 1, 1, 1, 0, 0, 0],
    [1, 1, 1, 1, 0, 0, 0],
    [1, 1, 1, 1, 0, 0, 0],
    [1, 1, 1, 1, 0, 0, 0],
    [1, 1, 1, 1, 1, 0, 0],
    [1, 1, 1, 1, 1, 1, 0],
    [1, 1, 1, 1, 1, 1, 1],
]
PADDED = [  # the last of the prefix and the last of the target are padding
    [1, 1, 1, 0, 0, 0, 0],
    [1, 1, 1, 0, 0, 0, 0],
    [1, 1, 1, 0, 0, 0, 0],
    [1, 1, 1, 1, 0, 0, 0],
    [1, 1, 1, 0, 1, 0, 0],
    [1, 1, 1, 0, 1, 1, 0],
    [1, 1, 1, 0, 1, 1, 1],
]
LEFT = [  # two of padding, a prefix of two more, a target of two
    [1, 0, 1, 1, 0, 0],
    [0, 1, 1, 1, 0, 0],
    [0, 0, 1, 1, 0, 0],
    [0, 0, 1, 1, 0, 0],
    [0, 0, 1, 1, 1, 0],
    [0, 0, 1, 1, 1, 1],
]


@pytest.mark.parametrize(
    ("real", "prefix_length", "expected"),
    [
        ([1, 1, 1, 1, 1, 1, 1], 4, PREFIX),
        ([1, 1, 1, 0, 1, 1, 0], 4, PADDED),
        ([0, 0, 1, 1, 1, 1], 4, LEFT),
        ([1, 1, 1], 0, [[1, 0, 0], [1, 1, 0], [1, 1, 1]]),
    ],
)
def test_the_mask_worked_by_hand(real, prefix_length, expected):
    added = prefix_mask(torch.tensor([real]), num_queries=len(real), prefix_length=prefix_length)
    assert added.shape == (1, 1, len(real), len(real)) and added.dtype == torch.float32
    assert added.eq(0).int()[0, 0].tolist() == expected
    assert set(added.flatten().tolist()) <= {0.0, torch.finfo(torch.float32).min}
    last = prefix_mask(torch.tensor([real]), num_queries=2, prefix_length=prefix_length)
    assert torch.equal(last, added[:, :, -2:])


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=3), st.integers(0, 5))
def test_the_mask_is_its_definition(rows, prefix_length):
    added = prefix_mask(torch.tensor(rows).long(), num_queries=5, prefix_length=prefix_length)
    for row, table in zip(rows, added[:, 0].eq(0).tolist(), strict=True):
        for q in range(5):
            for k in range(5):
                both = q < prefix_length and k < prefix_length
                assert table[q][k] == (((k <= q or both) and row[k]) or k == q)


@pytest.fixture
def pair(unixcoder_folder):
    """The same weights in transformers' own class, as a decoder, and in ours."""
    config = RobertaConfig.from_pretrained(unixcoder_folder, is_decoder=True)
    own = PrefixLanguageModel.from_pretrained(unixcoder_folder, config=config).eval()
    return RobertaModel.from_pretrained(unixcoder_folder, config=config).eval(), own


IDS = torch.tensor([[0, 7, 2, 30, 31, 32, 2], [0, 7, 2, 40, 2, 1, 1]])
MASK = IDS.ne(1).long()


@torch.no_grad()
def test_without_a_prefix_it_is_transformers_decoder(pair):
    theirs, own = pair
    expected = theirs(IDS, attention_mask=MASK).last_hidden_state @ own.lm_head.weight.T
    logits = own(IDS, MASK).logits
    for found, wanted, real in zip(logits, expected, MASK.bool(), strict=True):
        torch.testing.assert_close(found[real], wanted[real], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_all_prefix_is_transformers_encoder(pair, unixcoder_folder):
    _, own = pair
    theirs = RobertaModel.from_pretrained(unixcoder_folder).eval()
    expected = theirs(IDS, attention_mask=MASK).last_hidden_state
    hidden = own.run_stack(IDS, MASK, prefix_length=IDS.shape[1]).last_hidden_state
    for found, wanted, real in zip(hidden, expected, MASK.bool(), strict=True):
        torch.testing.assert_close(found[real], wanted[real], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_prefix_and_target_are_an_encoder_and_a_decoder_over_its_cache(pair):
    """As the published scripts run the stack: twice."""
    theirs, own = pair
    source, target = IDS[:1, :5], IDS[:1, 3:]
    cache = DynamicCache()
    theirs(source, attention_mask=torch.zeros(1, 1, 5, 5), past_key_values=cache, use_cache=True)
    hidden = torch.zeros(4, 9).masked_fill(torch.ones(4, 9).tril(5) == 0, torch.finfo(torch.float32).min)
    expected = theirs(
        target,
        attention_mask=hidden[None, None],
        past_key_values=cache,
        position_ids=torch.arange(7, 11)[None],
        use_cache=True,
    ).last_hidden_state
    ids = torch.cat([source, target], dim=1)
    found = own.run_stack(ids, torch.ones_like(ids), prefix_length=5).last_hidden_state[:, 5:]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("prefix_length", [0, 4])
def test_the_cache_changes_nothing(pair, prefix_length):
    _, own = pair
    ids, mask = IDS.flip(1), MASK.flip(1)  # padding on the left
    whole = own(ids, mask, prefix_length=prefix_length).logits
    first = own(ids[:, :4], mask[:, :4], prefix_length=prefix_length, use_cache=True)
    parts = [first.logits]
    for column in range(4, ids.shape[1]):
        step = own(
            ids[:, column : column + 1],
            mask[:, : column + 1],
            prefix_length=prefix_length,
            past_key_values=first.past_key_values,
            use_cache=True,
        )
        parts.append(step.logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_no_mask_is_one_without_padding(pair):
    _, own = pair
    first = own(IDS[:1, :4], prefix_length=4, use_cache=True)
    step = own(IDS[:1, 4:], prefix_length=4, past_key_values=first.past_key_values, use_cache=True)
    whole = own(IDS[:1], torch.ones_like(IDS[:1]), prefix_length=4).logits
    torch.testing.assert_close(step.logits, whole[:, 4:], atol=1e-5, rtol=1e-5)
