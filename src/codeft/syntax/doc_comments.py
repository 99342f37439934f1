"""The comment that documents a function: right before it, and written for people."""

from __future__ import annotations

import re
from collections.abc import Sequence

from codeft.syntax.directives import is_banner, is_directive, is_file_header
from codeft.syntax.file_tree import FileTree

_DOC_MARK = {
    "java": re.compile(r"/\*\*(?!\*)"),
    "javascript": re.compile(r"/\*\*(?!\*)"),
    "php": re.compile(r"/\*\*(?!\*)"),
    "csharp": re.compile(r"///|/\*\*(?!\*)"),
    "ruby": re.compile(r"#(?!!)|=begin"),
    "go": re.compile(r"//|/\*"),
    "c": re.compile(r"//|/\*"),
    "cpp": re.compile(r"//|/\*"),
}

_BLANK_LINE = re.compile(r"\n[ \t\f\v]*\n")


def comment_before(tree: FileTree, index: int, comments: Sequence[int]) -> str:
    """Return the doc comment that ends on the line before a node, as it stands in the source; "" for none.

    Comments that tell tools what to do, and those without the mark of the language's documentation, may stand
    between; blank lines may not. Banners, licences and what else speaks of a file document no function.

    Args:
        tree: The file's.
        index: The function, or the outermost node around it that documentation may stand before.
        comments: The file's comments up to there, in their order.
    """
    edge = tree.starts[index]
    pieces: list[str] = []
    for comment in reversed(comments):
        start, end = tree.starts[comment], tree.ends[comment]
        text = tree.source[start:end].rstrip()
        end = start + len(text)
        is_block = text.startswith(("/*", "=begin"))
        between, gap = tree.text[end:edge], _BLANK_LINE.search(tree.source, end, edge)
        same_line = "\n" not in between
        line_start = tree.source.rfind("\n", 0, start) + 1
        alone = not tree.source[line_start:start].strip()
        if between.strip() or gap or not (alone or (is_block and same_line)):
            break
        is_doc = _DOC_MARK[tree.lang].match(text) is not None
        if pieces and (is_block or not is_doc):
            break
        edge = start
        if is_doc and not (is_directive(text) and "\n" not in text):
            pieces.append(text)
            if is_block:
                break
    whole = "\n".join(reversed(pieces))
    return "" if is_banner(whole) or is_file_header(whole) else whole
