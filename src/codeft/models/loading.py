"""From a model's name to its folder and tokenizer: a local folder, the package's own mini, or the hub."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast, RobertaTokenizer

from codeft.models.hub import download
from codeft.models.networks import quiet_transformers
from codeft.models.remote_code import RemoteCode, check_tokenizer_code, names_tokenizer
from codeft.models.sentencepiece_tokenizer import FILE as SENTENCEPIECE
from codeft.models.sentencepiece_tokenizer import load_sentencepiece
from codeft.models.state_dict import NAMES, find_weights
from codeft.models.tiktoken_tokenizer import FILE as TIKTOKEN
from codeft.models.tiktoken_tokenizer import load_tiktoken
from codeft.models.tokenizer_files import has_tokenizer
from codeft.types import CodeftError

RANDOM = "random"
ASSET = "asset:"
MINI = ASSET + "mini"
EXPECTED = f"tokenizer.json, {SENTENCEPIECE}, {TIKTOKEN}, or one *vocab.json and one *merges.txt"
DESCRIPTIONS = ("tokenizer.json", "tokenizer_config.json")
AS_WRITTEN = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes of a tokenizer that is what its `tokenizer.json` says: transformers' older name, and its newer."""

CODE = "def f(x):\n    return x"
"""What a tokenizer is to split as its `tokenizer.json` does."""

PROBE = "x"
"""Any tokenizer spells this; one that transformers made up around a missing file doesn't."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model's parts come from.

    Attributes:
        weights: What its network is built from: a folder, a hub id, an asset or `random`.
        checkpoint: Weights laid over it; None for none.
        given: Both as the user gave them, for messages.
        tokenizer: Where the tokenizer is; None for beside the weights, the mini's for random ones.
    """

    weights: str
    checkpoint: Path | None
    tokenizer: str | None
    given: str


def find_origin(*, weights: str, checkpoint: str | None, tokenizer: str | None) -> Origin:
    """Sort out what the user named; nothing is loaded yet.

    Weights without a `config.json` (a file, or a folder with one of `state_dict.NAMES`) are laid over a
    network that is built from the YAML's architecture.

    Args:
        weights: Hub id, folder, asset, `random`, or weights alone.
        checkpoint: Weights to lay over those: a file or a folder.
        tokenizer: Where the tokenizer is, if not beside the weights.

    Raises:
        CodeftError: The checkpoint isn't there, there are two, or one has no tokenizer beside it.
    """
    described = f"{weights} with {checkpoint} over it" if checkpoint else weights
    over = None if checkpoint is None else Path(checkpoint).expanduser()
    if over is not None:
        find_weights(over)
    given = Path(weights).expanduser()
    beside_config = given.is_file() and (given.parent / "config.json").is_file()
    if beside_config and find_weights(given) == find_weights(given.parent):
        given = given.parent
        weights = str(given)
    is_model = (given / "config.json").is_file()
    if given.is_file() or (not is_model and any(any(given.glob(name)) for name in NAMES)):
        find_weights(given)
        if over is not None:
            raise CodeftError(
                f"two checkpoints, {weights} and {checkpoint}, and no model to lay them over: give "
                "model.weights=<folder or hub id of the model>, or model.checkpoint=null"
            )
        over, weights = given, RANDOM
    if over is not None and weights == RANDOM and tokenizer is None:
        folder = over if over.is_dir() else over.parent
        if not has_tokenizer(folder):
            raise CodeftError(
                f"the weights in {over} come without their tokenizer: give it by model.tokenizer=<folder or "
                "hub id>, or name the model that they were trained from, model.weights=<folder or hub id> "
                f"model.checkpoint={over}"
            )
        tokenizer = str(folder)
    return Origin(weights, over, tokenizer, described)


def find_folder(
    name: str, *, revision: str | None = None, code: bool = False, with_tokenizer: bool = True
) -> Path:
    """Return the local folder that a model's name stands for.

    Args:
        name: A folder, `asset:<name>` for a model inside this package, or a hub id (`owner/model`), which is
            downloaded unless the hub's cache has it.
        revision: Branch, tag or commit of a hub id; None is its main branch.
        code: Whether the Python code that comes with a hub id is fetched, too.
        with_tokenizer: Whether the tokenizer is to come from there, too.

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
    try:
        return download(name, revision=revision, code=code, with_tokenizer=with_tokenizer)
    except CodeftError as error:
        raise CodeftError(
            f"there is no folder {name!r} in {str(Path.cwd())!r}, and as a name on the hub: {error}"
        ) from error


def load_tokenizer(
    folder: Path, *, pad_with_end: bool = False, code: RemoteCode | None = None
) -> PreTrainedTokenizerBase:
    """Load a tokenizer that reads source text literally.

    Text that reads like a special token (`"</s>"` in a program) is encoded as plain characters and decoding
    doesn't tidy blanks. `model_max_length` is lifted: whoever encodes cuts. A tokenizer that doesn't end a
    text by itself is made to end each with its end token, and to begin it with `<s>` if it has one.

    Args:
        folder: What `save_pretrained` wrote, PLBART's sentencepiece model, GPT-4's vocabulary (AST-T5 reads
            with it), or a bare byte-level vocabulary: one `*vocab.json` and one `*merges.txt`.
        pad_with_end: Let a tokenizer without a padding token pad with its end token.
        code: Whether a tokenizer of a class of its own may be run; None where the family never does.

    Raises:
        CodeftError: There is no tokenizer in the folder, or it can't be read.
    """
    vocabs, merges = sorted(folder.glob("*vocab.json")), sorted(folder.glob("*merges.txt"))
    tokenizer: PreTrainedTokenizerBase
    try:
        with quiet_transformers():
            if len(vocabs) == len(merges) == 1 and not any(
                (folder / file).is_file() for file in DESCRIPTIONS
            ):
                tokenizer = RobertaTokenizer(vocab=str(vocabs[0]), merges=str(merges[0]))
            elif _is_as_written(folder):
                tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
            elif (folder / SENTENCEPIECE).is_file() and not (folder / "tokenizer.json").is_file():
                tokenizer = load_sentencepiece(folder)
            elif (folder / TIKTOKEN).is_file() and not (folder / "tokenizer.json").is_file():
                tokenizer = load_tiktoken(folder)
            else:
                tokenizer = _by_its_class(folder, code or RemoteCode(asked=None))
    except CodeftError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise CodeftError(f"can't read a tokenizer in {folder}, expected {EXPECTED}: {error}") from error
    spelt = tokenizer.decode(tokenizer(PROBE)["input_ids"], skip_special_tokens=True)
    if PROBE not in spelt and PROBE not in (tokenizer.pad_token, tokenizer.eos_token):
        raise CodeftError(f"the tokenizer in {folder} has no vocabulary, expected {EXPECTED}")
    _check_special(tokenizer, folder)
    if pad_with_end and tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    _frame_texts(tokenizer, folder)
    tokenizer.split_special_tokens = True
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.model_max_length = int(1e9)
    return tokenizer


def _by_its_class(folder: Path, code: RemoteCode) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )  # None would ask the user
    except ValueError:
        if not names_tokenizer(folder):
            raise
        check_tokenizer_code(folder)
        code.permit(folder, what="tokenizer")
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=True)
    if not _follows_file(tokenizer, folder):
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    return tokenizer


def _is_as_written(folder: Path) -> bool:
    """Return whether a tokenizer says that its file is all of it.

    `AutoTokenizer` would take the class of some model types (Qwen2's), if their config lies beside it, and
    that class would split texts in its own way.
    """
    try:
        said = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (folder / "tokenizer.json").is_file() and (
        isinstance(said, dict) and said.get("tokenizer_class") in AS_WRITTEN
    )


def _follows_file(tokenizer: PreTrainedTokenizerBase, folder: Path) -> bool:
    """Return whether a tokenizer splits code as its `tokenizer.json` says, where there is one.

    transformers builds some classes (Llama's, which byte-level tokenizers name as well) anew around the
    file's vocabulary, and then blanks and line breaks come out otherwise, without a word.
    """
    if not (folder / DESCRIPTIONS[0]).is_file():
        return True
    written = Tokenizer.from_file(str(folder / DESCRIPTIONS[0])).encode(CODE, add_special_tokens=False).ids
    return written == tokenizer(CODE, add_special_tokens=False)["input_ids"]


def _frame_texts(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    if tokenizer.eos_token is None or tokenizer.pad_token is None:
        raise CodeftError(
            f"the tokenizer in {folder} needs an eos_token and a pad_token: name them in its config"
        )
    if not tokenizer.is_fast:
        raise CodeftError(f"the tokenizer in {folder} gives no character offsets: expected a tokenizer.json")
    if (
        tokenizer.eos_token_id in tokenizer(PROBE)["input_ids"][1:]
    ):  # the first may be a start that is the end
        return
    start = [tokenizer.bos_token] if tokenizer.bos_token else []
    template = " ".join([*start, "$A", tokenizer.eos_token])
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in {*start, tokenizer.eos_token}]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=ids
    )


def _check_special(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Check that what isn't text is never read in a text."""
    for role, token in (("pads", tokenizer.pad_token), ("ends texts", tokenizer.eos_token)):
        if token is not None and _occurs_in_texts(str(token), tokenizer):
            raise CodeftError(
                f"the tokenizer in {folder} {role} with {token!r}, which texts hold too and would lose; "
                "name a token of its own in tokenizer_config.json, or give another one by model.tokenizer="
            )


def _occurs_in_texts(token: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether text that reads like a token is that token, though it is written as plain text."""
    texts = [token, f" {token}", f"({token})"]
    written = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return any(tokenizer.convert_tokens_to_ids(token) in ids for ids in written)


def check_vocabulary(
    tokenizer: PreTrainedTokenizerBase, *, vocab_size: int, source: str, given: str | None = None
) -> None:
    """Check that the embeddings have a row for each id that the tokenizer makes.

    Args:
        tokenizer: The model's.
        vocab_size: Rows of the embeddings.
        source: Where the network is from.
        given: Where the tokenizer is, where the user named another place than that.

    Raises:
        CodeftError: They haven't.
    """
    largest = max(tokenizer.get_vocab().values())
    if largest < vocab_size:
        return
    if source == RANDOM:
        advice = f"set model.architecture.vocab_size={largest + 1} or more, or give another model.tokenizer"
    else:
        advice = _own_tokenizer(given)
    raise CodeftError(
        f"the tokenizer's ids go up to {largest}, but the embeddings of {_named(source)} have {vocab_size} "
        f"rows: {advice}"
    )


def check_padding(
    tokenizer: PreTrainedTokenizerBase, *, pad_id: int | None, source: str, given: str | None = None
) -> None:
    """Check that the tokenizer pads with the id that the network of `source` pads with.

    Args:
        tokenizer: The model's.
        pad_id: The network's.
        source: Where the network is from.
        given: Where the tokenizer is, where the user named another place than that.

    Raises:
        CodeftError: It doesn't.
    """
    if tokenizer.pad_token_id != pad_id:
        raise CodeftError(
            f"{_named(source)} pads with id {pad_id}, but its tokenizer with {tokenizer.pad_token_id}: "
            f"{_own_tokenizer(given)}"
        )


def _named(source: str) -> str:
    """Name weights in a sentence."""
    return "the random weights" if source == RANDOM else source


def _own_tokenizer(given: str | None) -> str:
    if given is not None:
        return f"leave model.tokenizer={given} away, or give the one that the weights were trained with"
    return (
        "the tokenizer beside the weights isn't the one that they were trained with; give that one, "
        "model.tokenizer=<its folder or hub id>"
    )
