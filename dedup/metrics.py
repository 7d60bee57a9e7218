"""How well scores tell copies from other pictures."""

from __future__ import annotations

import numpy as np


def precision_recall(scores: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds, falling, and the precision and recall of all pairs at or above each.

    Args:
      scores: [n]. copies: bool [n]. Equal scores fall under one threshold: none is above another.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(copies[order])
    last = np.flatnonzero(np.concatenate((np.diff(ranked) != 0, [True]))) if len(ranked) else np.zeros(0, np.int64)
    return ranked[last], right[last] / (last + 1), right[last] / max(1, copies.sum())


def average_precision(scores: np.ndarray, copies: np.ndarray) -> float:
    """Sum over thresholds of the recall gained times the precision there, as scikit-learn defines it."""
    _, precision, recall = precision_recall(scores, copies)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def recall_at_precision(scores: np.ndarray, copies: np.ndarray, precision: float = 0.99) -> tuple[float, float]:
    """The highest recall at which precision is reached, and its threshold; (0, inf) where it never is."""
    thresholds, reached, recall = precision_recall(scores, copies)
    good = np.flatnonzero(reached >= precision)
    return (float(recall[good[-1]]), float(thresholds[good[-1]])) if len(good) else (0.0, float("inf"))
