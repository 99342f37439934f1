"""Two models, compared by layer: before and after, runs, exported folders, published models."""

from __future__ import annotations

import csv
import importlib
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from codeft import layer_similarity
from codeft.analysis.representations import Similarity
from codeft.layer_similarity import encode_sources
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.loading import MINI, find_folder, load_tokenizer
from codeft.models.tokenizer import train_tokenizer
from codeft.published import PublishedSimilarity
from codeft.tasks.clone_detection import ClonePairsTask
from codeft.tasks.summarization import SummarizationTask
from codeft.types import Example
from rows import function_rows


def read(folder: Path) -> dict:
    return json.loads((folder / "similarity.json").read_text(encoding="utf-8"))


def values(folder: Path, name: str = "pearson") -> list[float]:
    return [layer[name] for layer in read(folder)["layers"]]


def fails(command, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        command("similarity", *arguments)
    return str(stopped.value)


def run_words(verb: str, *words: str) -> None:
    """Run a verb as the command line would, where the fixture `command` is out of scope."""
    root, argv = logging.getLogger(), sys.argv
    handlers, level = root.handlers[:], root.level
    sys.argv = [f"codeft {verb}", *words]
    try:
        importlib.import_module(f"codeft.{verb}").main()
    finally:
        sys.argv = argv
        root.handlers[:], root.level = handlers, level


@pytest.fixture(scope="module")
def smaller_run(tiny, tmp_path_factory, _one_thread):
    """A run of another task whose model has a layer less and another tokenizer."""
    folder = tmp_path_factory.mktemp("smaller")
    texts = (row["code"] for row in function_rows(0, 40))
    train_tokenizer(texts, vocab_size=380).save_pretrained(folder / "words")
    of_text = ("task.max_target_length", "task.num_beams")
    run_words(
        "train", *(word for word in tiny if word.partition("=")[0] not in of_text),
        "task=code_search", "trainer.max_epochs=1", "data.batch_size=8", "model.architecture.num_layers=1",
        "model.architecture.d_model=16", "model.architecture.vocab_size=380",
        f"model.tokenizer={folder}/words", f"hydra.run.dir={folder}/run",
    )  # fmt: skip
    return folder / "run"


@pytest.fixture(scope="module")
def exported(finished_run, tmp_path_factory, _one_thread):
    folder = tmp_path_factory.mktemp("exported")
    run_words("export", f"run={finished_run}", f"to={folder}/model", f"hydra.run.dir={folder}/out")
    return folder / "model"


def test_a_run_before_and_after(command, finished_run, tmp_path, capsys):
    """K = 1 froze the embeddings and the lowest layer: they are what the run began with."""
    before = {path.name: path.stat().st_mtime_ns for path in finished_run.iterdir()}
    command("similarity", f"run={finished_run}", f"hydra.run.dir={tmp_path}/out")
    found = read(tmp_path / "out")
    assert [layer["layer"] for layer in found["layers"]] == [0, 1, 2]
    for name in ("pearson", "cka", "cka_debiased"):
        frozen, frozen_too, trained = values(tmp_path / "out", name)
        assert (frozen, frozen_too) == pytest.approx((1, 1), abs=1e-9)
        assert 0 < trained < 0.99999
    assert found["models"][0] == {
        "name": "before",
        "task": "summarization",
        "model": "mini",
        "method": "sat+telly",
    }
    assert (found["texts"], found["split"], found["published"]) == (7, "test", None)
    assert (
        found["signatures"]["pearson"]
        == "pearson|of:cosines|pairs:upper,diagonal:no|pooling:mean,padding:no|v:1"
    )
    assert before == {path.name: path.stat().st_mtime_ns for path in finished_run.iterdir()}
    rows = list(csv.DictReader((tmp_path / "out" / "similarity.csv").open()))
    assert [float(row["pearson"]) for row in rows] == values(tmp_path / "out")
    assert (tmp_path / "out" / "similarity.png").read_bytes().startswith(b"\x89PNG")
    assert "before and after" in (tmp_path / "out" / "similarity.svg").read_text()
    said = capsys.readouterr().out
    assert "before and after" in said and "7 texts" in said and "1.000" in said


def test_the_reference_reads_padding_and_the_diagonal(command, finished_run, tmp_path):
    arguments = (f"run={finished_run}", "split=valid", "limit=5")
    command("similarity", *arguments, f"hydra.run.dir={tmp_path}/own")
    command("similarity", *arguments, "reference=true", f"hydra.run.dir={tmp_path}/reference")
    own, reference = read(tmp_path / "own"), read(tmp_path / "reference")
    assert (own["texts"], reference["texts"], own["split"]) == (5, 5, "valid")
    assert own["layers"][2]["pearson"] != pytest.approx(reference["layers"][2]["pearson"], abs=1e-4)
    assert "padding:yes" in reference["signatures"]["pearson"]


def test_a_run_and_its_export_are_the_same(command, finished_run, exported, tmp_path):
    command("similarity", f"runs=[{exported},{finished_run}]", f"hydra.run.dir={tmp_path}/out")
    assert values(tmp_path / "out") == pytest.approx([1, 1, 1], abs=1e-9)
    assert [model["name"] for model in read(tmp_path / "out")["models"]] == [str(exported), str(finished_run)]


@pytest.fixture
def published(finished_run, tmp_path):
    """A model's folder without a word of codeft in it."""
    cfg = OmegaConf.load(finished_run / "config.yaml")
    torch.manual_seed(cfg.seed + 1)  # a run that was refused before it drew weights leaves its own seed
    model = EncoderDecoderModel(
        weights="random",
        architecture=OmegaConf.to_container(cfg.model.architecture),
        tokenizer=str(finished_run / "tokenizer"),
    )
    model.save(tmp_path / "published")
    return tmp_path / "published"


def test_a_published_model_takes_the_other_s_task_and_family(command, finished_run, published, tmp_path):
    command("similarity", f"runs=[{published},{finished_run}]", f"hydra.run.dir={tmp_path}/out")
    assert all(0 < value < 0.999 for value in values(tmp_path / "out"))  # other weights
    assert read(tmp_path / "out")["models"][0]["task"] == "summarization"


def test_a_run_that_began_with_a_published_model(command, tiny, published, tiny_data, tmp_path):
    """By its own config, by name, and by what the user says of the model: the same beginning."""
    own = [word for word in tiny if not word.startswith(("model.architecture", "model.tokenizer", "model.w"))]
    weights = [f"model.weights={published}", "model.tokenizer=null", "method=telly", "k=1"]
    command("train", *own, *weights, f"hydra.run.dir={tmp_path}/run")
    command("similarity", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/alone")
    both = f"runs=[{published},{tmp_path}/run]"
    command("similarity", both, f"hydra.run.dir={tmp_path}/both")
    told = ["task=summarization", "model=codet5", "task.max_source_length=48"]
    command("similarity", both, *told, f"hydra.run.dir={tmp_path}/told")
    expected = values(tmp_path / "alone")
    assert expected[:2] == pytest.approx([1, 1], abs=1e-9) and 0 < expected[2] < 0.99999
    assert values(tmp_path / "both") == values(tmp_path / "told") == pytest.approx(expected, abs=1e-9)
    assert read(tmp_path / "told")["models"][0]["model"] == "codet5"
    alone = f"runs=[{published},{published}]"
    assert "say task= and model=" in fails(command, alone, f"hydra.run.dir={tmp_path}/no")
    command("similarity", alone, *told, f"data.dir={tiny_data}", f"hydra.run.dir={tmp_path}/same")
    assert values(tmp_path / "same") == pytest.approx([1, 1, 1], abs=1e-9)


def test_models_of_other_sizes_words_and_tasks(command, finished_run, smaller_run, tmp_path):
    both = f"runs=[{smaller_run},{finished_run}]"
    message = fails(command, both, f"hydra.run.dir={tmp_path}/no")
    assert (
        f"{smaller_run} has 1 layers and {finished_run} has 2: layers=common compares the lowest 1" in message
    )
    command("similarity", both, "layers=common", f"hydra.run.dir={tmp_path}/out")
    found = values(tmp_path / "out")
    assert len(found) == 2 and all(-1 < value < 0.9999 for value in found)


def test_published_numbers_stand_beside(command, finished_run, tmp_path, monkeypatch, capsys):
    there = PublishedSimilarity([1.0, 0.875, 0.371], "codesearchnet", "a paper", "padding")
    monkeypatch.setattr(layer_similarity, "published_similarity", lambda **names: there)
    command("similarity", f"run={finished_run}", f"hydra.run.dir={tmp_path}/smaller")
    assert read(tmp_path / "smaller")["published"] is None, "as deep, and not as wide"
    monkeypatch.setattr(layer_similarity, "is_published_size", lambda model, architecture: True)
    command("similarity", f"run={finished_run}", f"hydra.run.dir={tmp_path}/out")
    rows = list(csv.DictReader((tmp_path / "out" / "similarity.csv").open()))
    assert [row["published_pearson"] for row in rows] == ["1.0", "0.875", "0.371"]
    assert read(tmp_path / "out")["published"]["source"] == "a paper"
    said = capsys.readouterr().out
    assert "published r" in said and "0.371" in said and "a paper" in said
    assert "published r (codesearchnet)" in (tmp_path / "out" / "similarity.svg").read_text()


def test_texts_that_a_model_doesn_t_tell_apart_are_told(command, finished_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(layer_similarity, "compare", lambda *a, **k: Similarity(None, None, None))
    command("similarity", f"run={finished_run}", f"hydra.run.dir={tmp_path}/out")
    assert "undefined" in capsys.readouterr().out
    assert values(tmp_path / "out") == [None] * 3


def test_states_that_aren_t_finite(command, finished_run, tmp_path, monkeypatch):
    read_states = layer_similarity.pooled_states

    def broken(*args, **kwargs):
        states = read_states(*args, **kwargs)
        states[2, 0] = np.inf
        return states

    monkeypatch.setattr(layer_similarity, "pooled_states", broken)
    message = fails(command, f"run={finished_run}", f"hydra.run.dir={tmp_path}/out")
    assert (
        f"layer 2 of before and {finished_run}: the first model's hidden states hold values that" in message
    )


def test_a_beginning_that_is_gone(command, finished_run, tmp_path):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("weights: random", f"weights: {tmp_path}/gone"))
    assert "before: " in (said := fails(command, f"run={run}", f"hydra.run.dir={tmp_path}/out"))
    assert "gone" in said


def test_what_can_t_be_compared(command, finished_run, exported, tmp_path):
    out = f"hydra.run.dir={tmp_path}/out"
    run = f"run={finished_run}"
    assert "one of run=" in fails(command, out)
    assert "not both" in fails(command, run, f"runs=[{exported},{finished_run}]", out)
    assert "doesn't say which weights it began with" in fails(command, f"run={exported}", out)
    assert "isn't one" in fails(command, f"run={tmp_path}/nowhere", out)
    assert "isn't one" in fails(command, f"runs=[{tmp_path}/nowhere,{exported}]", out)
    assert "test, valid" in fails(command, run, "split=train", out)
    assert "layers must be all or common" in fails(command, run, "layers=3", out)
    assert "limit" in fails(command, run, "limit=3", out)
    assert "reference" in fails(command, run, "reference=maybe", out)
    assert "give data.dir=" in fails(command, f"runs=[{exported},{exported}]", out)
    for runs in ("one", "[one]", "[a,b,c]", "[a,]", "[,]"):
        assert "expected two models" in fails(command, f"runs={runs}", out)
    (tmp_path / "few").mkdir()
    rows = (finished_run / "predictions.jsonl").read_text().splitlines()[:1]
    row = json.dumps({"code": json.loads(rows[0])["source"], "docstring": "Text.", "language": "python"})
    (tmp_path / "few" / "test.jsonl").write_text(f"{row}\n" * 9)  # equal texts count once
    for split in ("train", "valid"):
        (tmp_path / "few" / f"{split}.jsonl").write_text(f"{row}\n")
    assert "at least 4 texts to compare by, got 1" in fails(command, run, f"data.dir={tmp_path}/few", out)


def test_a_damaged_export(command, finished_run, exported, tmp_path):
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    (copy / "codeft.json").write_text("[1]")
    message = fails(command, f"runs=[{copy},{finished_run}]", f"hydra.run.dir={tmp_path}/out")
    assert "expected an object" in message


def test_sources_are_read_alike_for_any_task():
    """A task of pairs gives the source's own sub-tokens."""
    words = load_tokenizer(find_folder(MINI))
    examples = [Example("a", "def f(x):\n    return x", lang="python"), Example("b", "y = 1", lang="python")]
    pairs = encode_sources(ClonePairsTask(max_source_length=64, lang="java"), examples, words)
    single = encode_sources(
        SummarizationTask(max_source_length=64, max_target_length=8, num_beams=1), examples, words
    )
    assert [list(ids) for ids in pairs] == [list(ids) for ids in single]


def test_help_loads_nothing_slow():
    code = """
import sys
sys.argv = ["codeft similarity", "--help"]
import codeft.similarity
codeft.similarity.main()
slow = {"torch", "transformers", "hydra", "omegaconf", "matplotlib"}
print(sorted(slow & set(sys.modules)))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]" and "runs=[outputs/my-run,outputs/another]" in said


ROBERTA = "num_hidden_layers:2,num_attention_heads:4,intermediate_size:64,max_position_embeddings:66"
RUNS = {
    "unixcoder": [
        "model=unixcoder",
        f"model.architecture={{vocab_size:404,hidden_size:32,{ROBERTA},type_vocab_size:10,pad_token_id:0}}",
    ],
    "data flow": [
        "model=graphcodebert",
        f"model.architecture={{vocab_size:400,hidden_size:32,{ROBERTA},type_vocab_size:1,pad_token_id:0}}",
        "method=data_flow",
    ],
    "causal": [
        "model=qwen2_5_coder_0_5b",
        "model.architecture.vocab_size=400",
        "model.architecture.hidden_size=32",
        "model.architecture.num_hidden_layers=2",
        "model.architecture.num_attention_heads=4",
        "model.architecture.intermediate_size=64",
    ],
    "lora": ["method=lora", "optimizer.lr=0.1"],
    "cache": ["method=telly", "k=1", "cache=memory"],
    "prefix": ["method=prefix", "callbacks.adapter.config.num_virtual_tokens=4"],
}


@pytest.mark.parametrize("name", RUNS)
def test_every_family_and_what_adapters_change(command, tiny, tmp_path, name):
    own = [word for word in tiny if RUNS[name][0].startswith("method") or "architecture" not in word]
    command("train", *own, *RUNS[name], "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/run")
    command("similarity", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/out")
    found = values(tmp_path / "out")
    assert len(found) == 3 and all(value > 0.1 for value in found)
    if name == "lora":  # the embeddings stand still, the layers above don't
        assert found[0] == pytest.approx(1, abs=1e-9) and found[2] < 1 - 1e-6
    if name == "cache":  # what it held isn't read again
        assert found[:2] == pytest.approx([1, 1], abs=1e-9) and found[2] < 1 - 1e-6
    if name == "prefix":  # it is the decoder's
        assert found == pytest.approx([1, 1, 1], abs=1e-9)
