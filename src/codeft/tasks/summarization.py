"""Code summarization: from a function to the first paragraph of its documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

from codeft.metrics import CorpusBLEU, ExactMatch, SacreBLEU, SmoothedBLEU
from codeft.tasks.base import AbstractGenerationTask
from codeft.tasks.fields import row_id
from codeft.tasks.functions import function_language, function_source, function_summary
from codeft.tasks.languages import asked_language, parsed_as
from codeft.types import Example

if TYPE_CHECKING:
    from torchmetrics import Metric


@final
class SummarizationTask(AbstractGenerationTask):
    """Say in words what a function does (CodeXGLUE code-to-text).

    Rows follow CodeSearchNet's schema: `code`, `docstring` or `docstring_tokens`, `language`; or
    `source` and `target`. The reference is the docstring's tokens joined by blanks, as published.

    Args:
        lang: Keep only this language; None keeps all.
        max_source_length: Sub-tokens of code at most.
        max_target_length: Sub-tokens of summary at most.
        num_beams: Beams in validation, test and prediction.
        prefix: Text set before each source.
    """

    name: ClassVar[str] = "summarization"
    monitor = "smoothed_bleu"

    def __init__(
        self,
        *,
        lang: str | None = None,
        max_source_length: int = 256,
        max_target_length: int = 128,
        num_beams: int = 10,
        prefix: str = "",
    ) -> None:
        super().__init__(
            max_source_length=max_source_length,
            max_target_length=max_target_length,
            num_beams=num_beams,
            prefix=prefix,
        )
        self.lang = None if lang is None else asked_language(lang)

    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row; its docstring never stands in the source."""
        lang = function_language(fields, where=where, default=self.lang)
        if self.lang is not None and lang != self.lang:
            return None
        source = function_source(fields, where=where, input=input, lang=lang)
        meta = {key: fields[key] for key in ("repo", "path", "licence") if isinstance(fields.get(key), str)}
        target = function_summary(fields, "docstring", "target", where=where) if labelled else None
        return Example(row_id(fields, "id", "url", where=where), source, target, parsed_as(lang), meta)

    def metrics(self) -> dict[str, Metric]:
        """Return smoothed BLEU, which the papers report, and three others."""
        return {
            "smoothed_bleu": SmoothedBLEU(),
            "corpus_bleu": CorpusBLEU(),
            "sacrebleu": SacreBLEU(),
            "exact_match": ExactMatch(),
        }
