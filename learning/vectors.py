"""Rows of vectors, in NumPy."""

from __future__ import annotations

import numpy as np


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Rows [n, D] of length one; zeros stay zeros."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
