"""Clone detection: whether two functions do the same, or which ones do the same as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, final

from torch import Tensor

from codeft.losses.contrastive import supervised_contrastive_loss
from codeft.metrics import F1, Accuracy, MapAtR, Precision, Recall, best_threshold, tuned_scores
from codeft.metrics.floors import CHANCE, retrieval_by_chance
from codeft.tasks.base import text_field
from codeft.tasks.fields import row_id
from codeft.tasks.languages import asked_language, parsed_as
from codeft.tasks.understanding import (
    STORED_ANSWERS,
    AbstractClassificationTask,
    AbstractEmbeddingTask,
    label_field,
    number_of_name,
    one_line,
    vectors_of,
)
from codeft.types import Batch, CodeftError, Example, ModelOutput

if TYPE_CHECKING:
    from torchmetrics import Metric

_LIMITS = {"train": "train_limit", "valid": "val_limit", "test": "test_limit"}


@final
class ClonePairsTask(AbstractClassificationTask):
    """Say whether two functions are clones (CodeXGLUE Clone-detection-BigCloneBench).

    Rows hold `code1`, `code2` and `label`. Each function is encoded by itself.

    Args:
        lang: The functions' language, Java by default.
        max_source_length: Sub-tokens of each function at most.
        collapse_whitespace: Read a function as one line, as CodeXGLUE's scripts do.

    Raises:
        CodeftError: `lang` seems to be misspelt.
    """

    name: ClassVar[str] = "clone_detection"
    monitor = "f1"
    num_texts = 2

    def __init__(
        self, *, lang: str | None = None, max_source_length: int = 400, collapse_whitespace: bool = True
    ) -> None:
        super().__init__(max_source_length=max_source_length)
        self.collapse_whitespace = collapse_whitespace
        self.lang = asked_language(lang or "java")

    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row."""
        first, second = (text_field(fields, name, where=where) for name in ("code1", "code2"))
        if self.collapse_whitespace:
            first, second = one_line(first), one_line(second)
        target = label_field(fields, "label", "target", where=where) if labelled else None
        id_ = row_id(fields, "id", where=where)
        other = Example(f"{id_}#2", second, None, parsed_as(self.lang))
        return Example(id_, first, target, parsed_as(self.lang), others=(other,))

    def metrics(self) -> dict[str, Metric]:
        """Return F1 of the clones, which the papers report, its parts, and accuracy."""
        return {"f1": F1(), "precision": Precision(), "recall": Recall(), "accuracy": Accuracy()}

    def tune_threshold(self, predictions: Sequence[str], examples: Sequence[Example]) -> float | None:
        """Return the probability above which calling a pair clones has the highest F1."""
        return best_threshold(predictions, [example.target or "" for example in examples])

    def tuned_scores(
        self, predictions: Sequence[str], examples: Sequence[Example], *, threshold: float
    ) -> dict[str, tuple[float, str]]:
        """Return `f1_tuned`, `precision_tuned` and `recall_tuned`."""
        references = [example.target or "" for example in examples]
        return tuned_scores(predictions, references, threshold=threshold)


@final
class CloneRetrievalTask(AbstractEmbeddingTask):
    """Find the programs that solve the same problem (CodeXGLUE Clone-detection-POJ-104).

    Rows hold `code` and `label`, the problem. Vectors are learned by the supervised contrastive loss over the
    batch and compared by cosine similarity; a prediction is the id of the nearest program.

    Args:
        lang: The programs' language, C++ by default.
        max_source_length: Sub-tokens of a program at most.
        collapse_whitespace: Read a program as one line, as CodeXGLUE's scripts do.
        temperature: Divides the similarities in the loss.

    Raises:
        CodeftError: `lang` seems to be misspelt, or the temperature isn't above 0.
    """

    name: ClassVar[str] = "clone_detection_poj104"
    monitor = "map_at_r"

    def __init__(
        self,
        *,
        lang: str | None = None,
        max_source_length: int = 400,
        collapse_whitespace: bool = True,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(max_source_length=max_source_length, temperature=temperature)
        self.collapse_whitespace = collapse_whitespace
        self.lang = asked_language(lang or "cpp")

    def read(self, fields: Mapping[str, Any], *, where: str, input: str, labelled: bool) -> Example | None:
        """Make an example of one row."""
        source = text_field(fields, "code", "source", where=where)
        source = one_line(source) if self.collapse_whitespace else source
        target = None
        if labelled:
            if not isinstance(fields.get("label"), str | int):
                raise CodeftError(f'{where}: expected "label" to be the name or number of a problem')
            target = str(fields["label"])
        return Example(row_id(fields, "id", "index", where=where), source, target, parsed_as(self.lang))

    def label(self, example: Example) -> int | None:
        """Return a number that is the same for the same problem."""
        return None if example.target is None else number_of_name(example.target)

    def check(self, examples: Sequence[Example], *, split: str) -> None:
        """Refuse a split in which no problem has two programs, or in which all are of one."""
        problems = Counter(example.target for example in examples)
        if len(problems) == 1 and len(examples) > 1:
            raise CodeftError(
                f"expected programs of at least two problems in the {split} split, but all {len(examples):,} "
                f"""rows have the "label" {examples[0].target!r}: nothing to tell apart; some copies of """
                "the data have lost their labels, so give another's folder: data.dir="
            )
        if max(problems.values(), default=0) < 2:
            raise CodeftError(
                f"expected a problem with at least two programs in the {split} split, but its "
                f"{len(examples):,} rows are of {len(problems):,} problems: there is nothing to find; check "
                f"""the rows' "label", or take more of them: data.{_LIMITS[split]}"""
            )

    def group(self, example: Example) -> Hashable | None:
        """Return the problem: a program learns from another that solves it."""
        return example.target

    def loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        """Return the supervised contrastive loss of the batch."""
        labels = batch["labels"][:, 0]
        return supervised_contrastive_loss(vectors_of(output), labels, temperature=self.temperature)

    def metrics(self) -> dict[str, Metric]:
        """Return MAP@R, which the papers report."""
        return {"map_at_r": MapAtR()}

    def metric_inputs(
        self, vectors: Tensor, *, examples: Sequence[Example], batch: Batch
    ) -> tuple[Tensor, ...]:
        """Return `MapAtR`'s: vectors, problems, and the programs' numbers."""
        return vectors, batch["labels"][:, 0], batch["index"]

    def predictions_of_split(
        self, metrics: Mapping[str, Metric], examples: Sequence[Example]
    ) -> dict[int, dict[str, Any]] | None:
        """Return the nearest programs to each, and where those of its problem stand."""
        metric = metrics["map_at_r"]
        assert isinstance(metric, MapAtR)
        rows = {}
        for index, answer in metric.answers(k=STORED_ANSWERS).items():
            names = [examples[row].id for row in answer.nearest]
            rows[index] = {
                "prediction": names[0],
                "answers": names,
                "relevant": answer.num_relevant,
                "hits": answer.hits,
            }
        return rows

    def floors(
        self,
        examples: Sequence[Example],
        *,
        constants: Mapping[str, str] | None = None,
        only: str | None = None,
    ) -> dict[str, dict[str, float]]:
        """Return MAP@R of a random order."""
        times = Counter(example.target for example in examples)
        num_relevant = [times[example.target] - 1 for example in examples]
        return {
            CHANCE: {"map_at_r": retrieval_by_chance(num_relevant, num_others=len(examples) - 1)["map_at_r"]}
        }
