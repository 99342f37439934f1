"""Whole runs of the tasks whose answer is a label or a vector, on tiny models."""

from __future__ import annotations

import csv
import json

import pytest
import torch

from codeft.metrics import best_threshold
from codeft.metrics.classification import confusion_names
from rows import write_jsonl

SCORES = {
    "defect_detection": {"accuracy", "f1", "precision", "recall"},
    "clone_detection": {
        *("accuracy", "f1", "precision", "recall"),
        *("f1_tuned", "precision_tuned", "recall_tuned"),
    },
    "clone_detection_poj104": {"map_at_r"},
    "code_search": {"mrr", "r_at_1", "r_at_5", "r_at_10", "ties"},
}
METHODS = {"full": [], "telly": ["k=1"], "sat": [], "[sat,telly]": ["k=1"], "[sat,lora]": []}
SIZES = (
    "hidden_size:32,num_hidden_layers:2,num_attention_heads:4,intermediate_size:64,"
    "max_position_embeddings:66,type_vocab_size:1,pad_token_id:0"
)
FAMILIES = {
    "t5": [],
    "roberta": ["model=codebert", f"model.architecture={{vocab_size:400,{SIZES}}}"],
    "prefix": ["model=unixcoder", f"model.architecture={{vocab_size:404,{SIZES}}}"],
    "bart": [
        "model=plbart_base",
        "model.architecture={vocab_size:400,d_model:32,encoder_layers:2,decoder_layers:1,"
        "encoder_attention_heads:4,decoder_attention_heads:4,encoder_ffn_dim:64,decoder_ffn_dim:64,"
        "max_position_embeddings:64}",
    ],
    "projected": [
        "model=codet5p_110m_embedding",
        "model.architecture={vocab_size:400,d_model:32,embed_dim:8,d_kv:8,num_heads:4,d_ff:64,num_layers:2}",
    ],
}


def row(task, i):
    code = f"int f{i}(int a) {{ return a {'+ a ' * (i % 4)}+ {i % 3}; }}"
    other = code.replace("a", "b")
    return {
        "defect_detection": {"func": code, "target": i % 2},
        "clone_detection": {"code1": code, "code2": other, "label": int(i % 3 == 0)},
        "clone_detection_poj104": {"code": code, "label": f"problem {i % 3}"},
        "code_search": {"code": code, "docstring": f"Add {i} to a.", "language": "c", "id": f"f{i}"},
    }[task]


@pytest.fixture
def arguments(tmp_path, tiny_model):
    """Return a run's overrides for a task, a family and a method."""

    def of(task, family, method):
        for split, start, count in (("train", 0, 12), ("valid", 50, 6), ("test", 80, 7)):
            write_jsonl(
                tmp_path / "data" / f"{split}.jsonl", [row(task, i) for i in range(start, start + count)]
            )
        model = [word for word in tiny_model if not word.startswith(("task.max_target", "task.num_beams"))]
        if FAMILIES[family]:
            own = (word for word in model if not word.startswith("model.architecture"))
            model = [*FAMILIES[family], *own]
        run = [f"task={task}", "data=local", f"data.dir={tmp_path}/data", "data.batch_size=4", "logger=none"]
        return [*model, *run, "trainer.max_epochs=2", f"method={method}", *METHODS[method]]

    return of


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", SCORES)
def test_a_run_trains_tests_and_writes(arguments, command, tmp_path, task, family, method):
    command("train", *arguments(task, family, method), f"hydra.run.dir={tmp_path}/run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"].keys() == metrics["signatures"].keys() == SCORES[task]
    assert metrics["params"]["trainable"] <= metrics["params"]["total"]
    lines = (tmp_path / "run" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    predictions = [json.loads(line)["prediction"] for line in lines]
    assert len(predictions) == 7
    assert metrics["valid"].keys() == {name for name in SCORES[task] if not name.endswith("_tuned")}
    if task in ("defect_detection", "clone_detection"):
        assert all(0 <= float(text) <= 1 for text in predictions)
        floored = SCORES[task] & {"accuracy", "f1", "f1_tuned"}
        assert metrics["floors"]["test"]["majority"].keys() == floored
    elif task == "code_search":
        assert set(predictions) <= {f"f{i}" for i in range(80, 87)}


@pytest.mark.parametrize("task", SCORES)
def test_k_is_chosen_by_the_task_s_own_metric(arguments, command, tmp_path, task):
    words = [word for word in arguments(task, "roberta", "telly") if word != "k=1"]
    command("train", *words, "k=auto", f"hydra.run.dir={tmp_path}/run")
    choice = json.loads((tmp_path / "run" / "k_choice.json").read_text(encoding="utf-8"))
    assert choice["metric"] in SCORES[task]
    for trial in choice["trials"]:
        assert 0 <= trial["score"] <= 100
        assert trial["loss"] is None, "it is of no account where no text is written"


@pytest.mark.parametrize("family", ["roberta", "prefix"])
@pytest.mark.parametrize("task", SCORES)
def test_a_run_is_scored_again_with_the_same_result(arguments, command, tmp_path, task, family):
    command("train", *arguments(task, family, "[sat,telly]"), f"hydra.run.dir={tmp_path}/run")
    for split in ("test", "valid"):
        command("evaluate", f"run={tmp_path}/run", f"split={split}", f"hydra.run.dir={tmp_path}/{split}")
        metrics = json.loads((tmp_path / split / "metrics.json").read_text(encoding="utf-8"))
        assert metrics["reproduced"] is True
    stored, again = (tmp_path / name / "valid_predictions.jsonl" for name in ("run", "valid"))
    assert stored.read_bytes() == again.read_bytes()
    command("evaluate", f"predictions={stored}", f"task={task}", f"hydra.run.dir={tmp_path}/stored")
    rescored = json.loads((tmp_path / "stored" / "metrics.json").read_text(encoding="utf-8"))
    for name, value in metrics["valid"].items():
        assert rescored["test"][name] == pytest.approx(value), name


def test_a_threshold_is_the_best_checkpoint_s_validation_s(arguments, command, tmp_path):
    words = [word for word in arguments("clone_detection", "t5", "full") if "max_epochs" not in word]
    command("train", *words, "trainer.max_epochs=4", "optimizer.lr=1e-2", f"hydra.run.dir={tmp_path}/run")
    command("evaluate", f"run={tmp_path}/run", "split=valid", f"hydra.run.dir={tmp_path}/valid")
    command("evaluate", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/test")
    metrics, valid, test = (
        json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8"))
        for name in ("run", "valid", "test")
    )
    told, true = (
        [
            json.loads(line)[field]
            for line in (tmp_path / "valid" / "valid_predictions.jsonl").open(encoding="utf-8")
        ]
        for field in ("prediction", "reference")
    )
    threshold = best_threshold(told, true)
    assert metrics["threshold"] == valid["threshold"] == test["threshold"] == threshold
    assert metrics["signatures"]["f1_tuned"] == confusion_names("f1", threshold=threshold)[1]
    assert test["test"] == metrics["test"]
    stored = [f"predictions={tmp_path}/run/predictions.jsonl", "task=clone_detection"]
    command("evaluate", *stored, f"threshold={threshold}", f"hydra.run.dir={tmp_path}/stored")
    again = json.loads((tmp_path / "stored" / "metrics.json").read_text(encoding="utf-8"))
    assert again["test"] == pytest.approx(metrics["test"])
    assert again["signatures"] == metrics["signatures"]


def test_a_checkpoint_without_a_threshold_is_still_scored(arguments, command, tmp_path):
    command("train", *arguments("clone_detection", "t5", "full"), f"hydra.run.dir={tmp_path}/run")
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["threshold"]
    torch.save(checkpoint, path)
    command("evaluate", f"run={tmp_path}/run", f"hydra.run.dir={tmp_path}/again")
    again = json.loads((tmp_path / "again" / "metrics.json").read_text(encoding="utf-8"))
    assert "f1" in again["test"] and "f1_tuned" not in again["test"] and "threshold" not in again


def test_a_head_learns(arguments, command, tmp_path):
    """The tiny data's labels follow from the source, so a few epochs find them."""
    words = [word for word in arguments("defect_detection", "t5", "full") if "max_epochs" not in word]
    for split in ("train", "valid", "test"):
        rows = [{"func": "return gets(a);" if i % 2 else "return 1;", "target": i % 2} for i in range(16)]
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows)
    learn = ["trainer.max_epochs=20", "optimizer.lr=1e-2", "patience=null"]
    command("train", *words, *learn, f"hydra.run.dir={tmp_path}/run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"]["accuracy"] == 100.0


def test_search_refuses_batches_by_tokens(arguments, command):
    words = [
        word for word in arguments("code_search", "t5", "full") if not word.startswith("data.batch_size")
    ]
    with pytest.raises(SystemExit, match="whom an example shares its batch with"):
        command("train", *words, "data.batch_size=null", "data.batch_tokens=500")


def test_the_compressed_clone_model_reproduces_its_scores(shared_data):
    """Compressor's CodeBERT, 3 MB: 95.4 % accuracy and F1 .953 on its authors' sample of BigCloneBench."""
    from codeft.data.collate import Collator, Item
    from codeft.data.sources import CodeXGLUEReader
    from codeft.metrics import accuracy, f1
    from codeft.models.encoder import EncoderModel
    from codeft.models.heads import pool
    from codeft.tasks.clone_detection import ClonePairsTask
    from codeft.tasks.encoding import encode_texts
    from codeft.types import Encoding

    models = shared_data / "models"
    model = EncoderModel(
        weights=str(models / "tiny_codebert_bcb_hf"),
        checkpoint=str(models / "compressor_codebert_clone_3mb"),
        output="label",
        num_texts=2,
    ).eval()
    assert model.head is not None
    reader, task = CodeXGLUEReader(dir=shared_data / "clone" / "bigclonebench"), ClonePairsTask()
    pairs = [
        task.read(row.fields, where=row.where, input="code", labelled=True)
        for row in reader.rows("test", task="clone_detection", lang=None)
    ]
    assert len(pairs) == 4000
    # The pairs are made of few functions: each goes through the encoder once.
    functions = sorted({text.source for pair in pairs for text in (pair, *pair.others)}, key=len)
    encoded = encode_texts(functions, model.tokenizer, max_length=task.max_source_length)
    collate, vectors = Collator(model.tokenizer.pad_token_id, {}), {}
    with torch.inference_mode():
        for start in range(0, len(functions), 64):
            part = slice(start, start + 64)
            batch = collate([Item(0, Encoding(text.ids, text.offsets), [{}]) for text in encoded[part]])
            del batch["index"]
            mask = batch["attention_mask"]
            hidden = model.network(**batch).last_hidden_state
            vectors |= dict(zip(functions[part], pool(hidden, mask, pooling="first"), strict=True))
        texts = [pair.source for pair in pairs] + [pair.others[0].source for pair in pairs]
        probabilities = model.head(torch.stack([vectors[text] for text in texts])).softmax(-1)[:, 1]
    predictions, references = [str(p) for p in probabilities.tolist()], [pair.target for pair in pairs]
    assert f"{accuracy(predictions, references):.1f}" == "95.4"
    assert f"{f1(predictions, references):.3f}" == "0.953"


RESCORED = {"code_search": "code_search", "clone_detection_poj104": "clone_detection"}


@pytest.mark.parametrize("task", RESCORED)
def test_stored_rankings_score_as_the_run_did(arguments, command, tmp_path, task):
    for seed in (1, 2):
        command("train", *arguments(task, "t5", "full"), f"seed={seed}", f"hydra.run.dir={tmp_path}/{seed}")
    first, second = (tmp_path / str(seed) / "predictions.jsonl" for seed in (1, 2))
    for name in {task, RESCORED[task]}:
        command("evaluate", f"predictions={first}", f"task={name}", f"hydra.run.dir={tmp_path}/again")
        run, again = (
            json.loads((tmp_path / folder / "metrics.json").read_text(encoding="utf-8"))
            for folder in ("1", "again")
        )
        assert run["test"].items() <= {name: pytest.approx(v) for name, v in again["test"].items()}.items()
        assert run["signatures"].items() <= again["signatures"].items()
        assert again["rows"] == 7
    both = f"predictions=[{first},{second}]"
    command("evaluate", both, f"task={RESCORED[task]}", f"hydra.run.dir={tmp_path}/both")
    compared = json.loads((tmp_path / "both" / "metrics.json").read_text(encoding="utf-8"))
    assert compared["bootstrap"].keys() >= run["test"].keys() - {"ties"}


@pytest.mark.parametrize("task", RESCORED)
def test_only_the_best_and_the_test_ask_for_what_is_near(arguments, command, tmp_path, task, monkeypatch):
    from codeft.metrics import MapAtR, SearchScores

    asked = []
    metric = {"code_search": SearchScores, "clone_detection_poj104": MapAtR}[task]
    answers = metric.answers
    monkeypatch.setattr(metric, "answers", lambda self, *, k: asked.append(k) or answers(self, k=k))
    words = [*arguments(task, "t5", "full"), "optimizer.lr=0"]  # no second validation is better
    command("train", *words, "trainer.max_epochs=3", f"hydra.run.dir={tmp_path}/run")
    assert asked == [10, 10]


def test_what_can_t_be_scored_is_told_before_training(arguments, command, tmp_path):
    words = arguments("code_search", "t5", "full")
    with pytest.raises(SystemExit, match=r"the (valid|test) split has \d queries, .*task\.protocol=full"):
        command("train", *words, "task.protocol=distractors999", f"hydra.run.dir={tmp_path}/run")
    assert not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize("method", ["full", "[sat,telly]"])
def test_hard_negatives_are_learnt_from_in_training_alone(arguments, command, tmp_path, method):
    """Each row's negative is its own function but for a number; validation and test rows bring none."""
    words = arguments("code_search", "t5", method)
    rows = [json.loads(line) for line in (tmp_path / "data" / "train.jsonl").read_text().splitlines()]
    with_negatives = [row | {"negatives": [row["code"].replace("+ ", "- ")]} for row in rows]
    write_jsonl(tmp_path / "data" / "train.jsonl", with_negatives)
    losses, scores = [], []
    for number in (0, 1):
        folder = tmp_path / f"{number}"
        settings = [f"task.hard_negatives={number}", "trainer.log_every_n_steps=1"]
        logged = ["logger=csv" if word == "logger=none" else word for word in words]
        command("train", *logged, *settings, f"hydra.run.dir={folder}")
        [log] = folder.rglob("metrics*.csv")
        lines = list(csv.DictReader(log.read_text().splitlines()))
        losses.append(next(float(line["train/loss_step"]) for line in lines if line.get("train/loss_step")))
        scores.append(json.loads((folder / "metrics.json").read_text())["test"])
    assert losses[1] > losses[0], "there is one function more for each query to be told from"
    assert scores[0].keys() == scores[1].keys()


def test_training_rows_without_their_negatives_are_told(arguments, command, tmp_path):
    words = arguments("code_search", "t5", "full")
    with pytest.raises(SystemExit, match=r'f0: expected 1 "negatives" .*in each training row, got none'):
        command("train", *words, "task.hard_negatives=1", f"hydra.run.dir={tmp_path}/run")
