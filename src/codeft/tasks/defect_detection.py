"""Defect detection: whether a function has a vulnerability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

from codeft.metrics import F1, Accuracy, Precision, Recall
from codeft.tasks.base import text_field
from codeft.tasks.fields import row_id
from codeft.tasks.languages import asked_language, parsed_as
from codeft.tasks.understanding import AbstractClassificationTask, label_field, one_line
from codeft.types import Example

if TYPE_CHECKING:
    from torchmetrics import Metric


@final
class DefectDetectionTask(AbstractClassificationTask):
    """Say whether a function is vulnerable (CodeXGLUE Defect-detection: Devign; Big-Vul).

    Rows hold `func`, `code` or `source`, and `target` or `label`: 1 or true for a vulnerable one.

    Args:
        lang: The functions' language, C by default.
        max_source_length: Sub-tokens of a function at most.
        collapse_whitespace: Read a function as one line, as CodeXGLUE's scripts do.

    Raises:
        CodeftError: `lang` seems to be misspelt.
    """

    name: ClassVar[str] = "defect_detection"
    monitor = "accuracy"

    def __init__(
        self, *, lang: str | None = None, max_source_length: int = 400, collapse_whitespace: bool = True
    ) -> None:
        super().__init__(max_source_length=max_source_length)
        self.collapse_whitespace = collapse_whitespace
        self.lang = asked_language(lang or "c")

    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row."""
        source = text_field(fields, "func", "code", "source", where=where)
        source = one_line(source) if self.collapse_whitespace else source
        target = label_field(fields, "target", "label", where=where) if labelled else None
        id_ = row_id(fields, "id", "idx", "index", where=where)
        return Example(id_, source, target, parsed_as(self.lang))

    def metrics(self) -> dict[str, Metric]:
        """Return accuracy, which the papers report, and what a class's rarity hides from it."""
        return {"accuracy": Accuracy(), "f1": F1(), "precision": Precision(), "recall": Recall()}
