"""Code generation: from a description and its surroundings to a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

from codeft.metrics import CorpusBLEU, ExactMatchSplit
from codeft.tasks.base import AbstractGenerationTask, code_metrics, text_field
from codeft.tasks.fields import row_id
from codeft.tasks.languages import asked_language
from codeft.types import Example

if TYPE_CHECKING:
    from torchmetrics import Metric


@final
class GenerationTask(AbstractGenerationTask):
    """Write a method that does what a text says (CodeXGLUE text-to-code: CONCODE).

    Rows hold `nl` and `code`, or `source` and `target`. In CONCODE the class's fields and methods stand
    behind the text, between `concode_field_sep` and `concode_elem_sep`.

    Args:
        lang: Language of the code; None is Java, as in CONCODE.
        max_source_length: Sub-tokens of text and surroundings at most.
        max_target_length: Sub-tokens of code at most.
        num_beams: Beams in validation, test and prediction.
        prefix: Text set before each source.

    Raises:
        CodeftError: `lang` seems to be misspelt.
    """

    name: ClassVar[str] = "generation"
    monitor = "corpus_bleu"

    def __init__(
        self,
        *,
        lang: str | None = None,
        max_source_length: int = 320,
        max_target_length: int = 150,
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
        source = text_field(fields, "nl", "source", where=where)
        target = text_field(fields, "code", "target", where=where) if labelled else None
        return Example(row_id(fields, "id", where=where), source, target)

    def metrics(self) -> dict[str, Metric]:
        """Return corpus BLEU, exact match by words and CodeBLEU, which the papers report."""
        return {
            "corpus_bleu": CorpusBLEU(),
            "exact_match_split": ExactMatchSplit(),
            **code_metrics(self.target_lang),
        }
