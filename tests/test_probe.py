"""The verb that probes layers: the same texts for all models, and errors of one line."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from codeft.data.datamodule import CodeDataModule
from codeft.probe_rows import (
    PROBES,
    ProbeTexts,
    choose_leaves,
    choose_probes,
    complexity_classes,
    encode,
    problems,
    read_texts,
    traversals,
)
from codeft.probed_models import split_names
from codeft.syntax import parse
from codeft.syntax.token_types import TOKEN_TYPES, token_types
from codeft.tasks.clone_detection import CloneRetrievalTask
from codeft.tasks.summarization import SummarizationTask
from codeft.types import CodeftError, Encoding, Example
from rows import write_jsonl

QUICK = ["recipe.epochs=3", "recipe.width=8", "leaves=3", "recipe.batch_size=16"]


@pytest.fixture(scope="session")
def tiny_probed(tiny_model: list[str], tiny_data: Path) -> list[str]:
    """Overrides to probe a tiny model with random weights on a few functions."""
    model = [word for word in tiny_model if not word.startswith(("task.num_beams", "trainer"))]
    return ["model=mini", *model, "data=local", f"data.dir={tiny_data}", *QUICK]


def read_probe(folder: Path) -> dict:
    return json.loads((folder / "probe.json").read_text(encoding="utf-8"))


def fails(command, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        command("probe", *arguments)
    message = str(stopped.value)
    assert "\n" not in message and message.startswith("codeft: ")
    return message


def test_a_model_and_a_run_on_the_same_texts(command, tiny_probed, finished_run, tmp_path, capsys):
    runs = f"runs=[{finished_run}]"
    command("probe", *tiny_probed, runs, f"hydra.run.dir={tmp_path}/out")
    found = read_probe(tmp_path / "out")
    assert [model["name"] for model in found["models"]] == ["mini, random", finished_run.name]
    assert [model["layers"] for model in found["models"]] == [3, 3]
    assert found["rows"] == {"train": 22, "valid": 6, "test": 7, "left_out": 0}
    assert list(found["probes"]) == ["lexical", "syntactic", "structural"]
    assert found["recipe"]["epochs"] == 3 and found["recipe"]["seed"] == 1234
    for name, probe in found["probes"].items():
        assert list(probe["models"]) == ["mini, random", finished_run.name]
        highest = 1 if name == "syntactic" else 100
        assert 0 < probe["baseline"] <= highest
        for scores in probe["models"].values():
            assert [layer["layer"] for layer in scores["layers"]] == [0, 1, 2]
            assert sum(scores["mix"]["weights"]) == pytest.approx(1)
            assert all(0 <= layer["score"] <= highest for layer in (*scores["layers"], scores["mix"]))
            assert all(0 <= layer["epoch"] <= 3 for layer in (*scores["layers"], scores["mix"]))
    assert sum(found["probes"]["lexical"]["shares"].values()) == pytest.approx(1)
    with (tmp_path / "out" / "probe.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 4 and {row["layer"] for row in rows} == {"0", "1", "2", "mix"}
    for name in ("probe", "probe_weights"):
        for suffix in ("png", "svg"):
            assert (tmp_path / "out" / f"{name}.{suffix}").stat().st_size > 5000
    said = capsys.readouterr().out
    assert "all layers" in said and "baseline" in said and "22 texts to train" in said


def test_random_weights_stand_beside_a_run(command, tiny_probed, finished_run, tiny_data, tmp_path):
    rows = [word for word in tiny_probed if not word.startswith("model")]
    arguments = [*rows, f"runs=[{finished_run},{finished_run}]", "probes=[lexical]"]
    command("probe", *arguments, f"hydra.run.dir={tmp_path}/out")
    found = read_probe(tmp_path / "out")["probes"]["lexical"]["models"]
    assert list(found) == ["random", str(finished_run), f"{finished_run} (2)"]
    scores = list(found.values())
    assert scores[1] == scores[2] != scores[0], "the same weights have the same scores"
    command("probe", *arguments[:-2], f"runs={finished_run}", "random=false", "probes=lexical",
            f"hydra.run.dir={tmp_path}/alone")  # fmt: skip
    alone = read_probe(tmp_path / "alone")["probes"]["lexical"]["models"]
    assert alone == {finished_run.name: scores[1]}


def test_an_exported_folder_is_its_run(command, tiny_probed, finished_run, tmp_path):
    command("export", f"run={finished_run}", f"to={tmp_path}/exported", f"hydra.run.dir={tmp_path}/export")
    rows = [word for word in tiny_probed if not word.startswith("model")]
    runs = f"runs=[{tmp_path}/exported,{finished_run}]"
    command("probe", *rows, runs, "random=false", f"hydra.run.dir={tmp_path}/out")
    for probe in read_probe(tmp_path / "out")["probes"].values():
        first, second = probe["models"].values()
        assert first == second


def test_all_probes_of_programs_with_problems(command, tiny_probed, tmp_path):
    body = {"0": "return a + {i};", "1": "if (a) return {i}; return a;", "2": "while (a) a -= {i}; return a;"}
    for split, start, count in (("train", 0, 30), ("valid", 100, 9), ("test", 200, 12)):
        rows = [
            {"code": f"// one\nint f{i}(int a) {{ {body[str(i % 3)].format(i=i)} }}", "label": str(i % 3)}
            for i in range(start, start + count)
        ]
        write_jsonl(tmp_path / "rows" / f"{split}.jsonl", rows)
    words = [word for word in tiny_probed if not word.startswith(("task.max_target", "data"))]
    task = ["task=clone_detection_poj104", "data=codexglue", f"data.dir={tmp_path}/rows"]
    command("probe", *words, *task, f"hydra.run.dir={tmp_path}/out")
    found = read_probe(tmp_path / "out")
    assert list(found["probes"]) == list(PROBES)
    semantic = found["probes"]["semantic"]
    assert semantic["different"] == {"train": 3, "valid": 3, "test": 3}
    [scores] = semantic["models"].values()
    assert scores["mix"]["score"] > semantic["baseline"]
    classes = found["probes"]["structural"]["shares"]
    assert classes["1"] == pytest.approx(1 / 3) and classes["2"] == pytest.approx(2 / 3), "lines are kept"


def test_errors(command, tiny_probed, tmp_path):
    out = f"hydra.run.dir={tmp_path}/out"
    rows = [word for word in tiny_probed if not word.startswith("model")]
    assert "model=<a model>, runs=" in fails(command, *rows, out)
    assert "lexical, syntactic, semantic, structural, not lexicle" in fails(
        command, *tiny_probed, "probes=[lexicle]", out
    )
    assert "task=clone_detection_poj104" in fails(command, *tiny_probed, "probes=[semantic]", out)
    assert "recipe.epochs" in fails(command, *tiny_probed, "recipe.epochs=0", out)
    assert "recipe.lr must be" in fails(command, *tiny_probed, "recipe.lr=fast", out)
    assert "leaves must be" in fails(command, *tiny_probed, "leaves=0", out)
    assert "random must be" in fails(command, *tiny_probed, "random=1", out)
    assert "trainer.accelerator must be" in fails(command, *tiny_probed, "trainer.accelerator=tpu", out)
    assert "isn't one" in fails(command, *rows, f"runs=[{tmp_path}/nowhere]", out)
    write_jsonl(tmp_path / "published" / "config.json", [])
    assert "such as model=codebert model.weights=" in fails(
        command, *rows, f"runs=[{tmp_path}/published]", out
    )
    few = fails(command, *tiny_probed, "data.test_limit=3", out)
    assert "at least 5 different texts in each split, but test has 3" in few
    cut = fails(command, *tiny_probed, "task.max_source_length=1", out)
    assert "nothing is left of 35 of 35 texts" in cut and "raise it" in cut


def test_texts_in_no_language(command, tiny_probed, tmp_path):
    prose = [{"source": f"say the number {i}", "target": f"x = {i}"} for i in range(20)]
    for split, rows in (("train", prose[:8]), ("valid", prose[8:14]), ("test", prose[14:])):
        write_jsonl(tmp_path / "rows" / f"{split}.jsonl", rows)
    words = [*tiny_probed, f"data.dir={tmp_path}/rows", f"hydra.run.dir={tmp_path}/out"]
    assert "nothing to probe: texts are in none of python, java" in fails(command, *words)
    said = fails(command, *words, "probes=[lexical]")
    assert "the lexical probe needs code in one of python, java" in said and "20 of the 20 texts" in said


def test_help_comes_at_once(command, capsys):
    import subprocess
    import sys

    command("probe", "--help")
    assert "codeft probe: Probe what a model's layers hold" in capsys.readouterr().out
    code = "import sys, codeft.probe; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "False"]


def test_names_with_commas(tmp_path):
    (tmp_path / "a, b").mkdir()
    (tmp_path / "c").mkdir()
    assert split_names(f"[{tmp_path}/a, b,{tmp_path}/c]") == [f"{tmp_path}/a, b", f"{tmp_path}/c"]
    assert split_names(f"{tmp_path}/a, b") == [f"{tmp_path}/a, b"]
    with pytest.raises(CodeftError, match="empty name"):
        split_names("[a,,b]")


# What is probed for.

CODES = ["def f(x):\n    return x", "def g(y):\n    return y", "def f(x):\n    if x:\n        return 10", "1"]


def texts_of(*codes: str, lang: str = "python") -> ProbeTexts:
    examples = [Example(str(i), code, str(i % 2), lang) for i, code in enumerate(codes)]
    return ProbeTexts(examples, {"train": len(codes) - 2, "valid": 1, "test": 1})


def by_characters(code: str, size: int, limit: int = 1000) -> Encoding:
    """Sub-tokens of so many characters, with a special token on either side."""
    spans = [
        (-1, -1),
        *((i, min(i + size, len(code))) for i in range(0, min(len(code), limit), size)),
        (-1, -1),
    ]
    return Encoding(np.zeros(len(spans), dtype=np.int32), np.array(spans, dtype=np.int32))


def test_each_leaf_is_read_at_its_last_sub_token():
    texts = texts_of(*CODES)
    leaves = choose_leaves(texts, [[by_characters(code, 1) for code in CODES]], per_text=99, seed=0)
    for number, code in enumerate(CODES):
        tree, types = parse(code, "python"), token_types(code, "python")
        wanted = [leaf for leaf, kind in enumerate(types) if kind is not None]
        assert (leaves.positions[0][number] == tree.ends[wanted]).all()  # character + 1, for the first token
        part = leaves.types[leaves.rows(slice(number, number + 1))]
        assert [TOKEN_TYPES[kind] for kind in part] == [types[leaf] for leaf in wanted]
    assert leaves.rows(slice(0, len(CODES))) == slice(0, len(leaves.types))


def test_models_are_asked_for_the_same_leaves():
    """One cuts the text, the other has sub-tokens over several leaves."""
    texts = texts_of(*CODES)
    models = [
        [by_characters(code, 1, limit=20) for code in CODES],
        [by_characters(code, 3) for code in CODES],
    ]
    leaves = choose_leaves(texts, models, per_text=99, seed=0)
    alone = choose_leaves(texts, models[:1], per_text=99, seed=0)
    assert 0 < len(leaves.types) < len(alone.types)
    for number, code in enumerate(CODES):
        ends = [models[0][number].offsets[place, 1] for place in leaves.positions[0][number]]
        for end, place in zip(ends, leaves.positions[1][number], strict=True):
            start, stop = models[1][number].offsets[place]
            assert start < end <= stop + 2, code
        assert max(ends, default=0) <= 20


def test_leaves_are_drawn_by_seed_and_text():
    codes = [f"{name} = [{', '.join(map(str, range(40)))}]" for name in "abc"]
    models = [[by_characters(code, 1) for code in codes]]
    first, again, other = (
        choose_leaves(texts_of(*codes), models, per_text=5, seed=seed) for seed in (1, 1, 2)
    )
    assert first.counts.tolist() == [5, 5, 5]
    assert [p.tolist() for p in first.positions[0]] == [p.tolist() for p in again.positions[0]]
    assert [p.tolist() for p in first.positions[0]] != [p.tolist() for p in other.positions[0]]
    fewer = choose_leaves(texts_of(*codes[:2]), [models[0][:2]], per_text=5, seed=1)
    assert [p.tolist() for p in fewer.positions[0]] == [p.tolist() for p in first.positions[0][:2]]
    with pytest.raises(CodeftError, match=r"raise task\.max_source_length"):
        choose_leaves(
            texts_of(*codes), [[by_characters(code, 1, limit=0) for code in codes]], per_text=5, seed=1
        )


def test_labels_of_texts():
    texts = texts_of(*CODES)
    assert complexity_classes(texts).tolist() == [0, 0, 1, 0]
    sequences, numbers = traversals(texts)
    assert sequences[0] == sequences[1] and numbers.tolist() == [0, 0, 1, 2]
    assert sequences[3] == "expression_statement integer"
    assert problems(texts).tolist() == [0, 1, 0, 1]


def test_which_probes_there_are():
    summarization = SummarizationTask(max_source_length=8, max_target_length=8, num_beams=1)
    retrieval = CloneRetrievalTask()
    code, prose = texts_of(*CODES), texts_of(*CODES, lang="")
    assert choose_probes(None, task=summarization, texts=code) == ["lexical", "syntactic", "structural"]
    assert choose_probes(None, task=retrieval, texts=code) == list(PROBES)
    assert choose_probes(["structural", "lexical"], task=retrieval, texts=code) == ["lexical", "structural"]
    with pytest.raises(CodeftError, match="not none"):
        choose_probes([], task=retrieval, texts=code)
    assert choose_probes(None, task=retrieval, texts=prose) == ["semantic"]


def test_a_text_in_two_splits_is_tested():
    @dataclass
    class Rows:
        splits: dict[str, list[str]]

        def read(self, split: str) -> list[Example]:
            return [Example(f"{split}{i}", text, lang="python") for i, text in enumerate(self.splits[split])]

    data: CodeDataModule = Rows({"train": ["a", "b", "c", "a"], "valid": ["b", " "], "test": ["c", "d"]})  # type: ignore[assignment]
    texts = read_texts(data)
    assert [example.id for example in texts.examples] == ["train0", "valid0", "test0", "test1"]
    assert texts.sizes == {"train": 1, "valid": 1, "test": 2} and texts.num_left_out == 4
    assert texts.rows("test") == slice(2, 4)


def test_a_task_of_two_texts_encodes_one(tiny_tokenizer):
    from codeft.models.loading import load_tokenizer
    from codeft.tasks.clone_detection import ClonePairsTask

    tokenizer = load_tokenizer(tiny_tokenizer)
    [encoding] = encode(ClonePairsTask(), [("int x;", "java")], tokenizer)
    assert encoding.offsets.max() == 6
