"""The nearest of many vectors to each of some, exactly, while the many stream past."""

from __future__ import annotations

import numpy as np

MOST_SCORES = 16_000_000  # cosines that are held at once, 4 bytes each


def rows_at_a_time(queries: int, most: int = 16_384) -> int:
    """How many vectors to compare with so many queries at a time."""
    return int(np.clip(MOST_SCORES // max(1, queries), 64, most))


class Nearest:
    """A running top-k by cosine. Of equal cosines, what was added first is nearer.

    Args:
      queries: unit vectors, float32 [q, e].
      count: k; fewer are found where fewer are added.

    Attributes:
      places: the nearest of each query, nearest first, list of int64 [≤ k].
      cosines: theirs, list of float32 [≤ k].
    """

    def __init__(self, queries: np.ndarray, count: int) -> None:
        self.queries, self.count = queries, count
        self.places = [np.empty(0, np.int64) for _ in queries]
        self.cosines = [np.empty(0, np.float32) for _ in queries]
        self._groups = [np.empty(0, np.int64) for _ in queries]
        self._worst = np.full(len(queries), -np.inf, np.float32)  # a cosine must be above it to come in

    def add(self, vectors: np.ndarray, first: int, groups: np.ndarray | None = None) -> None:
        """Compare with some more.

        Args:
          vectors: unit vectors, float32 [b, e].
          first: the place of the first of them; places must rise from call to call.
          groups: int64 [b]; of each group only the nearest is kept, so that k different ones are found.
        """
        if not len(vectors):
            return
        scores = self.queries @ vectors.T  # [q, b]
        for query in np.flatnonzero(scores.max(axis=1) > self._worst).tolist():
            row = scores[query]
            inside = np.flatnonzero(row > self._worst[query])
            if groups is None and len(inside) > self.count:
                edge = np.partition(row[inside], len(inside) - self.count)[len(inside) - self.count]
                above = inside[row[inside] > edge]
                inside = np.sort(np.concatenate([above, inside[row[inside] == edge][: self.count - len(above)]]))
            cosines = np.concatenate([self.cosines[query], row[inside]])
            places = np.concatenate([self.places[query], inside + first])
            own = np.concatenate([self._groups[query], groups[inside] if groups is not None else -1 - (inside + first)])
            order = np.argsort(-cosines, kind="stable")
            if groups is not None:
                order = order[np.sort(np.unique(own[order], return_index=True)[1])]
            order = order[: self.count]
            self.cosines[query], self.places[query], self._groups[query] = cosines[order], places[order], own[order]
            if len(order) == self.count:
                self._worst[query] = cosines[order[-1]]
