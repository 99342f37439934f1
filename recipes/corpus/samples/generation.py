"""Generation: what a Java method does and the class around it, to the method, as CONCODE has them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from codeft.data.mining import code_tokens
from codeft.syntax import docstring_tokens, first_paragraph
from codeft.syntax.code_tree import CodeTree, parse_code
from samples.names import all_names, declared_nodes, local_names, rename_locals, text_of
from samples.rows import Novelty, Row, SampleFunction, in_turns

NUM_ROWS = {"train": 1500, "valid": 150, "test": 150}
MIN_TEXT_TOKENS, MAX_TEXT_TOKENS = 5, 40
MAX_MEMBERS = 20
FIELD_SEPARATOR, ELEMENT_SEPARATOR = "concode_field_sep", "concode_elem_sep"
MADE = "method, parameters and variables renamed (function, arg0, loc0), tokens joined by blanks"
_MODIFIER = re.compile(
    r"^\s*(?:(?:public|private|protected|static|final|synchronized|abstract)\b\s*|@\w+\s+)+"
)
_PROSE = re.compile(r"[A-Z][a-z]*[ ,'-].*[a-z]", re.DOTALL)


def generation_rows(
    functions: list[SampleFunction],
    *,
    split: str,
    novelty: Novelty,
    file_of: Callable[[SampleFunction], str],
) -> list[Row]:
    """Make rows of documented Java methods.

    Args:
        functions: All of the split's packages.
        split: "train", "valid" or "test".
        novelty: What was seen so far.
        file_of: Returns the text of a function's file.
    """
    rows: list[Row] = []
    texts: set[str] = set()
    for item in in_turns(functions, key=lambda item: item.repo, seed=5):
        if len(rows) == NUM_ROWS[split]:
            break
        summary = first_paragraph(item.found.function.docstring)
        words = docstring_tokens(summary)
        text = " ".join(words).lower()
        fits = MIN_TEXT_TOKENS <= len(words) <= MAX_TEXT_TOKENS and _PROSE.match(summary)
        if not fits or text in texts or "class " in item.code or not summary.isascii():
            continue
        owner = item.found.function.qualified_name.split(".")[-2:-1]
        if owner == [item.name] or not novelty.admits(item.code, "java"):
            continue
        texts.add(text)
        fields, methods = class_members(
            parse_code(file_of(item), "java", as_file=True), owner[0] if owner else ""
        )
        methods = [member for member in methods if member.split()[-1] != item.name]
        surroundings = [
            f"{FIELD_SEPARATOR} {f' {ELEMENT_SEPARATOR} '.join(members[:MAX_MEMBERS])}"
            for members in (fields, methods)
            if members
        ]
        rows.append(
            {
                **item.origin(),
                "nl": " ".join([text, *surroundings]),
                "code": anonymous(item.code),
                "made": MADE,
            }
        )
    random.Random(f"generation {split}").shuffle(rows)
    return rows


def anonymous(code: str) -> str:
    """Return a Java method on one line, its own names replaced as CONCODE replaces them.

    >>> anonymous("public int sum(int a, int b) { int c = a + b; return c; }")
    'int function ( int arg0 , int arg1 ) { int loc0 = arg0 + arg1 ; return loc0 ; }'
    """
    code = _MODIFIER.sub("", code)
    tree = parse_code(code, "java")
    names = local_names(tree, "java")
    body = next((tree.starts[node] for node, field in enumerate(tree.fields) if field == "body"), len(code))
    parameters = len(
        {text_of(tree, node) for node in declared_nodes(tree, "java") if tree.starts[node] < body}
    )
    taken = all_names(tree, "java")
    mapping = {
        name: f"arg{place}" if place < parameters else f"loc{place - parameters}"
        for place, name in enumerate(names)
    }
    assert not {"function", *mapping.values()} & (taken.keys() - {*names, "function"})
    return " ".join(code_tokens(rename_locals(code, "java", mapping=mapping, name="function"), "java"))


def class_members(tree: CodeTree, owner: str) -> tuple[list[str], list[str]]:
    """Return a class's fields and methods, each as its type and name, in their order.

    Args:
        tree: The file's tree.
        owner: The class's name.
    """
    fields: dict[str, None] = {}
    methods: dict[str, None] = {}
    for node, kind in enumerate(tree.types):
        if kind not in ("class_declaration", "interface_declaration", "enum_declaration"):
            continue
        if _text(tree, node, "name") != owner:
            continue
        body = next(child for child in tree.children[node] if tree.fields[child] == "body")
        for member in tree.children[body]:
            if tree.types[member] == "field_declaration":
                for child in tree.children[member]:
                    if tree.types[child] == "variable_declarator":
                        fields[f"{_text(tree, member, 'type')} {_text(tree, child, 'name')}"] = None
            elif tree.types[member] == "method_declaration":
                methods[f"{_text(tree, member, 'type')} {_text(tree, member, 'name')}"] = None
    return list(fields), list(methods)


def _text(tree: CodeTree, node: int, field: str) -> str:
    child = next((child for child in tree.children[node] if tree.fields[child] == field), None)
    return "" if child is None else "".join(text_of(tree, child).split())
