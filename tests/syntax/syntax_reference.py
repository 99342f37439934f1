"""Trees read from tree-sitter itself, the slow and obvious way, to compare with."""

import importlib
from functools import cache

import networkx as nx
import tree_sitter

from codeft.syntax.languages import LANGUAGES


@cache
def parser(lang, *, file=False):
    spec = LANGUAGES[lang]
    function = spec.file_function if file and spec.file_function else spec.function
    grammar = getattr(importlib.import_module(spec.module), function)()
    return tree_sitter.Parser(tree_sitter.Language(grammar))


def raw_tree(source, lang):
    return parser(lang, file="<?php" in source).parse(source.encode())


def leaves_below(node):
    if not node.children:
        return [] if "comment" in node.type or node.parent is None else [node]
    return [leaf for child in node.children for leaf in leaves_below(child)]


def character(source, byte):
    return len(source.encode()[:byte].decode(errors="ignore"))


def spans(source, nodes):
    return [(character(source, node.start_byte), character(source, node.end_byte)) for node in nodes]


def graph(node):
    edges = nx.Graph()
    edges.add_node(node.id)
    todo = [node]
    while todo:
        parent = todo.pop()
        edges.add_edges_from((key(parent), key(child)) for child in parent.children)
        todo += parent.children
    return edges


def key(node):
    """Tell nodes apart: an id alone may be shared by zero-width nodes."""
    return node.id, node.start_byte, node.type
