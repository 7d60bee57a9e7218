"""What may befall a view: changes of whole batches as tensors, each image's own choice."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dedup import resample
from dedup.draw import Draw, change_some


def turn(images: Tensor, draw: Draw, rotation: float, quarter_turn: float) -> Tensor:
    """Half of the images by up to `rotation` degrees, a share `quarter_turn` by 90, 180 or 270: [B, 3, S, S] -> the same."""
    angle = draw.uniform(-rotation, rotation) * math.pi / 180 * draw.chance(0.5)
    quarters = draw.integers(1, 4) * draw.chance(quarter_turn)
    # Either the picture's edge goes on into the corners, or they are left as black wedges, as editors do; and either the
    # picture's own corners are cut off, or it is shrunk until all of it is there.
    goes_on, shrinks = draw.chance(0.5), draw.chance(0.5)

    def turned(some: Tensor, places: Tensor) -> Tensor:
        angles = (angle + quarters * math.pi / 2)[places]
        cos, sin, zero = torch.cos(angles), torch.sin(angles), torch.zeros_like(angles)
        matrix = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
        matrix = matrix * torch.where(shrinks[places], cos.abs() + sin.abs(), 1.0)[:, None, None]
        grid = F.affine_grid(matrix, list(some.shape), align_corners=False)
        filled = F.grid_sample(some, grid, padding_mode="border", align_corners=False)
        outside = (grid.abs().amax(3) > 1)[:, None] & ~goes_on[places][:, None, None, None]  # [n, 1, S, S]
        return filled.masked_fill(outside, 0.0)

    return change_some(images, (angle != 0) | (quarters != 0), turned)


def small_picture(view: Tensor, images: Tensor, draw: Draw, chance: float) -> Tensor:
    """A piece of another image over a part of the view, as stickers and logos are."""
    side, columns = view.shape[-1], images.shape[-1]
    size = draw.uniform(0.15, 0.45)
    x, y, sx, sy = (draw.uniform(0, 1) * (1 - size) for _ in range(4))
    others = draw.permutation()

    def overlaid(some: Tensor, places: Tensor) -> Tensor:
        at_x, at_y, from_x, from_y, long = (value[places] for value in (x, y, sx, sy, size))
        kernel = torch.full((len(places),), resample.KERNELS.index("linear"), device=view.device)
        rows = resample.axis_matrix((from_y, from_y + long), (at_y, at_y + long), kernel, side, columns)
        cols = resample.axis_matrix((from_x, from_x + long), (at_x, at_x + long), kernel, side, columns)
        filled = (rows.sum(2) > 0.5)[:, None, :, None] & (cols.sum(2) > 0.5)[:, None, None, :]  # [n, 1, R, R]
        return torch.where(filled, resample.apply(rows, images[others[places]], cols), some)

    return change_some(view, draw.chance(chance), overlaid)


def write(view: Tensor, masks: Tensor, draw: Draw, chance: float) -> Tensor:
    """A line of text of any size, place, slant and colour; masks [T, 1, h, w] in 0…1."""
    side = view.shape[-1]
    lines = draw.integers(0, len(masks))
    width, angle = draw.uniform(0.4, 1.2), draw.uniform(-0.3, 0.3) * draw.chance(0.3)
    height = width * draw.uniform(0.12, 0.3)
    x, y = draw.uniform(-0.6, 0.6), draw.uniform(-0.9, 0.9)
    colour = draw.uniform(0, 1, columns=3)
    colour = torch.where(draw.chance(0.5)[:, None], colour.round(), colour)
    strength = draw.uniform(0.5, 1)

    def written(some: Tensor, places: Tensor) -> Tensor:
        cos, sin = torch.cos(angle[places]), torch.sin(angle[places])
        w, h, at_x, at_y = width[places], height[places], x[places], y[places]
        # Maps a view's coordinates (-1…1) to the strip's.
        matrix = torch.stack([
            torch.stack([cos / w, sin / w, -(cos * at_x + sin * at_y) / w], 1),
            torch.stack([-sin / h, cos / h, (sin * at_x - cos * at_y) / h], 1),
        ], 1)  # fmt: skip
        grid = F.affine_grid(matrix, [len(places), 1, side, side], align_corners=False)
        mask = F.grid_sample(masks[lines[places]], grid, align_corners=False)  # [n, 1, R, R]
        return some + mask * strength[places][:, None, None, None] * (colour[places][:, :, None, None] - some)

    return change_some(view, draw.chance(chance), written)


def colours(view: Tensor, draw: Draw, strength: float, grey: float) -> Tensor:
    """Hue, saturation, brightness and contrast as one 3×3 matrix and an offset for each image; a share `grey` loses its colours."""
    if not strength and not grey:
        return view
    changed = draw.chance(0.8)
    hue = draw.uniform(-strength, strength) * 0.6 * changed  # radians around the grey axis
    saturation = 1 + draw.uniform(-strength, strength) * 1.5 * changed
    saturation = torch.where(draw.chance(grey), torch.zeros_like(saturation), saturation).clamp_min(0)
    gain = torch.exp(draw.uniform(-strength, strength) * changed)
    contrast = torch.exp(draw.uniform(-strength, strength) * changed)
    luma = torch.tensor([0.299, 0.587, 0.114], device=view.device).expand(3, 3)
    eye = torch.eye(3, device=view.device)
    axis = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=view.device) * 3**-0.5
    third = torch.full((3, 3), 1 / 3, device=view.device)
    cos, sin = torch.cos(hue)[:, None, None], torch.sin(hue)[:, None, None]
    rotated = third + cos * (eye - third) + sin * axis  # [B, 3, 3], rotation about (1, 1, 1)
    matrix = torch.bmm(luma + saturation[:, None, None] * (eye - luma), rotated) * gain[:, None, None]
    # matrix · ((view - mean) · contrast + mean), as one product and an offset.
    mean = view.mean((2, 3)).mean(1, keepdim=True)  # [B, 1]
    offset = torch.bmm(matrix, (mean * (1 - contrast[:, None])).expand(-1, 3)[:, :, None])  # [B, 3, 1]
    flat = torch.baddbmm(offset, matrix * contrast[:, None, None], view.flatten(2))  # [B, 3, R²]
    return flat.view_as(view).clamp(0, 1)


def degrade(view: Tensor, draw: Draw, rescale: float, blur: float) -> Tensor:
    """Half of the views shrunk to at least `rescale` of their side and enlarged, a share `blur` blurred."""
    side = view.shape[-1]
    full = torch.full((draw.batch,), float(side), device=draw.device)
    size = torch.where(draw.chance(0.5), draw.uniform(rescale, 1) * side, full).round()
    kinds = len(resample.KERNELS)
    shrink, enlarge = draw.integers(0, kinds), draw.integers(1, kinds)
    sigma = draw.uniform(0.5, side / 24) * draw.chance(blur)

    def degraded(some: Tensor, places: Tensor) -> Tensor:
        matrix = resample.rescale_matrix(size[places], shrink[places], enlarge[places], side)
        matrix = torch.where((size[places] == side)[:, None, None], torch.eye(side, device=draw.device), matrix)
        matrix = torch.bmm(resample.blur_matrix(sigma[places], side), matrix)  # one pixel alone where sigma is 0
        return resample.apply(matrix, some, matrix).clamp(0, 1)

    return change_some(view, (size != side) | (sigma > 0), degraded)


def add_noise(view: Tensor, draw: Draw, chance: float) -> Tensor:
    """Gaussian noise of up to a tenth of the range on a share of the views."""
    strength = draw.uniform(0, 0.1)

    def noisy(some: Tensor, places: Tensor) -> Tensor:
        return (some + strength[places][:, None, None, None] * draw.normal(some.shape)).clamp(0, 1)

    return change_some(view, draw.chance(chance), noisy)


def compress(view: Tensor, draw: Draw, quality: tuple[float, float]) -> Tensor:
    """Half of the views through JPEG."""
    qualities = draw.uniform(*quality)
    return change_some(view, draw.chance(0.5), lambda some, places: resample.jpeg(some, qualities[places]))


def text_masks(count: int = 64, height: int = 32, width: int = 192) -> Tensor:
    """Strips of made-up text in Pillow's own font, [count, 1, height, width] in 0…1."""
    chooser = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789     .,!?#@&")
    masks = np.zeros((count, height, width), np.float32)
    for index in range(count):
        font = ImageFont.load_default(size=int(chooser.integers(16, 31)))
        strip = Image.new("L", (width, height))
        text = "".join(chooser.choice(letters, 24))
        ImageDraw.Draw(strip).text((0, height // 2), text, fill=255, font=font, anchor="lm")
        masks[index] = np.asarray(strip, np.float32) / 255
    return torch.from_numpy(masks)[:, None]
