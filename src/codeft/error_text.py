"""What an error says, in one line of a length to read."""

from __future__ import annotations

_LONGEST = 400
"""Characters of what a library says that are passed on."""


def one_line(error: BaseException) -> str:
    r"""Return what an error says, in one line; its type's name where it says nothing.

    >>> one_line(ValueError("not a size:\n    x"))
    'not a size: x'
    """
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
