"""Each file's licence is read from what its package says of it; what isn't permissive stays out."""

import pytest

MIT_TEXT = (
    "Permission is hereby granted, free of charge, to any person obtaining a copy\n"
    " * of this software and associated documentation files"
)
BSD_TEXT = "Redistributions of source code must retain the above copyright notice"


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("MIT", "MIT"),
        ("Apache-2", "Apache-2.0"),
        ("BSD-3-clause-Zend", "BSD-3-Clause"),
        ("BSD-3-Clause-Clear", ""),
        ("BSD-3-Clause-No-Nuclear-License", ""),
        ("GPL-2+", ""),
        ("GPL-2+ with OpenSSL exception", ""),
        ("Apache-2.0 WITH LLVM-exception", "Apache-2.0"),
        ("Expat, and GPL-2+", ""),
        ("Expat, or GPL-2+", "MIT"),
        ("(CECILL-B OR MIT)", "MIT"),
        ("MIT AND (GPL-2.0-only OR ISC)", "ISC AND MIT"),
        ("GPL-3+ or (Expat and LGPL-2+)", ""),
        ("Expat and BSD-3-clause and Expat", "BSD-3-Clause AND MIT"),
        ("made up", ""),
        ("", ""),
        ("(MIT", "MIT"),
    ],
)
def test_of_an_expression_what_is_permissive_is_chosen(corpus, expression, chosen):
    assert corpus("licences").permissive_choice(expression) == chosen


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("int f(void);\n", None),
        ("// SPDX-License-Identifier: BSD-3-Clause\n", "BSD-3-Clause"),
        ("/* SPDX-License-Identifier: GPL-2.0-only */\n", ""),
        ("/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */\n", "MIT"),
        ("# SPDX-License-Identifier: MIT\n# SPDX-License-Identifier: MPL-2.0\n", ""),
        (f"/*\n * {MIT_TEXT}\n */", "MIT"),
        (f"/*\n * {MIT_TEXT}\n * or the GNU General Public License\n */", ""),
        (f"// {BSD_TEXT}\n// Neither the name of X nor …", "BSD-3-Clause"),
        (f"// {BSD_TEXT}\n", "BSD-2-Clause"),
        (f"// {BSD_TEXT}\n// All advertising materials mentioning features", ""),
        ("# Licensed under the Apache License,\n# Version 2.0 (the License)", "Apache-2.0"),
        ("# Licensed under the GNU LGPL", ""),
        ("import matplotlib as mpl\n", None),
        ("<?php\n// License: see below\n", None),
        ("// Use of this source code is governed by a BSD-style\n// license", "BSD-3-Clause"),
        ("/* This file is in the public domain. */", "public-domain"),
    ],
)
def test_the_licence_in_a_head_is_recognised(corpus, head, licence):
    assert corpus("licences").licence_of_text(head) == licence


COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: thing

Files: *
Copyright: 2020 Someone
License: Expat

Files: lib/other/*
 src/b.c
Copyright: 2021 Else
License: GPL-2+
 This program is free software

Files: lib/other/free?.c
Copyright: 2021 Else
License: BSD-3-clause

License: Expat
 Permission is hereby granted
"""


def test_the_last_matching_stanza_counts(corpus):
    licences = corpus("licences")
    stanzas = licences.debian_stanzas(COPYRIGHT)
    assert [stanza.licence for stanza in stanzas] == ["Expat", "GPL-2+", "BSD-3-clause"]
    expected = {
        "main.c": "Expat",
        "lib/other/x/y.c": "GPL-2+",
        "src/b.c": "GPL-2+",
        "src/b.c.in": "Expat",
        "lib/other/free1.c": "BSD-3-clause",
        "lib/other/free12.c": "GPL-2+",
    }
    assert {path: licences.debian_licence(stanzas, path) for path in expected} == expected
    assert licences.debian_stanzas("This package was debianized by …\n\nFiles: *\nLicense: MIT\n") == []


def source(registry="debian", licence="Apache-2.0"):
    return {"registry": registry, "package": "thing", "licence": licence}


def lay(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def licences_below(corpus, root, row):
    package = corpus("licences").PackageLicences(root, row)
    folder = root / row["registry"] / "thing"
    return {
        path.relative_to(folder).as_posix(): package.licence_of(path) for path in sorted(folder.rglob("*.c"))
    }


def test_the_nearest_word_on_a_file_counts(corpus, tmp_path):
    code = "int f(void) { return 1; }\n"
    lay(
        tmp_path / "debian/thing",
        {
            "debian/copyright": COPYRIGHT,
            "thing-1.0/LICENSE": "GNU General Public License",  # of the whole: the table's row speaks for it
            "thing-1.0/main.c": code,
            "thing-1.0/head.c": f"// SPDX-License-Identifier: ISC\n{code}",
            "thing-1.0/gpl.c": f"// under the GNU General Public License\n{code}",
            "thing-1.0/src/b.c": code,
            "thing-1.0/lib/other/free1.c": code,
            "thing-1.0/inner/COPYING": "Mozilla Public License",
            "thing-1.0/inner/deep/d.c": code,
            "thing-1.0/kind/LICENSE.txt": MIT_TEXT,
            "thing-1.0/kind/e.c": code,
        },
    )
    assert licences_below(corpus, tmp_path, source()) == {
        "thing-1.0/main.c": "MIT",
        "thing-1.0/head.c": "ISC",
        "thing-1.0/gpl.c": "",
        "thing-1.0/src/b.c": "",
        "thing-1.0/lib/other/free1.c": "BSD-3-Clause",
        "thing-1.0/inner/deep/d.c": "",
        "thing-1.0/kind/e.c": "MIT",
    }


def test_without_a_word_on_a_file_the_package_counts(corpus, tmp_path):
    lay(tmp_path / "npm/thing", {"package/a.c": "int a;\n"})
    assert licences_below(corpus, tmp_path, source(registry="npm")) == {"package/a.c": "Apache-2.0"}


def test_an_installed_file_is_found_by_the_end_of_its_path(corpus, tmp_path):
    lay(
        tmp_path / "debian-binary/thing",
        {
            "usr/share/doc/thing/copyright": COPYRIGHT.replace("src/b.c", "lib/thing/b.c"),
            "usr/lib/ruby/vendor_ruby/thing/a.c": "int a;\n",
            "usr/lib/ruby/vendor_ruby/thing/b.c": "int b;\n",
        },
    )
    assert licences_below(corpus, tmp_path, source(registry="debian-binary")) == {
        "usr/lib/ruby/vendor_ruby/thing/a.c": "MIT",
        "usr/lib/ruby/vendor_ruby/thing/b.c": "",
    }
