"""InfoNCE over pairs of views, and the regulariser that spreads embeddings over the sphere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(first: Tensor, second: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Loss and proxy accuracy of two views of each image.

    Each view must pick its partner among all other views of the batch, of either kind: 2B - 1 candidates.

    Args:
      first, second: unit vectors [B, D]; row i of both shows image i.
      temperature: fixed (the paper's is 0.07).

    Returns:
      The mean cross-entropy, and the share of views whose partner is the most similar of all, both scalars.
    """
    views = torch.cat([first, second])  # [2B, D]
    logits = views @ views.T / temperature  # [2B, 2B]
    logits = logits.masked_fill(torch.eye(len(views), dtype=torch.bool, device=views.device), float("-inf"))
    partners = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(logits, partners), (logits.argmax(1) == partners).float().mean()


def entropy_loss(first: Tensor, second: Tensor) -> Tensor:
    """Kozachenko-Leonenko estimate of minus the entropy: -mean log distance to the nearest view of another image.

    Args:
      first, second: unit vectors [B, D], B at least 2 (SSCD, Pizzi et al. 2022, section 3.2).
    """
    views = torch.cat([first, second])
    images = torch.arange(len(first), device=views.device).repeat(2)
    similarity = (views @ views.T).masked_fill(images[:, None] == images[None, :], -2.0)
    nearest = similarity.detach().argmax(1)
    distance = (views - views[nearest]).norm(dim=1)
    return -torch.log(distance + 1e-6).mean()
