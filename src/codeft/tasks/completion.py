"""Line completion: from the code before a point to the rest of its line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from codeft.metrics import CompletionExactMatch, EditSimilarity
from codeft.tasks.base import AbstractGenerationTask, text_field
from codeft.tasks.fields import first_field, row_id
from codeft.tasks.languages import asked_language, parsed_as
from codeft.types import Batch, Example, ModelOutput, PredictingModel

if TYPE_CHECKING:
    from torchmetrics import Metric

_BEGIN, _LINE_END = "<s>", "<EOL>"


@final
class CompletionTask(AbstractGenerationTask):
    """Finish a line (CodeXGLUE CodeCompletion-line: javaCorpus, py150).

    Rows hold `input`, the file up to a point, and `gt`, the rest of that line; or `source` and `target`. Of
    `input` the published mark at its beginning is taken off, and `<EOL>` becomes a line break; normalised
    literals stay. Of a long context the end is kept.

    Args:
        lang: Language of the code; None where nothing needs to know.
        max_source_length: Sub-tokens of context at most.
        max_target_length: Sub-tokens of the line's rest at most.
        num_beams: Beams in validation, test and prediction.

    Raises:
        CodeftError: `lang` seems to be misspelt.
    """

    name: ClassVar[str] = "completion"
    monitor = "edit_similarity"
    truncation_side: ClassVar[Literal["left", "right"]] = "left"

    def __init__(
        self,
        *,
        lang: str | None = None,
        max_source_length: int = 512,
        max_target_length: int = 64,
        num_beams: int = 5,
    ) -> None:
        super().__init__(
            max_source_length=max_source_length, max_target_length=max_target_length, num_beams=num_beams
        )
        self.lang = None if lang is None else asked_language(lang)
        self.target_lang = self.lang or ""

    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row."""
        source = text_field(fields, "input", "source", where=where)
        if first_field(fields, "input", "source") == "input":
            lines = source.removeprefix(_BEGIN).split(_LINE_END)
            source = "\n".join(line.strip(" ") for line in lines)
        target = text_field(fields, "gt", "target", where=where) if labelled else None
        return Example(row_id(fields, "id", where=where), source, target, parsed_as(self.lang))

    def predict(
        self, model: PredictingModel, batch: Batch, *, output: ModelOutput | None = None
    ) -> list[str]:
        """Decode by beam search up to the first line break."""
        return [text.split("\n", 1)[0].rstrip() for text in super().predict(model, batch)]

    def metrics(self) -> dict[str, Metric]:
        """Return what the papers report; both write normalised literals out again first."""
        return {"edit_similarity": EditSimilarity(), "exact_match_split": CompletionExactMatch()}
