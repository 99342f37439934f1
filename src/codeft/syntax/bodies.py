"""Where a function's body stands in its code."""

from __future__ import annotations

import numpy as np

from codeft.syntax.tree import parse_nodes


def find_body(code: str, lang: str) -> tuple[int, int] | None:
    r"""Return the span of a function's body, in characters; None where the code has none.

    Args:
        code: A function, with its layout.
        lang: Name or alias of its language.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> code = "def double(x):\n    return 2 * x"
        >>> start, end = find_body(code, "python")
        >>> code[start:end]
        'return 2 * x'
    """
    nodes = parse_nodes(code, lang)
    is_body = np.array([field == "body" for field in nodes.fields])
    # The body of a class that a snippet was wrapped in is all of the text.
    is_part = (nodes.starts > 0) & (nodes.ends > nodes.starts)
    found = np.flatnonzero(is_body & is_part)
    if not len(found):
        return None
    outermost = found[nodes.depths[found].argmin()]  # a lambda among the parameters has a body before it
    start, end = int(nodes.starts[outermost]), int(nodes.ends[outermost])
    return (start, end) if code[:start].strip() else None
