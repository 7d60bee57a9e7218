"""Lines through measured accuracies: robustness, few-shot curves, scaling. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Line(NamedTuple):
    """y = slope · x + intercept, and the share of the variance of y that it explains."""

    slope: float
    intercept: float
    r_squared: float

    def at(self, x: np.ndarray | float) -> np.ndarray | float:
        return self.slope * x + self.intercept


def fit_line(x: np.ndarray, y: np.ndarray) -> Line:
    """Least-squares line through float [n] and float [n].

    Raises:
      ValueError: where there are fewer than two different x.
    """
    if len(np.unique(x)) < 2:
        raise ValueError("a line needs points at two different places")
    slope, intercept = np.polyfit(x, y, 1)
    spread = ((y - y.mean()) ** 2).sum()
    residual = ((y - slope * x - intercept) ** 2).sum()
    return Line(float(slope), float(intercept), float(1 - residual / spread) if spread > 0 else 1.0)


def logit(p: np.ndarray | float, smallest: float = 1e-6) -> np.ndarray:
    """ln(p / (1 − p)) of accuracies, kept `smallest` away from 0 and 1, where it has no value."""
    p = np.clip(p, smallest, 1 - smallest)
    return np.log(p / (1 - p))


def expit(x: np.ndarray | float) -> np.ndarray:
    """1 / (1 + e^−x), the inverse of `logit`."""
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def effective_robustness(reference: np.ndarray | float, shifted: np.ndarray | float, baseline: Line) -> np.ndarray:
    """How far accuracy on a shifted set lies above what the baseline line expects (Taori et al., 2020).

    Args:
      reference: accuracy on the reference set, float [n].
      shifted: accuracy on the shifted set, float [n].
      baseline: line in logit space, logit(shifted) = slope · logit(reference) + intercept.
    """
    return np.asarray(shifted) - expit(baseline.at(logit(reference)))


class ShotsToMatch(NamedTuple):
    """Labelled examples a class that a probe needs to equal zero-shot.

    Attributes:
      shots: the number; where `relation` is not "=", the bound of what was measured.
      relation: "=", "<" (fewer than the smallest number measured suffice) or ">" (the fully supervised probe stays below).
    """

    shots: float
    relation: str

    def __str__(self) -> str:
        return f"{'' if self.relation == '=' else self.relation}{self.shots:.3g}"


def shots_to_match(shots: Sequence[float], accuracies: Sequence[float], zero_shot: float) -> ShotsToMatch:
    """Where a few-shot curve first reaches the zero-shot accuracy, linear in the logarithm of shots between points.

    Args:
      shots: examples a class, ascending; the last one may be the fully supervised probe's mean.
      accuracies: of the probes.
      zero_shot: accuracy to reach.
    """
    if accuracies[0] >= zero_shot:
        return ShotsToMatch(float(shots[0]), "=" if accuracies[0] == zero_shot else "<")
    for i in range(1, len(shots)):
        low, high = accuracies[i - 1], accuracies[i]
        if high >= zero_shot:
            part = (zero_shot - low) / (high - low)
            return ShotsToMatch(float(shots[i - 1] * (shots[i] / shots[i - 1]) ** part), "=")
    return ShotsToMatch(float(shots[-1]), ">")


def scaling_fit(compute: np.ndarray, error: np.ndarray) -> Line:
    """Line of ln(error) against ln(compute), both positive: float [n] and float [n]."""
    return fit_line(np.log(compute), np.log(error))


def pearson(x: np.ndarray, y: np.ndarray) -> float | None:
    """Correlation of float [n] and float [n]; None where there are fewer than two points or one of them is constant."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])
