"""No code gets into the corpus twice, and none of what the evaluation sets or held-out packages hold."""

import json

import pytest

from codeft.data.near_duplicates import jaccard

BODY = """    int total = {start};
    for (int i = 0; i < {values}.length; i++) {{
        if ({values}[i] > {limit}) {{
            total += {values}[i] * {factor};
        }}
    }}
    return total;
}}"""
KNOWN = "int sumAbove(int[] values, int limit) {\n" + BODY.format(
    start=0, values="values", limit="limit", factor=2
)
RENAMED = "public static int weigh(final int[] items, final int least) {\n" + BODY.format(
    start=1, values="items", limit="least", factor=17
)
ABSTRACT = (
    "public int METHOD_1 ( int [ ] VAR_1 , int VAR_2 ) { int VAR_3 = INT_1 ; for ( int i = 0 ; i < "
    "( VAR_1 . length ) ; i ++ ) { if ( ( VAR_1 [ i ] ) > VAR_2 ) { VAR_3 += ( VAR_1 [ i ] ) * INT_2 ; } } "
    "return VAR_3 ; }"
)
OTHER = """String join(List<String> names, String comma) {
    StringBuilder all = new StringBuilder();
    while (names.iterator().hasNext()) {
        all.append(names.remove(0)).append(comma);
    }
    return all.toString().trim();
}"""


def similarity(corpus, first, second):
    renaming, evaluation = corpus("renaming"), corpus("evaluation")
    hashes = [renaming.renamed_shingles(evaluation.comparable(x, "java"), "java") for x in (first, second)]
    return jaccard(*hashes)


def test_names_literals_and_brackets_hide_no_copy(corpus):
    assert similarity(corpus, KNOWN, RENAMED) == 1
    assert similarity(corpus, KNOWN, ABSTRACT) == 1
    assert similarity(corpus, KNOWN, OTHER) < 0.1
    other_order = KNOWN.replace("i < values.length", "values.length > i")
    assert 0.5 < similarity(corpus, KNOWN, other_order) < 1


def test_a_short_text_has_no_windows(corpus):
    renaming = corpus("renaming")
    assert len(renaming.renamed_shingles("int get() { return x; }", "java")) < 20
    assert len(renaming.renamed_shingles("return", "java")) == 0


@pytest.fixture
def data(tmp_path, monkeypatch, corpus):
    decontamination = corpus("decontamination")
    monkeypatch.setattr(decontamination, "evaluation_functions", lambda data: [("set", "java", ABSTRACT)])
    monkeypatch.setattr(decontamination, "evaluation_files", lambda data: [])
    return tmp_path


def item(corpus, *codes, whole=False, path="A.java", repo="me/thing"):
    candidates = corpus("candidates")
    pieces = tuple(candidates.Piece(text=code, code=code, docstring="") for code in codes)
    text = "class A {\n" + "\n".join(codes) + "\n}" if whole else ""
    return candidates.Candidate(repo, path, "java", "MIT", text, pieces)


def selection(corpus, data, held_out=(), max_bytes=10**6):
    decontamination = corpus("decontamination").Decontamination(data, language="java")
    decontamination.hold_out(held_out)
    return corpus("pretrain").Selection(decontamination, max_bytes=max_bytes)


def test_a_file_with_a_contaminated_function_goes_as_the_others(corpus, data):
    chosen = selection(corpus, data)
    chosen.offer(item(corpus, RENAMED, OTHER, whole=True))
    assert [(row["kind"], row["text"]) for row in chosen.rows] == [("function", OTHER)]
    assert chosen.left_out == {
        "functions: contaminated with set, renamed": 1,
        "whole files: a function is contaminated": 1,
    }


def test_a_held_out_package_is_as_an_evaluation_set(corpus, data):
    chosen = selection(corpus, data, held_out=[item(corpus, OTHER)])
    chosen.offer(item(corpus, OTHER))
    assert not chosen.rows
    assert chosen.left_out == {"functions: contaminated with held-out packages": 1}


def test_nothing_gets_in_twice(corpus, data):
    chosen = selection(corpus, data)
    third = OTHER.replace("StringBuilder", "Buffer").replace("trim()", "strip().toLowerCase().intern()")
    chosen.offer(item(corpus, OTHER, whole=True))
    chosen.offer(item(corpus, OTHER, path="B.java"))
    chosen.offer(item(corpus, OTHER, whole=True, path="C.java"))
    chosen.offer(item(corpus, third, path="D.java"))
    assert [(row["kind"], row["path"]) for row in chosen.rows] == [("file", "A.java"), ("function", "D.java")]
    assert chosen.left_out["functions: near duplicate"] == 2
    assert chosen.left_out["whole files: functions are there already"] == 1
    row = chosen.rows[0]
    assert {key: row[key] for key in ("language", "repo", "licence")} == {
        "language": "java",
        "repo": "me/thing",
        "licence": "MIT",
    }


def test_every_repository_has_its_turn(corpus):
    pretrain = corpus("pretrain")
    large = [item(corpus, OTHER * 4, path=f"{n}.java", repo="big/one") for n in range(5)]
    small = [item(corpus, OTHER, path=f"{n}.java", repo="small/one") for n in range(8)]
    order = [entry.repo for entry in pretrain.in_turns(large + small, seed=0)]
    assert order[:6] == ["big/one", "small/one", "small/one", "small/one", "small/one", "big/one"]
    assert order.count("big/one") == 5
    assert order.count("small/one") == 8
    again = [entry.repo for entry in pretrain.in_turns(large + small, seed=0)]
    assert again == order


def test_a_full_selection_stops(corpus, data):
    chosen = selection(corpus, data, max_bytes=10)
    pretrain = corpus("pretrain")
    pretrain.fill(chosen, [item(corpus, OTHER, path=f"{n}.java") for n in range(3)], seed=0)
    assert len(chosen.rows) == 1
    assert chosen.left_out == {"files: language is full": 2}


def test_rows_are_written_alike_and_counted(corpus, data, tmp_path):
    pretrain = corpus("pretrain")
    chosen = selection(corpus, data)
    chosen.offer(item(corpus, OTHER))
    pretrain.write(tmp_path / "a.gz", chosen.rows)
    pretrain.write(tmp_path / "b.gz", chosen.rows)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    counts = pretrain.statistics(chosen.rows)
    assert counts["rows"] == 1
    assert counts["bytes"] == len(OTHER)
    assert counts["by kind"] == {"function": {"rows": 1, "bytes": len(OTHER)}}
    assert json.dumps(counts)
