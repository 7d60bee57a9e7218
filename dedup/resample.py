"""Resampling of whole batches by one matrix per axis and image.

Cropping, zooming, flipping, changing the aspect ratio, pasting into a box, blurring, and shrinking and enlarging with
any interpolation act on rows and columns apart: out = Y · image · Xᵀ. So a batch whose images each do something else
is two batched matrix products, with no loop over images.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

KERNELS = ("nearest", "box", "linear", "cubic", "lanczos")


def _kernel(name: str, distance: Tensor) -> Tensor:
    """Weight of a source pixel at a distance, in pixels of the coarser grid."""
    d = distance.abs()
    if name in ("nearest", "box"):
        return (d <= 0.5 + 1e-4).to(d.dtype)
    if name == "linear":
        return (1 - d).clamp_min(0)
    if name == "cubic":  # Keys, a = -1/2
        near = (1.5 * d - 2.5) * d * d + 1
        far = ((-0.5 * d + 2.5) * d - 4) * d + 2
        return torch.where(d < 1, near, torch.where(d < 2, far, torch.zeros_like(d)))
    return torch.where(d < 3, torch.sinc(d) * torch.sinc(d / 3), torch.zeros_like(d))  # lanczos, 3 lobes


def axis_matrix(
    source: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor], kernel: Tensor, rows: int, columns: int
) -> Tensor:
    """Matrix [B, rows, columns] that resamples a line of `columns` pixels to one of `rows`.

    Args:
      source: first and last edge of the part taken, each [B], in 0…1 of the line; first above last mirrors it.
      target: edges of the part of the new line it fills, each [B], in 0…1. Pixels whose centre lies outside get zeros.
      kernel: index into KERNELS, [B]. All but `nearest` widen when they shrink, so nothing aliases.
    """
    device = kernel.device
    (s0, s1), (t0, t1) = source, target
    centre = (torch.arange(rows, device=device) + 0.5) / rows  # [rows]
    along = (centre - t0[:, None]) / (t1 - t0)[:, None]  # [B, rows], 0…1 inside the target
    position = (s0[:, None] + along * (s1 - s0)[:, None]) * columns  # [B, rows], source pixels
    position = position.clamp(0.5, columns - 0.5)  # the edge pixel goes on where a kernel reaches past it
    step = ((s1 - s0).abs() * columns / ((t1 - t0) * rows)).clamp_min(1.0)  # [B], source pixels per target pixel
    pixels = torch.arange(columns, device=device) + 0.5
    offset = pixels - position[:, :, None]  # [B, rows, columns]
    weights = torch.zeros_like(offset)
    for index, name in enumerate(KERNELS):
        chosen = kernel == index
        if chosen.any():
            width = torch.ones_like(step[chosen]) if name == "nearest" else step[chosen]
            weights[chosen] = _kernel(name, offset[chosen] / width[:, None, None])
    weights = weights / weights.sum(2, keepdim=True).clamp(min=1e-6)
    inside = (along >= 0) & (along <= 1)
    return weights * inside[:, :, None]


def rescale_matrix(size: Tensor, shrink: Tensor, enlarge: Tensor, length: int) -> Tensor:
    """Matrix [B, length, length] that shrinks a line to `size` [B] pixels and enlarges it again, each by its own kernel."""
    zero, one = torch.zeros_like(size), torch.ones_like(size)
    used = size / length  # the small line stands at the start of one of full length
    down = axis_matrix((zero, one), (zero, used), shrink, length, length)
    up = axis_matrix((zero, used), (zero, one), enlarge, length, length)
    total = torch.bmm(up, down)  # weights past the small line's end met zeros there: make each row sum to one again
    return total / total.sum(2, keepdim=True).clamp_min(1e-6)


def blur_matrix(sigma: Tensor, length: int) -> Tensor:
    """Matrix [B, length, length] of a Gaussian blur of `sigma` [B] pixels, edges renormalised."""
    at = torch.arange(length, device=sigma.device, dtype=sigma.dtype)
    distance = (at[:, None] - at[None, :])[None] / sigma.clamp_min(1e-3)[:, None, None]
    weights = torch.exp(-0.5 * distance**2)
    return weights / weights.sum(2, keepdim=True)


def apply(y: Tensor, images: Tensor, x: Tensor) -> Tensor:
    """Y · image · Xᵀ for every image and channel: [B, R, S], [B, C, S, S], [B, R, S] -> [B, C, R, R]."""
    return torch.matmul(torch.matmul(y[:, None], images), x[:, None].transpose(2, 3))


_LUMA = (16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
         18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100,
         103, 99)  # fmt: skip
_CHROMA = (17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66) + (99,) * 38
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """What JPEG at `quality` [B] (1…100, ITU T.81 annex K tables, no chroma subsampling) leaves of [B, 3, R, R] in 0…1.

    R must be a multiple of 8.
    """
    batch, _, side, _ = images.shape
    device, kind = images.device, images.dtype
    k = torch.arange(8, device=device, dtype=kind)
    dct = torch.cos(math.pi / 8 * (k[None, :] + 0.5) * k[:, None]) * 0.5
    dct[0] *= 2**-0.5  # orthonormal
    turn = torch.tensor(_TO_YCC, device=device, dtype=kind)
    tables = torch.tensor([_LUMA, _CHROMA, _CHROMA], device=device, dtype=kind).view(1, 3, 1, 1, 8, 8)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).view(-1, 1, 1, 1, 1, 1) / 100
    tables = (tables * scale).round().clamp(1, 255)
    ycc = torch.einsum("dc,bchw->bdhw", turn, images * 255) - torch.tensor([128.0, 0, 0], device=device, dtype=kind).view(1, 3, 1, 1)
    blocks = ycc.view(batch, 3, side // 8, 8, side // 8, 8).transpose(3, 4)  # [B, 3, R/8, R/8, 8, 8]
    coefficients = ((dct @ blocks @ dct.T) / tables).round() * tables
    ycc = (dct.T @ coefficients @ dct).transpose(3, 4).reshape(batch, 3, side, side)
    ycc = ycc + torch.tensor([128.0, 0, 0], device=device, dtype=kind).view(1, 3, 1, 1)
    return (torch.einsum("dc,bchw->bdhw", torch.linalg.inv(turn), ycc) / 255).clamp(0, 1)
