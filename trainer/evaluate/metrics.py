"""Metrics as NumPy functions of predictions and scores; nothing here knows of models.

Shapes: n examples, c classes. Rates are fractions in 0…1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import numpy as np
from scipy import stats
from scipy.sparse import csr_array

CONFIDENCE = 0.995  # of the paper's intervals (section 5)


class Rate(TypedDict):
    """A rate with its exact binomial interval, as it goes into metrics.json."""

    value: float
    low: float
    high: float
    hits: int
    total: int


def rate(hits: int, total: int, confidence: float = CONFIDENCE) -> Rate:
    """hits / total with its two-sided Clopper-Pearson interval.

    Raises:
      ValueError: where `total` is not positive or `hits` is not in 0…total.
    """
    hits, total = int(hits), int(total)
    if total < 1 or not 0 <= hits <= total:
        raise ValueError(f"no rate of {hits} in {total}")
    interval = stats.binomtest(hits, total).proportion_ci(confidence, method="exact")
    return {"value": hits / total, "low": float(interval.low), "high": float(interval.high), "hits": hits, "total": total}


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """The k best classes of each example, best first, equal scores by class number: int [n, k] of finite float [n, c]."""
    left, rows = scores.copy(), np.arange(len(scores))
    ranked = np.empty((len(scores), min(k, scores.shape[1])), np.int64)
    for place in range(ranked.shape[1]):  # cheaper than to sort a thousand classes
        ranked[:, place] = left.argmax(axis=1)
        left[rows, ranked[:, place]] = -np.inf
    return ranked


def hits_in(ranked: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each example's label is among its ranked classes: bool [n] of int [n, k] and int [n]."""
    return (ranked == labels[:, None]).any(axis=1)


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> csr_array:
    """Counts, sparse int64 [c, c], sorted: row the label, column the prediction; of int [n] and int [n]."""
    cells, counts = np.unique(labels.astype(np.int64) * classes + predicted, return_counts=True)
    return csr_array((counts, np.divmod(cells, classes)), (classes, classes))


def mean_per_class(matrix: csr_array | np.ndarray) -> float:
    """Mean over classes of the share that is right, from a confusion matrix [c, c]; classes without examples are left out."""
    totals = matrix.sum(axis=1)
    present = totals > 0
    return float((matrix.diagonal()[present] / totals[present]).mean())


def average_precision_11(scores: np.ndarray, positive: np.ndarray) -> float:
    """PASCAL VOC 2007's 11-point interpolated average precision of one class.

    The mean over recall levels 0, 0.1, …, 1 of the best precision at that recall or more. Examples with equal scores
    enter together, so their order plays no part.

    Args:
      scores: float [n].
      positive: bool [n], at least one of them true.
    """
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(positive[order])
    last_of_equals = np.append(np.diff(scores[order]) != 0, True)
    found, taken = found[last_of_equals], np.flatnonzero(last_of_equals) + 1
    precision = found / taken
    total = found[-1]
    # Recall found/total >= level/10, in whole numbers: 3 of 10 must reach the level 0.3.
    return float(np.mean([precision[10 * found >= level * total].max() for level in range(11)]))


def average_precisions_11(scores: np.ndarray, positive: np.ndarray) -> list[float]:
    """`average_precision_11` of each class that occurs, of float [n, c] and bool [n, c]."""
    return [average_precision_11(scores[:, c], positive[:, c]) for c in np.flatnonzero(positive.any(axis=0))]


def roc_auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive outscores a negative, ties counting half.

    Args:
      scores: float [n].
      positive: bool [n], with both kinds present.

    Raises:
      ValueError: where one kind is absent.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        raise ValueError("the ROC curve needs positives and negatives")
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def retrieval_ranks(
    images: np.ndarray, texts: np.ndarray, owner: np.ndarray, text_chunk: int = 1024, image_chunk: int = 16_384
) -> tuple[np.ndarray, np.ndarray]:
    """How many wrong ones come before the right one, each way; equal scores count as before.

    Similarities exist a block at a time, never all by all. They are computed twice, so that a score is compared with
    itself bit for bit.

    Args:
      images: unit vectors, float [n, d], in memory or as `Rows`.
      texts: unit vectors, float [m, d], likewise.
      owner: the image that each text describes, int [m]; every image has at least one text.
      text_chunk: texts in a block.
      image_chunk: images in a block.

    Returns:
      For each text, the number of images at or above its own: int [m]. For each image, the number of other images' texts
      at or above the best of its own: int [n].
    """
    own = np.empty(len(texts), np.result_type(images.dtype, texts.dtype))  # [m] score with the image that a text describes
    best_own = np.full(len(images), -np.inf, own.dtype)  # [n]
    for rows, columns, scores in _blocks(images, texts, text_chunk, image_chunk):
        inside = np.flatnonzero((owner[rows] >= columns.start) & (owner[rows] < columns.stop))
        own[rows.start + inside] = scores[inside, owner[rows][inside] - columns.start]
    np.maximum.at(best_own, owner, own)
    before_texts, before_images = np.zeros(len(texts), np.int64), np.zeros(len(images), np.int64)
    for rows, columns, scores in _blocks(images, texts, text_chunk, image_chunk):
        wrong = owner[rows][:, None] != np.arange(columns.start, columns.stop)  # [texts, images] of the block
        before_texts[rows] += (wrong & (scores >= own[rows][:, None])).sum(axis=1)
        before_images[columns] += (wrong & (scores >= best_own[columns])).sum(axis=0)
    return before_texts, before_images


def _blocks(images: np.ndarray, texts: np.ndarray, text_chunk: int, image_chunk: int) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Rows, columns and scores of each block of texts @ images.T."""
    for top in range(0, len(texts), text_chunk):
        rows = slice(top, min(top + text_chunk, len(texts)))
        held = texts[rows]
        for left in range(0, len(images), image_chunk):
            columns = slice(left, min(left + image_chunk, len(images)))
            yield rows, columns, held @ images[columns].T
