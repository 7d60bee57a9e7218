"""What overlap does to accuracy: the paper's analysis (Radford et al. 2021, section 5), as functions of counts.

Overlap holds the examples of a set with a training image at or above the threshold, Clean the others, All both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.stats import binom, binomtest

CONFIDENCE = 0.995  # of the Clopper-Pearson interval
ALPHA = 0.05
POWER = 0.8  # below this a set is called underpowered


@dataclass(frozen=True)
class SetStatistics:
    """Overlap of one evaluation set. Accuracies, their differences and intervals are in 0…1; None where undefined.

    Attributes:
      dataset: the set's name.
      threshold: similarity from which an example counts as overlap.
      examples, overlap: number of examples in All and in Overlap.
      contamination: Overlap / All.
      accuracy_all, accuracy_clean, accuracy_overlap: of the model; None without predictions or without examples.
      gain: accuracy All - Clean, what overlap adds to the reported number.
      p_value: one-tailed binomial test of Overlap against Clean's accuracy: chance of as many correct or more.
      p_corrected: p_value times the number of sets tested, at most 1 (Bonferroni).
      interval_low, interval_high: 99.5% Clopper-Pearson interval of accuracy_overlap, two-sided.
      power: chance of p_value <= 0.05 if Overlap's true accuracy lay halfway between Clean's and perfect.
      underpowered: power is below 0.8: the overlap is too small to tell.
    """

    dataset: str
    threshold: float
    examples: int
    overlap: int
    contamination: float | None
    accuracy_all: float | None = None
    accuracy_clean: float | None = None
    accuracy_overlap: float | None = None
    gain: float | None = None
    p_value: float | None = None
    p_corrected: float | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    power: float | None = None
    underpowered: bool | None = None

    def to_json(self) -> dict:
        return asdict(self)

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval of Overlap - Clean lies on one side of zero."""
        known = self.interval_low is not None and self.accuracy_clean is not None
        return known and not self.interval_low <= self.accuracy_clean <= self.interval_high


def set_statistics(dataset: str, threshold: float, overlaps: np.ndarray, correct: np.ndarray | None = None) -> SetStatistics:
    """Statistics of one set.

    Args:
      overlaps: bool [n], whether each example is in Overlap.
      correct: bool [n], whether the model was right; None without a model.
    """
    examples, overlap = len(overlaps), int(overlaps.sum())
    found = SetStatistics(dataset, threshold, examples, overlap, overlap / examples if examples else None)
    if correct is None or not examples:
        return found
    right_all, right_overlap = int(correct.sum()), int(correct[overlaps].sum())
    clean, right_clean = examples - overlap, right_all - right_overlap
    found = replace(
        found,
        accuracy_all=right_all / examples,
        accuracy_clean=right_clean / clean if clean else None,
        accuracy_overlap=right_overlap / overlap if overlap else None,
        gain=right_all / examples - right_clean / clean if clean else None,
    )
    if overlap:
        # Two-sided: the interval of a one-tailed test object would reach to 1.
        interval = binomtest(right_overlap, overlap).proportion_ci(CONFIDENCE, "exact")
        found = replace(found, interval_low=float(interval.low), interval_high=float(interval.high))
    if overlap and clean:
        base = right_clean / clean
        power = power_of_test(overlap, base, (1 + base) / 2)
        found = replace(
            found, p_value=float(binomtest(right_overlap, overlap, base, "greater").pvalue), power=power, underpowered=power < POWER
        )
    return found


def power_of_test(number: int, base: float, true: float, alpha: float = ALPHA) -> float:
    """Chance that the one-tailed test of `number` examples against accuracy `base` gives p <= alpha when `true` is the accuracy."""
    counts = np.arange(number + 2)
    p_values = binom.sf(counts - 1, number, base)  # of as many correct, or more
    critical = int(np.argmax(p_values <= alpha)) if (p_values <= alpha).any() else number + 1
    return float(binom.sf(critical - 1, number, true)) if critical <= number else 0.0


def correct_for_many(sets: Sequence[SetStatistics]) -> list[SetStatistics]:
    """The same sets with `p_corrected`: Bonferroni over those that were tested."""
    tested = sum(one.p_value is not None for one in sets)
    return [one if one.p_value is None else replace(one, p_corrected=min(1.0, one.p_value * tested)) for one in sets]


def check_identity(one: SetStatistics, tolerance: float = 1e-12) -> bool:
    """All - Clean = contamination · (Overlap - Clean), where all three are defined."""
    if one.gain is None or one.accuracy_overlap is None or one.accuracy_clean is None:
        return True
    return abs(one.gain - one.contamination * (one.accuracy_overlap - one.accuracy_clean)) <= tolerance


def summary(sets: Sequence[SetStatistics]) -> dict[str, float | int | str | None]:
    """The paper's summary over all sets."""
    shares = [one.contamination for one in sets if one.contamination is not None]
    gains = [one for one in sets if one.gain is not None]
    largest = max(sets, key=lambda one: (one.contamination or 0, one.dataset), default=None)
    top = max(gains, key=lambda one: (one.gain, one.dataset), default=None)
    return {
        "sets": len(sets),
        "sets without overlap": sum(one.overlap == 0 for one in sets),
        "median contamination": float(np.median(shares)) if shares else None,
        "mean contamination": float(np.mean(shares)) if shares else None,
        "largest contamination": largest.contamination if largest else None,
        "largest contamination in": largest.dataset if largest else None,
        "largest gain": top.gain if top else None,
        "largest gain in": top.dataset if top else None,
        "sets with a gain above 0.1 points": sum(one.gain > 0.001 for one in gains),
        "significant at 0.05": sum((one.p_value if one.p_value is not None else 1) <= ALPHA for one in sets),
        "significant after Bonferroni": sum((one.p_corrected if one.p_corrected is not None else 1) <= ALPHA for one in sets),
        "intervals that exclude zero": sum(one.excludes_zero for one in sets),
        "underpowered": sum(bool(one.underpowered) for one in sets),
    }
