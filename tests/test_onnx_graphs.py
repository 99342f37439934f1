"""ONNX graphs compute what PyTorch does, on other shapes than they were written with."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from codeft import exporting, onnx_graphs
from codeft.models.encoder import EncoderModel
from codeft.models.encoder_decoder import EncoderDecoderModel
from codeft.models.exported import read_again, write_exported
from codeft.onnx_graphs import PACKAGES, check_onnx, write_graphs
from codeft.types import CodeftError

SIZES = {
    "t5": {"vocab_size": 400, "d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64, "num_layers": 1,
           "num_decoder_layers": 1},
    "roberta": {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
                "intermediate_size": 64, "max_position_embeddings": 66},
}  # fmt: skip
FILES = {
    ("text", 1): {"onnx/encoder.onnx", "onnx/decoder.onnx"},
    ("embedding", 1): {"onnx/model.onnx"},
    ("label", 1): {"onnx/model.onnx"},
    ("label", 2): {"onnx/model.onnx"},
}


@pytest.fixture
def runtime():
    for package in PACKAGES:
        pytest.importorskip(package)
    import onnxruntime

    return onnxruntime


@pytest.fixture
def build(tiny_tokenizer):
    """Return a model whose weights, biases too, are away from their beginnings."""

    def of(family: str, output: str, num_texts: int):
        classes = {"t5": EncoderDecoderModel, "roberta": EncoderModel}
        torch.manual_seed(0)
        settings = {"num_decoder_layers": 1} if family == "roberta" else {}
        model = classes[family](
            weights="random", architecture=SIZES[family], tokenizer=str(tiny_tokenizer), output=output,
            num_texts=num_texts, **settings,
        ).eval()  # fmt: skip
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        return model

    return of


@pytest.fixture
def written(runtime, build, tmp_path):
    """Return a model's graphs, and what its plain network is."""

    def of(family: str, output: str, num_texts: int):
        model = build(family, output, num_texts)
        exported = model.exported()
        write_exported(exported, tmp_path)
        return model, write_graphs(exported, read_again(exported, tmp_path), tmp_path, num_texts=num_texts)

    return of


CASES = [("t5", "text", 1), ("roberta", "text", 1), ("t5", "embedding", 1), ("roberta", "label", 1),
         ("roberta", "label", 2)]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("family", "output", "num_texts"), CASES)
def test_a_graph_computes_what_codeft_does(written, runtime, family, output, num_texts, tmp_path, capfd):
    model, graphs = written(family, output, num_texts)
    assert "torch.onnx" not in "".join(capfd.readouterr())
    assert logging.getLogger("onnxscript").level != logging.ERROR
    assert graphs.keys() == FILES[output, num_texts]
    texts = model.tokenizer(["def f(a):\n    return a", "x", "import os"] * num_texts, padding=True,
                            return_tensors="pt")  # fmt: skip
    plain = {name: texts[name] for name in ("input_ids", "attention_mask")}

    def run(file: str, **inputs: torch.Tensor) -> torch.Tensor:
        session = runtime.InferenceSession(tmp_path / file)
        feed = {name: value.numpy() for name, value in inputs.items()}
        assert graphs[file][0] == list(inputs)
        return torch.from_numpy(session.run([graphs[file][1]], feed)[0])

    with torch.no_grad():
        if output == "text":
            labels = torch.randint(100, 300, (3, 5))
            start = model.exported().network.generation_config.decoder_start_token_id
            decoder_ids = torch.cat([torch.full((3, 1), start), labels[:, :-1]], dim=1)
            states = run("onnx/encoder.onnx", **plain)
            found = run("onnx/decoder.onnx", decoder_input_ids=decoder_ids, encoder_hidden_states=states,
                        encoder_attention_mask=plain["attention_mask"])  # fmt: skip
            expected = model({**plain, "labels": labels}).logits
        else:
            firsts = {name: value[:3] for name, value in plain.items()}
            others = {f"other_{name}": value[3:] for name, value in plain.items() if num_texts > 1}
            found = run("onnx/model.onnx", **firsts, **others)
            answer = model(plain)
            expected = answer.logits if output == "label" else answer.embedding
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_graph_that_computes_otherwise_is_refused(written, monkeypatch, tmp_path):
    compare = onnx_graphs._compare

    def other(module, path, names, examples):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += 0.5
        compare(module, path, names, examples)

    monkeypatch.setattr(onnx_graphs, "_compare", other)
    with pytest.raises(CodeftError, match="computes otherwise than PyTorch"):
        written("roberta", "label", 1)


def test_the_verb_writes_graphs_and_says_so(command, finished_run, tmp_path, monkeypatch):
    def write(exported, network, folder, *, num_texts):
        (folder / "onnx").mkdir()
        names = {
            "encoder": (["input_ids"], "last_hidden_state"),
            "decoder": (["decoder_input_ids"], "logits"),
        }
        for name in names:
            (folder / "onnx" / f"{name}.onnx").touch()
        assert type(network) is type(exported.network) and network is not exported.network
        return {f"onnx/{name}.onnx": told for name, told in names.items()}

    monkeypatch.setattr(exporting, "check_onnx", lambda: None)
    monkeypatch.setattr(exporting, "write_graphs", write)
    words = [f"run={finished_run}", f"to={tmp_path}/model", f"hydra.run.dir={tmp_path}/log"]
    command("export", *words, "onnx=true")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| `onnx/decoder.onnx` | `decoder_input_ids` | `logits` |" in card and "keeps no cache" in card
    assert "onnx/encoder.onnx" in json.loads((tmp_path / "model" / "codeft.json").read_text())["files"]


def test_what_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(onnx_graphs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CodeftError, match=r"pip install 'codeft\[onnx\]'"):
        check_onnx()
