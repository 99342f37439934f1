"""A finished run gives its scores again; stored predictions are scored without a model."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


def read_metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def copy_run(run: Path, to: Path) -> Path:
    """A copy of a run to be damaged; its other checkpoint stays behind."""
    return Path(shutil.copytree(run, to, ignore=shutil.ignore_patterns("last.ckpt")))


def test_a_run_gives_its_scores_again(command, finished_run, tmp_path, capsys):
    ledger = finished_run / "split_reads.jsonl"
    before = {path.name: path.stat().st_mtime_ns for path in finished_run.iterdir() if path != ledger}
    command("evaluate", f"run={finished_run}", f"hydra.run.dir={tmp_path}/again")
    again, stored = read_metrics(tmp_path / "again"), read_metrics(finished_run)
    assert stored["test"]["smoothed_bleu"] > 1
    assert again["test"] == pytest.approx(stored["test"], abs=1e-9)
    assert again["reproduced"] is True
    typed = ["codeft", "evaluate", f"run={finished_run}", f"hydra.run.dir={tmp_path}/again"]
    assert again["command"] == [shlex.join(typed)]  # as it was typed, odd characters and all
    for key in ("task", "method", "k", "alpha", "seed", "lang", "params", "signatures", "empty_predictions"):
        assert again[key] == stored[key], key
    name = "predictions.jsonl"
    assert (tmp_path / "again" / name).read_bytes() == (finished_run / name).read_bytes()
    assert "the same scores" in capsys.readouterr().out
    assert before == {path.name: path.stat().st_mtime_ns for path in finished_run.iterdir() if path != ledger}


def test_changes_are_told(command, finished_run, tiny_data, tmp_path, capsys):
    """Data that has moved, fewer beams, the other split, and scores that differ."""
    moved = tmp_path / "moved, to=${there}"
    shutil.copytree(tiny_data, moved)
    run = copy_run(finished_run, tmp_path / "run")
    stored = read_metrics(run)
    stored["test"]["exact_match"] += 1
    (run / "metrics.json").write_text(json.dumps(stored))
    shared = (f"run={run}", f"data.dir={moved}", "task.num_beams=1", "data.eval_batch_size=2")
    command("evaluate", *shared, f"hydra.run.dir={tmp_path}/test")
    assert read_metrics(tmp_path / "test")["reproduced"] is False
    assert "not the scores" in capsys.readouterr().out
    command("evaluate", *shared, "split=valid", f"hydra.run.dir={tmp_path}/valid")
    valid = read_metrics(tmp_path / "valid")
    assert valid["rows"]["valid"] == 6
    assert "test" not in valid and valid["stored"] == stored["valid"]


def fails(command, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        command("evaluate", *arguments)
    return str(stopped.value)


def test_what_the_data_doesn_t_have_can_t_be_changed(command, finished_run, tmp_path):
    run = copy_run(finished_run, tmp_path / "run")
    config = run / "config.yaml"
    lines = config.read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if line.strip() != "source: null"))
    message = fails(command, f"run={run}", "data.source=x", f"hydra.run.dir={tmp_path}/out")
    assert "data.source can't be changed" in message


def test_errors_of_a_run(command, finished_run, tmp_path):
    out = f"hydra.run.dir={tmp_path}/out"
    assert "one of run=" in fails(command, out)
    assert "isn't one" in fails(command, f"run={tmp_path}/nowhere", out)
    assert "knows its task" in fails(command, f"run={finished_run}", "task=translation", out)
    assert "test, valid" in fails(command, f"run={finished_run}", "split=train", out)
    run = copy_run(finished_run, tmp_path / "run")
    assert "overwrite" in fails(command, f"run={run}", f"hydra.run.dir={run}")
    assert "last.ckpt" in fails(command, f"run={run}", "checkpoint=last", out)
    best = run / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[:1000])
    assert "damaged" in fails(command, f"run={run}", out)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("SummarizationTask", "SummarizationTusk"))
    assert "trust_targets" in fails(command, f"run={run}", out)


@pytest.mark.parametrize("section", ["task", "model", "data", "callbacks", "optimizer", "trainer", "choices"])
@pytest.mark.parametrize("verb", ["evaluate", "train"])
def test_a_config_without_a_section(command, finished_run, tmp_path, verb, section):
    run = tmp_path / "run"
    run.mkdir()
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    for broken in (None, "text", [1]):
        (run / "config.yaml").write_text(yaml.safe_dump({**config, section: broken}))
        with pytest.raises(SystemExit, match=f"isn't what codeft.train writes: .*{section}"):
            if verb == "train":
                command("train", f"resume={run}")
            else:
                command("evaluate", f"run={run}", f"hydra.run.dir={tmp_path}/out")


@pytest.mark.parametrize(
    "text",
    ["[" * 3000, '{"test": 5}', '{"test": {"exact_match": "x"}}', '{"params": null}',
     '{"floors": [1]}', '{"floors": {"test": {"bm25": {"mrr": "x"}}}}', '{"constants": {"best_target": 1}}'],
)  # fmt: skip
def test_scores_that_are_none(command, finished_run, tmp_path, text):
    run = copy_run(finished_run, tmp_path / "run")
    (run / "metrics.json").write_text(text)
    assert "expected a run's scores" in fails(command, f"run={run}", f"hydra.run.dir={tmp_path}/out")


def test_a_checkpoint_of_another_model(command, finished_run, tmp_path):
    run = copy_run(finished_run, tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("d_ff: 64", "d_ff: 32"))
    assert "another model" in fails(command, f"run={run}", f"hydra.run.dir={tmp_path}/out")


def test_line_files(command, tmp_path, capsys):
    (tmp_path / "out=1, a").write_text("int a ;\nint b ;\n")
    (tmp_path / "gold").write_text("int a ;\nint c ;\n")
    (tmp_path / "java").write_text("int a ;\nlong d ;\n")
    files = (f"predictions={tmp_path}/out=1, a", f"references={tmp_path}/gold", f"sources={tmp_path}/java")
    command("evaluate", *files, "task=translation", f"hydra.run.dir={tmp_path}/run")
    metrics = read_metrics(tmp_path / "run")
    assert metrics["test"]["exact_match"] == 50
    assert metrics["floors"]["test"]["naive_copy"]["exact_match"] == 50
    assert metrics["test"].keys() == metrics["signatures"].keys()
    assert {"smoothed_bleu", "corpus_bleu", "sacrebleu", "chrf", "exact_match", "exact_match_split"} == set(
        metrics["test"]
    )
    assert "corpus_bleu|level:corpus" in capsys.readouterr().out


def test_a_run_s_own_predictions(command, finished_run, tmp_path):
    predictions = finished_run / "predictions.jsonl"
    command("evaluate", f"predictions={predictions}", "task=summarization", f"hydra.run.dir={tmp_path}/run")
    metrics, stored = read_metrics(tmp_path / "run"), read_metrics(finished_run)
    for name, value in stored["test"].items():
        assert metrics["test"][name] == pytest.approx(value, abs=1e-6), name
    command("evaluate", f"predictions={predictions}", "task=translation", f"hydra.run.dir={tmp_path}/copy")
    assert "corpus_bleu" in read_metrics(tmp_path / "copy")["floors"]["test"]["naive_copy"]


def test_errors_of_files(command, tmp_path):
    (tmp_path / "two").write_text("a\nb\n")
    (tmp_path / "three").write_text("a\nb\nc\n")
    out = f"hydra.run.dir={tmp_path}/out"
    assert "2" in fails(command, f"predictions={tmp_path}/two", f"references={tmp_path}/three", out)
    assert "references" in fails(command, f"predictions={tmp_path}/two", out)
    assert "nothing" in fails(command, f"predictions={tmp_path}/nothing", f"references={tmp_path}/two", out)
    files = (f"predictions={tmp_path}/two", f"references={tmp_path}/two")
    assert "summarization" in fails(command, *files, "task=pretraining", out)


def rescore(tmp_path, *, task, **files):
    """Score files as `evaluate predictions=` does once the task is chosen."""
    from omegaconf import OmegaConf

    from codeft.rescoring import score_files

    given = {"predictions": None, "references": None, "sources": None, "lang": None} | {
        key: str(value) for key, value in files.items()
    }
    out = tmp_path / "scored"
    out.mkdir(exist_ok=True)
    score_files(
        OmegaConf.create({"choices": {"task": task}, "extra_metrics": [], "threshold": None, **given}), out
    )
    return read_metrics(out)


def test_two_systems_are_compared(command, tmp_path, capsys):
    gold = [f"int a{i} = {i} ;" for i in range(60)]
    (tmp_path / "gold").write_text("\n".join(gold))
    (tmp_path / "a, first").write_text("\n".join(line if i % 3 else "x" for i, line in enumerate(gold)))
    (tmp_path / "b").write_text("\n".join(line if i % 30 else "" for i, line in enumerate(gold)))
    both = f"predictions=[{tmp_path}/a, first, {tmp_path}/b]"
    command(
        "evaluate", both, f"references={tmp_path}/gold", "task=translation", f"hydra.run.dir={tmp_path}/run"
    )
    metrics = read_metrics(tmp_path / "run")
    assert metrics["predictions"] == [f"{tmp_path}/a, first", f"{tmp_path}/b"]
    assert (metrics["empty_predictions"], metrics["empty_predictions_b"]) == (0, 2)
    assert metrics["test"].keys() == metrics["test_b"].keys() == metrics["bootstrap"].keys()
    found = metrics["bootstrap"]["exact_match"]
    assert found["difference"] == pytest.approx(30)
    assert 0 < found["low"] < 30 < found["high"] < 60
    assert found["p"] == pytest.approx(1 / 1001)
    printed = capsys.readouterr().out
    assert "95% interval" in printed
    assert "paired_bootstrap|n:1000|seed:12345" in printed


def test_systems_of_other_rows_are_not_compared(tmp_path):
    from codeft.types import CodeftError

    row = '{"id": "1", "prediction": "a", "reference": "%s"}\n'
    (tmp_path / "a.jsonl").write_text(row % "x" + row % "y")
    (tmp_path / "b.jsonl").write_text(row % "x" + row % "z")
    with pytest.raises(CodeftError, match="part at row 2"):
        rescore(tmp_path, task="refinement", predictions=f"[{tmp_path}/a.jsonl,{tmp_path}/b.jsonl]")


@pytest.mark.parametrize("names", ["[a]", "[a,b,c]", "[a,b],c]"])
def test_what_names_no_two_files(tmp_path, names):
    from codeft.types import CodeftError

    with pytest.raises(CodeftError, match="expected"):
        rescore(tmp_path, task=None, predictions=names)


def test_labels_have_the_majority_beside_them(tmp_path, capsys):
    (tmp_path / "p").write_text("1 0\n2 0\n3 1\n")
    (tmp_path / "r").write_text("1 0\n2 1\n3 1\n")
    metrics = rescore(
        tmp_path, task="defect_detection", predictions=tmp_path / "p", references=tmp_path / "r"
    )
    assert metrics["test"]["f1"] == pytest.approx(2 / 3)
    assert metrics["floors"]["test"]["majority"]["accuracy"] == pytest.approx(200 / 3)
    assert metrics["below_floor"] == {"test": ["accuracy", "f1"]}
    assert metrics["rows"] == 3
    assert "0.6667" in capsys.readouterr().out  # four digits from 0 to 1


def test_odd_texts_stay_aligned(tmp_path):
    rows = [("a\nb", "a\nb"), ("x\u0000", "x\u0000"), ("\ud800", "\ud800"), ("c\r\n", "c"), ("\u2028", "d")]
    lines = (json.dumps({"prediction": p, "reference": r, "source": "d"}) for p, r in rows)
    (tmp_path / "p.jsonl").write_text("\r\n".join(lines))
    metrics = rescore(tmp_path, task="refinement", predictions=tmp_path / "p.jsonl")
    assert metrics["test"]["exact_match"] == 80
    assert metrics["floors"]["test"]["naive_copy"]["exact_match"] == 20
    assert (metrics["rows"], metrics["empty_predictions"]) == (5, 1)


CODE = ["int f ( int a ) { return a ; }", "int g ( int b ) { b = b + 1 ; return b ; }"]


def write_lines(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def test_code_is_scored_in_two_modes(command, tmp_path, capsys):
    gold = write_lines(tmp_path / "gold", CODE)
    made = write_lines(tmp_path / "made", [CODE[0], "int g ( int b ) { return b ; }"])
    out = f"hydra.run.dir={tmp_path}/run"
    command("evaluate", f"predictions=[{made},{gold}]", f"references={gold}", "task=translation",
            "lang=cs-java", out)  # fmt: skip
    metrics = read_metrics(tmp_path / "run")
    names = {name for name in metrics["test"] if name.startswith("codebleu")}
    assert names == {
        f"codebleu{mode}{part}"
        for mode in ("", "_reference")
        for part in ("", "_ngram", "_weighted_ngram", "_ast", "_dataflow")
    }
    assert all(metrics["test_b"][name] == pytest.approx(100) for name in names)
    assert names < metrics["bootstrap"].keys()
    assert metrics["bootstrap"]["codebleu"]["difference"] == pytest.approx(100 - metrics["test"]["codebleu"])
    assert metrics["bootstrap"]["codebleu"]["low"] == pytest.approx(0)  # the first row alone
    signature = metrics["signatures"]["codebleu_reference_ast"]
    assert "|mode:reference|lang:java|" in signature and "|grammar:tree-sitter-java-" in signature
    assert "codebleu|mode:fixed" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize("task", ["translation", "refinement", "generation", "completion", "summarization"])
def test_files_that_do_not_go_together(command, tmp_path, task):
    one, two = write_lines(tmp_path / "one", CODE[:1]), write_lines(tmp_path / "two", CODE)
    empty = write_lines(tmp_path / "empty", [])
    rest = [f"task={task}", "lang=java", f"hydra.run.dir={tmp_path}/out"]
    message = fails(command, f"predictions={one}", f"references={two}", *rest)
    assert f"got 1 in {one} and 2 in {two}" in message and f"{two}:2" in message
    assert "are empty" in fails(command, f"predictions={empty}", f"references={empty}", *rest)
    assert "got 0 in" in fails(command, f"predictions={empty}", f"references={two}", *rest)
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_line_break_in_a_prediction_is_found(command, tmp_path):
    gold = [f"int f{i} ( ) {{ return {i} ; }}" for i in range(9)]
    lines = [*gold[:4], "int f4 ( ) {", "return 4 ; }", *gold[5:]]
    files = [
        f"predictions={write_lines(tmp_path / 'p', lines)}",
        f"references={write_lines(tmp_path / 'r', gold)}",
    ]
    message = fails(command, *files, "task=refinement", "lang=java", f"hydra.run.dir={tmp_path}/out")
    assert f"got 10 in {tmp_path}/p and 9 in {tmp_path}/r" in message
    assert "a line break inside a text there" in message


def test_a_language_without_a_grammar_has_no_codebleu(command, tmp_path, capsys):
    gold = write_lines(tmp_path / "gold", CODE)
    files = [f"predictions={gold}", f"references={gold}"]
    for task in ("translation", "refinement", "generation"):
        command("evaluate", *files, f"task={task}", "lang=cobol", f"hydra.run.dir={tmp_path}/{task}")
        scores = json.loads((tmp_path / task / "metrics.json").read_text(encoding="utf-8"))["test"]
        assert scores["corpus_bleu"] == 100 and not any("codebleu" in name for name in scores)
        assert "no grammar for cobol" in capsys.readouterr().err
    assert "Did you mean 'ruby'?" in fails(command, *files, "task=refinement", "lang=rubby")


def test_code_with_odd_characters(tmp_path):
    """NUL, lone surrogates, CR LF and line breaks neither crash nor shift rows."""
    odd = ["int a\0 = 1 ;", "int \ud800 = 2 ;", "int c = 3 ;\r\n", "int d\n= 4 ;", "int e = 5 ; \u2028", ""]
    rows = [{"prediction": text, "reference": text} for text in odd + CODE]
    rows.append({"prediction": "int x = y ;", "reference": "int z = y ;"})
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\r\n" for row in rows))
    metrics = rescore(tmp_path, task="refinement", predictions=tmp_path / "p.jsonl", lang="java")
    assert metrics["rows"] == 9
    assert metrics["test"]["exact_match"] == pytest.approx(100 * 8 / 9)
    for name in ("codebleu_ast", "codebleu_dataflow", "codebleu_reference_ast"):
        assert metrics["test"][name] == pytest.approx(100), name  # names don't matter to trees and flow


def test_crlf_and_nul_in_line_files(command, tmp_path):
    lines = [*CODE, "int a\0 = b ;"]
    scores = []
    for end in ("\n", "\r\n"):
        gold = write_lines(tmp_path / "gold", lines, end)
        made = write_lines(tmp_path / "made", [CODE[0], CODE[0], lines[2]])
        out = f"hydra.run.dir={tmp_path}/run"
        command("evaluate", f"predictions={made}", f"references={gold}", "task=generation", "lang=java", out)
        scores.append(read_metrics(tmp_path / "run")["test"])
    assert scores[0] == scores[1]
    (tmp_path / "made").write_bytes(b"int a ;\nint \xed\xa0\x80 ;\n")
    files = (f"predictions={tmp_path}/made", f"references={tmp_path}/gold")
    assert "made:2: expected UTF-8" in fails(command, *files, "task=generation", "lang=java", out)


def loaded(modules: tuple[str, ...], after: str) -> str:
    """Which of the modules a new interpreter holds after an import."""
    code = f"import sys, {after}; print([name for name in {modules} if name in sys.modules])"
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def test_imports_are_light():
    """Scoring texts needs no model code, and a verb's help next to nothing."""
    assert loaded(("codeft.build", "codeft.models.base", "pytorch_lightning"), "codeft.rescoring") == "[]"
    verbs = "codeft.evaluate, codeft.predict, codeft.prepare"
    assert loaded(("torch", "transformers", "hydra", "omegaconf"), verbs) == "[]"


def test_a_mistyped_run_is_answered_with_those_there_are(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "; there are no runs in outputs/" in fails(command, "run=outputs/frist")
    for age, name in enumerate(["first", "2026-01-02/10-00-00_k-6", "2026-01-02/11-00-00_sweep/0_k-1"]):
        folder = tmp_path / "outputs" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("")
        os.utime(folder / "config.yaml", (1e9 - age, 1e9 - age))
    (tmp_path / "outputs" / "evaluated").mkdir()
    said = fails(command, "run=outputs/frist")
    assert "'outputs/frist' isn't one; did you mean 'outputs/first'?" in said
    assert said.endswith(
        "The latest: outputs/first, outputs/2026-01-02/10-00-00_k-6, outputs/2026-01-02/11-00-00_sweep/0_k-1"
    )
    day = fails(command, f"run={tmp_path}/outputs/2026-01-02")
    assert f"did you mean '{tmp_path}/outputs/2026-01-02/1" in day
    assert "outputs/first" not in day


def test_extra_metrics_are_named(command, tmp_path):
    for name in ("p.txt", "r.txt"):
        (tmp_path / name).write_text("0 1\n1 0\n", encoding="utf-8")
    files = [f"predictions={tmp_path}/p.txt", f"references={tmp_path}/r.txt", f"hydra.run.dir={tmp_path}/out"]
    for task, name, there in (
        ("summarization", "metoer", "rouge_l, cider, meteor"),
        ("defect_detection", "meteor", "there are none"),
    ):
        said = fails(command, *files, f"task={task}", f"extra_metrics=[{name}]")
        assert f"task={task} has no extra metric '{name}'" in said
        assert there in said


def test_a_threshold_goes_with_labels(command, tmp_path):
    for name in ("p.txt", "r.txt"):
        (tmp_path / name).write_text("0 1\n1 0\n", encoding="utf-8")
    files = [f"predictions={tmp_path}/p.txt", f"references={tmp_path}/r.txt", f"hydra.run.dir={tmp_path}/out"]
    assert "goes with labels" in fails(command, *files, "task=summarization", "threshold=0.4")
    assert "a number from 0 to 1" in fails(command, *files, "task=clone_detection", "threshold=40")


@pytest.mark.parametrize("device", ["/dev/zero", "pipe"])
def test_predictions_that_have_no_end_are_refused(command, tmp_path, device):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "r.txt").write_text("a\n")
    device = device if device.startswith("/") else str(tmp_path / device)
    for key, other in (("predictions", "references"), ("references", "predictions")):
        with pytest.raises(SystemExit, match=r"a device or a pipe; write its content into a file"):
            command("evaluate", f"{key}={device}", f"{other}={tmp_path}/r.txt", f"hydra.run.dir={tmp_path}/o")
