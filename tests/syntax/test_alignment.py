import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syntax_reference import leaves_below, raw_tree

from codeft.syntax import align, parse
from syntax_snippets import SNIPPETS

FRAGMENTS = [
    *("x", "é", "foo", " ", "\n", "  ", "=", "(", ")", '"', "'", "\\n", "#", "//", "/*", "*/", "{", "}", ":"),
    *(
        "def f(a):\n  ",
        "return ",
        "😀",
        "\u3000",
        "\t",
        "1.5",
        "+",
        "f'{x}'",
        '"a\\tb é c"',
        "\r\n",
        "func f() {",
    ),
]


def owner(source, place, root, leaves):
    """Return the leaf of one character, by going down from the root."""
    first, last = len(source[:place].encode()), len(source[: place + 1].encode())
    node = root
    while inner := [kid for kid in node.children if kid.start_byte <= first and last <= kid.end_byte]:
        node = inner[0]
    if node in leaves:
        return leaves.index(node)
    if source[place].isspace():
        return None
    below = leaves_below(node)
    return leaves.index(below[0]) if below else None


def reference(source, lang, offsets):
    root = raw_tree(source, lang).root_node
    leaves = leaves_below(root)
    owners = [owner(source, place, root, leaves) for place in range(len(source))]
    result = []
    for start, end in offsets:
        votes = [leaf for leaf in owners[max(start, 0) : max(end, 0)] if leaf is not None]
        result.append(min(set(votes), key=lambda leaf: (-votes.count(leaf), leaf)) if votes else -1)
    return result


@settings(deadline=None, max_examples=150)
@given(
    source=st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join),
    lang=st.sampled_from(["python", "go", "c", "ruby"]),
    data=st.data(),
)
def test_equals_character_by_character_votes(source, lang, data):
    place = st.integers(-1, len(source) + 1)
    offsets = data.draw(st.lists(st.tuples(place, place), max_size=12))
    got = align(parse(source, lang), np.array(offsets, dtype=np.int32).reshape(-1, 2))
    assert got.tolist() == reference(source, lang, offsets)


@pytest.mark.parametrize("lang", SNIPPETS)
def test_equals_votes_on_real_syntax(lang):
    source = SNIPPETS[lang]
    offsets = [(start, start + size) for size in (1, 3, 7) for start in range(0, len(source), size)]
    assert align(parse(source, lang), np.array(offsets)).tolist() == reference(source, lang, offsets)


def test_by_hand():
    source = 'say = "hé\\n, you"  # é'
    tree = parse(source, "python")
    assert tree.types == ("identifier", "=", "string_start", "escape_sequence", "string_end")
    names = ["say", " =", ' "', "hé", "\\n", ", ", "you", '"', "  ", "# é"]
    ends = np.cumsum([len(name) for name in names])
    offsets = np.stack((ends - [len(name) for name in names], ends), axis=1)
    assert [source[start:end] for start, end in offsets] == names
    assert align(tree, offsets).tolist() == [0, 1, 2, 3, 3, 3, 3, 4, -1, -1]


def test_most_characters_win_and_the_first_of_equals():
    tree = parse("a+bcd", "python")
    assert align(tree, np.array([(0, 5), (0, 2), (1, 3), (0, 3)])).tolist() == [2, 0, 1, 0]


def test_special_tokens_and_pieces_of_one_character():
    tree = parse("é = 1", "python")
    offsets = np.array([(-1, -1), (0, 1), (0, 1), (3, 3), (0, 0), (9, 12)])
    assert align(tree, offsets).tolist() == [-1, 0, 0, -1, -1, -1]
    assert align(tree, np.zeros((0, 2), dtype=np.int32)).shape == (0,)
    assert align(parse("", "python"), offsets).tolist() == [-1] * 6


def test_published_tokens_fall_on_leaves(shared_data):
    """Every token of CodeSearchNet's own tokenizer that is code has a leaf."""
    lines = (shared_data / "summarization/csn_python_small/test.jsonl").read_text().splitlines()
    for row in map(json.loads, lines):
        source, offsets, place = row["code"].replace(row["docstring"], " ", 1), [], 0
        for token in row["code_tokens"]:
            found = source.find(token, place)
            if found >= 0:
                offsets.append((found, found + len(token)))
                place = found + len(token)
        tree = parse(source, "python")
        tokens = [source[start:end] for start, end in offsets]
        leaves = align(tree, np.array(offsets)).tolist()
        lost = [token for token, leaf in zip(tokens, leaves, strict=True) if leaf < 0 and token.strip()]
        assert all(token.startswith("#") for token in lost), lost
