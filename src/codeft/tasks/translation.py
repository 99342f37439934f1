"""Code translation: from one programming language to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

from codeft.metrics import CorpusBLEU, ExactMatch, SacreBLEU
from codeft.syntax import LANGUAGES, language_name
from codeft.tasks.base import AbstractGenerationTask, code_metrics, text_field
from codeft.tasks.fields import row_id
from codeft.tasks.languages import asked_language, parsed_as
from codeft.types import CodeftError, Example

if TYPE_CHECKING:
    from torchmetrics import Metric


@final
class TranslationTask(AbstractGenerationTask):
    """Write a function again in another language (CodeXGLUE code-to-code-trans).

    Rows hold a field for each language under its name or an alias (`java`, `cs`), or `source` and
    `target`.

    Args:
        lang: Source and target language joined by "-": "java-cs" or "cs-java".
        max_source_length: Sub-tokens of source code at most.
        max_target_length: Sub-tokens of target code at most.
        num_beams: Beams in validation, test and prediction.
        prefix: Text set before each source.

    Raises:
        CodeftError: `lang` isn't two different languages, or one seems to be misspelt.
    """

    name: ClassVar[str] = "translation"
    monitor = "corpus_bleu"
    source_lang: str
    copies: ClassVar[bool] = True

    def __init__(
        self,
        *,
        lang: str | None = None,
        max_source_length: int = 320,
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
        self.lang = lang or "java-cs"
        sides = self.lang.split("-")
        if len(sides) != 2 or language_name(sides[0]) == language_name(sides[1]):
            raise CodeftError(
                f"task=translation needs lang=<source>-<target>, such as java-cs or cs-java, not {lang!r}"
            )
        self.source_lang, self.target_lang = map(asked_language, sides)

    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row."""
        source = text_field(fields, *_names(self.source_lang), "source", "code", where=where)
        target = text_field(fields, *_names(self.target_lang), "target", where=where) if labelled else None
        return Example(row_id(fields, "id", where=where), source, target, parsed_as(self.source_lang))

    def metrics(self) -> dict[str, Metric]:
        """Return corpus BLEU, exact match and CodeBLEU, which the papers report, and sacreBLEU."""
        return {
            "corpus_bleu": CorpusBLEU(),
            "exact_match": ExactMatch(),
            **code_metrics(self.target_lang),
            "sacrebleu": SacreBLEU(),
        }


def _names(lang: str) -> tuple[str, ...]:
    """Return what a row may call the text in a language."""
    return (lang, *LANGUAGES[lang].aliases) if lang in LANGUAGES else (lang,)
