"""The literals that line completion's data sets normalise away, written out again before scoring."""

from __future__ import annotations

import re

_BARE = (("<NUM_LIT>", "0"), ("<STR_LIT>", ""), ("<CHAR_LIT>", ""))
_FILLED = re.compile(r"<(?:STR|NUM|CHAR)_LIT:(.*?)>", re.DOTALL)

LITERALS_SIGNATURE = "post:codexglue-literals"
"""What a signature says where `restore_literals` came first."""


def restore_literals(text: str) -> str:
    r"""Replace normalised literals by what they stand for; other text stays as it is.

    javaCorpus and py150 keep frequent literals as `<NUM_LIT:1>`, `<STR_LIT:name>`, `<CHAR_LIT:x>` and rare
    ones as a bare `<NUM_LIT>`, `<STR_LIT>` or `<CHAR_LIT>`, which become 0, nothing and nothing.

    It belongs to the metrics, not to the task: a model reads and writes the normalised form, and stored
    predictions stay comparable with their references.

    Source: CodeXGLUE's evaluator of line-level code completion.

    Args:
        text: One line of code.

    >>> restore_literals('x = "<STR_LIT:name>" + <NUM_LIT:1> + <NUM_LIT> + "<STR_LIT>"')
    'x = "name" + 1 + 0 + ""'
    """
    for tag, value in _BARE:
        text = text.replace(tag, value)
    return _FILLED.sub(r"\1", text)
