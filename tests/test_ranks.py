"""Runs of several processes: those that Lightning starts, and those that torchrun does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from codeft.metrics import corpus_bleu, smoothed_bleu
from waiting import LONGEST_WAIT

pytestmark = pytest.mark.slow

DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=1"]


def run(*command: str) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def assert_every_row_was_scored_once(folder: Path, *splits: str) -> None:
    """Check the splits' scores by their stored predictions, and that no further split was read."""
    metrics = metrics_of(folder)
    for split, file, ids in (
        ("valid", "valid_predictions.jsonl", range(100, 106)),
        ("test", "predictions.jsonl", range(200, 207)),
    ):
        assert (split in metrics) == (folder / file).exists() == (split in splits)
        if split not in splits:
            continue
        rows = [json.loads(line) for line in (folder / file).read_text(encoding="utf-8").splitlines()]
        assert [row["source"].split("(")[0].rsplit("_")[-1] for row in rows] == [str(i) for i in ids]
        predictions, references = [row["prediction"] for row in rows], [row["reference"] for row in rows]
        scores = metrics[split]
        assert scores["smoothed_bleu"] == pytest.approx(smoothed_bleu(predictions, references), abs=1e-4)
        assert scores["corpus_bleu"] == pytest.approx(corpus_bleu(predictions, references), abs=1e-4)
    reads = (folder / "split_reads.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["split"] for line in reads] == list(splits), "the first rank notes alone"


def test_jobs_of_a_multirun_whose_command_line_the_second_rank_gets_too(tiny, tmp_path):
    settings = [*tiny, *DDP, "data.eval_batch_size=2"]
    run("codeft.train", *settings, "-m", "seed=1,2", f"hydra.sweep.dir={tmp_path}")
    folders = sorted(path.parent for path in tmp_path.glob("*/metrics.json"))
    assert len(folders) == 2
    for folder in folders:
        assert_every_row_was_scored_once(folder, "valid")


def test_dry_runs_of_a_multirun(tiny, tmp_path):
    run("codeft.train", *tiny, *DDP, "dry_run=true", "-m", "seed=1,2", f"hydra.sweep.dir={tmp_path}")
    dry = [metrics_of(path.parent) for path in sorted(tmp_path.glob("*/metrics.json"))]
    assert [metrics["seed"] for metrics in dry] == [1, 2]
    assert all(metrics["dry_run"]["estimated_fit_s"] > 0 for metrics in dry)


def test_ranks_that_reach_no_validation_validate_at_the_end(tiny, tmp_path):
    run("codeft.train", *tiny, *DDP, "+trainer.max_steps=1", f"hydra.run.dir={tmp_path}")
    assert metrics_of(tmp_path)["best"]["step"] == 1
    assert_every_row_was_scored_once(tmp_path, "valid", "test")


def test_ranks_that_torchrun_started_share_the_first_ones_folder(tiny, tmp_path):
    """Each composes a folder of its own, as it does where the folder is named after the time."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    run(*launcher, "codeft.train", *tiny, *DDP, f"hydra.run.dir={tmp_path}/${{oc.env:RANK}}")
    assert_every_row_was_scored_once(tmp_path / "0", "valid", "test")
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize("launched_by", ["lightning", "torchrun"])
def test_the_first_rank_chooses_k_for_all(tiny, tmp_path, launched_by):
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    choosing = ["method=telly", "k=auto", "callbacks.layer_freeze.auto_steps=2"]
    nothing_costs = "optimizer.lr=1e-9"
    words = ["codeft.train", *tiny, *DDP, *choosing, nothing_costs, f"hydra.run.dir={tmp_path}"]
    run(*(launcher if launched_by == "torchrun" else []), *words)
    metrics = metrics_of(tmp_path)
    assert metrics["k"] == metrics["k_choice"]["k"] == 1
    assert metrics["params"]["trainable"] < metrics["params"]["total"]
    assert_every_row_was_scored_once(tmp_path, "valid")


def test_each_node_keeps_the_frozen_states_of_its_own_rows(tiny, tmp_path):
    """Two nodes, here with a cache folder of their own each: no row is computed on both, in any epoch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [*tiny, *DDP, "trainer.max_epochs=3", "trainer.num_nodes=2", "trainer.devices=1"]
    words += ["method=telly", "k=1", "cache=disk", f"hydra.run.dir={tmp_path}/${{oc.env:RANK}}"]
    nodes = []
    for node in (0, 1):
        launcher = ["torch.distributed.run", "--nnodes=2", f"--node_rank={node}", "--nproc_per_node=1"]
        launcher += ["--master_addr=127.0.0.1", f"--master_port={port}", "-m", "codeft.train"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CODEFT_CACHE": f"{tmp_path}/cache{node}"}
        command = [sys.executable, "-m", *launcher, *words]
        nodes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        said = [node.communicate(timeout=LONGEST_WAIT)[1] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], said[0][-2000:] + said[1][-2000:]
    kept = [keys_of(tmp_path / f"cache{node}" / "prefix") for node in (0, 1)]
    assert not set(kept[0]) & set(kept[1])
    assert sorted(map(len, kept)) == [11 + 3, 11 + 3]  # half of the training rows, half of the validation
    assert_every_row_was_scored_once(tmp_path / "0", "valid", "test")


def keys_of(root: Path) -> list[bytes]:
    """Return the texts whose states lie in a cache, by key."""
    data = b"".join(path.read_bytes() for path in root.glob("*/*.index"))
    return [data[start : start + 16] for start in range(0, len(data), 32)]
