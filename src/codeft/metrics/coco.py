"""METEOR 1.5, ROUGE-L and CIDEr as pycocoevalcap computes them: the extra `codeft[coco]`.

METEOR is Java, which starts when a row is to be scored, never before, and serves until the process ends.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from codeft.metrics.bootstrap import RowStatistics, mean_of_rows, share_of
from codeft.metrics.text_metric import AbstractTextMetric, check_pairs
from codeft.types import CodeftError

if TYPE_CHECKING:
    from pycocoevalcap.meteor.meteor import Meteor

try:
    VERSION = metadata.version("pycocoevalcap")
except metadata.PackageNotFoundError:
    VERSION = ""
"""Of the package; "" where it isn't installed."""

INSTALL = "pip install 'codeft[coco]'"

_LINE_BREAK = re.compile(r"[\r\n]+")
_UNENCODABLE = re.compile("[\ud800-\udfff]")

# METEOR 1.5's parameters for English; matches are exact, by stem, by synonym and by paraphrase.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_MATCH_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])
NUM_METEOR_COUNTS = 23


def rouge_l(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Mean ROUGE-L F of rows, beta 1.2, on what single blanks separate.

    With l words in the longest common subsequence, P = l / words of the prediction, R = l / words of the
    reference, a row scores (1 + beta^2) P R / (R + beta^2 P), and 0 where they share no word.

    Source: pycocoevalcap, after Lin (2004), "ROUGE".

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.

    Returns:
        0 to 100.

    Raises:
        CodeftError: The package isn't installed, the numbers of rows differ, or there are none.
    """
    return rouge_l_statistics(predictions, references).value()


def cider(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Mean CIDEr of rows: cosine of TF-IDF vectors of 1- to 4-grams, times 10.

    Document frequencies are the references': a row's score depends on all rows' references, and one row alone
    scores 0.

    Source: pycocoevalcap, after Vedantam et al. (2015), arXiv 1411.5726; clipped and with the penalty on
    lengths (sigma 6), but without stemming: what others call CIDEr-D.

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.

    Returns:
        0 to 10, as the package prints it.

    Raises:
        CodeftError: The package isn't installed, the numbers of rows differ, there are none, or no reference
            has a word.
    """
    return cider_statistics(predictions, references).value()


def meteor(predictions: Sequence[str], references: Sequence[str]) -> float:
    """METEOR 1.5 of all rows' matches together, for English, text normalised by METEOR itself. Starts Java.

    Source: pycocoevalcap, which runs Denkowski and Lavie (2014), "Meteor Universal". Deviation: a line break
    counts as a blank and a `|||` in a reference is dropped, both of which would break the protocol.

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.

    Returns:
        0 to 100.

    Raises:
        CodeftError: The package or Java isn't installed or fails, the numbers of rows differ, or there are
            none.
    """
    return meteor_statistics(predictions, references).value()


def rouge_l_statistics(predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
    """Return what `rouge_l` needs of each row."""
    return mean_of_rows(np.asarray(_rouge_l_rows(predictions, references)), scale=100)


def cider_statistics(predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
    """Return what `cider` needs of each row; document frequencies stay those of all rows."""
    check_pairs(predictions, references)
    _check_package("cider")
    from pycocoevalcap.cider.cider import Cider

    if not any(reference.split() for reference in references):
        raise CodeftError("cider needs a reference with at least one word, got none")
    _, rows = Cider().compute_score(_by_row(references), _by_row(predictions))
    return mean_of_rows(rows)


def meteor_statistics(predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
    """Return what `meteor` needs of each row. Starts Java."""
    return RowStatistics(_meteor_counts(predictions, references), meteor_of_counts)


def _by_row(texts: Sequence[str]) -> dict[int, list[str]]:
    return {row: [text] for row, text in enumerate(texts)}


def _check_package(name: str) -> None:
    if not VERSION:
        raise CodeftError(f"{name} needs the package pycocoevalcap, which isn't installed: {INSTALL}")


def _rouge_l_rows(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    check_pairs(predictions, references)
    _check_package("rouge_l")
    from pycocoevalcap.rouge.rouge import Rouge

    scorer = Rouge()
    pairs = zip(predictions, references, strict=True)
    return [float(scorer.calc_score([prediction], [reference])) for prediction, reference in pairs]


def _meteor_counts(predictions: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return float64 [N, `NUM_METEOR_COUNTS`]: what METEOR counts in each row, to be summed."""
    check_pairs(predictions, references)
    java = _java()
    try:
        rows = [
            java._stat(_one_line(prediction), [_one_line(reference).replace("|||", "")]).split()
            for prediction, reference in zip(predictions, references, strict=True)
        ]
        counts = np.asarray(rows, dtype=np.float64).reshape(len(predictions), NUM_METEOR_COUNTS)
    except (OSError, ValueError) as error:
        _java.cache_clear()
        java.meteor_p.kill()
        with contextlib.suppress(OSError):  # the package closes it once more
            java.meteor_p.stdin.close()
        said = java.meteor_p.stderr.read().decode(errors="replace")
        raise CodeftError(f"meteor's Java failed: {said.strip() or error}: try `java -version`") from error
    # As METEOR adds rows up: where a prediction is its reference, its one chunk isn't counted.
    is_same = (counts[:, 20] == 1) & (counts[:, 21:] == counts[:, :2]).all(axis=1)
    counts[is_same, 20] = 0
    return counts


@functools.cache
def _java() -> Meteor:
    _check_package("meteor")
    if shutil.which("java") is None:
        raise CodeftError(
            "meteor needs Java (a JRE, version 8 or newer): expected `java` on the PATH, got none"
        )
    from pycocoevalcap.meteor.meteor import Meteor

    return Meteor()


def _one_line(text: str) -> str:
    return _UNENCODABLE.sub("\ufffd", _LINE_BREAK.sub(" ", text))


def meteor_of_counts(counts: np.ndarray) -> np.ndarray:
    """Return the METEOR score that summed counts amount to.

    With weighted matches m and words c and r of the two sides (content words weigh delta, function words
    1 - delta), P = m/c, R = m/r, F = P R / (alpha P + (1 - alpha) R), and the score is
    F (1 - gamma (chunks/matches)^beta).

    Args:
        counts: [..., `NUM_METEOR_COUNTS`], sums of rows.

    Returns:
        float64 [...], 0 to 100.
    """
    words, function_words = counts[..., 0:2], counts[..., 2:4]  # of the prediction and of the reference
    matches = counts[..., 4:20].reshape(*counts.shape[:-1], 4, 2, 2)  # by kind, content or function, side
    chunks, matched = counts[..., 20], counts[..., 21:].mean(axis=-1)
    weights = np.array([_DELTA, 1 - _DELTA])
    weighted = np.einsum("...kfs,k,f->...s", matches, _MATCH_WEIGHTS, weights)
    whole = _DELTA * (words - function_words) + (1 - _DELTA) * function_words
    precision, recall = np.moveaxis(share_of(weighted, whole), -1, 0)
    mean = share_of(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    return 100 * mean * (1 - _GAMMA * share_of(chunks, matched) ** _BETA)


class RougeL(AbstractTextMetric):
    """`rouge_l` over batches and processes."""

    name: ClassVar[str] = "rouge_l"
    signature: ClassVar[str] = f"rouge_l|f:beta1.2|tok:blank|case:mixed|pycocoevalcap:{VERSION}|v:1"

    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's row scores."""
        self.total += sum(_rouge_l_rows(predictions, references))

    def score(self) -> float:
        """Return the mean row score."""
        return self.total.item() * 100.0 / int(self.rows)


class METEOR(AbstractTextMetric):
    """`meteor` over batches and processes; each process starts a Java of its own with its first row."""

    name: ClassVar[str] = "meteor"
    signature: ClassVar[str] = f"meteor|version:1.5|lang:en|norm:yes|level:corpus|pycocoevalcap:{VERSION}|v:1"

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        counts = torch.zeros(NUM_METEOR_COUNTS, dtype=torch.float64)
        self.add_state("counts", default=counts, dist_reduce_fx="sum")

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's counts."""
        counts = _meteor_counts(predictions, references).sum(axis=0)
        self.counts += torch.from_numpy(counts).to(self.counts.device)

    def score(self) -> float:
        """Return the METEOR of all counts."""
        return float(meteor_of_counts(self.counts.cpu().numpy()))


class CIDEr(AbstractTextMetric):
    """`cider` over batches and processes; keeps all texts, since a row's score depends on all references."""

    name: ClassVar[str] = "cider"
    signature: ClassVar[str] = (
        f"cider|n:4|sigma:6|idf:references|tok:whitespace|case:mixed|range:0-10|pycocoevalcap:{VERSION}|v:1"
    )

    texts: list[Tensor] | Tensor
    sizes: list[Tensor] | Tensor

    def __init__(self) -> None:
        super().__init__()
        for state in ("texts", "sizes"):
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self._begin()

    def _begin(self) -> None:
        # A process without a row would otherwise give the others a tensor of another type.
        self.texts, self.sizes = [torch.zeros(0, dtype=torch.uint8)], [torch.zeros(0, dtype=torch.int64)]

    def reset(self) -> None:
        """Forget all records."""
        super().reset()
        self._begin()

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Keep the batch's texts as bytes, each prediction before its reference."""
        pairs = zip(predictions, references, strict=True)
        parts = [text.encode("utf-8", "surrogatepass") for pair in pairs for text in pair]
        device = self.rows.device
        data = np.frombuffer(b"".join(parts), dtype=np.uint8).copy()
        assert isinstance(self.texts, list) and isinstance(self.sizes, list)
        self.texts.append(torch.from_numpy(data).to(device))
        self.sizes.append(torch.tensor([len(part) for part in parts], dtype=torch.int64, device=device))

    def score(self) -> float:
        """Return the CIDEr of all texts."""
        data = dim_zero_cat(self.texts).cpu().numpy().tobytes()
        ends = dim_zero_cat(self.sizes).cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        texts = [
            data[start:end].decode("utf-8", "surrogatepass") for start, end in zip(starts, ends, strict=True)
        ]
        return cider(texts[0::2], texts[1::2])
