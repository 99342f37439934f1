"""One kind of line end: CR, CRLF and LF mean the same, and parsers know LF best."""

from __future__ import annotations


def with_line_feeds(text: str) -> str:
    r"""Return a text whose lines all end with LF.

    Args:
        text: Lines that end with LF, CRLF or CR, also mixed.

    Examples:
        >>> with_line_feeds("a\r\nb\rc\n")
        'a\nb\nc\n'
    """
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
