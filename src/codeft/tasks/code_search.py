"""Code search: from a sentence to the function that does it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import torch
from torch import Tensor

from codeft.losses.contrastive import contrastive_loss, gather_targets, right_targets
from codeft.metrics import SearchScores
from codeft.metrics.bm25 import rank_by_bm25
from codeft.metrics.floors import BM25, CHANCE, search_by_chance, search_floor
from codeft.metrics.ranking import BATCH_CANDIDATES
from codeft.metrics.retrieval import check_protocol, protocol_name
from codeft.syntax import remove_docstring
from codeft.tasks.base import text_field
from codeft.tasks.fields import first_field, row_id, says_something
from codeft.tasks.functions import function_language, function_source, function_summary
from codeft.tasks.languages import asked_language, parsed_as
from codeft.tasks.understanding import (
    STORED_ANSWERS,
    AbstractEmbeddingTask,
    check_length,
    number_of_name,
    one_line,
    vectors_of,
)
from codeft.types import Batch, CodeftError, Example, ModelOutput

if TYPE_CHECKING:
    from torchmetrics import Metric

_CODE_ID, _NO_QUERY = "code_id", "no_query"
_CODE_IDS = (_CODE_ID, "retrieval_idx", "url")


@final
class CodeSearchTask(AbstractEmbeddingTask):
    """Find the function that a sentence describes, among all functions of the split (a bi-encoder).

    Rows follow CodeSearchNet's schema: `code` (or AdvTest's `function`), `docstring` or `docstring_tokens`,
    `language`; or CoSQA's `doc` with `code`. The query is `query` or `doc` where the row has one, else the
    documentation; the docstring never stands in the code. Rows with the same `code_id` (CoSQA's
    `retrieval_idx`), else the same `url` or `id`, hold the same function. The loss is `contrastive_loss` over
    the batches of all devices, in which rows with an equal query or function are no negatives of each other.
    A prediction is the id of the nearest function.

    Args:
        lang: Keep only this language; None keeps all.
        max_source_length: Sub-tokens of code at most.
        max_query_length: Sub-tokens of a query at most.
        temperature: Divides the similarities in the loss.
        protocol: How queries are ranked; see `codeft.metrics.retrieval`.
        deduplicate: Whether functions with equal text are one candidate.
        hard_negatives: Functions a training row brings along, in `negatives`, which don't answer its query.

    Raises:
        CodeftError: A value isn't in its range.
    """

    name: ClassVar[str] = "code_search"
    monitor = "mrr"
    num_texts = 2
    has_queries: ClassVar[bool] = True

    def __init__(
        self,
        *,
        lang: str | None = None,
        max_source_length: int = 256,
        max_query_length: int = 128,
        temperature: float = 0.05,
        protocol: str = "full",
        deduplicate: bool = False,
        hard_negatives: int = 0,
    ) -> None:
        super().__init__(max_source_length=max_source_length, temperature=temperature)
        check_length("max_query_length", max_query_length)
        if hard_negatives < 0:
            raise CodeftError(f"task.hard_negatives must be 0 or more, not {hard_negatives}")
        self.lang = None if lang is None else asked_language(lang)
        self.max_query_length = max_query_length
        self.deduplicate = deduplicate
        self.hard_negatives = hard_negatives
        self.num_texts = 2 + hard_negatives  # code, query, negatives
        check_protocol(protocol)
        self.protocol = protocol
        self.monitor = protocol_name("mrr", protocol=protocol)

    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row."""
        if first_field(fields, "function", "code") == "function":  # AdvTest's names
            fields = {**fields, "code": fields["function"], "code_tokens": fields.get("function_tokens")}
        lang = function_language(fields, where=where, default=self.lang)
        if self.lang is not None and lang != self.lang:
            return None
        source = function_source(fields, where=where, input=input, lang=lang)
        lang = parsed_as(lang)
        id_ = row_id(fields, "id", "idx", "url", where=where)
        code_id = source if self.deduplicate else row_id(fields, *_CODE_IDS, where=id_)
        meta = {_CODE_ID: code_id}
        query = self._query(fields, where) if labelled else ""
        others = [Example(f"{id_}#query", query)]
        if self.hard_negatives:
            others += self._negatives(fields, where, id_=id_, lang=lang, needed=labelled)
        example = Example(id_, source, query or None, lang, meta, tuple(others))
        return example if labelled else self.without_query(example)

    def without_query(self, example: Example) -> Example:
        """Return the function as a candidate that nobody asks for."""
        query, *negatives = example.others
        others = (dataclasses.replace(query, source=""), *negatives)
        meta = {**example.meta, _NO_QUERY: "yes"}
        return dataclasses.replace(example, target=None, meta=meta, others=others)

    def asks(self, example: Example) -> bool:
        """Return whether the example has a query."""
        return _NO_QUERY not in example.meta

    def length_limit(self, side: str) -> int:
        """Return how many sub-tokens an example's "source" or "query" may have."""
        return self.max_query_length if side == "query" else super().length_limit(side)

    def uncut(self, longest: int) -> Self:
        """Return a copy that cuts functions and queries at so many sub-tokens and nowhere else."""
        task = super().uncut(longest)
        task.max_query_length = longest
        return task

    def describe(self, examples: Sequence[Example]) -> dict[str, int]:
        """Return how many rows are only searched, and how many ask or hold what another one does, too."""
        asking = [example for example in examples if self.asks(example)]
        _, functions, queries, *_ = zip(*map(self.keys, asking), strict=True) if asking else ((),) * 3
        return {
            "candidates": len(examples) - len(asking),
            "equal_queries": _num_repeated(queries),
            "equal_functions": _num_repeated(functions),
        }

    def note(self, examples: Sequence[Example]) -> str:
        """Say how many rows are no negatives of each other."""
        counts = self.describe(examples)
        queries, functions = counts["equal_queries"], counts["equal_functions"]
        if not queries + functions:
            return ""
        return (
            f"{queries} of {len(examples)} rows have a query that another row has, too, and {functions} a "
            "function: in a batch, such rows are no negatives of each other"
        )

    def _query(self, fields: Mapping[str, Any], where: str) -> str:
        name = first_field(fields, "query", "doc", "docstring_tokens", "docstring", "target")
        if name in ("query", "doc"):
            return text_field(fields, name, where=where)
        return function_summary(fields, "docstring", "target", where=where)

    def _negatives(
        self, fields: Mapping[str, Any], where: str, *, id_: str, lang: str, needed: bool
    ) -> list[Example]:
        if not needed or not says_something(fields.get("negatives")):  # `check` says which rows need theirs
            return [Example(f"{id_}#{i}", "") for i in range(1, self.hard_negatives + 1)]
        found = fields["negatives"]
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise CodeftError(f'{where}: expected "negatives" to be a list of texts')
        if len(found) < self.hard_negatives:
            raise CodeftError(
                f'{where}: expected {self.hard_negatives} "negatives" (task.hard_negatives), got {len(found)}'
            )
        texts = [remove_docstring(text, lang) if lang else text for text in found[: self.hard_negatives]]
        return [Example(f"{id_}#{i}", text, None, lang) for i, text in enumerate(texts, start=1)]

    def check(self, examples: Sequence[Example], *, split: str) -> None:
        """Refuse training rows without their negatives, and a split too small for the protocol to rank."""
        if split == "train" and self.hard_negatives:
            bare = next((e.id for e in examples if not any(other.source for other in e.others[1:])), None)
            if bare is not None:
                raise CodeftError(
                    f'{bare}: expected {self.hard_negatives} "negatives" (task.hard_negatives) in each '
                    "training row, got none"
                )
        num_queries = sum(map(self.asks, examples))
        if split != "train" and self.protocol == "distractors999" and num_queries < BATCH_CANDIDATES:
            raise CodeftError(
                f"the {split} split has {num_queries:,} queries, and task.protocol=distractors999 ranks each "
                f"among {BATCH_CANDIDATES:,}: take more rows, or task.protocol=full"
            )

    def label(self, example: Example) -> int | None:
        """Return 1 where a query asks for the function, else 0."""
        return int(self.asks(example))

    def keys(self, example: Example) -> list[int]:
        """Return the numbers of the function by name and by text, of the query and of each negative.

        White space doesn't count.
        """
        query, *negatives = example.others
        code_id = example.meta.get(_CODE_ID, example.id)
        texts = [code_id, example.source, query.source, *(negative.source for negative in negatives)]
        return [number_of_name(one_line(text)) for text in texts]

    def max_length(self, text: int) -> int:
        """Return how many sub-tokens the query (text 1) or a function may have."""
        return self.max_query_length if text == 1 else self.max_source_length

    def loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        """Return the contrastive loss of the batch's queries and functions, and those of other devices."""
        codes, queries, *negatives = vectors_of(output).float().chunk(self.num_texts)
        targets = gather_targets(torch.cat([codes, *negatives]))
        right = self._right_targets(batch["keys"]) if "keys" in batch else None
        return contrastive_loss(queries, targets, temperature=self.temperature, right=right)

    def _right_targets(self, keys: Tensor) -> Tensor:
        """Return which of all devices' functions answer each query of a batch, bool [B, C].

        Args:
            keys: [B, 2 + texts], as `keys` makes them.
        """
        functions, asked, negatives = keys[:, :2], keys[:, 2], keys[:, 3:]
        of_negatives = negatives.T.reshape(-1, 1).expand(-1, 2)  # in the order of the batch's texts
        return right_targets(
            asked,
            gather_targets(functions),
            all_queries=gather_targets(asked),
            targets=gather_targets(torch.cat([functions, of_negatives])),
        )

    def metrics(self) -> dict[str, Metric]:
        """Return MRR, which the papers report, R@1, 5 and 10, and how many queries tie."""
        return {"search": SearchScores(protocol=self.protocol, deduplicated=self.deduplicate)}

    def metric_inputs(
        self, vectors: Tensor, *, examples: Sequence[Example], batch: Batch
    ) -> tuple[Tensor, ...]:
        """Return `SearchScores`': the queries that ask for something, and all functions."""
        codes, queries, *_ = vectors.chunk(self.num_texts)
        ids = torch.tensor(
            [number_of_name(example.meta[_CODE_ID]) for example in examples], device=codes.device
        )
        asked = batch["labels"][:, 0] == 1
        return queries[asked], batch["index"][asked], ids[asked], codes, ids

    def predictions_of_split(
        self, metrics: Mapping[str, Metric], examples: Sequence[Example]
    ) -> dict[int, dict[str, Any]] | None:
        """Return the functions nearest to each query, and the rank of its own."""
        metric = metrics["search"]
        assert isinstance(metric, SearchScores)
        names: dict[int, str] = {}
        for example in examples:
            names.setdefault(number_of_name(example.meta[_CODE_ID]), example.id)
        rows = {}
        for index, answer in metric.answers(k=STORED_ANSWERS).items():
            answers = [names[number] for number in answer.nearest]
            rows[index] = {
                "prediction": answers[0],
                "answers": answers,
                "idx": names[answer.target],
                "rank": answer.rank,
                "tied": answer.tied,
                "candidates": answer.num_candidates,
                "protocol": self.protocol,
                "deduplicated": self.deduplicate,
            }
        return rows

    def floors(
        self,
        examples: Sequence[Example],
        *,
        constants: Mapping[str, str] | None = None,
        only: str | None = None,
    ) -> dict[str, dict[str, float]]:
        """Return the scores of BM25, and those of a random order, under the task's protocol."""
        sources: dict[str, str] = {}
        for example in examples:
            sources.setdefault(example.meta[_CODE_ID], example.source)
        places = {code: place for place, code in enumerate(sources)}
        asked = [example for example in examples if _NO_QUERY not in example.meta]
        found = rank_by_bm25(
            [example.others[0].source for example in asked],
            candidates=list(sources.values()),
            targets=[places[example.meta[_CODE_ID]] for example in asked],
            in_batches=self.protocol == "distractors999",
        )
        return {
            BM25: search_floor(found.ranks, protocol=self.protocol),
            CHANCE: search_by_chance([found.num_candidates], protocol=self.protocol),
        }


def _num_repeated(keys: Sequence[int]) -> int:
    """Return how many items stand more than once.

    >>> _num_repeated([1, 2, 1, 1])
    3
    """
    return sum(count for count in Counter(keys).values() if count > 1)
