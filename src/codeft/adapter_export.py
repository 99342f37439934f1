"""What `export adapter=separate` writes: the adapters, as peft reads them, and Python that uses them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from codeft.models.adapter_files import read_adapter_again, save_adapter
from codeft.models.adapters import has_adapters
from codeft.models.base import AbstractCodeModel
from codeft.models.exported import HEAD, ExportedModel
from codeft.models.loading import RANDOM
from codeft.models.prefix import find_prefix
from codeft.types import CodeftError

UNKNOWN = "path/to/the/weights/that/training/began/with"


def check_base(model: AbstractCodeModel, *, weights: str, checkpoint: str | None) -> None:
    """Check that others can have the weights that adapters were trained beside.

    Args:
        model: As it was trained.
        weights: What training began with, as it was typed.
        checkpoint: What was laid over them.

    Raises:
        CodeftError: They were drawn for this run, and lie nowhere.
    """
    if weights != RANDOM or checkpoint is not None:
        return
    begun = "this run began with random weights, which are kept nowhere"
    if find_prefix(model) is not None:
        raise CodeftError(
            f"{begun}, so its prefix alone is of no use, and a prefix can't be merged: train it again on "
            "weights that can be had, model.weights=<folder or hub id>"
        )
    if has_adapters(model):
        raise CodeftError(
            f"{begun}, so its adapters alone are of no use: have them merged, leave adapter=separate away"
        )


def write_adapter(
    model: AbstractCodeModel, exported: ExportedModel, folder: Path, *, weights: str | None
) -> None:
    """Write adapters, a head that no class has, and how to decode; peft must read them as they were.

    Args:
        model: Its adapters are not merged.
        exported: The model in transformers' classes.
        folder: It is there.
        weights: The hub id of what training began with; None where it was something else.

    Raises:
        CodeftError: The model has no adapters, peft's files can't hold them, or peft reads something else.
    """
    network: Any = exported.network
    save_adapter(model, folder, network=network, base=weights)
    read_adapter_again(model, folder, network=network)
    if exported.head is not None:
        save_file({name: w.contiguous() for name, w in exported.head.state_dict().items()}, folder / HEAD)
    if exported.pooling is None and network.can_generate():
        network.generation_config.save_pretrained(str(folder))


def adapter_usage(usage: str, exported: ExportedModel, *, weights: str | None) -> str:
    """Return a snippet that puts the adapters before the weights that training began with.

    Args:
        usage: The snippet for the whole model.
        exported: The model in transformers' classes.
        weights: See `write_adapter`.
    """
    network: Any = exported.network
    base = weights or UNKNOWN
    line = re.compile(r"^model = (\w+)\.from_pretrained\(folder(.*)\)\.eval\(\)$", re.MULTILINE)
    name, options = line.findall(usage)[0]
    load = f"{name}.from_pretrained(base{options})"
    if name == "EncoderDecoderModel":
        layers = network.config.decoder.num_hidden_layers
        load = f"{name}.from_encoder_decoder_pretrained(base, base, decoder_num_hidden_layers={layers})"
    elif name.endswith("ForSequenceClassification"):
        load = f"{name}.from_pretrained(base, num_labels={network.config.num_labels})"
    lines = [
        f'base = "{base}"  # new weights in it are replaced by the adapter\'s',
        f"model = PeftModel.from_pretrained({load}, folder).eval()",
    ]
    usage = line.sub(lambda _: "\n".join(lines), usage)
    usage = usage.replace("import torch\n", "import torch\nfrom peft import PeftModel\n", 1)
    if ".generate(" not in usage:
        return usage
    usage = usage.replace("import torch\n", "import torch\nfrom transformers import GenerationConfig\n", 1)
    call = re.compile(r"^(.*model\.generate\()", re.MULTILINE)
    settings = "settings = GenerationConfig.from_pretrained(folder)\n"
    return call.sub(lambda found: f"{settings}{found[1]}generation_config=settings, ", usage)
