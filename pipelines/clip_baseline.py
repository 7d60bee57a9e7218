"""CLIP's own image embeddings in the detector's place: the baseline that the paper found too semantic for near-duplicates.

They know what a picture shows rather than whether it is the same picture. `dedup` and `trainer` do not import each other; here
they meet: `find_overlaps --clip` searches with them, and `python -m pipelines.clip_baseline` measures them as `dedup evaluate` does
a detector.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from dedup.cli import add_evaluation_flags, run_evaluation
from dedup.embedding import BATCH, Embedder
from trainer.evaluate.encoder import Encoder, load_encoder
from wit_builder.errors import exit_with


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant copies, measure, say what came of it."""
    made = argparse.ArgumentParser(
        prog="python -m pipelines.clip_baseline",
        description="Plant changed copies of images among distractors, and measure a CLIP checkpoint's image embeddings as python -m dedup "
        "evaluate measures a detector, with the same flags: give the same images to both.",
        epilog="example:\n  python -m pipelines.clip_baseline --clip model.safetensors --images photos --output clip-evaluation",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--clip", required=True, metavar="FILE", help="a checkpoint of trainer train")
    add_evaluation_flags(made)
    flags = made.parse_args(arguments)
    run_evaluation(flags, load_clip(flags.clip), "CLIP")
    return 0


if __name__ == "__main__":
    exit_with(lambda: main(None))
