"""What similarities mean for a trained detector: measured on images kept from its training."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from dedup.embedding import Embedder
from dedup.views import VIEW_KINDS, evaluation_views, telling, view_names

if TYPE_CHECKING:
    from dedup.augment import Augmenter
    from dedup.images import Pool

COMPARED = 2048  # training images, at most, that the held-out ones are compared with
LOOSE = 0.5  # share of evaluation images that have a different image above the loose threshold
FALSE = 0.01  # the same for the threshold: expected false hits per evaluation image


def calibrate(embedder: Embedder, pool: Pool, augmenter: Augmenter, seed: int, compared: int = COMPARED) -> dict[str, float]:
    """Similarities of copies and of different images.

    Each held-out image, in all its views, is compared with training images, as a search does. Its distance to the nearest
    (1 - cosine) is taken to follow a Weibull law, as the smallest of many distances does, fitted through the quartile and
    the median of those without a copy among the training images. What it says of the lower tail is extrapolated: a
    suggestion to start an inspection from, and no substitute for one.

    Returns:
      scale, shape: of the law; compared: number of training images that it is for. See `threshold_for`.
      threshold: for as many training images as were compared.
      copied: share of held-out images that seem to have a copy among the training images.
      loose: similarity that half of the images' nearest different image exceeds; hits above it are for inspection.
      easy_found: share of held-out images found at the threshold when shrunk to 3/4 and recompressed at quality 50.
      views_found: the same for the training recipe's views.
      accuracy: share of those views that find their own image first among all held-out ones (the paper's proxy task).
      Empty where fewer than eight were held out.
    """
    held, others = pool.held_out, pool.some(compared)
    if len(held) < 8 or not len(others):
        return {}
    side = embedder.resolution
    pictures = [Image.fromarray(pixels) for pixels in held.permute(0, 2, 3, 1).numpy()]
    views = [evaluation_views(picture, side, VIEW_KINDS) for picture in pictures]
    indexed = embedder.embed([view for seen in views for view in seen], indexed=True).astype(np.float32)
    indexed = indexed.reshape(len(held), len(view_names(VIEW_KINDS)), -1)  # [H, views, D]
    indexed[~np.stack([telling(seen) for seen in views])] = 0  # a search leaves these out
    trained = embedder.embed([_shrunk(pixels, side) for pixels in others.permute(0, 2, 3, 1).numpy()]).astype(np.float32)
    nearest = (indexed @ trained.T).max((1, 2))  # [H]
    first, _ = augmenter(held, torch.Generator().manual_seed(seed + 1))
    recipe_views = embedder.embed(list((first.cpu() * 255).round().byte().permute(0, 2, 3, 1).numpy())).astype(np.float32)
    easy = embedder.embed([_recompressed(picture, side) for picture in pictures]).astype(np.float32)
    # Held-out images as near to a training image as to their own easy copy have a true copy there, and are left out.
    copied = (1 - nearest) <= np.quantile(1 - (easy * indexed[:, 0]).sum(1), 0.9)
    law = _fit((1 - nearest)[~copied]) | {"compared": len(others)}
    threshold = threshold_for(law, len(others))

    def found(copies: np.ndarray) -> float:  # [H, D]
        return round(float(((copies[:, None] * indexed).sum(2).max(1) >= threshold).mean()), 4)

    return law | {
        "threshold": threshold,
        "copied": round(float(copied.mean()), 4),
        "loose": threshold_for(law, len(others), LOOSE),
        "easy_found": found(easy),
        "views_found": found(recipe_views),
        "accuracy": round(float(((recipe_views @ indexed[:, 0].T).argmax(1) == np.arange(len(held))).mean()), 4),
    }


def threshold_for(law: Mapping[str, Any], training_images: int, expected: float = FALSE) -> float:
    """Similarity that the nearest different image exceeds for a share `expected` of evaluation images.

    Args:
      law: what `calibrate` returned.
      training_images: number searched; the more there are, the nearer the nearest lies.
    """
    hazard = -math.log(1 - expected) * law["compared"] / max(1, training_images)
    return round(max(-1.0, 1 - law["scale"] * hazard ** (1 / law["shape"])), 4)


def loose_for(law: Mapping[str, Any], training_images: int) -> float | None:
    """Similarity from which hits are kept for inspection: half of the evaluation images have a different image above it.

    In a larger training set than was compared it rises, or hits would grow with it without end. It stays the same between
    powers of ten, so that a training set grown a little is not searched anew.

    Args:
      law: what `calibrate` returned; an empty one gives None.
      training_images: number searched.
    """
    if not law:
        return None
    rounded = 10 ** (len(str(max(1, training_images))) - 1)
    return max(law["loose"], threshold_for(law, rounded, LOOSE)) if rounded > law["compared"] else law["loose"]


def _fit(distance: np.ndarray) -> dict[str, float]:
    """Scale and shape of the Weibull law through the quartile and the median of the distances, [n]; none give a point at zero."""
    distance = distance if len(distance) else np.zeros(1)
    quarter, half = np.maximum(np.quantile(distance, [0.25, 0.5]), 1e-4)
    shape = math.log(math.log(2) / math.log(4 / 3)) / max(math.log(half / quarter), 0.05)
    return {"scale": round(float(half) / math.log(2) ** (1 / shape), 6), "shape": round(shape, 4)}


def _shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def _recompressed(picture: Image.Image, side: int) -> np.ndarray:
    buffer = io.BytesIO()
    picture.resize((picture.width * 3 // 4,) * 2, Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=50)
    return _shrunk(np.asarray(Image.open(buffer)), side)
