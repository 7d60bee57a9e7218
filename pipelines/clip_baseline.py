"""CLIP's own image embeddings in the detector's place: the baseline that the paper found too semantic for near-duplicates.

They know what a picture shows rather than whether it is the same picture. `dedup` and `trainer` do not import each other; here
they meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dedup.embedding import BATCH, Embedder
from trainer.evaluate.encoder import Encoder, load_encoder


class ClipEmbedder(Embedder):
    """A trainer checkpoint's image tower as an embedder: whole squares, as the detector sees them, not CLIP's centre crops."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder.model, {}, encoder.digest, encoder.device)
        self.encoder = encoder

    @property
    def resolution(self) -> int:
        return self.encoder.image_size

    @property
    def dimension(self) -> int:
        return self.encoder.model.config.embed

    def embed(self, squares: Sequence[np.ndarray], *, indexed: bool = False) -> np.ndarray:
        result = np.zeros((len(squares), self.dimension), np.float16)
        for start in range(0, len(squares), BATCH):
            some = np.stack(squares[start : start + BATCH])
            filled = np.zeros((BATCH, *some.shape[1:]), np.uint8)  # as `Embedder.embed` does, for the same last bits
            filled[: len(some)] = some
            result[start : start + len(some)] = self.encoder.embed_images(filled)[1][: len(some)]
        return result


def load_clip(path: str) -> ClipEmbedder:
    """The embedder of a checkpoint of `trainer train`, on the CPU. Raises as `trainer.load.load` does."""
    return ClipEmbedder(load_encoder(path, "cpu", "float32", BATCH))
