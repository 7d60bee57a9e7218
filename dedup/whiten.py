"""`python -m dedup whiten`: a detector's checkpoint with whitening, and normalisation of scores if asked for, fitted on training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dedup import embedding
from dedup.augment import Augmenter, recipe
from dedup.calibrate import COMPARED, calibrate
from dedup.images import Pool, parts_of_folder, parts_of_shards
from dedup.train import HELD_OUT, SPARE
from dedup.whitening import fit
from wit_builder.errors import UserError

BACKGROUND = 4096  # images, at most, that scores are normalised by


def whiten(
    checkpoint: str,
    output: str,
    *,
    shards: str | None = None,
    images: str | None = None,
    normalise: bool = False,
    dimension: int = 0,
    count: int = 10_000,
    seed: int = 0,
    threads: int = 1,
) -> Mapping[str, Any]:
    """Fit, calibrate again and save; returns the new calibration (`dedup.calibrate.calibrate`).

    Args:
      checkpoint: without whitening.
      output: gets the new checkpoint.
      shards, images: the images that the detector was trained on; one of the two.
      normalise: also normalise scores by a background.
      dimension: numbers of an embedding that are kept; 0: all.
      count: images read, at most, roughly.
      seed: the training's, so that the same images are held out.

    Raises:
      UserError: where the checkpoint is whitened already, or there are too few images.
    """
    embedder = embedding.load(checkpoint)
    if embedder.whitening:
        raise UserError("this detector is whitened already", where=checkpoint, fix="give the one that it was made from")
    if not 0 <= dimension <= embedder.dimension:
        raise UserError(f"--dimension must be at most the detector's {embedder.dimension}, not {dimension}")
    parts = parts_of_shards(shards) if shards else parts_of_folder(images or "")
    side = embedder.resolution
    pool = Pool(parts, int(side * SPARE), count, seed, threads)
    pool.hold_out(HELD_OUT)
    next(pool.batches(1))  # fills it
    read = pool.some(count)
    # Images that calibration compares with must not be in the background: it would lower just what is measured.
    compared = min(COMPARED, len(read) // 2)
    squares = torch.nn.functional.interpolate(read[compared:].float(), (side, side), mode="bilinear", antialias=True)
    vectors = embedder.embed(list(squares.round().byte().permute(0, 2, 3, 1).numpy())).astype(np.float32)
    whitening = fit(vectors, vectors[:BACKGROUND] if normalise else None, dimension)
    made = embedding.Embedder(embedder.model, embedder.metadata, "", embedder.device, whitening)
    augmenter = Augmenter(recipe(embedder.metadata.get("recipe", "paper")), side, embedder.device)
    calibration = calibrate(made, pool, augmenter, seed, compared)
    described = {"images": len(vectors), "background": len(whitening.background), "from": embedder.sha256}
    embedding.save(output, embedder.model, {**embedder.metadata, "calibration": calibration, "whitening": described}, whitening)
    return calibration
