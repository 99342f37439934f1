"""Fixtures that all tests share."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rows import function_rows, pair_rows, write_jsonl

pytest.register_assert_rewrite("resuming")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def same_precision_on_every_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `trainer.precision=auto` be fp32: what is compared to the last digit mustn't hang on the CPU."""
    monkeypatch.setattr("codeft.precision.cpu_has_bf16", lambda: False)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's caches out of it, in further processes too."""
    before = os.environ.get("CODEFT_CACHE")
    os.environ["CODEFT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["CODEFT_CACHE"]
    else:
        os.environ["CODEFT_CACHE"] = before


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public evaluation data beside the checkout; what needs it skips where it isn't there."""
    path = Path(os.environ.get("CODEFT_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no evaluation data at {path}; set CODEFT_SHARED_DATA to its folder")
    return path


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of summarization rows for `data=local`: 22 to train, 6 to validate, 7 to test."""
    folder = tmp_path_factory.mktemp("functions")
    for split, start, count in (("train", 0, 22), ("valid", 100, 6), ("test", 200, 7)):
        write_jsonl(folder / f"{split}.jsonl", function_rows(start, count))
    return folder


@pytest.fixture(scope="session")
def tiny_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of translation rows for `data=local`."""
    folder = tmp_path_factory.mktemp("pairs")
    for split, start, count in (("train", 0, 12), ("valid", 100, 5), ("test", 200, 5)):
        write_jsonl(folder / f"{split}.jsonl", pair_rows(start, count))
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a byte-level tokenizer of 400 ids."""
    from codeft.models.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    texts = (row["code"] + row["docstring"] for row in function_rows(0, 40))
    train_tokenizer(texts, vocab_size=400).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def plbart_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sentencepiece model of PLBART's kind, 300 pieces."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("sentencepiece")
    rows = [*function_rows(0, 40), *pair_rows(0, 20)]
    texts = [text for row in rows for key, text in row.items() if key != "language"]
    characters = " ".join(map(chr, range(33, 127)))
    with (folder / "sentencepiece.bpe.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([*texts, characters]),
            model_writer=file,
            model_type="bpe",
            vocab_size=300,
            character_coverage=1.0,
            minloglevel=2,
        )
    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_tokenizer: Path) -> list[str]:
    """Overrides for a T5 of 2 + 1 layers of width 32 with random weights, and tasks short enough for it."""
    sizes = [
        "vocab_size=400",
        "d_model=32",
        "d_kv=8",
        "num_heads=4",
        "d_ff=64",
        "num_layers=2",
        "num_decoder_layers=1",
    ]
    return [
        "model.weights=random",
        f"model.tokenizer={tiny_tokenizer}",
        *(f"model.architecture.{size}" for size in sizes),
        "task.max_source_length=48",
        "task.max_target_length=8",
        "task.num_beams=2",
        "trainer=cpu",
        "trainer.precision=32-true",  # in further processes, too
    ]


@pytest.fixture(scope="session")
def tiny(tiny_model: list[str], tiny_data: Path) -> list[str]:
    """Overrides for a whole run of seconds: 2 epochs of 6 batches."""
    return [
        *tiny_model,
        "data=local",
        f"data.dir={tiny_data}",
        "data.batch_size=4",
        "trainer.max_epochs=2",
        "logger=none",
    ]


@pytest.fixture(scope="session")
def _one_thread():
    """Networks this small are slower on many threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, _one_thread) -> Callable[..., None]:
    """Run a verb in this process as the command line would: `command("train", "k=6", …)`."""
    import importlib

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(verb: str, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [f"codeft {verb}", *arguments])
        try:
            importlib.import_module(f"codeft.{verb}").main()
        finally:
            root.handlers[:], root.level = handlers, level

    return run


@pytest.fixture(scope="session")
def finished_run(tiny: list[str], tmp_path_factory: pytest.TempPathFactory, _one_thread) -> Path:
    """The folder, moved since, of a run of `sat+telly` with an untied output layer."""
    from codeft.cli import run_verb
    from codeft.train import train

    folder = tmp_path_factory.mktemp("runs")
    method = ["method=[sat,telly]", "k=1", "alpha=0.1", "callbacks.layer_freeze.untie_output=true"]
    learn = [
        "trainer.max_epochs=12",
        "patience=null",
        "optimizer.lr=1e-2",
    ]  # scores above 0 are worth comparing
    root, argv = logging.getLogger(), sys.argv
    handlers, level = root.handlers[:], root.level
    sys.argv = ["codeft train", *tiny, *method, *learn, f"hydra.run.dir={folder}/run"]
    try:
        run_verb("train", train)
    finally:
        sys.argv = argv
        root.handlers[:], root.level = handlers, level
    return (folder / "run").rename(folder / "a run, k=1 ${x}")


@pytest.fixture(scope="session")
def whole() -> dict[str, Path]:
    """Runs that were never stopped, by their further overrides."""
    return {}


@pytest.fixture
def reference(
    tiny: list[str],
    whole: dict[str, Path],
    command: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """Return the folder of the uninterrupted run with these overrides, trained once."""

    from resuming import SETTINGS

    def run(*overrides: str) -> Path:
        key = " ".join(overrides)
        if key not in whole:
            folder = tmp_path_factory.mktemp("whole")
            command("train", *tiny, *SETTINGS, *overrides, f"hydra.run.dir={folder}")
            whole[key] = folder
        return whole[key]

    return run
