"""How CodeBLEU's published evaluators strip comments: by patterns, before anything is parsed."""

from __future__ import annotations

import io
import re
import tokenize

_COMMENT_OR_QUOTED = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | '(?:\\.|[^\\'])*' | "(?:\\.|[^\\"])*" """, re.DOTALL | re.VERBOSE
)


def strip_java_comments(source: str) -> str:
    r"""Put a blank for each `//` and `/* */` outside quotes and drop blank lines.

    Source: CodeBLEU's evaluator in CodeXGLUE, which does this to all languages, so that what follows a `//`
    is lost in Python and `#` begins no comment anywhere.

    Args:
        source: Any text.

    Examples:
        >>> strip_java_comments("a = 1; // one\n\n/* two */ b = '//';")
        "a = 1;  \n  b = '//';"
    """
    text = _COMMENT_OR_QUOTED.sub(lambda match: " " if match[0][0] == "/" else match[0], source)
    return _without_blank_lines(text)


def strip_python_comments(source: str) -> str:
    r"""Drop Python's `#` comments, blank lines, and strings that begin a statement.

    Source: The `codebleu` package, for Python alone.

    Args:
        source: Any text; one that Python can't cut into tokens comes back as it is.

    Examples:
        >>> strip_python_comments('def f():\n    "Doc."\n    return 1  # one')
        'def f():\n    return 1  '
    """
    pieces: list[str] = []
    previous, line, column = tokenize.INDENT, -1, 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.start[0] > line:
                column = 0
            pieces.append(" " * (token.start[1] - column))
            begins_statement = previous in (tokenize.INDENT, tokenize.NEWLINE) or token.start[1] == 0
            if token.type != tokenize.COMMENT and not (token.type == tokenize.STRING and begins_statement):
                pieces.append(token.string)
            previous, (line, column) = token.type, token.end
    except (tokenize.TokenError, SyntaxError, ValueError):
        return source
    return _without_blank_lines("".join(pieces))


def _without_blank_lines(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if line.strip())
