"""What the sentence-transformers library reads of an exported encoder: how its vectors are pooled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codeft.models.exported import ExportedModel
from codeft.run_folder import write_text

_MODULES = "sentence_transformers.models"


def write_sentence_files(exported: ExportedModel, folder: Path, *, max_length: int) -> None:
    """Write `modules.json` and what it names.

    Args:
        exported: An encoder with a pooling.
        folder: Where its weights lie.
        max_length: Sub-tokens of a text at most.
    """
    config: Any = exported.network.config
    pooling = {
        "word_embedding_dimension": config.hidden_size,
        "pooling_mode_cls_token": exported.pooling == "first",
        "pooling_mode_mean_tokens": exported.pooling == "mean",
    }
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{_MODULES}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{_MODULES}.Pooling"},
    ]
    (folder / "1_Pooling").mkdir()
    _write(folder / "1_Pooling" / "config.json", pooling)
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})


def _write(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")
