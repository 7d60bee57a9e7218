"""How often labels are given to groups of people: the form of the paper's tables on FairFace (section 7.1). NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
    return np.array([given[row].sum(axis=0) for row in rows]).reshape(len(names), -1), np.array([row.sum() for row in rows])


def any_of(given: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Whether an image got at least one of several labels (a category such as the crime-related ones): bool [n]."""
    return given[:, list(labels)].any(axis=1)
