"""Which comment documents a function."""

from __future__ import annotations

import pytest

from codeft.syntax import LANGUAGES, extract_functions

FUNCTION = {
    "java": ("class A {\n", "int f() {\n  return 1;\n}", "\n}"),
    "csharp": ("class A {\n", "int F() {\n  return 1;\n}", "\n}"),
    "javascript": ("", "function f() {\n  return 1;\n}", ""),
    "php": ("<?php\n", "function f() {\n  return 1;\n}", ""),
    "go": ("package a\n\n", "func f() int {\n\treturn 1\n}", ""),
    "ruby": ("", "def f\n  1\nend", ""),
    "c": ("", "int f(void) {\n  return 1;\n}", ""),
    "cpp": ("", "int f() {\n  return 1;\n}", ""),
}
LINE = {"ruby": "# ", "go": "// ", "c": "// ", "cpp": "/// ", "csharp": "/// "}
BLOCK = ("java", "csharp", "javascript", "php", "c", "cpp", "go")


def docstring(lang, comment):
    before, function, after = FUNCTION[lang]
    [found] = extract_functions(f"{before}{comment}{function}{after}", lang)
    return found.docstring


def comment_of(lang, *lines):
    if lang in LINE:
        return "".join(f"{LINE[lang]}{line}".rstrip() + "\n" for line in lines)
    return "/**\n" + "".join(f" * {line}".rstrip() + "\n" for line in lines) + " */\n"


@pytest.mark.parametrize("lang", FUNCTION)
def test_a_blank_line_parts_a_comment_from_a_function(lang):
    comment = comment_of(lang, "Adds two numbers.", "All of them.")
    assert docstring(lang, comment) == "Adds two numbers.\nAll of them."
    assert docstring(lang, f"{comment}\n") == ""
    if lang in BLOCK:
        assert docstring(lang, "/** Adds two numbers. */\n\n") == ""
        assert docstring(lang, "/** Adds two numbers. */ ") == "Adds two numbers."


def test_every_language_with_comments_is_here():
    assert {*FUNCTION, "python"} == set(LANGUAGES)


@pytest.mark.parametrize(
    ("lang", "directive"),
    [
        ("c", "/* clang-format off */"),
        ("c", "/* NOLINT */"),
        ("cpp", "// NOLINTNEXTLINE(readability-identifier-naming)"),
        ("cpp", "// IWYU pragma: export"),
        ("c", "/* LCOV_EXCL_START this isn't covered */"),
        ("go", "//go:noinline"),
        ("go", "//nolint:gocyclo // it is long"),
        ("go", "//export F"),
        ("go", "// +build linux"),
        ("javascript", "// eslint-disable-next-line no-console"),
        ("javascript", "/* eslint no-console: 0 */"),
        ("javascript", "// @ts-ignore"),
        ("javascript", "/* istanbul ignore next */"),
        ("javascript", "/** @ts-expect-error of old */"),
        ("javascript", "// prettier-ignore"),
        ("ruby", "# :nodoc:"),
        ("ruby", "# rubocop:disable Metrics/MethodLength"),
        ("ruby", "# frozen_string_literal: true"),
        ("ruby", "#!/usr/bin/env ruby"),
        ("php", "// phpcs:ignore Squiz.Files"),
        ("php", "/** @codeCoverageIgnore */"),
        ("php", "/* @phpstan-ignore-next-line */"),
        ("java", "// CHECKSTYLE:OFF"),
        ("java", "//noinspection unchecked"),
        ("java", '// <editor-fold desc="Sums">'),
        ("csharp", "// ReSharper disable once UnusedMember.Global"),
        ("csharp", "//#region Sums"),
    ],
)
def test_directives_are_no_documentation_and_hide_none(lang, directive):
    assert docstring(lang, f"{directive}\n") == ""
    doc = comment_of(lang, "Adds two numbers.")
    assert docstring(lang, f"{doc}{directive}\n") == "Adds two numbers."
    assert docstring(lang, f"{directive}\n{doc}") == "Adds two numbers."


@pytest.mark.parametrize(
    ("lang", "comment"),
    [
        ("c", "/* ---- helpers for the queue ---- */\n"),
        ("c", "/*------------------\n * Helpers\n *------------------*/\n"),
        ("c", "/****************\n * Public interface\n ****************/\n"),
        ("cpp", "//===-------===//\n// Helpers of all\n//===-------===//\n"),
        ("go", "// -----------\n// Helpers\n// -----------\n"),
        ("ruby", "# ==== Helpers ====\n"),
        ("ruby", "##########\n# Helpers #\n##########\n"),
        ("javascript", "/** === Helpers === */\n"),
        ("php", "/**********/\n"),
        ("c", "/* Copyright (c) 2020 A. B. All rights reserved. */\n"),
        ("c", "/* SPDX-License-Identifier: MIT */\n"),
        ("cpp", "/* queue.cpp - queues of all kinds */\n"),
        ("cpp", "/** @file\n * Queues of all kinds.\n */\n"),
        ("javascript", "/**\n * @license MIT\n * Queues of all kinds.\n */\n"),
        ("javascript", "/** @fileoverview Queues of all kinds. */\n"),
        ("php", "/**\n * Plugin Name: Queues\n * Description: Adds queues.\n */\n"),
        ("ruby", "# -*- coding: utf-8 -*-\n"),
        ("c", "/* vim: set ts=4 sw=4: */\n"),
        ("c", "int x; /* of the queue that is */\n"),
    ],
)
def test_banners_and_headers_are_no_documentation(lang, comment):
    assert docstring(lang, comment) == ""


@pytest.mark.parametrize(
    ("lang", "comment", "expected"),
    [
        ("c", "/*-------\n * Returns the number of items.\n *-------*/\n", "Returns the number of items."),
        (
            "c",
            "/* ------\n * Returns the number\n * of items\n * ------ */\n",
            "Returns the number\nof items",
        ),
        ("cpp", "// Sums:\n// ------\n// of all.\n", "Sums:\n\nof all."),
    ],
)
def test_documentation_between_dashes_stays(lang, comment, expected):
    assert docstring(lang, comment) == expected


@pytest.mark.parametrize(
    ("lang", "lines", "expected"),
    [
        ("c", ["int old(int a) { return a + 4; }"], ""),
        (
            "c",
            ["return a + 4 when the flag is set", "int old(int a) { return a + 4; }"],
            "return a + 4 when the flag is set",
        ),
        ("cpp", ["for (int i = 0; i < n; ++i) {", "  sum += i;", "}"], ""),
        ("go", ["x := sum(a)", "return x"], ""),
        ("ruby", ["def old(a)", "  a + 4", "end"], ""),
        ("ruby", ["x = sum(a)"], ""),
        ("csharp", ["var x = Sum(a);", "Adds two numbers."], "Adds two numbers."),
        ("javascript", ["const x = sum(a);"], ""),
        ("php", ["$x = $this->sum($a);"], ""),
        ("java", ['System.out.println("one two three four five");'], ""),
        ("java", ["Adds two numbers; never fails;"], "Adds two numbers; never fails;"),
        ("java", ["Adds a and b (both are numbers)"], "Adds a and b (both are numbers)"),
        ("ruby", ["Adds two numbers"], "Adds two numbers"),
        ("go", ["F adds a = b and returns it"], "F adds a = b and returns it"),
    ],
)
def test_commented_out_code_is_no_documentation(lang, lines, expected):
    assert docstring(lang, comment_of(lang, *lines)) == expected


def test_what_cannot_be_documentation_hides_none():
    assert docstring("java", "/** Adds. */\n// not now\n") == "Adds."
    assert docstring("csharp", "/// Adds.\n// not now\n") == "Adds."
    assert docstring("javascript", "/** Adds. */\n/* not now */\n") == "Adds."
