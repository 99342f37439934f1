"""Preparing structure: codeft against networkx's all-pairs distances and a padded matrix an example."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import tree_sitter
from _race import Result, faster, need, quick, race, ratio, shared_data, spread, write

from codeft.data.jsonl import read_rows
from codeft.data.tree_feature import TreeFeature
from codeft.losses.structure import pairwise_distances
from codeft.models.loading import load_tokenizer
from codeft.syntax import parse, remove_docstring
from codeft.syntax.languages import LANGUAGES, load_grammar
from codeft.tasks.summarization import SummarizationTask
from codeft.types import Encoding, Example

PADDED = 320


def main() -> None:
    need("networkx")
    torch.set_num_threads(1)
    shared, short = shared_data(), quick()
    tokenizer = load_tokenizer(shared / "tokenizers" / "codet5")
    task = SummarizationTask(max_source_length=PADDED, max_target_length=8, num_beams=1)
    java = (shared / "translation" / "train.java-cs.txt.java").read_text(encoding="utf-8").splitlines()
    groups = {
        "Java translation train": [Example(str(i), text, None, "java") for i, text in enumerate(java[:2000])],
        "Python, 128 to 256 sub-tokens": python_functions(shared, tokenizer, task),
    }
    results = []
    for name, examples in groups.items():
        examples = examples[:100] if short else examples
        encodings = task.encode(examples, tokenizer)
        check(examples[:20], encodings[:20])
        contestants = {
            "networkx": partial(with_networkx, examples, task, tokenizer),
            "codeft": partial(with_codeft, examples, task, tokenizer),
            "tokenise + parse": partial(only_parse, examples, task, tokenizer),
        }
        seconds = race(contestants, rounds=2 if short else 5)
        milliseconds = {"scale": 1e3 / len(examples), "unit": "ms an example"}
        results.append(
            faster(
                f"tokenise, parse, distances, alignment: {name}",
                seconds,
                rival="networkx",
                at_least=15,
                **milliseconds,
            )
        )
        part = ratio(seconds, rival="codeft", own="tokenise + parse")
        results.append(
            Result(
                f"the same, {name}",
                "tokenising + parsing alone",
                part,
                "x its time",
                "<= 4x",
                part <= 4,
                spread(seconds, **milliseconds),
            )
        )
    results.append(size_of_structure(groups["Python, 128 to 256 sub-tokens"], task, tokenizer))
    write(
        "structure",
        results,
        data=f"{len(java[:2000])} Java functions (CodeXGLUE translation), Python functions of CodeSearchNet",
    )


def python_functions(shared, tokenizer, task) -> list[Example]:
    rows = [
        row
        for split in ("valid", "test")
        for row in read_rows(
            shared / "summarization" / "csn_python_small" / f"{split}.jsonl", on_bad_row="error", skipped=[]
        )
    ]
    examples = [
        Example(row.where, remove_docstring(row.fields["code"], "python"), None, "python") for row in rows
    ]
    lengths = [len(encoding.input_ids) for encoding in task.encode(examples, tokenizer)]
    return [example for example, length in zip(examples, lengths, strict=True) if 128 <= length <= 256]


def with_codeft(examples: Sequence[Example], task, tokenizer) -> None:
    """Everything a SAT training step needs of a tree, the batch's matrices of leaf distances included."""
    feature = TreeFeature()
    encodings = task.encode(examples, tokenizer)
    arrays = [feature.compute(*pair) for pair in zip(examples, encodings, strict=True)]
    arrays.sort(key=lambda each: len(each["tree_depth"]))  # as length buckets do
    for start in range(0, len(arrays), 32):
        batch = feature.collate(arrays[start : start + 32], length=PADDED)
        pairwise_distances(batch["tree_depth"], batch["tree_lca_depth"])


def only_parse(examples: Sequence[Example], task, tokenizer) -> None:
    task.encode(examples, tokenizer)
    for example in examples:
        language = LANGUAGES[example.lang]
        parser = tree_sitter.Parser(tree_sitter.Language(load_grammar(language, language.function)))
        parser.parse(example.source.encode())


def with_networkx(examples: Sequence[Example], task, tokenizer) -> None:
    for example, encoding in zip(examples, task.encode(examples, tokenizer), strict=True):
        padded_matrix(example, encoding)


def padded_matrix(example: Example, encoding: Encoding) -> np.ndarray:
    """The published preparation, well written: a graph, a search from each leaf, a padded float matrix."""
    import networkx as nx

    language = LANGUAGES[example.lang]
    parser = tree_sitter.Parser(tree_sitter.Language(load_grammar(language, language.function)))
    attempts = [("", ""), *language.wrappers]
    data, tree, shift = b"", None, 0
    for prefix, suffix in attempts:
        candidate = parser.parse((prefix + example.source + suffix).encode())
        if tree is None or not candidate.root_node.has_error:
            data, tree, shift = (prefix + example.source + suffix).encode(), candidate, len(prefix)
        if not candidate.root_node.has_error:
            break
    graph, leaves = nx.Graph(), []
    stack = [tree.root_node]
    while stack:
        node = stack.pop()
        graph.add_node(node.id)
        graph.add_edges_from((node.id, child.id) for child in node.children)
        inside = shift <= node.start_byte and node.end_byte <= len(data) - (
            len(data) - shift - len(example.source.encode())
        )
        if not node.children and inside and "comment" not in node.type and node.parent is not None:
            leaves.append(node)
        stack += reversed(node.children)
    place = {leaf.id: i for i, leaf in enumerate(leaves)}
    distances = np.zeros((len(leaves), len(leaves)), dtype=np.float32)
    for leaf in leaves:
        for other, distance in nx.single_source_shortest_path_length(graph, leaf.id).items():
            if other in place:
                distances[place[leaf.id], place[other]] = distance
    spans = [(leaf.start_byte - shift, leaf.end_byte - shift) for leaf in leaves]
    leaf_of_token = []
    for start, end in encoding.offsets.tolist():
        overlaps = [min(end, stop) - max(start, begin) for begin, stop in spans] or [0]
        best = int(np.argmax(overlaps))
        leaf_of_token.append(best if overlaps[best] > 0 else -1)
    matrix = np.zeros((PADDED, PADDED), dtype=np.float32)
    for i, first in enumerate(leaf_of_token):
        for j, second in enumerate(leaf_of_token):
            if first >= 0 and second >= 0:
                matrix[i, j] = distances[first, second]
    return matrix


def check(examples: Sequence[Example], encodings: Sequence[Encoding]) -> None:
    """Both give the same distances (of ASCII sources, whose bytes are characters)."""
    feature = TreeFeature()
    for example, encoding in zip(examples, encodings, strict=True):
        if not example.source.isascii() or parse(example.source, example.lang).has_errors:
            continue
        arrays = feature.compute(example, encoding)
        depth, lca_depth = (torch.from_numpy(arrays[key])[None] for key in ("tree_depth", "tree_lca_depth"))
        leaf = torch.from_numpy(arrays["tree_leaf"]).long()
        own = pairwise_distances(depth, lca_depth)[0][leaf.clamp_min(0)][:, leaf.clamp_min(0)]
        own = own.masked_fill((leaf < 0)[:, None] | (leaf < 0), 0)
        theirs = torch.from_numpy(padded_matrix(example, encoding))[: len(leaf), : len(leaf)]
        both = (own > 0) & (theirs > 0)  # where a string's text lies beside an escape, the rival sees no leaf
        assert torch.equal(own[both], theirs[both].long()), example.source
        assert both.sum() > 0.9 * (own > 0).sum()


def size_of_structure(examples: Sequence[Example], task, tokenizer) -> Result:
    feature, sizes, pickled = TreeFeature(), [], []
    for example, encoding in zip(examples, task.encode(examples, tokenizer), strict=True):
        arrays = feature.compute(example, encoding)
        n = len(encoding.input_ids)
        sizes.append(256 / n * sum(array.nbytes for array in arrays.values()))
        pickled.append(len(pickle.dumps(arrays)))
    value = float(np.mean(sizes))
    detail = (
        f"scaled from the functions' own lengths; the largest {max(sizes):.0f}; between processes, pickled, "
        f"{np.mean(pickled):.0f} as they are; 4 n^2 is {4 * 256**2:,}"
    )
    return Result(
        "bytes of structure an example of 256 sub-tokens",
        "4 n^2",
        value,
        " bytes",
        "<= 2,048 bytes",
        value <= 2048,
        detail,
    )


if __name__ == "__main__":
    main()
