"""Linear probes on a set's features: how examples are divided, how the L2 strength is chosen, what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, vstack

from trainer.evaluate import logistic, scoring
from trainer.evaluate.features import Features
from trainer.evaluate.rows import CHUNK, Rows
from wit_builder.errors import UserError
from wit_builder.hashing import hash64

IN_MEMORY = 1 << 30  # bytes of features that a fit on a CPU holds; more are read from disk in every iteration
VALIDATION_SHARE = 5  # one in five training examples of a class stands in where a set has no validation split


@dataclass(frozen=True)
class Labelled:
    """Features with their targets.

    Attributes:
      features: float32 [n, w], on disk.
      labels: int64 [n]; -1 throughout where there are several labels each.
      positive: sparse bool [n, c] where there are several labels each, else None.
      keys: eval_key of each.
    """

    features: Rows
    labels: np.ndarray
    positive: csr_array | None
    keys: list[str]

    @classmethod
    def of(cls, features: Features, classes: int) -> Labelled:
        """One image for each clip, the middle one."""
        kept = features.middle_frames()
        positive = kept.multi_hot(classes) if kept.several else None
        return cls(kept.features, kept.labels, positive, kept.rows["eval_key"].to_pylist())

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, places: np.ndarray) -> Labelled:
        """Some of them, int [m], in that order."""
        positive = None if self.positive is None else self.positive[places]
        return Labelled(self.features.take(places), self.labels[places], positive, [self.keys[place] for place in places])

    def join(self, other: Labelled) -> Labelled:
        """These, then those."""
        positive = None if self.positive is None else vstack([self.positive, other.positive], format="csr")
        labels = np.concatenate([self.labels, other.labels])
        return Labelled(self.features.join(other.features), labels, positive, self.keys + other.keys)

    def shuffled(self, salt: str | int) -> np.ndarray:
        """Places in an order that depends on the salt and the keys alone, int [n]."""
        return np.argsort(np.array([hash64("probe", salt, key) for key in self.keys], np.uint64), kind="stable")

    def class_ranks(self, salt: str | int) -> np.ndarray:
        """How many of an example's class come before it in a salted order: int [n]. Fewer shots are a subset of more."""
        order = self.shuffled(salt)
        by_class = order[np.argsort(self.labels[order], kind="stable")]
        counts = np.bincount(self.labels)
        ranks = np.empty(len(self), np.int64)
        ranks[by_class] = np.arange(len(self)) - np.repeat(np.cumsum(counts) - counts, counts)
        return ranks


def split_off_validation(train: Labelled, where: str) -> tuple[Labelled, Labelled]:
    """Training and validation examples, one in five of each class in validation, by a salted hash of their keys.

    Raises:
      UserError: where no class has two examples.
    """
    if train.positive is None:
        ranks, sizes = train.class_ranks("validation"), np.bincount(train.labels)[train.labels]
    else:
        ranks, sizes = np.argsort(train.shuffled("validation")), np.full(len(train), len(train))
    held_out = ranks < np.maximum(sizes // VALIDATION_SHARE, sizes > 1)
    if not held_out.any():
        raise UserError("too few training examples to choose the L2 strength on", where=where, fix="give at least two of a class")
    return train.take(np.flatnonzero(~held_out)), train.take(np.flatnonzero(held_out))


@dataclass(frozen=True)
class Fitted:
    """A probe with the strength that was best on validation.

    Attributes:
      probe: the linear classifier.
      strength: λ.
      validation: (λ, score on validation) for all that were tried, by λ.
    """

    probe: logistic.Probe
    strength: float
    validation: list[tuple[float, float]]


def fit(
    data: Labelled, classes: int, strength: float, device: torch.device, max_iterations: int = logistic.MAX_ITERATIONS
) -> logistic.Probe:
    """Logistic regression on these examples: a softmax, or one yes-or-no a class where there are several labels."""
    if data.positive is None:
        targets = torch.from_numpy(data.labels).to(device)
    else:
        targets = resident(data.positive, (len(data), classes), torch.bool, device)
    features = resident(data.features, data.features.shape, torch.float32, device)
    return logistic.fit(features, targets, classes, strength, device=device, max_iterations=max_iterations)


def resident(rows: Rows | csr_array, shape: tuple[int, int], kind: torch.dtype, device: torch.device) -> Rows | csr_array | torch.Tensor:
    """Rows [n, w] in the memory of the device where they are not too many for it; else as they are, to be read in slices."""
    room = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else IN_MEMORY
    if shape[0] * shape[1] * kind.itemsize > room:
        return rows
    whole = torch.empty(shape, dtype=kind, device=device)
    for start in range(0, len(whole), CHUNK):
        whole[start : start + CHUNK] = logistic.block(rows, start, start + CHUNK, device)
    return whole


def evaluate(probe: logistic.Probe, data: Labelled) -> tuple[dict[str, Any], np.ndarray]:
    """Metrics (`scoring`) and the best class of each example, int [n]."""
    if data.positive is not None:
        return scoring.evaluate_several(data.features, probe.linear, data.positive)
    found, predicted, _ = scoring.evaluate_single(data.features, probe.linear, data.labels)
    return found, predicted


def main_score(found: dict[str, Any]) -> float:
    """The number by which a strength is chosen: mAP where there are several labels, else top-1."""
    value = found[scoring.primary_metric(found)]
    return value["value"] if isinstance(value, dict) else value


def fit_best(
    train: Labelled, validation: Labelled, classes: int, device: torch.device, *, refit: bool = True, every: bool = False, on_fit=None
) -> Fitted:
    """Choose λ on validation, then fit.

    Args:
      train: examples to fit on.
      validation: examples to choose by.
      classes: c.
      device: where it is computed.
      refit: fit on both for the result, as for the full probe; without, the result has seen `train` alone.
      every: try all 97 strengths, not the paper's search.
      on_fit: called after each fit.
    """
    fits: dict[int, logistic.Probe] = {}

    def score(step: int) -> float:
        fits[step] = fit(train, classes, logistic.regularisation(step), device)
        if on_fit:
            on_fit()
        return main_score(evaluate(fits[step], validation)[0])

    best, scores = logistic.search(score, every=every)
    strength = logistic.regularisation(best)
    probe = fit(train.join(validation), classes, strength, device) if refit else fits[best]
    return Fitted(probe, strength, [(logistic.regularisation(step), scores[step]) for step in sorted(scores)])
