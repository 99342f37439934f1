"""From a model's name to its weights and tokenizer: a local folder, the package's own mini, or the hub."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from tokenizers import processors
from transformers import (
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaTokenizer,
)
from transformers.utils import logging as transformers_logging

from codeft.models.hub import download
from codeft.types import CodeftError

RANDOM = "random"
ASSET = "asset:"
MINI = ASSET + "mini"
DESCRIPTIONS = ("tokenizer.json", "tokenizer_config.json", "config.json")
UNREADABLE = (SafetensorError, pickle.UnpicklingError, EOFError, OSError, RuntimeError, ValueError, KeyError)

log = logging.getLogger(__name__)
Network = TypeVar("Network", bound=PreTrainedModel)
Config = TypeVar("Config", bound=PretrainedConfig)
ArchitectureValue = int | float | str | bool


def find_folder(name: str, *, revision: str | None = None) -> Path:
    """Return the local folder that a model's name stands for.

    Args:
        name: A folder, `asset:<name>` for a model inside this package, or a hub id (`owner/model`), which is
            downloaded unless the hub's cache has it.
        revision: Branch, tag or commit of a hub id; None is its main branch.

    Raises:
        CodeftError: There is no such folder or asset, or the hub can't give it.
    """
    if name.startswith(ASSET):
        folder = Path(str(resources.files("codeft"))) / "assets" / name.removeprefix(ASSET)
        if not folder.is_dir():
            raise CodeftError(
                f"no model '{name}' here ({folder} is missing): give a folder or model.weights=random"
            )
        return folder
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CodeftError(f"expected a model folder, got the file {folder}: give the folder that holds it")
    if folder.is_absolute() or name.startswith((".", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise CodeftError(f"there is no model folder {folder}: check model.weights and model.tokenizer")
    return download(name, revision=revision)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer that reads source text literally.

    Text that reads like a special token (`"</s>"` in a program) is encoded as plain characters and decoding
    doesn't tidy blanks. `model_max_length` is lifted: whoever encodes cuts. A tokenizer that adds no special
    tokens of its own is made to end each text with its end token, and to begin it with `<s>` if it has one.

    Args:
        folder: What `save_pretrained` wrote, or a bare byte-level vocabulary: one `*vocab.json` and one
            `*merges.txt`.

    Raises:
        CodeftError: There is no tokenizer in the folder, or it can't be read.
    """
    vocabs, merges = sorted(folder.glob("*vocab.json")), sorted(folder.glob("*merges.txt"))
    described = any((folder / name).is_file() for name in DESCRIPTIONS)
    try:
        with quiet_transformers():
            if described:
                tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            elif len(vocabs) == len(merges) == 1:
                tokenizer = RobertaTokenizer(vocab=str(vocabs[0]), merges=str(merges[0]))
            else:
                raise CodeftError(
                    f"no tokenizer in {folder}: expected tokenizer.json, or *vocab.json and *merges.txt"
                )
    except CodeftError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise CodeftError(f"can't read the tokenizer in {folder}: {error}") from error
    _frame_texts(tokenizer, folder)
    tokenizer.split_special_tokens = True
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.model_max_length = int(1e9)
    return tokenizer


def _frame_texts(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    if tokenizer.eos_token is None or tokenizer.pad_token is None:
        raise CodeftError(
            f"the tokenizer in {folder} needs an eos_token and a pad_token: name them in its config"
        )
    if not tokenizer.is_fast:
        raise CodeftError(f"the tokenizer in {folder} gives no character offsets: expected a tokenizer.json")
    if tokenizer("")["input_ids"]:
        return
    start = [tokenizer.bos_token] if tokenizer.bos_token else []
    template = " ".join([*start, "$A", tokenizer.eos_token])
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in {*start, tokenizer.eos_token}]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=ids
    )


def build_config(config_class: type[Config], architecture: Mapping[str, ArchitectureValue]) -> Config:
    """Return a config with these dimensions.

    Raises:
        CodeftError: A dimension is unknown to this family, or its value is refused.
    """
    known = config_class().to_dict()
    unknown = sorted(set(architecture) - set(known))
    if unknown:
        raise CodeftError(
            f"model.architecture has {', '.join(unknown)}, which {config_class.__name__} doesn't know; "
            f"it knows {', '.join(sorted(known))}"
        )
    try:
        values: dict[str, Any] = dict(architecture)
        return config_class(**values)
    except (TypeError, ValueError) as error:
        raise CodeftError(f"model.architecture is no {config_class.model_type}: {error}") from error


def load_config(
    config_class: type[Config], folder: Path, *, overrides: Mapping[str, ArchitectureValue]
) -> Config:
    """Read a folder's config and check that it is of this family.

    Raises:
        CodeftError: The folder has no readable `config.json`, or another family's.
    """
    if not (folder / "config.json").is_file():
        raise CodeftError(
            f"{folder} is not a model folder, it has no config.json: expected what save_pretrained writes"
        )
    try:
        raw, _ = PretrainedConfig.get_config_dict(folder)
        if raw.get("model_type") == config_class.model_type:
            return config_class.from_dict(raw | dict(overrides))
    except (OSError, TypeError, ValueError) as error:
        raise CodeftError(f"can't read {folder / 'config.json'}: {error}") from error
    raise CodeftError(
        f"{folder} holds a model of type '{raw.get('model_type')}', expected '{config_class.model_type}': "
        "choose the model= whose family it is"
    )


def load_weights(
    network_class: type[Network], folder: Path, *, config: PretrainedConfig, essential: str
) -> tuple[Network, set[str]]:
    """Load a checkpoint as float32, on SDPA attention.

    Args:
        network_class: transformers' class.
        folder: Holds `*.safetensors`, or a torch file, of which only tensors are read.
        config: The network's dimensions.
        essential: Prefix of the parameters without which the checkpoint is of another architecture.

    Returns:
        The network and the names of its parameters that the checkpoint didn't have; they are random.

    Raises:
        CodeftError: No weights, a damaged file, shapes that contradict the config, or nothing in it for the
            essential parameters.
    """
    try:
        with quiet_transformers():
            loaded: Any = network_class.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                attn_implementation="sdpa",
                local_files_only=True,
                output_loading_info=True,
            )
    except UNREADABLE as error:
        raise CodeftError(f"can't load the weights in {folder}: {error}") from error
    network, info = loaded
    missing = set(info["missing_keys"])
    wanted = {name for name, _ in network.named_parameters() if name.startswith(essential)}
    if wanted <= missing:
        raise CodeftError(
            f"the checkpoint in {folder} has none of the encoder's weights: expected "
            f"{'; '.join(group_names(wanted))}; it has {'; '.join(group_names(info['unexpected_keys']))}"
        )
    return network, missing


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, *, vocab_size: int, source: str) -> None:
    """Raise `CodeftError` where the tokenizer makes ids that the embeddings don't have."""
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocab_size:
        raise CodeftError(
            f"the tokenizer's ids go up to {largest}, but the embeddings of {source} have {vocab_size} rows: "
            "give the model's own tokenizer (model.tokenizer=null) or a larger model.architecture.vocab_size"
        )


def group_names(names: Iterable[str]) -> list[str]:
    """Shorten a list of parameter names: those that differ in their first number only share an entry.

    >>> group_names(["block.0.q.weight", "block.1.q.weight", "norm.bias"])
    ['block.{0,1}.q.weight', 'norm.bias']
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for name in names:
        head, number, tail = re.fullmatch(r"(.*?)(?:(?<=\.)(\d+)(?=\.)(.*))?", name).groups()  # type: ignore[union-attr]
        groups.setdefault((head, tail or ""), []).extend([int(number)] if number else [])
    return sorted(
        head + (f"{{{','.join(map(str, sorted(numbers)))}}}" if numbers else "") + tail
        for (head, tail), numbers in groups.items()
    )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars and reports; what matters in them is told by this module."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
