import json
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from syntax_reference import graph, key, leaves_below, raw_tree

from codeft.syntax import identifier_links, leaf_distances, parse, sast_distances
from syntax_snippets import SNIPPETS

_ON = {"java": "class X {\n%s\n}", "csharp": "class X {\n%s\n}"}


def reference(source, lang, shortcuts=None):
    root = raw_tree(source, lang).root_node
    edges, leaves = graph(root), leaves_below(root)
    for first, second in shortcuts(leaves) if shortcuts else ():
        edges.add_edge(key(first), key(second))
    lengths = dict(nx.all_pairs_shortest_path_length(edges))
    return leaves, np.array([[lengths[key(a)][key(b)] for b in leaves] for a in leaves])


@pytest.mark.parametrize("lang", SNIPPETS)
def test_equals_shortest_paths_in_the_tree(lang):
    leaves, expected = reference(SNIPPETS[lang], lang)
    tree = parse(SNIPPETS[lang], lang)
    assert tree.types == tuple(leaf.type for leaf in leaves)
    assert np.array_equal(leaf_distances(tree), expected)


def shared_sources(folder):
    lines = (folder / "summarization/csn_python_small/test.jsonl").read_text().splitlines()
    yield from (("python", json.loads(line)["code"]) for line in lines[:12])
    for lang, ending in (("java", "java"), ("csharp", "cs")):
        lines = (folder / f"translation/test.java-cs.txt.{ending}").read_text().splitlines()
        yield from ((lang, line) for line in lines[:25])
    for lang in ("go", "javascript", "ruby"):
        rows = (folder / f"search/gencodesearchnet_samples/csn_{lang}_test.jsonl").read_text().splitlines()
        yield from ((lang, json.loads(row)["input"].split(" [SEP] ", 1)[1]) for row in rows[:8])


def test_equals_shortest_paths_on_real_functions(shared_data):
    num_wrapped = 0
    for lang, source in shared_sources(shared_data):
        wrap = lang in _ON and raw_tree(source, lang).root_node.has_error
        leaves, expected = reference(_ON[lang] % source if wrap else source, lang)
        if wrap:
            assert [leaf.type for leaf in leaves[:3] + leaves[-1:]] == ["class", "identifier", "{", "}"]
            expected, num_wrapped = expected[3:-1, 3:-1], num_wrapped + 1
        assert np.array_equal(leaf_distances(parse(source, lang)), expected), source
    assert num_wrapped > 0


def shortcuts(leaves):
    """Neighbours, and consecutive occurrences of an identifier, by plain search."""
    yield from pairwise(leaves)
    named = [leaf for leaf in leaves if leaf.type in ("identifier", "field_identifier", "type_identifier")]
    for place, leaf in enumerate(named):
        later = [other for other in named[place + 1 :] if other.text == leaf.text]
        yield from ((leaf, other) for other in later[:1])


@pytest.mark.parametrize("lang", ["python", "c", "go"])
def test_sast_equals_shortest_paths_in_the_graph(lang):
    source = SNIPPETS[lang]
    _, expected = reference(source, lang, shortcuts)
    tree = parse(source, lang)
    assert np.array_equal(sast_distances(tree, source), expected)
    assert (expected <= leaf_distances(tree)).all()
    assert (expected < leaf_distances(tree)).any()


@pytest.mark.parametrize(
    ("lang", "source", "again"),
    [  # what names something, not keywords, numbers, strings, symbols or signs that stand there twice, too
        ("python", "def f(x):\n    return f(x.f, 1, 's') + 1 if x else 's'\n", "f x f x"),
        ("java", "int f(T x) { T y = x.f; return this.f(y, 1) + this.f(y, 1); }", "T x f f y f y"),
        (
            "javascript",
            "function f(x) { const y = { x, f: x.f }; return y.f + 1 + this.f + this.#f + 1 + this.#f; }",
            "x f x f y f f #f",
        ),
        ("go", "func f(x T) T { y := x.f; return T{f: y, g: 1, h: 1} }", "T x f T f y"),
        ("php", "<?php function f($x) { return f($x->y, N, N, 1, 1) + $x->y; }", "f x N x y"),
        (
            "ruby",
            "def f(x)\n  @x = X.new(x, :a)\n  $x = @x\n  @@x = X.new($x, :a, self, self)\n  @@x\nend",
            "x @x X new $x @@x",
        ),
        ("csharp", "T F(T x) { var y = x.F; return this.F(y, 1) + this.F(y, 1); }", "T x F F y F y"),
        ("c", "T f(T *x) { l: x->y = f(x) + 1 + 1; goto l; }", "T x f x l"),
        ("cpp", "n::T f(n::T x) { return x.y + n::f(x.y, this, this); }", "n T x n f x y"),
    ],
)
def test_what_names_something_is_linked(lang, source, again):
    tree = parse(source, lang)
    texts = [source[start:end] for start, end in zip(tree.starts, tree.ends, strict=True)]
    links = identifier_links(tree, source).tolist()
    assert [text for text, link in zip(texts, links, strict=True) if link >= 0] == again.split()
    for leaf, link in enumerate(links):  # to the last time it stood there
        assert link < 0 or link == max(place for place in range(leaf) if texts[place] == texts[leaf])


@pytest.mark.parametrize("source", ["", "# nothing", "x"])
def test_hardly_a_tree(source):
    tree = parse(source, "python")
    assert leaf_distances(tree).shape == sast_distances(tree, source).shape == (len(tree), len(tree))
    assert not leaf_distances(tree).any()


def test_by_hand():
    # module > expression_statement > assignment > (identifier, =, binary_operator > (integer, +, integer))
    distances = leaf_distances(parse("x = 1 + 2", "python"))
    assert distances[0].tolist() == [0, 2, 3, 3, 3]
    assert distances[2].tolist() == [3, 3, 0, 2, 2]
