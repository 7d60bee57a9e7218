"""Scores of a set's images to its metrics: what zero-shot and probes have in common. NumPy only, in chunks of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from trainer.evaluate import metrics
from trainer.evaluate.rows import CHUNK, Rows, UnitMeans

SCORES = 16_000_000  # scores that are held at a time

Vectors = np.ndarray | Rows | UnitMeans  # float32 [n, w]; a slice is read when it is asked for


@dataclass(frozen=True)
class Linear:
    """A linear classifier, of prompts or fitted.

    Attributes:
      weight: float32 [c, w].
      bias: float32 [c], or 0 for none.
    """

    weight: np.ndarray
    bias: np.ndarray | float = 0.0

    @property
    def classes(self) -> int:
        return len(self.weight)

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Scores float32 [b, c] of float32 [b, w]."""
        return vectors @ self.weight.T + self.bias

    def of(self, classes: slice) -> Linear:
        """The classifier of some of the classes."""
        return Linear(self.weight[classes], self.bias if isinstance(self.bias, float) else self.bias[classes])


def score_chunks(vectors: Vectors, linear: Linear) -> Iterator[np.ndarray]:
    """Scores [b, c] of vectors [n, w], a chunk at a time, in order."""
    step = max(1, min(CHUNK, SCORES // linear.classes))
    for start in range(0, len(vectors), step):
        yield linear(vectors[start : start + step])


def evaluate_single(vectors: Vectors, linear: Linear, labels: np.ndarray) -> tuple[dict[str, Any], np.ndarray, csr_array]:
    """Metrics of examples that have one label each.

    Args:
      vectors: float32 [n, w].
      linear: of c classes, at least 2.
      labels: int [n].

    Returns:
      Rates by name (`top1`, `top5` and `mean_top1_top5` where there are more than five classes, `mean_per_class`, `roc_auc`
      where there are two classes), best class int [n], and confusion counts [c, c].
    """
    best, second_margin, classes = [], [], linear.classes
    for scores in score_chunks(vectors, linear):
        best.append(metrics.top_k(scores, 5))
        if classes == 2:
            second_margin.append(scores[:, 1] - scores[:, 0])
    ranked = np.concatenate(best)  # [n, ≤5]
    predicted = ranked[:, 0]
    matrix = metrics.confusion(labels, predicted, classes)
    found: dict[str, Any] = {"examples": len(labels), "top1": metrics.rate(np.count_nonzero(predicted == labels), len(labels))}
    if classes > 5:
        found["top5"] = metrics.rate(np.count_nonzero(metrics.hits_in(ranked, labels)), len(labels))
        found["mean_top1_top5"] = (found["top1"]["value"] + found["top5"]["value"]) / 2
    found["mean_per_class"] = metrics.mean_per_class(matrix)
    if classes == 2 and len(np.unique(labels)) == 2:
        found["roc_auc"] = metrics.roc_auc(np.concatenate(second_margin), labels == 1)
    return found, predicted, matrix


def evaluate_several(vectors: Vectors, linear: Linear, positive: csr_array) -> tuple[dict[str, Any], np.ndarray]:
    """Metrics of examples that may have several labels: VOC 2007's 11-point mAP, and how often the best class is right.

    Args:
      vectors: float32 [n, w].
      linear: of c classes.
      positive: sparse bool [n, c].

    Returns:
      Rates by name, and best class int [n].
    """
    n = len(vectors)
    columns = positive.tocsc()
    predicted, best, precisions = np.zeros(n, np.int64), np.full(n, -np.inf, np.float32), []
    step = max(1, SCORES // n)  # all examples of a few classes at a time: a class is ranked over all of them
    for start in range(0, linear.classes, step):
        some = slice(start, start + step)
        scores = np.concatenate(list(score_chunks(vectors, linear.of(some))))  # [n, ≤ step]
        higher = scores.max(axis=1) > best
        predicted[higher] = start + scores.argmax(axis=1)[higher]
        best[higher] = scores.max(axis=1)[higher]
        precisions += metrics.average_precisions_11(scores, columns[:, some].toarray())
    right = among(predicted, positive)
    return {"examples": n, "top1": metrics.rate(np.count_nonzero(right), n), "map11": float(np.mean(precisions))}, predicted


def among(predicted: np.ndarray, positive: csr_array) -> np.ndarray:
    """Whether a class is one of an example's labels: bool [n] of int [n] and sparse bool [n, c]."""
    counts = np.diff(positive.indptr)
    owners = np.repeat(np.arange(len(predicted)), counts)
    return np.bincount(owners[positive.indices == predicted[owners]], minlength=len(predicted)) > 0


def primary_metric(found: dict[str, Any]) -> str:
    """The number that stands for a set in tables: mAP where images have several labels, else top-1."""
    return "map11" if "map11" in found else "top1"


def summary_line(name: str, found: dict[str, Any], skipped: dict[str, Any]) -> str:
    """One line for the terminal: the set's main number with its interval, and what was skipped."""
    top1 = found["top1"]
    interval = f"{100 * top1['low']:.2f}–{100 * top1['high']:.2f}"
    line = f"{name}: top-1 {100 * top1['value']:.2f}% (99.5% interval {interval}), {top1['total']} examples"
    if "map11" in found:
        line += f", 11-point mAP {100 * found['map11']:.2f}%"
    if "prompts" in found:
        compared = [f"{choice} {100 * one['top1']['value']:.2f}%" for choice, one in found["prompts"].items()]
        line += f"; top-1 by prompts: {', '.join(compared)}"
    count = sum(skipped["counts"].values())
    if count:
        first = skipped["named"][0]
        line += f"; {count} images skipped, first {first['eval_key']} ({first['reason']})"
    return line
