"""Functions as vectors: an index of them, what is nearest to each, and what answers a query."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from codeft.data.datamodule import EncodedDataset, compute_features
from codeft.data.jsonl import read_rows, write_rows
from codeft.finished_run import FinishedRun
from codeft.metrics.faiss_search import Nearest
from codeft.progress import track
from codeft.run_folder import check_writable, write_text
from codeft.types import CodeftError, Encoding, Example

_VECTORS, _FUNCTIONS, _ABOUT = "vectors.npy", "functions.jsonl", "index.json"


@dataclass(frozen=True, slots=True)
class FunctionIndex:
    """Functions and their vectors.

    Attributes:
        vectors: float32 [N, D], of length 1 each.
        functions: One row a function: `id`, `path`, `name`, `start_line`, `language`, `source`.
        weights: Digest of the checkpoint whose model made the vectors.
    """

    vectors: np.ndarray
    functions: Sequence[Mapping[str, Any]]
    weights: str

    def save(self, folder: Path) -> None:
        """Write the index into a folder, the file that makes it whole last."""
        check_writable(folder, advice="name another folder by index=")
        (folder / _ABOUT).unlink(missing_ok=True)
        np.save(folder / _VECTORS, self.vectors)
        write_rows(folder / _FUNCTIONS, self.functions)
        about = {"weights": self.weights, "functions": len(self.functions), "width": self.vectors.shape[1]}
        write_text(folder / _ABOUT, json.dumps(about, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, *, weights: str) -> FunctionIndex:
        """Read an index; the vectors stay on the disk until they are needed.

        Args:
            folder: As `save` wrote it.
            weights: Of the checkpoint that is to answer queries.

        Raises:
            CodeftError: It isn't an index, it is damaged, or another model made it.
        """
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            vectors = np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False)
            functions = [row.fields for row in read_rows(folder / _FUNCTIONS)]
            whole = vectors.shape == (len(functions), about["width"]) and vectors.dtype == np.float32
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CodeftError(
                f"expected an index in {str(folder)!r}: {error}; with input= beside index= one is made"
            ) from None
        if not whole:
            raise CodeftError(f"the index in {str(folder)!r} is damaged: make it again")
        if about.get("weights") != weights:
            raise CodeftError(
                f"the index in {str(folder)!r} was made by another checkpoint, whose vectors don't compare: "
                "make it again"
            )
        return cls(vectors, functions, weights)


def embed(
    run: FinishedRun, examples: Sequence[Example], encodings: Sequence[Encoding], *, description: str
) -> np.ndarray:
    """Return the vectors of single texts by a finished run's model: float32 [N, D], of length 1 each.

    Args:
        run: Its model embeds.
        examples: Whose sources are meant.
        encodings: The examples'.
        description: Of the progress bar.
    """
    parts, trainer = run.parts, run.trainer
    run.use()
    alone = [dataclasses.replace(encoding, others=()) for encoding in encodings]
    wanted = parts.data.wanted_features(training=False)
    dataset = EncodedDataset(
        examples,
        encodings=alone,
        features=[compute_features(wanted, *pair) for pair in zip(examples, alone, strict=True)],
        task=parts.task,
        seed=0,
        fresh=False,
    )
    loader = parts.data.loader(dataset, train=False)
    vectors: list[torch.Tensor] = []
    order: list[int] = []
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for _, batch in zip(track(range(len(loader)), description=description), loader, strict=True):
            batch = trainer.strategy.batch_to_device(batch)
            found = parts.model(batch).embedding
            assert found is not None
            vectors.append(functional.normalize(found.float(), dim=-1).cpu())
            order += batch["index"].tolist()
    joined = torch.cat(vectors).numpy()
    ordered = np.empty_like(joined)
    ordered[order] = joined
    return ordered


def embed_query(run: FinishedRun, query: str) -> np.ndarray:
    """Return a query's vector: float32 [1, D]."""
    task = run.parts.task
    example = Example("", "", others=(Example("", query),) * (task.num_texts - 1))
    [encoding] = task.encode([example], run.parts.model.tokenizer)
    return embed(run, [example.others[0]], [encoding.others[0]], description="query")


def nearest_ids(run: FinishedRun, examples: Sequence[Example], *, search: Nearest) -> list[str]:
    """Return, for each example, the id of the other one that is nearest to it; "" where there is none."""
    if len(examples) < 2:
        return [""] * len(examples)
    encodings = run.parts.task.encode(examples, run.parts.model.tokenizer)
    vectors = torch.from_numpy(embed(run, examples, encodings, description="predicting"))
    rows, _ = search(vectors, vectors, own=torch.arange(len(vectors)))
    return [examples[row].id for row in rows[:, 0].tolist()]


def answer(
    run: FinishedRun, index: FunctionIndex, query: str, *, top: int, search: Nearest
) -> list[dict[str, Any]]:
    """Return the functions nearest to a query, best first.

    Args:
        run: Embeds the query.
        index: What is searched.
        query: A sentence.
        top: Functions at most.
        search: Finds the nearest vectors.

    Returns:
        Rows with `query`, `rank`, `similarity` (cosine) and the function's own fields.
    """
    vectors = torch.from_numpy(np.array(index.vectors))
    [rows], [similarities] = search(torch.from_numpy(embed_query(run, query)), vectors, k=top)
    return [
        {"query": query, "rank": rank, "similarity": round(similarity, 6), **index.functions[row]}
        for rank, (row, similarity) in enumerate(
            zip(rows.tolist(), similarities.tolist(), strict=True), start=1
        )
    ]
