"""Whole runs of PLBART and AST-T5: language tokens, every method, a stop in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from codeft.models.loading import load_tokenizer
from codeft.tasks.code_search import CodeSearchTask
from codeft.tasks.completion import CompletionTask
from codeft.tasks.generation import GenerationTask
from codeft.tasks.refinement import RefinementTask
from codeft.tasks.summarization import SummarizationTask
from codeft.tasks.translation import TranslationTask
from codeft.types import Example
from resuming import SETTINGS, Killed, assert_same_end, interrupt
from rows import write_jsonl

EOS, JAVA, PYTHON, ENGLISH = 2, 301, 302, 303
METHODS = {"full": [], "telly": ["k=1"], "sat": ["alpha=0.1"], "[sat,telly]": ["k=1", "alpha=0.1"]}
SIZES = (
    "vocab_size:305,d_model:32,encoder_layers:2,decoder_layers:1,encoder_attention_heads:4,"
    "decoder_attention_heads:4,encoder_ffn_dim:64,decoder_ffn_dim:64,max_position_embeddings:64"
)
RELATIVE = "relative_attention_num_buckets:16,activation_function:relu,scale_embedding:false"


@pytest.fixture(scope="module")
def tokenizer(plbart_tokenizer):
    return load_tokenizer(plbart_tokenizer)


@pytest.fixture
def bart(plbart_tokenizer):
    """Overrides for a tiny PLBART with its tokenizer, or an AST-T5."""

    def of(name="plbart_base"):
        sizes = SIZES if name == "plbart_base" else f"{SIZES},{RELATIVE}"
        return [
            f"model={name}",
            "model.weights=random",
            f"model.tokenizer={plbart_tokenizer}",
            f"model.architecture={{{sizes}}}",
            "task.max_source_length=48",
            "task.max_target_length=12",
            "task.num_beams=2",
            "trainer=cpu",
            "logger=none",
            "data=local",
        ]

    return of


def marks(task, tokenizer, source, *, lang):
    [encoding] = task.encode([Example("a", source, "apple", lang)], tokenizer)
    assert encoding.offsets[-2:].tolist() == [[-1, -1], [-1, -1]] or encoding.input_ids[-1] == EOS
    return encoding.input_ids[-2:].tolist(), encoding.labels[-2:].tolist(), encoding.start


@pytest.mark.parametrize(
    ("task", "lang", "source", "target"),
    [
        (SummarizationTask(), "java", JAVA, ENGLISH),
        (SummarizationTask(), "python", PYTHON, ENGLISH),
        (SummarizationTask(), "ruby", None, None),
        (TranslationTask(lang="java-python"), "java", JAVA, PYTHON),
        (TranslationTask(lang="java-cs"), "java", None, None),
        (TranslationTask(lang="cs-java"), "csharp", None, None),
        (RefinementTask(), "java", JAVA, JAVA),
        (GenerationTask(), "", ENGLISH, JAVA),
        (CompletionTask(lang="python"), "python", PYTHON, PYTHON),
    ],
)
def test_texts_end_with_their_languages_tokens(tokenizer, task, lang, source, target):
    ids, labels, start = marks(task, tokenizer, "return apple", lang=lang)
    assert start == target
    if source is None:
        assert ids[-1] == labels[-1] == EOS
    else:
        assert ids == [EOS, source] and labels == [EOS, target]


def test_a_mark_costs_a_place_and_stays_where_a_text_is_cut(tokenizer):
    task = SummarizationTask(max_source_length=6, max_target_length=4)
    long = Example("a", "return apple_0 " * 30, "the apple number " * 9, "python")
    short = Example("b", "x", "y", "csharp")
    first, second = task.encode([long, short], tokenizer)
    assert (len(first.input_ids), len(first.labels), first.truncated) == (6, 4, True)
    assert first.input_ids[-2:].tolist() == [EOS, PYTHON] and first.labels[-2:].tolist() == [EOS, ENGLISH]
    assert (second.truncated, second.start, second.input_ids[-1]) == (False, None, EOS)


def test_a_mark_that_has_no_room_is_left_out(tokenizer):
    task = SummarizationTask(max_source_length=1, max_target_length=1)
    [encoding] = task.encode([Example("a", "return x", "y", "python")], tokenizer)
    assert encoding.input_ids.tolist() == encoding.labels.tolist() == [EOS]


def test_each_text_of_a_pair_has_its_own_mark(tokenizer):
    example = Example("a", "return apple", lang="java", others=(Example("q", "find the apple"),))
    [encoding] = CodeSearchTask().encode([example], tokenizer)
    assert (encoding.input_ids[-1], encoding.others[0].input_ids[-1]) == (JAVA, ENGLISH)
    assert encoding.start is None


def test_a_tokenizer_without_marks_gives_none(tiny_tokenizer):
    [encoding] = SummarizationTask().encode(
        [Example("a", "x", "y", "python")], load_tokenizer(tiny_tokenizer)
    )
    assert encoding.start is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", ["summarization", "translation"])
def test_a_run_trains_tests_and_is_scored_again(command, bart, tiny_data, tiny_pairs, tmp_path, task, method):
    data = tiny_data if task == "summarization" else tiny_pairs
    words = [*bart(), f"task={task}", f"data.dir={data}", f"method={method}", *METHODS[method]]
    command("train", *words, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test"] and metrics["params"]["trainable"] <= metrics["params"]["total"]
    command("evaluate", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/again")
    assert json.loads((tmp_path / "again" / "metrics.json").read_text())["reproduced"] is True


@pytest.mark.parametrize("task", ["summarization", "refinement", "completion"])
def test_ast_t5_runs_with_both_methods(command, bart, tiny_data, tmp_path, task):
    rows = [{"source": f"int f{i}(int a) {{ return a; }}", "target": f"int g{i}"} for i in range(12)]
    for split in ("train", "valid", "test"):
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows)
    data = tiny_data if task == "summarization" else tmp_path / "data"
    words = [*bart("ast_t5_base"), f"task={task}", f"data.dir={data}", "method=[sat,telly]", "k=1"]
    lang = ["lang=java"] if task == "completion" else []
    command("train", *words, *lang, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/run")
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert "model.network.model.encoder.layers.1.self_attn.relative_bias.table.weight" in state


@pytest.mark.parametrize("name", ["plbart_base", "ast_t5_base"])
def test_killed_and_resumed_ends_as_if_never_stopped(
    command, bart, tiny_data, reference_run, monkeypatch, tmp_path, name
):
    words = [*bart(name), f"data.dir={tiny_data}", *SETTINGS, "method=[sat,telly]", "k=1", "alpha=0.1"]
    whole = reference_run(*words)
    interrupt(monkeypatch, "on_train_batch_end", 11)
    with pytest.raises(Killed):
        command("train", *words, f"hydra.run.dir={tmp_path}/run")
    command("train", f"resume={tmp_path}/run")
    assert_same_end(tmp_path / "run", whole)


@pytest.fixture
def reference_run(command, tmp_path):
    def run(*words: str) -> Path:
        command("train", *words, f"hydra.run.dir={tmp_path}/whole")
        return tmp_path / "whole"

    return run


def test_rows_without_answers_begin_with_the_targets_language_too(command, bart, tiny_data, tmp_path):
    words = [*bart(), f"data.dir={tiny_data}", "trainer.max_epochs=4", "optimizer.lr=1e-2", "patience=null"]
    command("train", *words, f"hydra.run.dir={tmp_path}/run")
    tested = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (tiny_data / "test.jsonl").read_text().splitlines()]
    write_jsonl(tmp_path / "rows.jsonl", [{k: v for k, v in row.items() if k != "docstring"} for row in rows])
    where = [f"input={tmp_path}/rows.jsonl", f"output={tmp_path}/out.jsonl", f"hydra.run.dir={tmp_path}/p"]
    command("predict", f"run={tmp_path}/run", *where)
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["prediction"] for row in answers] == [row["prediction"] for row in tested]
    assert any(row["prediction"] for row in tested)


def test_a_model_for_vectors_refuses_text(command, tmp_path):
    with pytest.raises(SystemExit, match="has no decoder, but the task asks for text"):
        command("train", "model=codet5p_110m_embedding", f"hydra.run.dir={tmp_path}")
