"""An export of adapters alone: peft puts them before the weights that training began with."""

from __future__ import annotations

import json
import re

import pytest
import torch
from transformers import RobertaConfig, RobertaModel, T5Config, T5ForConditionalGeneration

from codeft.adapter_export import UNKNOWN
from rows import write_jsonl

PREFIX = "callbacks.adapter.config.num_virtual_tokens=4"
CASES = {
    "t5 text": ("summarization", "lora", "SEQ_2_SEQ_LM"),
    "t5 prefix": ("summarization", "prefix", "SEQ_2_SEQ_LM"),
    "t5 label": ("defect_detection", "ia3", "FEATURE_EXTRACTION"),
    "roberta text": ("summarization", "dora", "SEQ_2_SEQ_LM"),
    "roberta label": ("defect_detection", "lora", "SEQ_CLS"),
}


@pytest.fixture
def base(tmp_path, tiny_tokenizer):
    """Return overrides for a model with weights in a folder, as pre-training leaves it."""

    def of(family: str) -> list[str]:
        torch.manual_seed(0)
        if family == "t5":
            layers = {"num_layers": 2, "num_decoder_layers": 2}
            config = T5Config(vocab_size=400, d_model=32, d_kv=8, d_ff=64, num_heads=4, **layers)
            network, words = T5ForConditionalGeneration(config), []
        else:
            sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
            ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
            config = RobertaConfig(
                vocab_size=400,
                num_hidden_layers=2,
                max_position_embeddings=66,
                type_vocab_size=1,
                **sizes,
                **ids,
            )
            network = RobertaModel(config, add_pooling_layer=False)
            words = ["model=codebert", "model.num_decoder_layers=1"]
        network.save_pretrained(tmp_path / "base")
        return [*words, f"model.weights={tmp_path}/base", f"model.tokenizer={tiny_tokenizer}", "trainer=cpu"]

    return of


def rows(task: str, tiny_data, folder) -> list[str]:
    """Return overrides for the data of a task."""
    if task == "summarization":
        return [f"data.dir={tiny_data}", "task.max_target_length=8", "task.num_beams=2"]
    for split, start, count in (("train", 0, 12), ("valid", 50, 6), ("test", 80, 7)):
        found = [
            {"func": f"int f{i}() {{ return {i % 3}; }}", "target": i % 2}
            for i in range(start, start + count)
        ]
        write_jsonl(folder / "data" / f"{split}.jsonl", found)
    return [f"data.dir={folder}/data"]


@pytest.mark.parametrize("case", CASES)
def test_the_cards_python_answers_as_the_run_did(command, base, tiny_data, tmp_path, case, monkeypatch):
    task, method, task_type = CASES[case]
    words = [*base(case.split()[0]), *rows(task, tiny_data, tmp_path), f"task={task}", f"method={method}"]
    words += ["task.max_source_length=40", "data=local", "data.batch_size=4", "trainer.max_epochs=3"]
    words += ["logger=none", "optimizer.lr=1e-2", f"hydra.run.dir={tmp_path}/run"]
    command("train", *words)
    export = [f"run={tmp_path}/run", f"to={tmp_path}/adapter", f"hydra.run.dir={tmp_path}/log"]
    command("export", *export, "adapter=separate")
    files = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "codeft.json", "README.md"} <= files
    assert "model.safetensors" not in files and ("head.safetensors" in files) == (case == "t5 label")
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text())["task_type"] == task_type
    card = (tmp_path / "adapter/README.md").read_text()
    assert "library_name: peft" in card and "Use in codeft" not in card
    found = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").read_text().splitlines()]
    [code, *_] = re.findall(r"^```python\n(.*?)^```$", card, re.M | re.S)
    texts = [row["source"] for row in found]
    for name, value in {"folder": f"{tmp_path}/adapter", "texts": texts}.items():
        code, count = re.subn(
            rf"^{name} = .*$", lambda _, n=name, v=value: f"{n} = {v!r}", code, count=1, flags=re.M
        )
        assert count == 1, name
    assert UNKNOWN in code
    names: dict = {}
    exec(code.replace(UNKNOWN, str(tmp_path / "base")), names)
    if task == "summarization":
        assert names["predictions"] == [row["prediction"] for row in found]
    else:
        told = names["logits"].softmax(-1)[:, 1].tolist()
        assert told == pytest.approx([float(row["prediction"]) for row in found], abs=1e-4)
    with pytest.raises(SystemExit, match="holds adapters alone"):
        command("evaluate", f"run={tmp_path}/adapter", f"hydra.run.dir={tmp_path}/no")
    if method == "prefix":
        with pytest.raises(SystemExit, match="can't be merged"):
            command("export", *export, "overwrite=true")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=lora"], "have them merged"),
        (["method=prefix", PREFIX], "a prefix can't be merged: train it"),
    ],
)
def test_adapters_beside_random_weights_are_of_no_use(command, tiny, tmp_path, words, said):
    command("train", *tiny, *words, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/run")
    export = [f"run={tmp_path}/run", f"to={tmp_path}/adapter", f"hydra.run.dir={tmp_path}/log"]
    with pytest.raises(SystemExit, match=f"began with random weights.*{said}"):
        command("export", *export, "adapter=separate")
    assert not (tmp_path / "adapter").exists()


def test_what_cannot_stand_apart(command, base, tiny_data, tmp_path):
    words = [
        *base("t5"),
        *rows("summarization", tiny_data, tmp_path),
        "task.max_source_length=40",
        "data=local",
    ]
    words += ["data.batch_size=8", "trainer.max_epochs=1", "logger=none"]
    export = [f"to={tmp_path}/adapter", f"hydra.run.dir={tmp_path}/log", "adapter=separate"]
    command("train", *words, f"hydra.run.dir={tmp_path}/full")
    with pytest.raises(SystemExit, match="no adapters to save"):
        command("export", f"run={tmp_path}/full", *export)
    with pytest.raises(SystemExit, match="onnx=true needs a whole model"):
        command("export", f"run={tmp_path}/full", *export, "onnx=true")
    with pytest.raises(SystemExit, match="adapter must be merged or separate, not 'both'"):
        command("export", f"run={tmp_path}/full", *export[:2], "adapter=both")
    pissa = ["method=lora", "+callbacks.adapter.config.init_lora_weights=pissa"]
    command("train", *words, *pissa, f"hydra.run.dir={tmp_path}/pissa")
    with pytest.raises(SystemExit, match="init_lora_weights=pissa changed the weights beside"):
        command("export", f"run={tmp_path}/pissa", *export)
    assert not (tmp_path / "adapter").exists()
