"""Files go whole or as functions, without the licence at their top, and are mined once."""

from collections import Counter

import pytest

from codeft.data.mining import find_functions

HEADERS = {
    "c": ("/*\n * Copyright me\n */\n\n#include <a.h>\nint f();\n", "#include <a.h>\nint f();"),
    "go": (
        "// Copyright me.\n// Use of …\n\n//go:build linux\n\n// Package a adds.\npackage a\n",
        "//go:build linux\n\n// Package a adds.\npackage a",
    ),
    "python": (
        "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n\n'''Adds.'''\nx = 1\n",
        "'''Adds.'''\nx = 1",
    ),
    "ruby": (
        "# frozen_string_literal: true\n\nclass A\nend\n",
        "# frozen_string_literal: true\n\nclass A\nend",
    ),
    "php": ("<?php\n/**\n * @license MIT\n */\n\n// Adds.\nf();\n", "<?php\n\n// Adds.\nf();"),
    "php 8": (
        "<?php declare(strict_types=1);\n/* (c) Me, see the LICENSE */\nnamespace A;\n",
        "<?php declare(strict_types=1);\n\nnamespace A;",
    ),
    "java": ("// Adds.\n\n/* License: MIT */\npackage a;\n\n// Copyright\n", "package a;\n\n// Copyright"),
    "java below": (
        "package a;\n\n/*\n * Licensed under the MIT licence\n */\n\n/** Adds. */\nclass A {}\n",
        "package a;\n\n/** Adds. */\nclass A {}",
    ),
    "csharp": ("//\n// A.cs\n//\n// Author:\n//  Me\n//\n\nusing System;\n", "using System;"),
    "csharp region": (
        "#region License\r\n// Copyright me\r\n#endregion\r\n\r\n#region Using\r\nusing A;\r\n#endregion\r\n",
        "#region Using\nusing A;\n#endregion",
    ),
}


@pytest.mark.parametrize("language", HEADERS)
def test_the_licence_at_the_top_goes_and_other_comments_stay(corpus, language):
    text, kept = HEADERS[language]
    assert corpus("candidates").without_header(text, language.split()[0]) == kept


def test_tables_and_foreign_scripts_are_no_code_to_learn_from(corpus):
    fit = corpus("candidates").is_mostly_words
    assert fit("static int add(int a, int b)\n{\n    return a + b;\n}\n")
    assert not fit("{0x00, 0x12, 0x34},\n" * 20)
    assert not fit("x = 'длинная строка на другом языке'\n" * 5)


def test_what_does_not_fit_is_only_compared_with(corpus, tmp_path):
    lines = "    x = 1 + 2\n" * 1000
    (tmp_path / "a.py").write_text(f"def long():\n{lines}\n\ndef f():\n    pass\n")
    left_out = Counter()
    found = list(find_functions(tmp_path / "a.py"))
    kept = [corpus("candidates").piece(item, left_out=left_out) for item in found]
    assert kept[0].text == ""
    assert kept[0].code.startswith("def long")
    assert kept[1:] == [None]
    assert left_out == {"functions: too long": 1, "functions: too short": 1}


FUNCTION = '''def {name}(first, second):
    """Adds two numbers and says so."""
    total = first + second
    print("the sum of both is", total)
    return total
'''


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "pypi/thing/thing"
    folder.mkdir(parents=True)
    for place in range(40):
        functions = [FUNCTION.format(name=f"{name}_{place}") for name in ("add", "sum")]
        (folder / f"m{place}.py").write_text("# Copyright me\n\n" + "\n\n".join(functions))
    (folder / "gpl.py").write_text(f"# under the GNU GPL\n{FUNCTION.format(name='other')}")
    return {
        "package": "thing",
        "registry": "pypi",
        "version": "1",
        "languages": "python",
        "licence": "MIT",
        "upstream": "me/thing",
        "role": "pretrain",
        "folder": "",
    }


def test_a_part_of_the_files_goes_whole(corpus, package, tmp_path):
    candidates, left_out = corpus("candidates"), Counter()
    items = list(candidates.candidates(package, root=tmp_path, max_bytes=2**62, left_out=left_out))
    assert len(items) == 40
    whole = [item for item in items if item.whole]
    assert 8 <= len(whole) <= 24  # 16 are expected
    assert all(item.whole.startswith("def add_") for item in whole)
    assert {item.licence for item in items} == {"MIT"}
    assert all(len(item.pieces) == 2 for item in items)
    assert items[0].pieces[0].docstring == "Adds two numbers and says so."
    assert '"""' not in items[0].pieces[0].code
    assert left_out["files: names another licence"] == 1


def test_a_limit_reads_a_part_of_the_files(corpus, package, tmp_path):
    readable = corpus("readable")
    sizes = readable.readable_files(tmp_path, source=package)
    assert len(sizes) == 41
    half = readable.chosen_files(tmp_path, source=package, max_bytes=sum(sizes.values()) // 2)
    assert half == set(list(sizes)[: len(half)])
    assert 15 <= len(half) <= 25


def test_what_was_mined_is_kept(corpus, package, tmp_path):
    candidates = corpus("candidates")
    line = candidates.keep_candidates(package, 2**62, root=tmp_path, folder=tmp_path)
    assert line == "thing : 40 files, 80 functions"
    path = candidates.cache_path(tmp_path, package)
    items, left_out = candidates.kept_candidates(path)
    assert len(items) == 40
    assert left_out == {"files: names another licence": 1}
    assert "kept already" in candidates.keep_candidates(package, 2**62, root=tmp_path, folder=tmp_path)
    again = candidates.keep_candidates(package, 1000, root=tmp_path, folder=tmp_path)  # another limit
    assert "kept already" not in again
    assert len(candidates.kept_candidates(path)[0]) < 40
