"""What SSCD does with finished embeddings (Pizzi et al., 2022, section 4.3): whitening, and normalisation of scores by a background.

Whitening makes all directions count alike: `matrix · (vector - mean)`, of unit length again, so that what most pictures have in common
says nothing. Normalisation takes from a similarity what the evaluation image has in common with pictures that it has nothing to do
with: the mean of its highest similarities to a background. Here that goes into the vectors themselves, two numbers longer, so that a
search needs to know nothing of it: for an indexed vector r with the bias b and a vector q that is searched for,

    [r, -b, √(1 - b²)] / √2  ·  [q, 1, 0] / √2  =  (r · q - b) / 2,

both of unit length. Thresholds are about half as high then, and come from a calibration of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learning.vectors import unit_length
from wit_builder.errors import UserError

SMALLEST = 1e-4  # of the largest variance: directions below it are noise, and are not blown up further
NEAREST = (1, 4)  # places of the background similarities that are averaged; the very nearest may be a copy
TENSORS = ("mean", "matrix", "background")


@dataclass(frozen=True)
class Whitening:
    """Fitted on training images.

    Attributes:
      mean: float32 [D].
      matrix: float32 [E, D], rows by falling variance.
      background: whitened unit vectors float32 [n, E] that scores are normalised by; none, [0, E]: they are not.
    """

    mean: np.ndarray
    matrix: np.ndarray
    background: np.ndarray

    @property
    def normalises(self) -> bool:
        return len(self.background) > 0

    @property
    def dimension(self) -> int:
        return len(self.matrix) + 2 * self.normalises

    def __call__(self, vectors: np.ndarray, *, indexed: bool) -> np.ndarray:
        """Unit vectors float32 [n, D] -> [n, dimension]; `indexed` as in `dedup.embedding.Embedder.embed`."""
        white = _whitened(vectors, self.mean, self.matrix)
        if not self.normalises:
            return white
        made = np.zeros((len(white), self.dimension), np.float32)
        made[:, :-2] = white
        if indexed:
            low, high = NEAREST
            bias = -np.sort(-(white @ self.background.T), axis=1)[:, low:high].mean(1).clip(-1, 1)  # [n]
            made[:, -2], made[:, -1] = -bias, np.sqrt(1 - bias**2)
        else:
            made[:, -2] = 1
        return made / np.sqrt(np.float32(2))


def fit(vectors: np.ndarray, background: np.ndarray | None = None, dimension: int = 0) -> Whitening:
    """Whitening of unit vectors float32 [n, D], and a background of others [m, D].

    Args:
      dimension: numbers that are kept, of the largest variance; 0: all.

    Raises:
      UserError: where there are fewer vectors than numbers in each, or fewer than four in the background.
    """
    if len(vectors) < vectors.shape[1]:
        raise UserError(f"{len(vectors)} images are too few for whitening", fix=f"give at least {vectors.shape[1]}")
    if background is not None and len(background) < NEAREST[1]:
        raise UserError(f"a background of {len(background)} images is too small", fix=f"give at least {NEAREST[1]} more images")
    mean = vectors.mean(0, dtype=np.float64)
    values, directions = np.linalg.eigh(np.cov(vectors.astype(np.float64), rowvar=False))
    order = np.argsort(-values)[: dimension or len(values)]
    # An eigenvector's sign is anyone's choice: its largest number is made positive, for equal bytes on every machine.
    turned = directions[:, order] * np.sign(directions[np.abs(directions).argmax(0), np.arange(len(values))])[order]
    matrix = (turned / np.sqrt(np.maximum(values[order], values.max() * SMALLEST))).T.astype(np.float32)
    mean = mean.astype(np.float32)
    kept = np.zeros((0, len(matrix)), np.float32) if background is None else _whitened(background, mean, matrix)
    return Whitening(mean, matrix, kept)


def from_tensors(tensors: Sequence[np.ndarray], dimension: int, path: str) -> Whitening:
    """From a checkpoint's mean, matrix and background, in this order.

    Raises:
      UserError: where their shapes do not fit together or the detector, or numbers are not finite.
    """
    fits = len(tensors) == len(TENSORS)
    if fits:
        mean, matrix, background = (np.asarray(values, np.float32) for values in tensors)
        fits = mean.shape == (dimension,) and matrix.ndim == background.ndim == 2 and matrix.shape[1] == dimension
    fits = fits and background.shape[1] == len(matrix) and 0 < len(matrix) <= dimension
    if not fits or 0 < len(background) < NEAREST[1] or not all(np.isfinite(values).all() for values in (mean, matrix, background)):
        raise UserError("its whitening does not fit the detector", where=path, fix="make it again with python -m dedup whiten")
    return Whitening(mean, matrix, background)


def _whitened(vectors: np.ndarray, mean: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return unit_length((vectors - mean) @ matrix.T)
