"""The cap's rule, apart from files: which pairs each query selects.

CLIP (Radford et al., 2021, section 2.2) takes at most 20,000 pairs for each query and does not say which. Here: those
with the smallest hash of (seed, the query's normal form, uid), ties by uid. That depends on the pair and the query
alone, not on order, sharding or the rest of the query list, and a larger pool only ever replaces pairs of queries that
are over the cap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wit_builder.hashing import hash64

ALL = (1 << 64) - 1
METHODS = ("cap", "probabilistic")


def salts(seed: int, normal_forms: Sequence[str]) -> np.ndarray:
    """Salt of each query's hashes, uint64 [queries]: BLAKE2b-64 of the seed and its tokens joined by a space."""
    return np.array([hash64("cap", seed, form) for form in normal_forms], np.uint64)


def windows(matched: np.ndarray, cap: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the cap's place in the order of hashes lies, but for odds that fall off as exp(-width² / 2).

    Hashes are uniform, so among n matches the cap-th smallest is near cap / n of the range, with a standard deviation of
    about sqrt(cap) places.

    Args:
      matched: matches of each query, int64 [queries].
      width: standard deviations to either side.

    Returns: uint64 [queries] twice: below the first surely selected, above the second surely not.
    """
    margin = math.ceil(width * math.sqrt(cap) + width * width)
    low, high = np.zeros(len(matched), np.uint64), np.full(len(matched), ALL, np.uint64)
    for query in np.flatnonzero(matched > cap):
        count = int(matched[query])
        low[query] = (max(0, cap - margin) << 64) // count
        high[query] = min(ALL, ((cap + margin) << 64) // count)
    return low, high


def limits_of_windows(
    matched: np.ndarray, cap: int, sure: np.ndarray, queries: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The exact limit of each query, from the matches in its window.

    Args:
      matched: matches of each query, int64 [queries].
      sure: how many hashes lie below each window, int64 [queries].
      queries, keys: the matches in the windows, int32 [k] and uint64 [k, 3] (hash, uid).

    Returns: the last selected (hash, uid) of each query, uint64 [queries, 3], all ones for those within the cap; and the
      queries whose window missed the cap's place, int64 [n].
    """
    limits = np.full((len(matched), 3), ALL, np.uint64)
    order = np.lexsort((keys[:, 2], keys[:, 1], keys[:, 0], queries))
    queries, keys = queries[order], keys[order]
    over = np.flatnonzero(matched > cap)
    first = np.searchsorted(queries, over, "left")
    last = np.searchsorted(queries, over, "right")
    place = first + cap - sure[over] - 1
    hit = (place >= first) & (place < last)
    limits[over[hit]] = keys[place[hit]]
    return limits, over[~hit]


def probabilistic_limits(matched: np.ndarray, cap: int) -> np.ndarray:
    """Limits that pass each match with probability cap / max(matches, cap): MetaCLIP's sampling. uint64 [queries, 3]."""
    limits = np.full((len(matched), 3), ALL, np.uint64)
    for query in np.flatnonzero(matched > cap):
        limits[query, 0] = (cap << 64) // int(matched[query]) - 1
    return limits
