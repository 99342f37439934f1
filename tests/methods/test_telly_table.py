"""Telly's published numbers of trainable parameters, from the configs alone."""

from __future__ import annotations

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from codeft.cli import conf_dir
from codeft.config import instantiate
from codeft.module import FineTuneModule
from codeft.overrides import folder_name
from one_device import ONE_DEVICE

TRAINABLE = {  # in millions; arXiv 2304.05216, with UniXcoder
    "base": "125.93", 0: "85.05", 1: "77.97", 2: "70.88", 3: "63.79", 4: "56.70", 5: "49.62",
    6: "42.53", 7: "35.44", 8: "28.35", 9: "21.26", 10: "14.18", 11: "7.09",
}  # fmt: skip


def trainable(*overrides: str) -> int:
    """Trainable parameters of a run, built as `train` builds it, on no device."""
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        words = ["model=unixcoder", "model.weights=random", "method=telly", *overrides]
        cfg = compose("train", overrides=words)
    task = instantiate(cfg.task)
    with torch.device("meta"):
        model = instantiate(cfg.model, output=task.output, num_texts=task.num_texts)
    callback = instantiate(cfg.callbacks.layer_freeze)
    callback.setup(ONE_DEVICE, FineTuneModule(model=model, task=task), "fit")
    return model.num_parameters()[1]


@pytest.mark.parametrize("k", TRAINABLE)
def test_code_search_trains_as_many_parameters_as_published(k):
    assert f"{trainable('task=code_search', f'k={k}') / 1e6:.2f}" == TRAINABLE[k]


@pytest.mark.parametrize("k", ["base", 0, 11])
@pytest.mark.parametrize("task", ["summarization", "completion"])
def test_text_needs_no_further_parameters(task, k):
    assert trainable(f"task={task}", f"k={k}") == trainable("task=code_search", f"k={k}")


def test_an_untied_output_is_a_table_more():
    untied = trainable("task=summarization", "k=0", "callbacks.layer_freeze.untie_output=true")
    assert untied - trainable("task=summarization", "k=0") == 51416 * 768
