"""What similarities mean for a trained detector: measured on images kept from its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from dedup.augment import Augmenter
    from dedup.images import Pool
    from dedup.model import Detector

COMPARED = 4096  # training images, at most, that the held-out ones are compared with


@torch.inference_mode()
def calibrate(model: Detector, pool: Pool, augmenter: Augmenter, seed: int) -> dict[str, float]:
    """Similarities of copies and of different images, and the thresholds that follow.

    Copies are the recipe's views of held-out images against the plain ones. Different images are each held-out image
    against its most similar training image, which may itself be a true copy: hence the quantile, and not the maximum.

    Returns:
      threshold: the nearest different image lies below it for 99% of the held-out images.
      loose: the same for 50%; hits between the two are for inspection.
      copies_found: share of the recipe's views at or above `threshold`.
      accuracy: share of the views that find their own image first among all held-out ones (the paper's proxy task).
      Empty where nothing was held out.
    """
    held = pool.held_out
    if len(held) < 2:
        return {}
    device = next(model.parameters()).device
    plain = _embed(model, held, device)
    first, _ = augmenter(held, torch.Generator().manual_seed(seed + 1))
    views = torch.cat([model(some.contiguous(memory_format=torch.channels_last)) for some in first.split(64)]).cpu()
    others = _embed(model, pool.some(COMPARED), device)
    copies = (views * plain).sum(1).numpy()
    nearest = (plain @ others.T).max(1).values.numpy()
    threshold, loose = np.quantile(nearest, [0.99, 0.5])
    return {
        "threshold": round(float(threshold), 4),
        "loose": round(float(loose), 4),
        "copies_found": round(float((copies >= threshold).mean()), 4),
        "accuracy": round(float(((views @ plain.T).argmax(1) == torch.arange(len(plain))).float().mean()), 4),
    }


def _embed(model: Detector, images: Tensor, device: torch.device) -> Tensor:
    """Unit vectors [n, D] of uint8 images [n, 3, S, S], seen whole."""
    side = model.config.resolution
    vectors = []
    for some in images.split(64):
        pixels = F.interpolate(some.to(device).float() / 255, size=(side, side), mode="bilinear", antialias=True)
        vectors.append(model(pixels.contiguous(memory_format=torch.channels_last)).cpu())
    return torch.cat(vectors)
