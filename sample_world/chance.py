"""Chance that depends on a key alone, so that any part of the world can be made again by itself, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from wit_builder.hashing import hash64

T = TypeVar("T")


def chance(*key: str | int) -> np.random.Generator:
    """A generator of random numbers of its own for this key."""
    return np.random.Generator(np.random.PCG64(hash64("sample world", *key)))


def choose(generator: np.random.Generator, choices: Sequence[T], weights: Sequence[float] | None = None) -> T:
    """One of the choices, evenly or by weight."""
    if weights is None:
        return choices[int(generator.integers(len(choices)))]
    edges = np.cumsum(weights)
    return choices[int(np.searchsorted(edges, generator.random() * edges[-1], side="right"))]
