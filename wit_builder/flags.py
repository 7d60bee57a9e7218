"""Numbers on a command line, refused at once where they are out of bounds. Imports nothing heavy: workers start before Beam does."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

LARGEST = 10**18  # what is beyond is a slip, and would overflow somewhere after hours of work


@dataclass(frozen=True)
class Bounded:
    """A kind of number and its bounds: the `type=` of an argparse flag. NaN and infinity are never within them.

    Attributes:
      kind: int or float.
      least, most: bounds that are themselves allowed.
      above, below: bounds that are not.
    """

    kind: type
    least: float = -LARGEST
    most: float = LARGEST
    above: float | None = None
    below: float | None = None

    def __call__(self, text: str) -> float:
        """The number. Raises ValueError where the text is none, argparse.ArgumentTypeError where it is out of bounds."""
        value = self.kind(text)
        if problem := self.problem(value):
            raise argparse.ArgumentTypeError(f"{problem}, not {text:.40}")
        return value

    @property
    def __name__(self) -> str:
        return self.kind.__name__  # for argparse's own message

    def problem(self, value: float) -> str:
        """What is wrong with a value, such as "must be at least 1"; empty where nothing is."""
        rules = [("at least", self.least, value >= self.least)]
        rules += [("above", self.above, value > self.above)] if self.above is not None else []
        rules += [("at most", self.most, value <= self.most)]
        rules += [("below", self.below, value < self.below)] if self.below is not None else []
        if all(kept for _, _, kept in rules):
            return ""
        is_nan = value != value
        told = [f"{word} {_shown(bound)}" for word, bound, kept in rules if abs(bound) != LARGEST or not (kept or is_nan)]
        return f"must be {', and '.join(told) or 'a finite number'}"


def _shown(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:,g}"


POSITIVE = Bounded(int, least=1)
NOT_NEGATIVE = Bounded(int, least=0)
SEED = Bounded(int, least=0, most=(1 << 63) - 1)  # of which torch can take the next one too
BATCH = Bounded(int, least=1, most=1 << 20)
DRAWS = Bounded(int, least=1, most=1000)  # each is a run of its own
WORKERS = Bounded(int, least=1, most=1024)  # each is a process or a thread
PORT = Bounded(int, least=0, most=65_535)
AMOUNT = Bounded(float, least=0)
ABOVE_ZERO = Bounded(float, above=0)
SHARE = Bounded(float, above=0.0, most=1.0)
