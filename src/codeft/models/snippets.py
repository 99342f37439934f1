"""Python that uses an exported folder without codeft: one snippet for each kind of model."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence

from transformers import T5EncoderModel

from codeft.models.exported import ExportedModel
from codeft.models.hub import HEAD

INPUTS = "INPUTS"
"""A line of a snippet: in its place the folder and the texts are assigned, each on a line of its own."""

_POOL = {
    "first": "return hidden[:, 0]",
    "mean": """\
mask = inputs["attention_mask"].unsqueeze(-1)
    return (hidden * mask).sum(1) / mask.sum(1)""",
}


def usage_of(exported: ExportedModel, *, num_texts: int = 1, has_queries: bool = False) -> str:
    """Return the snippet for a model, its own where it brings one.

    Args:
        exported: The model.
        num_texts: Texts an example: `texts` holds the first of each, `others` or `queries` the second.
        has_queries: Whether the second text asks for the first.
    """
    if exported.usage is not None:
        return exported.usage
    name = type(exported.network).__name__
    options = ", add_pooling_layer=False" if exported.pooling and name == "RobertaModel" else ""
    begin = f"""\
import torch
{"from safetensors.torch import load_file" if exported.head else ""}
from transformers import {", ".join(sorted([name, "PreTrainedTokenizerFast"]))}
{"from transformers.utils import cached_file" if exported.head else ""}

{INPUTS}

tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
model = {name}.from_pretrained(folder{options}).eval()
"""
    begin = begin.replace("torch\n\nfrom", "torch\nfrom").replace("\n\n\n", "\n\n")
    if exported.pooling is None and exported.network.can_generate():
        return begin + (_TEXT if exported.network.config.is_encoder_decoder else _CONTINUATION)
    if exported.pooling is None:
        return begin + _LABEL
    begin += _EMBED.replace("POOLED", _POOL[exported.pooling])
    if exported.head is not None:
        return begin + _head(["texts", "others"][:num_texts])
    return begin + (_SEARCH if has_queries else _COMPARE)


def continuation_usage(network: str, *, options: str) -> str:
    """Return the snippet for text by a decoder-only model.

    Args:
        network: transformers' class.
        options: What else its `from_pretrained` takes, with the comma before it.
    """
    return f"""\
import torch
from transformers import {network}, PreTrainedTokenizerFast

{INPUTS}

tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
model = {network}.from_pretrained(folder{options}).eval()
{_CONTINUATION}"""


_TEXT = """
inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
ids = model.generate(**inputs)
predictions = [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
print(predictions)
"""

_CONTINUATION = """
inputs = tokenizer(texts, padding=True, padding_side="left", truncation=True, return_tensors="pt")
ids = model.generate(**inputs)[:, inputs["input_ids"].shape[1] :]
predictions = [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
print(predictions)
"""

_LABEL = """
inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits
print(logits.softmax(-1)[:, 1])  # the probability of "yes"
"""

_EMBED = """

def embed(texts, max_length=tokenizer.model_max_length):
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state
    POOLED

"""

_COMPARE = """
vectors = torch.nn.functional.normalize(embed(texts), dim=-1)
print(vectors @ vectors.T)  # cosine similarities
"""

_SEARCH = """
vectors = torch.nn.functional.normalize(embed(texts), dim=-1)
asked = torch.nn.functional.normalize(embed(queries, query_length), dim=-1)
print(asked @ vectors.T)  # cosine similarities: a row for each query
"""


def marked_usage(network: str) -> str:
    """Return the snippet for text by a model that is told languages: behind the source, and to begin with.

    Args:
        network: transformers' class.
    """
    return f"""\
import torch
from transformers import PreTrainedTokenizerFast, {network}

{INPUTS}

tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
model = {network}.from_pretrained(folder).eval()

# Tokens of the language that is read and of the one that is written; (None, None) where it knows none of one.
read, written = MARKS
room = tokenizer.model_max_length - (read is not None)
rows = tokenizer(texts, truncation=True, max_length=room)["input_ids"]
if read is not None:
    rows = [row + [tokenizer.convert_tokens_to_ids(read)] for row in rows]
inputs = tokenizer.pad({{"input_ids": rows}}, return_tensors="pt")
start = model.config.decoder_start_token_id if written is None else tokenizer.convert_tokens_to_ids(written)
ids = model.generate(**inputs, decoder_start_token_id=start)
predictions = [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
print(predictions)
"""


def projected_usage() -> str:
    """Return the snippet for vectors that are a projection of the first hidden state, of length 1 each."""
    name = T5EncoderModel.__name__
    return (
        f"""\
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast, {name}
from transformers.utils import cached_file

{INPUTS}

tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
model = {name}.from_pretrained(folder).eval()
projection = load_file(cached_file(folder, "{HEAD}"))
"""
        + _EMBED.replace("POOLED", 'return hidden[:, 0] @ projection["weight"].T + projection["bias"]')
        + _COMPARE
    )


def _head(columns: Sequence[str]) -> str:
    vectors = ", ".join(f"embed({column})" for column in columns)
    return f"""
head = load_file(cached_file(folder, "{HEAD}"))
vectors = torch.cat([{vectors}], dim=-1)
hidden = torch.tanh(vectors @ head["dense.weight"].T + head["dense.bias"])
logits = hidden @ head["out_proj.weight"].T + head["out_proj.bias"]
print(logits.softmax(-1)[:, 1])  # the probability of "yes"
"""


def source_of(*things: Callable[..., object]) -> str:
    """Return the source of classes and functions without docstrings and comments, to stand in a snippet.

    Args:
        things: They use nothing of their modules but what the snippet imports.
    """
    parts = []
    for thing in things:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        parts.append(ast.unparse(tree))
    return "\n\n\n".join(parts)
