"""Linear probes on a set's features: how examples are divided, how the L2 strength is chosen, what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trainer.evaluate import logistic, scoring
from trainer.evaluate.features import Features
from wit_builder.errors import UserError
from wit_builder.hashing import hash64

VALIDATION_SHARE = 5  # one in five training examples of a class stands in where a set has no validation split


@dataclass(frozen=True)
class Labelled:
    """Features with their targets.

    Attributes:
      features: float32 [n, w].
      labels: int64 [n]; -1 throughout where there are several labels each.
      positive: bool [n, c] where there are several labels each, else None.
      keys: eval_key of each.
    """

    features: np.ndarray
    labels: np.ndarray
    positive: np.ndarray | None
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
        return Labelled(self.features[places], self.labels[places], positive, [self.keys[place] for place in places])

    def join(self, other: Labelled) -> Labelled:
        """These, then those."""
        positive = None if self.positive is None else np.concatenate([self.positive, other.positive])
        both = np.concatenate([self.features, other.features]), np.concatenate([self.labels, other.labels])
        return Labelled(*both, positive, self.keys + other.keys)

    def shuffled(self, salt: str | int) -> np.ndarray:
        """Places in an order that depends on the salt and the keys alone, int [n]."""
        return np.argsort(np.array([hash64("probe", salt, key) for key in self.keys], np.uint64), kind="stable")

    def of_each_class(self, count: int, salt: str | int, classes: int) -> np.ndarray:
        """Places of the first `count` examples of each class in a salted order; smaller counts give subsets. Ascending."""
        order = self.shuffled(salt)
        chosen = [order[self.labels[order] == label][:count] for label in range(classes)]
        return np.sort(np.concatenate(chosen))


def split_off_validation(train: Labelled, classes: int, where: str) -> tuple[Labelled, Labelled]:
    """Training and validation examples, one in five of each class in validation, by a salted hash of their keys.

    Raises:
      UserError: where no class has two examples.
    """
    order = train.shuffled("validation")
    held_out = np.zeros(len(train), bool)
    groups = [order] if train.positive is not None else [order[train.labels[order] == label] for label in range(classes)]
    for group in groups:
        held_out[group[: max(len(group) // VALIDATION_SHARE, int(len(group) > 1))]] = True
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


def fit(data: Labelled, classes: int, strength: float, device: torch.device) -> logistic.Probe:
    """Logistic regression on these examples: a softmax, or one yes-or-no a class where there are several labels."""
    targets = data.labels if data.positive is None else data.positive
    features = torch.tensor(data.features).to(device)
    return logistic.fit(features, torch.from_numpy(targets).to(device), classes, strength)


def evaluate(probe: logistic.Probe, data: Labelled, classes: int) -> tuple[dict[str, Any], np.ndarray]:
    """Metrics (`scoring`) and the best class of each example, int [n]."""
    chunks = scoring.score_chunks(data.features, probe.scores)
    if data.positive is not None:
        return scoring.evaluate_several(chunks, data.positive)
    found, predicted, _ = scoring.evaluate_single(chunks, data.labels, classes)
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
        return main_score(evaluate(fits[step], validation, classes)[0])

    best, scores = logistic.search(score, every=every)
    strength = logistic.regularisation(best)
    probe = fit(train.join(validation), classes, strength, device) if refit else fits[best]
    return Fitted(probe, strength, [(logistic.regularisation(step), scores[step]) for step in sorted(scores)])
