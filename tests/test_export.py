"""A run leaves codeft: its folder gives the same numbers where codeft isn't, and in codeft again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from codeft.models.generation import shift_right
from rows import function_rows, write_jsonl

ROBERTA = [
    "model=codebert",
    "model.weights=random",
    "model.num_decoder_layers=1",
    "model.architecture={vocab_size:400,hidden_size:32,num_hidden_layers:2,num_attention_heads:4,"
    "intermediate_size:64,max_position_embeddings:66,type_vocab_size:1}",
]
CAUSAL = [
    "model=qwen2_5_coder_0_5b",
    "model.weights=random",
    "model.architecture={model_type:qwen2,vocab_size:400,hidden_size:32,num_hidden_layers:2,"
    "num_attention_heads:4,num_key_value_heads:2,intermediate_size:64,max_position_embeddings:128}",
]
UNIXCODER = [
    "model=unixcoder",
    "model.weights=random",
    "model.architecture={vocab_size:404,hidden_size:32,num_hidden_layers:2,num_attention_heads:4,"
    "intermediate_size:64,max_position_embeddings:66,type_vocab_size:10,pad_token_id:0}",
]
PLBART = [
    "model=plbart_base",
    "model.weights=random",
    "model.architecture={vocab_size:305,d_model:32,encoder_layers:2,decoder_layers:1,"
    "encoder_attention_heads:4,decoder_attention_heads:4,encoder_ffn_dim:64,decoder_ffn_dim:64,"
    "max_position_embeddings:64}",
]
PROJECTED = [
    "model=codet5p_110m_embedding",
    "model.weights=random",
    "model.architecture={vocab_size:400,d_model:32,embed_dim:8,d_kv:8,d_ff:64,num_heads:4,num_layers:2}",
]
MODELS = {
    "t5": [],
    "lora": [],
    "roberta": ROBERTA,
    "causal": CAUSAL,
    "unixcoder": UNIXCODER,
    "plbart": PLBART,
    "projected": PROJECTED,
}
CASES = {
    "t5 text": "summarization",
    "roberta text": "summarization",
    "roberta label": "defect_detection",
    "t5 label": "defect_detection",
    "roberta pair": "clone_detection",
    "roberta search": "code_search",
    "t5 retrieval": "clone_detection_poj104",
    "lora label": "defect_detection",
    "causal text": "summarization",
    "unixcoder text": "summarization",
    "unixcoder pair": "clone_detection",
    "plbart text": "summarization",
    "projected retrieval": "clone_detection_poj104",
}
CLASSES = {
    "t5 text": "T5ForConditionalGeneration",
    "roberta text": "EncoderDecoderModel",
    "roberta label": "RobertaForSequenceClassification",
    "t5 label": "T5EncoderModel",
    "roberta pair": "RobertaModel",
    "roberta search": "RobertaModel",
    "t5 retrieval": "T5EncoderModel",
    "lora label": "T5EncoderModel",
    "causal text": "Qwen2ForCausalLM",
    "unixcoder text": "PrefixLanguageModel",
    "unixcoder pair": "RobertaModel",
    "plbart text": "PLBartForConditionalGeneration",
    "projected retrieval": "T5EncoderModel",
}


def row(task: str, i: int) -> dict:
    code = f"int f{i}(int a) {{\n  return a {'+ a ' * (i % 4)}+ {i % 3};\n}}"
    return {
        "summarization": function_rows(i, 1)[0],
        "defect_detection": {"func": code, "target": i % 2},
        "clone_detection": {"code1": code, "code2": code.replace("a", "b</s>"), "label": int(i % 3 == 0)},
        "clone_detection_poj104": {"code": code, "label": i % 3},
        "code_search": {"code": code, "docstring": f"Add {i} to a.", "language": "c", "id": f"f{i}"},
    }[task]


@pytest.fixture(scope="session")
def roberta_tokenizer(tmp_path_factory) -> Path:
    """A folder with a tokenizer of RoBERTa's class and special tokens, 300 ids."""
    from transformers import RobertaTokenizer

    from codeft.models.tokenizer import train_tokenizer

    texts = [json.dumps(row(task, i)) for task in set(CASES.values()) for i in range(40)]
    trained = train_tokenizer(iter(texts), vocab_size=399)
    pieces = [piece for piece, _ in sorted(trained.get_vocab().items(), key=lambda item: item[1])][3:-100]
    vocab = {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces])}
    merges = [tuple(pair) for pair in json.loads(trained.backend_tokenizer.to_str())["model"]["merges"]]
    folder = tmp_path_factory.mktemp("roberta_tokenizer")
    RobertaTokenizer(vocab=vocab, merges=merges).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def trained(finished_run, tiny_model, roberta_tokenizer, plbart_tokenizer, tmp_path_factory, _one_thread):
    """Return the folder of a case's run, trained once. T5's text model has an output layer of its own."""
    from codeft.cli import run_verb
    from codeft.train import train

    made: dict[str, Path] = {"t5 text": finished_run}

    def of(case: str) -> Path:
        if case not in made:
            task, folder = CASES[case], tmp_path_factory.mktemp("trained")
            for split, start, count in (("train", 0, 12), ("valid", 50, 6), ("test", 80, 7)):
                rows = [row(task, i) for i in range(start, start + count)]
                write_jsonl(folder / "data" / f"{split}.jsonl", rows)
            text = task == "summarization"
            words = [w for w in tiny_model if text or not w.startswith(("task.max_target", "task.num_beams"))]
            model = MODELS[case.split()[0]]
            if model:
                words = [*model, *(word for word in words if not word.startswith("model.arch"))]
            tokenizers = {"roberta": roberta_tokenizer, "plbart": plbart_tokenizer}
            if tokenizer := tokenizers.get(case.split()[0]):
                words += [f"model.tokenizer={tokenizer}"]
            if case == "lora label":
                words += ["method=lora"]
            if case == "plbart text":
                words += ["lang=python"]  # so that it is told languages
            words += [f"task={task}", "data=local", f"data.dir={folder}/data", "data.batch_size=4"]
            words += [
                "logger=none",
                f"trainer.max_epochs={15 if text else 3}",
                "patience=null",
                "optimizer.lr=1e-2",
                f"hydra.run.dir={folder}/run",
            ]
            argv, sys.argv = sys.argv, ["codeft train", *words]
            try:
                run_verb("train", train)
            finally:
                sys.argv = argv
            made[case] = folder / "run"
        return made[case]

    return of


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory, _one_thread):
    """Return the folder of a case's export, written once."""
    from codeft.cli import run_verb
    from codeft.export import export

    made: dict[str, Path] = {}

    def of(case: str) -> Path:
        if case not in made:
            folder = tmp_path_factory.mktemp("exported")
            words = [f"run={trained(case)}", f"to={folder}/a, model=1", f"hydra.run.dir={folder}/log"]
            argv, sys.argv = sys.argv, ["codeft export", *words]
            try:
                run_verb("export", export)
            finally:
                sys.argv = argv
            made[case] = folder / "a, model=1"
        return made[case]

    return of


def snippet(folder: Path) -> str:
    """The card's first Python."""
    return re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(), re.M | re.S)[0]


def with_inputs(code: str, folder: Path, columns: dict[str, list[str]]) -> str:
    """A card's Python, asked for other texts; each is assigned on a line of its own."""
    for name, value in {"folder": str(folder), **columns}.items():
        code, count = re.subn(rf"^{name} = .*$", lambda _, n=name, v=value: f"{n} = {v!r}", code, count=1,
                              flags=re.M)  # fmt: skip
        assert count == 1, name
    return code


ELSEWHERE = """
import json, sys
sys.modules["codeft"] = None  # whoever imports it fails
import torch
found = {}
for case, (code, decoder_ids) in json.load(open(sys.argv[1])).items():
    names = {}
    exec(code, names)
    with torch.no_grad():
        if decoder_ids:
            output = names["model"](**names["inputs"], decoder_input_ids=torch.tensor(decoder_ids))
            found[case] = {"logits": output.logits, "texts": names["predictions"]}
        elif "predictions" in names:
            found[case] = {"texts": names["predictions"]}
        elif "logits" in names:
            found[case] = {"logits": names["logits"]}
        else:
            queries = names["asked"] if "asked" in names else names["vectors"]
            found[case] = {"vectors": names["vectors"], "queries": queries}
torch.save(found, sys.argv[2])
"""


class Here:
    """A run in codeft, and what it computes for its test rows."""

    def __init__(self, folder: Path, work: Path) -> None:
        from omegaconf import OmegaConf

        from codeft.finished_run import reopen, stored_config
        from codeft.run_folder import RunFolder

        changes = {"task": {}, "data": {}, "trainer": {"accelerator": "cpu"}, "trust_targets": []}
        run_folder = RunFolder(folder)
        cfg = stored_config(run_folder, OmegaConf.create(changes))
        self.run = reopen(cfg, run_folder, checkpoint="best", work_dir=work)
        self.run.use()
        self.task, self.model = self.run.parts.task, self.run.parts.model
        self.examples = self.run.parts.data.read("test")
        self.prefix = getattr(self.task, "prefix", "")

    def columns(self) -> dict[str, list[str]]:
        found = {"texts": [self.prefix + example.source for example in self.examples]}
        if self.task.num_texts > 1:
            second = "queries" if self.task.has_queries else "others"
            found[second] = [example.others[0].source for example in self.examples]
        return found

    def whole_batch(self) -> dict[str, torch.Tensor]:
        data = self.run.parts.data
        data.eval_batch_size = len(self.examples)
        [batch] = data.loader(data.encode(self.examples, name="input"), train=False)
        return batch

    def batch(self) -> dict[str, torch.Tensor]:
        batch = self.whole_batch()
        order = batch["index"].argsort()
        order = torch.cat([order + i * len(order) for i in range(self.task.num_texts)])
        names = ("input_ids", "attention_mask", *(["start_ids"] if "start_ids" in batch else []))
        return {name: batch[name][order] for name in names}

    def labels(self) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        labels = torch.randint(100, 250, (len(self.examples), 5), generator=generator)
        if self.begins_with_start:
            labels[:, 0] = self.model.tokenizer.bos_token_id
        return labels

    @property
    def begins_with_start(self) -> bool:
        """Whether labels begin with what the decoder begins with, as RoBERTa's do: that isn't predicted."""
        return self.model.tokenizer.bos_token_id is not None

    def decoder_ids(self) -> list[list[int]] | None:
        if not self.model.decoder_blocks() or "start_ids" in self.whole_batch():
            return None
        start_id = self.model.tokenizer.bos_token_id if self.begins_with_start else 0
        ids = shift_right(self.labels(), start_id=start_id, pad_id=0)
        return ids[:, 1:].tolist() if self.begins_with_start else ids.tolist()


@pytest.fixture(scope="session")
def elsewhere(trained, exported, tmp_path_factory):
    """What the cards' own Python computes in a process that can't import codeft; and the same runs here."""
    folder = tmp_path_factory.mktemp("elsewhere")
    here = {case: Here(trained(case), folder) for case in CASES}
    jobs = {
        case: (with_inputs(snippet(exported(case)), exported(case), run.columns()), run.decoder_ids())
        for case, run in here.items()
    }
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-I", "-c", ELSEWHERE, folder / "jobs.json", folder / "found.pt"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    missing = [line for line in done.stderr.splitlines() if "| MISSING" in line]
    assert all("pooler" in line for line in missing), missing
    return torch.load(folder / "found.pt"), here


@pytest.mark.parametrize("case", CASES)
def test_the_card_computes_elsewhere_what_codeft_does_here(elsewhere, case):
    found, run = elsewhere[0][case], elsewhere[1][case]
    with torch.inference_mode():
        batch = run.batch()
        if run.task.output == "text":
            texts = run.task.predict(run.model, batch)
            assert found["texts"] == texts and any(texts)
            if "logits" not in found:
                return
            expected = run.model({**batch, "labels": run.labels()}).logits[:, int(run.begins_with_start) :]
        else:
            output = run.model(batch)
            expected = output.logits
        if run.task.output == "embedding":
            vectors = torch.nn.functional.normalize(output.embedding, dim=-1)
            rows = len(run.examples)
            torch.testing.assert_close(found["vectors"], vectors[:rows], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(found["queries"], vectors[-rows:], atol=1e-5, rtol=1e-5)
        else:
            torch.testing.assert_close(found["logits"], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_codeft_predicts_with_it_as_with_the_run(command, trained, exported, case, tmp_path):
    task = CASES[case]
    rows = write_jsonl(tmp_path / "rows.jsonl", [row(task, i) for i in range(20, 27)])
    answers = []
    for name, folder in (("run", trained(case)), ("export", exported(case))):
        words = [f"run={folder}", f"input={rows}", f"output={tmp_path}/{name}.jsonl"]
        query = ["query=Add 21 to a."] if task == "code_search" else []
        command("predict", *words, *query, f"hydra.run.dir={tmp_path}/log")
        lines = (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        answers.append([json.loads(line) for line in lines])
    assert len(answers[0]) == 7
    if case == "lora label":  # merged weights are other floats
        told = [[float(answer.pop("prediction")) for answer in rows] for rows in answers]
        assert told[0] == pytest.approx(told[1], abs=2e-6)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("case", CASES)
def test_it_holds_what_it_says(exported, trained, case):
    folder = exported(case)
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == [CLASSES[case]]
    about = json.loads((folder / "codeft.json").read_text())
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == set(about["files"])
    assert ("head.safetensors" in files) == (
        case in ("t5 label", "lora label", "roberta pair", "unixcoder pair", "projected retrieval")
    )
    assert ("modules.json" in files) == (case in ("roberta search", "t5 retrieval"))
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= files
    assert {path.stat().st_mode for path in folder.rglob("*") if path.is_file()} == {
        (folder / "README.md").stat().st_mode
    }
    stored = json.loads((trained(case) / "metrics.json").read_text())
    card = (folder / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert "codeft" in front["tags"] and CASES[case].removesuffix("_poj104") in " ".join(front["tags"])
    for name in stored["test"]:
        assert f"| {name} |" in card
    text = card + json.dumps(about)
    for path in (str(trained(case).parent), str(Path.home()) + "/", "data.dir="):
        assert path not in text
