"""Code refinement: from a function with a fault to the function without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

from codeft.metrics import CorpusBLEU, ExactMatch
from codeft.tasks.base import AbstractGenerationTask, code_metrics, text_field
from codeft.tasks.fields import row_id
from codeft.tasks.languages import asked_language, parsed_as
from codeft.types import Example

if TYPE_CHECKING:
    from torchmetrics import Metric


@final
class RefinementTask(AbstractGenerationTask):
    """Mend a function (CodeXGLUE code-refinement: Bugs2Fix; and code review in the same layout).

    Rows hold `buggy` and `fixed`, or `source` and `target`.

    Args:
        lang: Language of both; None is Java, as in Bugs2Fix.
        max_source_length: Sub-tokens of the faulty function at most.
        max_target_length: Sub-tokens of the mended function at most.
        num_beams: Beams in validation, test and prediction.
        prefix: Text set before each source.

    Raises:
        CodeftError: `lang` seems to be misspelt.
    """

    name: ClassVar[str] = "refinement"
    monitor = "corpus_bleu"
    copies: ClassVar[bool] = True

    def __init__(
        self,
        *,
        lang: str | None = None,
        max_source_length: int = 256,
        max_target_length: int = 256,
        num_beams: int = 10,
        prefix: str = "",
    ) -> None:
        super().__init__(
            max_source_length=max_source_length,
            max_target_length=max_target_length,
            num_beams=num_beams,
            prefix=prefix,
        )
        self.lang: str = asked_language(lang or "java")
        self.target_lang = self.lang

    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row."""
        source = text_field(fields, "buggy", "source", "code", where=where)
        target = text_field(fields, "fixed", "target", where=where) if labelled else None
        return Example(row_id(fields, "id", where=where), source, target, parsed_as(self.lang))

    def metrics(self) -> dict[str, Metric]:
        """Return corpus BLEU, exact match and CodeBLEU, which the papers report."""
        return {
            "corpus_bleu": CorpusBLEU(),
            "exact_match": ExactMatch(),
            **code_metrics(self.target_lang),
        }
