"""Scores of a set's images to its metrics: what zero-shot and probes have in common. NumPy only, in chunks of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from trainer.evaluate import metrics

CHUNK = 16_384  # images whose scores are held at a time


def score_chunks(vectors: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
    """Scores [b, c] of vectors [n, d], a chunk at a time, read from disk as they are needed."""
    for start in range(0, len(vectors), CHUNK):
        yield score(np.asarray(vectors[start : start + CHUNK]))


def evaluate_single(chunks: Iterator[np.ndarray], labels: np.ndarray, classes: int) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Metrics of examples that have one label each.

    Args:
      chunks: scores [b, c], in order.
      labels: int [n].
      classes: c, at least 2.

    Returns:
      Rates by name (`top1`, `top5` and `mean_top1_top5` where there are more than five classes, `mean_per_class`, `roc_auc`
      where there are two classes), best class int [n], and confusion counts [c, c].
    """
    best, second_margin = [], []
    for scores in chunks:
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


def evaluate_several(chunks: Iterator[np.ndarray], positive: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Metrics of examples that may have several labels: VOC 2007's 11-point mAP, and how often the best class is right.

    Args:
      chunks: scores [b, c], in order.
      positive: bool [n, c].
    """
    scores = np.concatenate(list(chunks))  # [n, c]; sets of this kind are small
    predicted = scores.argmax(axis=1)
    right = positive[np.arange(len(positive)), predicted]
    return {
        "examples": len(positive),
        "top1": metrics.rate(np.count_nonzero(right), len(right)),
        "map11": metrics.mean_average_precision_11(scores, positive),
    }, predicted


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
    count = sum(skipped["counts"].values())
    if count:
        first = skipped["named"][0]
        line += f"; {count} images skipped, first {first['eval_key']} ({first['reason']})"
    return line
