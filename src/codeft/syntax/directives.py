"""Comments that no person is meant to read: tools' directives, lines of dashes, banners, licences."""

from __future__ import annotations

import re

_MARKS = r"\s*(?:/\*+!?|//+!?|#+|\*+(?!/)|--|;+)?\s*"

_DIRECTIVES = (
    # C and C++
    r"clang-(?:format|tidy)\b|NOLINT(?:NEXTLINE|BEGIN|END)?\b|cppcheck-suppress|coverity\[|lint\s+[-+]?e\d"
    r"|sparse:"
    r"|(?:LCOV|GCOVR?)_EXCL_\w+|IWYU pragma|\*?INDENT-O(?:N|FF)\*?|uncrustify:|PVS-Studio|-V::?\d|NOSONAR"
    r"|@?LINT\."
    r"|(?:FALL-?THROUGH|FALLTHRU|(?:fall-?through|fallthru)$|NOT-?REACHED|ARGSUSED\d*|VARARGS\d*"
    r"|PRINTFLIKE\d*)(?!\w)"
    r"|LINTED\b|LINTLIBRARY\b",
    # Go
    r"go:[a-z]\w*|nolint\b|lint:(?:file-)?ignore\b|revive:|golint(?::|$)|\+build\s|line \S+:\d+"
    r"|export [A-Za-z_]\w*$"
    r"|extern [A-Za-z_]\w*$|\+\w[\w-]*(?::\S|=|$)|#?nosec\b|gosec(?::|$)|golangci-lint:|gofmt:|goland:"
    r"|gopherjs:",
    # JavaScript and TypeScript
    r"eslint(?:-(?:disable|enable|env|ignore)\S*|\s+[\w@/-]+:)|js[hl]int(?:\s+\w+:|\s*$|-)|jscs:|tslint:"
    r"|prettier-ignore"
    r"|biome-ignore|deno-(?:lint|fmt)-\w+|oxlint-\w+|@ts-(?:ignore|nocheck|check|expect-error)|@(?:no)?flow\b"
    r"|@jsx\w*\b|istanbul\s+ignore|[cv]8\s+ignore|node:coverage|webpack[A-Z]\w+:|[@#]__\w+__|stylelint-\w+"
    r"|[@#]\s*source(?:MappingURL|URL)=|globals? \w+(?::\w+)?(?:, ?\w+(?::\w+)?)*$"
    r"|exported \w+(?:, ?\w+)*$|standard-\w+able|flow-(?:include|disable)"
    r"|\$Flow\w+|@vite-ignore|@swc\b|@(?:no)?(?:inline|preserve|no_?collapse)\s*$",
    # Ruby
    r":(?:no|start|stop|end)?doc:|:nocov:|:notnew:|:(?:markup|main|title|section|yields?|args?|attr\w*|method"
    r"|singleton-method|category|include|arg):|(?:rubocop|reek|steep|brakeman|srb"
    r"|erb_?lint"
    r"|haml-lint|standard)\s*:\s*(?:dis|en|todo|ignore)\S*|frozen_string_literal:|shareable_constant_value:"
    r"|warn_(?:indent|past_scope):|typed:\s*(?:ignore|false|true|strict|strong)\s*$|@rbs\b|@!\w+",
    # Python
    r"pylint:|noqa\b|type:\s*ignore|mypy:|pyright:|flake8[:-]|ruff:|yapf:|fmt:\s*(?:on|off|skip)|isort:"
    r"|black:\s*\w+$"
    r"|pragma:\s?|pytype:|pyre-(?:ignore|fixme)|autopep8:|nopep8\b|pydocstyle:|doctest:\s?\+|ty:\s*ignore"
    r"|nopycln"
    r"|pyformat:",
    # Java and C#
    r"CHECKSTYLE\b|NOPMD\b|CPD-O(?:N|FF)\b|\$NON-NLS|@formatter:|spotless:|noinspection\b"
    r"|language\s*=\s*\w+\s*$"
    r"|</?editor-fold|ReSharper\s+(?:dis|en|restore|once)\w*|StyleCop\.|SuppressWarnings\b"
    r"|[Cc][Ss]harpier-ignore|jscpd:"
    r"|@checkstyle\b|ktlint-\w+|Stryker (?:dis|restore)",
    # PHP
    r"phpcs:|phpmd:|@codingStandards\w+|@?phpstan-|@?psalm-|@phan-|@noinspection\b|@codeCoverageIgnore\w*"
    r"|@infection-"
    r"|@php-?cs-?fixer|@cs-fixer|@lang\s|@suppress(?:Warnings)?\b",
    # Editors and what all have in common
    r"#\s*(?:end)?region\b|(?:end)?region(?:$|\s+[A-Z#=-])|pragma\s+(?:mark|region|endregion)|MARK:"
    r"|\{{3}\d?|\}{3}\d?"
    r"|-\*-.*-\*-|vim?:\s|ex:\s|kate:\s|Local Variables:|(?:en)?coding[:=]\s*[\w.-]+\s*$"
    r"|c?[Ss]pell-?[Cc]heck(?:er)?:|c[Ss]pell:"
    r"|codespell:|SPDX-\w|codecov\s*:|nosemgrep|skipcq|lgtm\s*\[|editorconfig-|dprint-ignore|@(?:begin"
    r"|end)-?generated"
    r"|copybara:|buildifier:",
)
_DIRECTIVE = re.compile(rf"{_MARKS}(?:{'|'.join(_DIRECTIVES)})")
_SHEBANG = re.compile(r"#!|#\s*!/")

_DASHES = "-=*#~_+^─═━—–"
_RULE = re.compile(r"[-=*#~_+^.:<>|%@!$/\\\s─═━—–]{3,}+")
_RUN = re.compile(r"([-=*#~_+^.:<>|%@!$/\\─═━—–])\1\1")

_HEADER = re.compile(
    r"\W*+(?:copyright\b|\(c\)\s|©|licen[sc]ed?\b|the .{2,20} licen[sc]e\b|this (?:file|program|library"
    r"|software|code|module"
    r"|script|source) (?:is|was|has|contains|implements|provides|defines)\b|all rights reserved"
    r"|permission is hereby"
    r"|redistribution and use|spdx-|(?:plugin|theme) name:|file(?:\s*name)?:\s*\S+\.\w+|@?(?:author"
    r"|version)\b"
    r"|written by\b|[\w./+-]+\.(?:c|cc|cpp|cxx|h|hh|hpp|js|jsx|mjs|go|java|php|rb|cs|py)\b(?=\s*(?:$"
    r"|[-:–—,;]|by\b)))",
    re.IGNORECASE,
)
_HEADER_TAG = re.compile(
    r"^[ \t/*#]*+[@\\](?:file|fileoverview|fileOverview|license|licence|copyright|module|package"
    r"|overview|header)\b",
    re.MULTILINE,
)


def is_directive(line: str) -> bool:
    """Whether a line of a comment, with its mark or without, tells a tool what to do.

    Args:
        line: The line.

    Examples:
        >>> is_directive("// clang-format on"), is_directive("# Formats the clock.")
        (True, False)
    """
    line = line.strip().removesuffix("*/").rstrip()
    return bool(_DIRECTIVE.match(line) or _SHEBANG.match(line))


def is_rule(line: str) -> bool:
    """Whether a line of a comment consists of dashes or the like.

    Args:
        line: The line, with its mark or without.

    Examples:
        >>> is_rule("// ------"), is_rule("======"), is_rule("-- no")
        (True, True, False)
    """
    return bool(_RULE.fullmatch(line) and _RUN.search(line))


def is_banner(comment: str) -> bool:
    r"""Whether a comment is the title of a section between dashes.

    A title in a box counts where it is one short line that is no sentence.

    Args:
        comment: The comment as it stands in the source.

    Examples:
        >>> is_banner("/* ---- helpers ---- */"), is_banner("// -----\n// Helpers of all\n// -----")
        (True, True)
        >>> is_banner("// -----\n// Returns the sum of all.\n// -----"), is_banner("/* helpers */")
        (False, False)
    """
    lines = [line.strip() for line in comment.strip().splitlines()]
    inner = [line for line in lines if line.strip("/*# \t") and not is_rule(line)]
    if not inner:
        return True
    if len(inner) > 1:
        return False
    title = inner[0].strip("/*# \t")
    if len(title) > 4 and title[0] == title[1] in _DASHES and title[-1] == title[-2] in _DASHES:
        return True
    rules = sum(is_rule(line) for line in lines)
    return rules > 0 and len(title.split()) <= 5 and not title.endswith((".", "!", "?"))


def is_file_header(comment: str) -> bool:
    """Whether a comment speaks of a whole file: its licence, authors, name or purpose.

    Args:
        comment: The comment as it stands in the source.

    Examples:
        >>> is_file_header("/* Copyright 2020 A. B. */"), is_file_header("/* list.c - linked lists */")
        (True, True)
        >>> is_file_header("/* Copies the list. */")
        False
    """
    return bool(_HEADER.match(comment.lstrip("/*#! \t\n")) or _HEADER_TAG.search(comment))
