"""GraphCodeBERT's data flow and checkpoints laid over models, from the command line."""

from __future__ import annotations

import json

import pytest

from rows import function_rows, pair_rows, write_jsonl

ROBERTA = [
    "model=graphcodebert",
    "model.weights=random",
    "model.architecture={vocab_size:400,hidden_size:32,num_hidden_layers:2,num_attention_heads:4,"
    "intermediate_size:64,max_position_embeddings:66,type_vocab_size:1,pad_token_id:0}",
]
SUMMARIZATION = ["task.max_target_length=8", "task.num_beams=2"]
TASKS = {
    "summarization": SUMMARIZATION,
    "translation": SUMMARIZATION,
    "code_search": ["task.max_query_length=20"],
    "clone_detection": [],
}


def clone_rows(start, count):
    for i in range(start, start + count):
        code = f"int f{i}(int a) {{ int b = a + {i}; return b; }}"
        yield {"code1": code, "code2": code.replace("a", "c"), "label": i % 2}


@pytest.fixture
def arguments(tmp_path, tiny_tokenizer):
    """Return a run's overrides for a task."""

    def of(task, *, model=ROBERTA):
        rows = {"translation": pair_rows, "clone_detection": clone_rows}.get(task, function_rows)
        for split, start, count in (("train", 0, 12), ("valid", 50, 6), ("test", 80, 7)):
            write_jsonl(tmp_path / task / f"{split}.jsonl", rows(start, count))
        return [
            *model, f"model.tokenizer={tiny_tokenizer}", f"task={task}", "task.max_source_length=48",
            *TASKS[task], "trainer=cpu", "trainer.max_epochs=2", "data=local", f"data.dir={tmp_path}/{task}",
            "data.batch_size=4", "logger=none",
        ]  # fmt: skip

    return of


def scores(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("method", ["data_flow", "[data_flow,sat,telly]"])
@pytest.mark.parametrize("task", TASKS)
def test_a_run_trains_and_is_scored_again(arguments, command, tmp_path, task, method):
    """The variables are in validation and test, too: scored again, the run is what it was."""
    further = ["k=1"] if "telly" in method else []
    command("train", *arguments(task), f"method={method}", *further, f"hydra.run.dir={tmp_path}/run")
    assert scores(tmp_path / "run")["test"]
    command("evaluate", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/again")
    assert scores(tmp_path / "again")["reproduced"] is True


def test_search_and_prediction_read_the_variables(arguments, command, tmp_path):
    command("train", *arguments("code_search"), "method=data_flow", f"hydra.run.dir={tmp_path}/run")
    (tmp_path / "code.py").write_text("def f(a):\n    b = a + 1\n    return b\n\n\ndef g(x):\n    return x\n")
    asked = ["query=Add one.", f"input={tmp_path}/code.py", f"output={tmp_path}/found.jsonl"]
    command("predict", f"run={tmp_path}/run", *asked)
    assert len((tmp_path / "found.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_a_model_that_reads_no_data_flow_says_so_before_it_is_loaded(arguments, command, tmp_path):
    t5 = ["model=codet5", "model.weights=/no/such/model"]
    with pytest.raises(SystemExit, match=r"EncoderDecoderModel reads no data flow, .*model=graphcodebert"):
        command("train", *arguments("summarization", model=t5), "method=data_flow")


def test_pretraining_hides_parts_of_its_sources_and_says_so(command, tmp_path):
    for file in ("train", "valid"):
        (tmp_path / f"{file}.jsonl").write_text("")
    words = [f"data.{name}={tmp_path}/{name}.jsonl" for name in ("train", "valid")]
    with pytest.raises(SystemExit, match=r"data\.features\.data_flow wouldn't fit: leave out the method="):
        command("pretrain", *words, "method=data_flow", "model.tokenizer=asset:mini")


def test_a_run_begins_where_another_ended(arguments, command, tmp_path, capsys):
    """A checkpoint is laid over the network; its run is used again without the file."""
    command("train", *arguments("summarization"), f"hydra.run.dir={tmp_path}/first")
    best = tmp_path / "first" / "checkpoints" / "best.ckpt"
    words = [word for word in arguments("clone_detection") if not word.startswith("model.tokenizer")]
    weights = [f"model.weights={best}", f"model.tokenizer={tmp_path}/first/tokenizer"]
    command("train", *words, *weights, f"hydra.run.dir={tmp_path}/second")
    log = capsys.readouterr().err
    assert "best.ckpt and not used: model.network.decoder.*" in log and "new, so random: head.*" in log
    best.unlink()
    command("evaluate", f"run={tmp_path}/second", f"hydra.run.dir={tmp_path}/again")
    assert scores(tmp_path / "again")["reproduced"] is True
