"""How often labels are given to groups of people: the form of the paper's tables (section 7.1). NumPy and SciPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats


def assigned(probabilities: np.ndarray, threshold: float | None) -> np.ndarray:
    """Labels given to each image: bool [n, c] of float [n, c].

    Args:
      probabilities: over the labels, each row adding up to 1.
      threshold: every label with at least this probability is given; None gives the single best one.
    """
    if threshold is not None:
        return probabilities >= threshold
    best = probabilities.argmax(axis=1)
    return best[:, None] == np.arange(probabilities.shape[1])


def group_counts(given: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Times each label was given in each group, int [g, c], and images in each group, int [g].

    Args:
      given: bool [n, c].
      groups: the group of each image, str [n].
      names: the groups, g of them.
    """
    rows = [groups == name for name in names]
    counts = [np.count_nonzero(given[row], axis=0) for row in rows]
    return np.array(counts).reshape(len(names), -1), np.array([np.count_nonzero(row) for row in rows])


def any_of(given: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Whether an image got at least one of several labels (a category such as the crime-related ones): bool [n]."""
    return given[:, list(labels)].any(axis=1)


def association(counts: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much each label depends on the group: Pearson's χ², without correction, and its p-value; float [c] and float [c].

    A label that was given to all images or to none depends on nothing: 0 and 1.

    Args:
      counts: times each label was given in each group, int [g, c].
      images: in each group, int [g], each above zero.
    """
    total, given = images.sum(), counts.sum(axis=0)  # [c]
    expected = images[:, None] * given / total  # [g, c]
    spread = given * (total - given) / total  # [c]: 0 where there is nothing to depend
    with np.errstate(invalid="ignore", divide="ignore"):
        # (observed − expected)² is the same for given and not given; 1/e + 1/(n − e) = n / (e (n − e)).
        terms = (counts - expected) ** 2 * images[:, None] / (expected * (images[:, None] - expected))
    statistic = np.where(spread > 0, terms.sum(axis=0), 0.0)
    return statistic, np.where(spread > 0, stats.chi2.sf(statistic, len(images) - 1), 1.0)
