"""Compiled loops of balancing: hashes of (query, pair), windows around a cap, and who is selected.

Everything compiled for balancing stands in this one file: Numba's cache notices a changed file, not a changed import.
"""

from __future__ import annotations

import numpy as np

from wit_builder.compiled import compiled


@compiled
def _mix(x):
    """SplitMix64's finaliser: every input bit changes every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def pair_hash(salt, high, low):
    """Hash of a query (its salt) and a pair (the halves of its uid): docs/data-formats.md has test vectors."""
    return _mix(_mix(salt ^ high) ^ low)


@compiled
def parse_uids(data, offsets):
    """Halves of uids of 32 lower-case hex digits: uint64 [n, 2]; and the row of the first that is none, or -1."""
    halves = np.zeros((len(offsets) - 1, 2), np.uint64)
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        if offsets[row + 1] - begin != 32:
            return halves, row
        for n in range(32):
            byte = data[begin + n]
            if 48 <= byte < 58:
                digit = byte - 48
            elif 97 <= byte < 103:
                digit = byte - 87
            else:
                return halves, row
            halves[row, n // 16] = halves[row, n // 16] << np.uint64(4) | np.uint64(digit)
    return halves, -1


@compiled
def window(uids, offsets, queries, salts, low, high, counted):
    """Matches around the cap's place in the order of hashes.

    Args:
      uids: uint64 [rows, 2].
      offsets: int64 [rows + 1], of each row's matches in `queries`.
      queries: int32 [m].
      salts, low, high: uint64 [queries]: hashes below `low` surely win, those above `high` surely lose.
      counted: bool [queries]: those with more matches than the cap; others are passed over.

    Returns: sure int64 [queries], and the matches in the window: queries int32 [k]; hash and the uid's halves, uint64 [k, 3].
    """
    sure = np.zeros(len(salts), np.int64)
    found, keys = np.empty(1024, np.int32), np.empty((1024, 3), np.uint64)
    total = 0
    for row in range(len(offsets) - 1):
        for i in range(offsets[row], offsets[row + 1]):
            query = queries[i]
            if not counted[query]:
                continue
            value = pair_hash(salts[query], uids[row, 0], uids[row, 1])
            if value < low[query]:
                sure[query] += 1
            elif value <= high[query]:
                if total == len(found):
                    more_found, more_keys = np.empty(2 * total, np.int32), np.empty((2 * total, 3), np.uint64)
                    for k in range(total):  # and not slices, which take seconds more to compile
                        more_found[k] = found[k]
                        more_keys[k, 0], more_keys[k, 1], more_keys[k, 2] = keys[k, 0], keys[k, 1], keys[k, 2]
                    found, keys = more_found, more_keys
                found[total] = query
                keys[total, 0], keys[total, 1], keys[total, 2] = value, uids[row, 0], uids[row, 1]
                total += 1
    return sure, found[:total].copy(), keys[:total].copy()


@compiled
def select(uids, offsets, queries, salts, limits):
    """Which matches are selected: those whose (hash, uid) is at most their query's limit.

    Args:
      limits: uint64 [queries, 3]: the last hash that is selected, and the halves of the last uid selected at that hash.

    Returns: bool [m].
    """
    chosen = np.zeros(len(queries), np.bool_)
    for row in range(len(offsets) - 1):
        first, second = uids[row, 0], uids[row, 1]
        for i in range(offsets[row], offsets[row + 1]):
            query = queries[i]
            value = pair_hash(salts[query], first, second)
            limit = limits[query]
            chosen[i] = value < limit[0] or (
                value == limit[0] and (first < limit[1] or (first == limit[1] and second <= limit[2]))
            )
    return chosen


@compiled
def pair_hashes(salts, queries, uids):
    """Hash of each match: `salts` uint64 [queries], `queries` int32 [m], `uids` uint64 [m, 2]; uint64 [m]."""
    values = np.empty(len(queries), np.uint64)
    for i in range(len(queries)):
        values[i] = pair_hash(salts[queries[i]], uids[i, 0], uids[i, 1])
    return values
