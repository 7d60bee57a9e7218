"""People's answers beside a model's (the paper's section 4): accuracy, majority votes, and difficulty by class. NumPy only.

An answer is a class number, `UNKNOWN` where a person said that they did not know, or `NOT_ASKED`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from trainer.evaluate.fits import pearson
from trainer.evaluate.metrics import Rate, rate
from wit_builder.hashing import hash64

UNKNOWN = -1
NOT_ASKED = -2


def majority(answers: np.ndarray, keys: Sequence[str], *, guesses: bool) -> np.ndarray:
    """The answer that most people gave to each image: int [n] of int [p, n]; NOT_ASKED where nobody counts.

    Of answers with equal votes the one with the smallest salted hash of image and answer is taken: a coin that falls the same way again.

    Args:
      answers: of p people to n images.
      keys: eval_key of each image.
      guesses: leave out those who did not know; else not knowing is an answer like others.
    """
    found = np.full(answers.shape[1], NOT_ASKED)
    for place in range(answers.shape[1]):
        column = answers[:, place]
        given, counts = np.unique(column[column >= (0 if guesses else UNKNOWN)], return_counts=True)
        if len(given):
            best = given[counts == counts.max()]
            found[place] = min(best.tolist(), key=lambda answer: hash64("vote", keys[place], answer))
    return found


def share_right(answers: np.ndarray, labels: np.ndarray, *, guesses: bool) -> Rate | None:
    """Rate of right answers of one person, or of a vote, among what was asked (or guessed): int [n] and int [n]. None for nothing."""
    counted = answers >= (0 if guesses else UNKNOWN)
    return rate(np.count_nonzero(answers[counted] == labels[counted]), np.count_nonzero(counted)) if counted.any() else None


def _mean(rates: Sequence[Rate | None]) -> float | None:
    values = [one["value"] for one in rates if one]
    return float(np.mean(values)) if values else None


def compare(people: Sequence[str], answers: np.ndarray, labels: np.ndarray, model: np.ndarray, keys: Sequence[str]) -> dict[str, Any]:
    """The paper's table 2 for one kind of answers: means over people, majority votes, each on everything asked and on guesses only.

    Args:
      people: names, p of them.
      answers: int [p, n].
      labels: true classes, int [n].
      model: the model's classes, int [n].
      keys: eval_key of each image, n of them.

    Returns:
      `accuracy`, `accuracy_on_guesses`: means over people; `by_person`: rates of both; `majority`, `majority_on_guesses`: rates;
      `unknown`: share of answers that were "I don't know"; `model`, `model_on_guesses`: its rates on the images that were asked, and on
      those that somebody guessed.
    """
    asked, guessed = (answers >= UNKNOWN).any(axis=0), (answers >= 0).any(axis=0)
    everything = [share_right(row, labels, guesses=False) for row in answers]
    guesses = [share_right(row, labels, guesses=True) for row in answers]
    return {
        "people": len(people),
        "images": int(asked.sum()),
        "unknown": float(np.count_nonzero(answers == UNKNOWN) / np.count_nonzero(answers >= UNKNOWN)),
        "accuracy": _mean(everything),
        "accuracy_on_guesses": _mean(guesses),
        "by_person": {name: {"all": one, "guesses": other} for name, one, other in zip(people, everything, guesses)},
        "majority": share_right(majority(answers, keys, guesses=False), labels, guesses=False),
        "majority_on_guesses": share_right(majority(answers, keys, guesses=True), labels, guesses=True),
        "model": share_right(np.where(asked, model, NOT_ASKED), labels, guesses=False),
        "model_on_guesses": share_right(np.where(guessed, model, NOT_ASKED), labels, guesses=False),
    }


def by_class(answers: np.ndarray, labels: np.ndarray, model: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy of people, over all their answers, and of the model, over the images asked, by class: float [c] each, NaN for none.

    Args:
      answers: int [p, n].
      labels: int [n].
      model: int [n].
      classes: c.
    """
    counted = answers >= UNKNOWN
    asked = counted.any(axis=0)

    def shares(wanted: np.ndarray, right: np.ndarray) -> np.ndarray:
        totals = np.bincount(wanted, minlength=classes)
        with np.errstate(invalid="ignore"):
            return np.where(totals > 0, np.bincount(wanted[right], minlength=classes) / np.maximum(totals, 1), np.nan)

    wanted = np.broadcast_to(labels, answers.shape)[counted]
    return shares(wanted, answers[counted] == wanted), shares(labels[asked], model[asked] == labels[asked])


def agreement(people: np.ndarray, model: np.ndarray) -> dict[str, float | None]:
    """Whether the same classes are hard: Pearson's and Spearman's correlation of float [c] and float [c], where both are known."""
    known = ~np.isnan(people) & ~np.isnan(model)
    linear = pearson(people[known], model[known])
    ranked = None if linear is None else float(stats.spearmanr(people[known], model[known]).statistic)
    return {"pearson": linear, "spearman": ranked}
