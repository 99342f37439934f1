"""Code summarization: from a function to the first paragraph of its documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

from codeft.metrics import CorpusBLEU, ExactMatch, SacreBLEU, SmoothedBLEU
from codeft.syntax import canonical_language, docstring_tokens, first_paragraph, remove_docstring
from codeft.tasks.base import AbstractGenerationTask, text_field, token_field
from codeft.types import CodeftError, Example

if TYPE_CHECKING:
    from torchmetrics import Metric

INPUTS = ("code", "code_tokens")


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
    monitor: ClassVar[str] = "smoothed_bleu"

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
        self.lang = None if lang is None else canonical_language(lang)

    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row; its docstring never stands in the source."""
        lang = self._language(fields, where)
        if self.lang is not None and lang != self.lang:
            return None
        if input == "code":
            source = text_field(fields, "code", "source", where=where)
            if lang or "code" in fields:  # a bare source and target are taken as they are
                source = remove_docstring(source, lang or self._language(fields, where, needed=True))
        elif input == "code_tokens":
            source = token_field(fields, "code_tokens", where=where)
        else:
            raise CodeftError(f"data.input must be one of {', '.join(INPUTS)}, not {input!r}")
        meta = {key: fields[key] for key in ("repo", "path", "licence") if isinstance(fields.get(key), str)}
        target = self._reference(fields, where) if labelled else None
        return Example(str(fields.get("id") or fields.get("url") or where), source, target, lang, meta)

    def _language(self, fields: Mapping[str, Any], where: str, *, needed: bool = False) -> str:
        if "language" not in fields and not needed:
            return self.lang or ""
        try:
            return canonical_language(text_field(fields, "language", where=where))
        except CodeftError as error:
            told = str(error) if "language" in fields else f"{error}; or say which it is by lang="
            raise CodeftError(told if told.startswith(where) else f"{where}: {told}") from None

    def _reference(self, fields: Mapping[str, Any], where: str) -> str:
        if "docstring_tokens" in fields:
            return " ".join(token_field(fields, "docstring_tokens", where=where).split())
        if "docstring" in fields:
            return " ".join(docstring_tokens(first_paragraph(text_field(fields, "docstring", where=where))))
        return text_field(fields, "docstring", "target", where=where)

    def metrics(self) -> dict[str, Metric]:
        """Return smoothed BLEU, which the papers report, and three others."""
        return {
            "smoothed_bleu": SmoothedBLEU(),
            "corpus_bleu": CorpusBLEU(),
            "sacrebleu": SacreBLEU(),
            "exact_match": ExactMatch(),
        }
