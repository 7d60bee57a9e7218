"""Rows of matrices on disk: chosen, joined and averaged without being read, then read a slice at a time.

So what is done with the features of a million images holds a chunk of them in memory, and eight bytes a row for the order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CHUNK = 16_384  # rows that are held at a time


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of one or more matrices of the same width, in an order of their own: float32 [n, w].

    Attributes:
      matrices: float32 [N, w] each, such as files mapped into memory.
      places: which rows, int [n], numbered on through all matrices.
    """

    matrices: tuple[np.ndarray, ...]
    places: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray) -> Rows:
        """All rows of one matrix."""
        return cls((matrix,), np.arange(len(matrix)))

    def __len__(self) -> int:
        return len(self.places)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and their width."""
        return len(self), self.matrices[0].shape[1]

    @property
    def dtype(self) -> np.dtype:
        return self.matrices[0].dtype

    def __getitem__(self, wanted: slice) -> np.ndarray:
        """A copy of the rows of a slice, float32 [b, w]."""
        places = self.places[wanted]
        found = np.empty((len(places), self.shape[1]), self.dtype)
        first = 0
        for matrix in self.matrices:
            inside = (places >= first) & (places < first + len(matrix))
            found[inside] = matrix[places[inside] - first]
            first += len(matrix)
        return found

    def take(self, places: np.ndarray) -> Rows:
        """Some of these rows, int [m], in that order."""
        return Rows(self.matrices, self.places[places])

    def join(self, other: Rows) -> Rows:
        """These, then those."""
        first = sum(map(len, self.matrices))
        return Rows(self.matrices + other.matrices, np.concatenate([self.places, first + other.places]))


class UnitMeans:
    """The mean row of each unit, such as a clip of several frames: float32 [u, w]. Its product with a classifier is the mean of theirs.

    Args:
      rows: n rows.
      units: the unit of each, int [n], each of 0…u−1 at least once.
    """

    def __init__(self, rows: Rows, units: np.ndarray) -> None:
        self.rows = rows.take(np.argsort(units, kind="stable"))
        self.counts = np.bincount(units)
        self.ends = np.cumsum(self.counts)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def shape(self) -> tuple[int, int]:
        """Units and their width."""
        return len(self), self.rows.shape[1]

    def __getitem__(self, wanted: slice) -> np.ndarray:
        """The means of a slice of the units, float32 [b, w]."""
        counts = self.counts[wanted]
        sums = np.zeros((len(counts), self.shape[1]), np.float32)
        if not len(counts):
            return sums
        owners = np.repeat(np.arange(len(counts)), counts)  # of each row
        first = (self.ends - self.counts)[wanted][0]
        for start in range(0, len(owners), CHUNK):
            block = owners[start : start + CHUNK]
            changes = np.flatnonzero(np.diff(block, prepend=-1))
            rows = self.rows[first + start : first + start + len(block)]
            sums[block[changes]] += np.add.reduceat(rows, changes, axis=0)
        return sums / counts[:, None]
