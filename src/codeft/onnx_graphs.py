"""An exported model as ONNX graphs, each compared with PyTorch before it is kept."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from codeft.models.exported import ExportedModel, probe
from codeft.models.heads import ClassificationHead, pool
from codeft.types import CodeftError

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
FOLDER = "onnx"
TOLERANCE = 1e-4
"""Outputs that differ by less, relative to the largest, are the same."""


def check_onnx() -> None:
    """Check that what writes and runs graphs is installed.

    Raises:
        CodeftError: It isn't.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise CodeftError(f"onnx=true needs {', '.join(missing)}: pip install 'codeft[onnx]'")


class _Labels(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.network(input_ids=input_ids, attention_mask=attention_mask).logits


class _Encoder(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.encoder = network.get_encoder()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


class _Decoder(nn.Module):
    """All logits of a target, without a cache."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, decoder_input_ids: Tensor, encoder_hidden_states: Tensor, encoder_attention_mask: Tensor
    ) -> Tensor:
        return self.network(
            encoder_outputs=(encoder_hidden_states,),
            attention_mask=encoder_attention_mask,
            decoder_input_ids=decoder_input_ids,
            use_cache=False,
        ).logits


class _Vectors(nn.Module):
    """A vector for each text, or the labels of examples of one or two texts."""

    def __init__(self, network: Any, *, pooling: str, head: ClassificationHead | None) -> None:
        super().__init__()
        self.network, self.pooling = network, pooling
        self.dense = None if head is None else head.dense
        self.out_proj = None if head is None else head.out_proj

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        other_input_ids: Tensor | None = None,
        other_attention_mask: Tensor | None = None,
    ) -> Tensor:
        vectors = self._embed(input_ids, attention_mask)
        if other_input_ids is not None:
            vectors = torch.cat([vectors, self._embed(other_input_ids, other_attention_mask)], dim=-1)
        if self.dense is None or self.out_proj is None:
            return vectors
        return self.out_proj(self.dense(vectors).tanh())

    def _embed(self, ids: Tensor, mask: Any) -> Tensor:
        hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state
        return pool(hidden, mask, pooling=self.pooling)


def write_graphs(
    exported: ExportedModel, network: PreTrainedModel, folder: Path, *, num_texts: int
) -> dict[str, tuple[list[str], str]]:
    """Write a model's graphs into `onnx/`: one for labels or vectors, two for an encoder-decoder.

    Args:
        exported: The model.
        network: Its network as transformers loads it, in eval mode, on the CPU.
        folder: The exported folder.
        num_texts: Texts an example.

    Returns:
        By the graph's file: the names of its inputs, and of its output.

    Raises:
        CodeftError: A model of this kind isn't exported, or a graph computes otherwise than PyTorch.
    """
    (folder / FOLDER).mkdir()
    small, large = probe(network), probe(network, num_texts=3, length=11)
    if exported.usage is not None or (network.can_generate() and not network.config.is_encoder_decoder):
        raise CodeftError(f"{type(network).__name__} isn't written as ONNX: leave onnx=true away")
    if network.config.is_encoder_decoder and exported.pooling is None:
        encoder, decoder = _Encoder(network).eval(), _Decoder(network).eval()
        names = ["decoder_input_ids", "encoder_hidden_states", "encoder_attention_mask"]
        states = [
            (inputs["decoder_input_ids"], _run(encoder, _sources(inputs)), inputs["attention_mask"])
            for inputs in (small, large)
        ]
        return {
            **_write(
                encoder, "encoder", SOURCE, "last_hidden_state", [_sources(small), _sources(large)], folder
            ),
            **_write(decoder, "decoder", names, "logits", states, folder),
        }
    if exported.pooling is None:
        module: nn.Module = _Labels(network).eval()
        return _write(module, "model", SOURCE, "logits", [_sources(small), _sources(large)], folder)
    head = None if exported.head is None else exported.head.cpu()
    assert head is None or isinstance(head, ClassificationHead)
    module = _Vectors(network, pooling=exported.pooling, head=head).eval()
    if head is not None and num_texts > 1:
        other_small, other_large = probe(network, length=5), probe(network, num_texts=3, length=13)
        pairs = [
            (*_sources(small), *_sources(other_small)), (*_sources(large), *_sources(other_large))
        ]  # fmt: skip
        names = [*SOURCE, *(f"other_{name}" for name in SOURCE)]
        return _write(module, "model", names, "logits", pairs, folder)
    output = "sentence_embedding" if head is None else "logits"
    return _write(module, "model", SOURCE, output, [_sources(small), _sources(large)], folder)


SOURCE = ["input_ids", "attention_mask"]

_DIMENSIONS = {
    "input_ids": "sequence",
    "attention_mask": "sequence",
    "other_input_ids": "other_sequence",
    "other_attention_mask": "other_sequence",
    "decoder_input_ids": "target",
    "encoder_hidden_states": "sequence",
    "encoder_attention_mask": "sequence",
}
"""Of each input: its second dimension's name; the first is the batch."""


def _sources(inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    return tuple(inputs[name] for name in SOURCE)


@torch.no_grad()
def _run(module: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    return module(*inputs)


def _write(
    module: nn.Module,
    name: str,
    inputs: Sequence[str],
    output: str,
    examples: Sequence[tuple[Tensor, ...]],
    folder: Path,
) -> dict[str, tuple[list[str], str]]:
    """Write one graph by the first of the examples, and compare its outputs on all."""
    file = f"{FOLDER}/{name}.onnx"
    dims = {word: torch.export.Dim(word) for word in ("batch", *(_DIMENSIONS[each] for each in inputs))}
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            module,
            examples[0],
            str(folder / file),
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=tuple({0: dims["batch"], 1: dims[_DIMENSIONS[each]]} for each in inputs),
            dynamo=True,
            verbose=False,
        )
    _compare(module, folder / file, inputs, examples)
    return {file: (list(inputs), output)}


def _compare(
    module: nn.Module, path: Path, names: Sequence[str], examples: Sequence[tuple[Tensor, ...]]
) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for inputs in examples:
        feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        found, expected = torch.from_numpy(session.run(None, feed)[0]), _run(module, inputs)
        difference = ((found - expected).abs().max() / expected.abs().max().clamp_min(1)).item()
        if not difference < TOLERANCE:
            raise CodeftError(
                f"{path.name} computes otherwise than PyTorch, by {difference:.1e}, so it isn't written: "
                "leave onnx=true away"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks on its own passes."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
