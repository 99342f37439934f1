"""Rewritten functions still do the same, and faults are what they say."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CORPUS = Path(__file__).parents[2] / "recipes" / "corpus"

PROGRAM = """
int count(int n, int limit) {
  int even = 0;
  int odd = 0;
  int i = 0;
  while (i < n) {
    if (i % 2 == 0) {
      even += i;
    } else {
      odd -= 1;
    }
    if (even > limit) break;
    i++;
  }
  if (odd == 0 && even >= 0)
    return even;
  for (int j = 0; j <= n; j++) {
    odd *= j < 3 ? 2 : 1;
  }
  return even > odd ? even - odd * 2 : odd + even % 7;
}
"""
LOOPS = 'for (int n = 0; n < 20; n++) for (int m = -3; m < 30; m += 4) printf("%d ", CALL(n, m)); puts("");'


@pytest.fixture(scope="module", autouse=True)
def recipes():
    before = {*sys.modules}
    sys.path.insert(0, str(CORPUS))
    yield
    sys.path.remove(str(CORPUS))
    for name in {*sys.modules} - before:
        if getattr(sys.modules[name], "__file__", None) and str(CORPUS) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_rewritten_functions_compute_the_same(tmp_path):
    from samples.clones import variant
    from samples.names import NamePool, function_name, parse_code, text_of

    pool = NamePool(
        {"value": [f"v{i}" for i in range(60)], "call": [f"f{i}" for i in range(9)], "type": ["T", "U"]}
    )
    codes, done = [PROGRAM], set()
    for seed in range(8):
        code, words = variant(PROGRAM, "cpp", pool=pool, rng=random.Random(seed))
        codes.append(code)
        done.update(words.split("; "))
    assert len(set(codes)) == len(codes) and len(done) >= 9, done
    parts, calls = ["#include <cstdio>"], []
    for place, code in enumerate(codes):
        tree = parse_code(code, "cpp")
        parts.append(f"namespace n{place} {{ {code} }}")
        calls.append(LOOPS.replace("CALL", f"n{place}::{text_of(tree, function_name(tree))}"))
    (tmp_path / "all.cc").write_text("\n".join([*parts, "int main() {", *calls, "}"]))
    subprocess.run(["g++", "-w", "-O0", "-o", tmp_path / "all", tmp_path / "all.cc"], check=True)
    lines = subprocess.run([tmp_path / "all"], check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) == len(codes) and len(set(lines)) == 1


def test_java_is_rewritten_without_an_error():
    from samples.rewrites import WAYS, rewritten

    from codeft.syntax import parse

    code = """public int f(int a, String b) {
    int x = 1;
    int y = 2;
    while (a < x) {
        x++;
    }
    if (b == null) {
        y += a;
    } else {
        y = 0;
    }
    if (a > 3) return x + y * 2;
    return a != 0 ? x : y;
}"""
    done = set()
    for seed in range(8):
        changed, words = rewritten(code, "java", rng=random.Random(seed))
        assert not parse(changed, "java").has_errors
        done.update(words)
    assert done == set(WAYS)


def test_what_has_effects_stays_in_its_order():
    from samples.rewrites import rewritten

    code = "int f(int a) { int x = g(); int y = h(); return k() < m() ? 1 : 2; }"
    for seed in range(5):
        changed, _ = rewritten(code, "cpp", rng=random.Random(seed), share=1.0)
        places = [changed.index(f"{name}()") for name in "ghkm"]
        assert places == sorted(places)


def test_faults_are_what_they_say():
    from samples.defects import possible_faults
    from samples.names import apply_edits

    code = "int f(char *a, char *b, int n) { if (n < 3 && a != 0) return g(a, b); return n + 1; }"
    faults = {fault.words: apply_edits(code, fault.edits) for fault in possible_faults(code)}
    assert "n <= 3" in faults["`<` made `<=`"]
    assert "n < 3 || a" in faults["`&&` made `||`"]
    assert "a == 0" in faults["`!=` made `==`"]
    assert "n - 1" in faults["`+` made `-`"]
    assert "g(b, a)" in faults["arguments `a` and `b` swapped"]
    assert "g(b, b)" in faults["`a` made `b`"]
    assert not any("n" in words.split("`")[1::2] for words in faults), "no other variable is an int"


def test_a_method_s_own_names_are_concode_s():
    from samples.generation import anonymous

    code = (
        "@Override\npublic final int add(List<String> xs) "
        "{ for (String x : xs) { this.xs.add(x); } return add(xs, 1); }"
    )
    assert anonymous(code) == (
        "int function ( List < String > arg0 ) { for ( String loc0 : arg0 ) { this . xs . add ( loc0 ) ; } "
        "return add ( arg0 , 1 ) ; }"
    )


def test_a_cut_is_after_a_token_inside_a_line():
    from samples.completion import cutting_points

    code = "def f(a):\n    b = a\n    # none here, it is a comment\n    return g(a, b)\n"
    rests = [code[point:].partition("\n")[0].strip() for point in cutting_points(code, "python")]
    assert rests == ["g(a, b)", "(a, b)", "a, b)", ", b)"] or rests == ["g(a, b)", "(a, b)", "a, b)"]


def test_a_change_of_modifiers_is_none():
    from samples.refinement import edit_of, is_small_change

    before = ["public", "void", "f", "(", ")", "{", *("a", "(", ")", ";") * 4, "}"]
    assert not is_small_change(before, ["private", *before[1:]], "f();", "f();")
    mended = [*before[:-1], "e", "(", ")", ";", "}"]
    assert is_small_change(before, mended, "f();", "f();")
    assert edit_of(before, mended) == "[ > e ( ) ;]"
