"""Two differing views of every image of a batch, made as tensors: the detector learns that they belong together.

Every choice is drawn for each image from one generator, so a run that goes on from a checkpoint draws the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dedup import resample
from wit_builder.errors import UserError

Range = tuple[float, float]


@dataclass(frozen=True)
class Recipe:
    """What may happen to a view, and how often.

    The defaults are the paper's (appendix C): crop and zoom, aspect ratio, shrinking and enlarging with any
    interpolation, minor rotation, JPEG, and jitter of hue, saturation and value. Zero switches a thing off.

    Attributes:
      crop_area: area kept, in 0…1 of the image.
      crop_chance: how many views are cropped at all.
      aspect: ratio of the crop's sides, drawn evenly in its logarithm.
      rotation: largest angle, in degrees; half of the views are turned.
      rescale: smallest size shrunk to before enlarging, in 0…1 of the side; half of the views are.
      jpeg: lowest and highest quality; half of the views go through it.
      jitter: strength of the changes of hue, saturation, brightness and contrast.
      flip, quarter_turn, grey, blur, noise, paste, text, picture, collage, mixup: how many views are mirrored, turned by 90°,
        made grey, blurred, made noisy, pasted into a larger picture, written on, overlaid with a small picture, put in
        one of four quarters, mixed with another image.
      clean_partner: how many of the second views are the plain image.
      temperature: InfoNCE's, fixed.
      entropy: weight of the regulariser that spreads the embeddings (Pizzi et al. 2022, SSCD).
    """

    crop_area: Range = (0.35, 1.0)
    crop_chance: float = 1.0
    aspect: Range = (3 / 4, 4 / 3)
    rotation: float = 10.0
    rescale: float = 0.25
    jpeg: Range = (10, 95)
    jitter: float = 0.3
    flip: float = 0.0
    quarter_turn: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    paste: float = 0.0
    text: float = 0.0
    picture: float = 0.0
    collage: float = 0.0
    mixup: float = 0.0
    clean_partner: float = 0.0
    temperature: float = 0.07
    entropy: float = 0.0


RECIPES = {
    "paper": Recipe(),
    "strong": Recipe(
        crop_area=(0.3, 1.0), crop_chance=0.6, rotation=20.0, jitter=0.5, flip=0.3, quarter_turn=0.05, grey=0.1, blur=0.15, noise=0.1,
        paste=0.3, text=0.25, picture=0.15, collage=0.1, mixup=0.05, clean_partner=0.4, temperature=0.05, entropy=3.0,
    ),
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """A recipe by name.

    Raises:
      UserError: where there is no such recipe.
    """
    if name not in RECIPES:
        raise UserError(f"no recipe {name!r}", fix=f"choose one of {', '.join(RECIPES)}")
    return RECIPES[name]


class Augmenter:
    """Makes views of batches by a recipe.

    Args:
      recipe: see `Recipe`.
      resolution: height and width of the views, in pixels; a multiple of 8.
      device: where batches are.
    """

    def __init__(self, recipe: Recipe, resolution: int, device: torch.device | str = "cpu") -> None:
        self.recipe, self.resolution, self.device = recipe, resolution, torch.device(device)
        self.texts = _text_masks().to(self.device) if recipe.text else None  # [T, 1, h, w] in 0…1

    def __call__(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Views of uint8 images [B, 3, S, S]: two of float32 [B, 3, R, R] in 0…1, the second one milder where the recipe says so."""
        images = images.to(self.device).float() / 255
        draw = Draw(len(images), generator, self.device)
        first = self._view(images, draw)
        second = self._view(images, draw)
        if self.recipe.clean_partner:
            plain = F.interpolate(images, size=(self.resolution, self.resolution), mode="bilinear", antialias=True)
            second = torch.where(draw.chance(self.recipe.clean_partner)[:, None, None, None], plain, second)
        return first, second

    def _view(self, images: Tensor, draw: Draw) -> Tensor:
        recipe, side = self.recipe, self.resolution
        images = _turn(images, draw, recipe)
        kernel = draw.integers(1, len(resample.KERNELS))
        view = self._place(images, draw, kernel)
        if recipe.mixup:
            amount = draw.uniform(0.2, 0.5) * draw.chance(recipe.mixup)
            view = view + amount[:, None, None, None] * (view[draw.permutation()] - view)
        if recipe.picture:
            view = _small_picture(view, images, draw, recipe.picture)
        if self.texts is not None:
            view = self._write(view, draw)
        view = _colours(view, draw, recipe)
        matrix = _degradation(draw, recipe, side)
        view = resample.apply(matrix, view, matrix).clamp(0, 1)
        if recipe.noise:
            strength = draw.uniform(0, 0.1) * draw.chance(recipe.noise)
            view = (view + strength[:, None, None, None] * draw.normal(view.shape)).clamp(0, 1)
        if recipe.jpeg[1] > 0:
            chosen = draw.chance(0.5)
            compressed = resample.jpeg(view, draw.uniform(*recipe.jpeg))
            view = torch.where(chosen[:, None, None, None], compressed, view)
        return view

    def _place(self, images: Tensor, draw: Draw, kernel: Tensor) -> Tensor:
        """Crop, zoom, aspect and flip; some views fill only a part of a larger picture."""
        recipe, side, columns = self.recipe, self.resolution, images.shape[-1]
        one = torch.ones(draw.batch, device=self.device)
        area = torch.where(draw.chance(recipe.crop_chance), draw.uniform(*recipe.crop_area), one)
        ratio = torch.exp(draw.uniform(math.log(recipe.aspect[0]), math.log(recipe.aspect[1])) * 0.5)
        width, height = (area.sqrt() * ratio).clamp(max=1), (area.sqrt() / ratio).clamp(max=1)
        left, top = draw.uniform(0, 1) * (1 - width), draw.uniform(0, 1) * (1 - height)
        x0, x1, y0, y1 = left, left + width, top, top + height
        mirrored = draw.chance(recipe.flip)
        x0, x1 = torch.where(mirrored, x1, x0), torch.where(mirrored, x0, x1)
        if not (recipe.paste or recipe.collage):
            zero = torch.zeros_like(one)
            return resample.apply(
                resample.axis_matrix((y0, y1), (zero, one), kernel, side, columns),
                images,
                resample.axis_matrix((x0, x1), (zero, one), kernel, side, columns),
            )
        # The box that the image fills: all, one quarter of a collage, or a part of a larger picture.
        pasted, quartered = draw.chance(recipe.paste), draw.chance(recipe.collage)
        box_w = torch.where(pasted, draw.uniform(0.5, 0.95), one)
        box_h = torch.where(pasted, (box_w * torch.exp(draw.uniform(-0.2, 0.2))).clamp(0.4, 1.0), one)
        box_x, box_y = draw.uniform(0, 1) * (1 - box_w), draw.uniform(0, 1) * (1 - box_h)
        half = one * 0.5
        box_w, box_h = torch.where(quartered, half, box_w), torch.where(quartered, half, box_h)
        box_x = torch.where(quartered, draw.integers(0, 2) * 0.5, box_x)
        box_y = torch.where(quartered, draw.integers(0, 2) * 0.5, box_y)
        rows = resample.axis_matrix((y0, y1), (box_y, box_y + box_h), kernel, side, columns)
        cols = resample.axis_matrix((x0, x1), (box_x, box_x + box_w), kernel, side, columns)
        filled = (rows.sum(2) > 0.5)[:, None, :, None] & (cols.sum(2) > 0.5)[:, None, None, :]  # [B, 1, R, R]
        return torch.where(filled, resample.apply(rows, images, cols), self._grounds(images, draw, quartered))

    def _grounds(self, images: Tensor, draw: Draw, quartered: Tensor) -> Tensor:
        """What surrounds a pasted image: a plain colour, another image, or for collages four others, [B, 3, R, R]."""
        side = self.resolution
        other = F.interpolate(images[draw.permutation()], size=(side, side), mode="bilinear", antialias=True)
        small = F.interpolate(other, size=(side // 2, side // 2), mode="area")
        quarters = [small[draw.permutation()] for _ in range(4)]
        four = torch.cat([torch.cat(quarters[:2], 3), torch.cat(quarters[2:], 3)], 2)
        shade = draw.choice(torch.tensor([0.0, 1.0, 0.5], device=self.device))
        plain = torch.where(draw.chance(0.5)[:, None], shade[:, None].expand(-1, 3), draw.uniform(0, 1, columns=3))
        ground = torch.where(draw.chance(0.5)[:, None, None, None], plain[:, :, None, None].expand_as(other), other)
        return torch.where(quartered[:, None, None, None], four, ground)

    def _write(self, view: Tensor, draw: Draw) -> Tensor:
        """Lines of text of any size, place, slant and colour."""
        for chance in (self.recipe.text, self.recipe.text / 2):
            masks = self.texts[draw.integers(0, len(self.texts))]  # [B, 1, h, w]
            width, angle = draw.uniform(0.4, 1.2), draw.uniform(-0.3, 0.3) * draw.chance(0.3)
            height = width * draw.uniform(0.12, 0.3)
            x, y = draw.uniform(-0.6, 0.6), draw.uniform(-0.9, 0.9)
            cos, sin = torch.cos(angle), torch.sin(angle)
            # Maps a view's coordinates (-1…1) to the strip's.
            turn = torch.stack([
                torch.stack([cos / width, sin / width, -(cos * x + sin * y) / width], 1),
                torch.stack([-sin / height, cos / height, (sin * x - cos * y) / height], 1),
            ], 1)  # fmt: skip
            grid = F.affine_grid(turn, [draw.batch, 1, self.resolution, self.resolution], align_corners=False)
            mask = F.grid_sample(masks, grid, align_corners=False) * draw.chance(chance)[:, None, None, None]
            colour = draw.uniform(0, 1, columns=3)
            colour = torch.where(draw.chance(0.5)[:, None], colour.round(), colour)
            view = view + mask * draw.uniform(0.5, 1)[:, None, None, None] * (colour[:, :, None, None] - view)
        return view


class Draw:
    """Random choices for each image of a batch. They are drawn on the CPU, so that every device gets the same."""

    def __init__(self, batch: int, generator: torch.Generator, device: torch.device) -> None:
        self.batch, self.generator, self.device = batch, generator, device

    def uniform(self, low: float, high: float, columns: int = 0) -> Tensor:
        """[B], or [B, columns] where given."""
        shape = (self.batch, columns) if columns else (self.batch,)
        return (torch.rand(shape, generator=self.generator) * (high - low) + low).to(self.device)

    def chance(self, probability: float) -> Tensor:
        return self.uniform(0, 1) < probability

    def integers(self, low: int, high: int) -> Tensor:
        return torch.randint(low, high, (self.batch,), generator=self.generator).to(self.device)

    def choice(self, values: Tensor) -> Tensor:
        return values[self.integers(0, len(values))]

    def permutation(self) -> Tensor:
        """Another image for each: a shift by a random number of places, so never itself (in a batch of at least two)."""
        shift = int(torch.randint(1, max(self.batch, 2), (1,), generator=self.generator))
        return (torch.arange(self.batch, device=self.device) + shift) % self.batch

    def normal(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=self.generator).to(self.device)


def _turn(images: Tensor, draw: Draw, recipe: Recipe) -> Tensor:
    """Minor rotations and quarter turns, filling the corners with what is nearest: [B, 3, S, S] -> the same."""
    angle = draw.uniform(-recipe.rotation, recipe.rotation) * math.pi / 180 * draw.chance(0.5)
    quarters = draw.integers(1, 4) * draw.chance(recipe.quarter_turn)
    turned = torch.nonzero((angle != 0) | (quarters != 0)).flatten()
    if not len(turned):
        return images
    angle = (angle + quarters * math.pi / 2)[turned]
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    chosen = images[turned]
    grid = F.affine_grid(matrix, list(chosen.shape), align_corners=False)
    # Either the picture's edge goes on into the corners, or they are left as black wedges, as editors do.
    images = images.clone()
    edges = draw.chance(0.5)[turned][:, None, None, None]
    border = F.grid_sample(chosen, grid, padding_mode="border", align_corners=False)
    black = F.grid_sample(chosen, grid, padding_mode="zeros", align_corners=False)
    images[turned] = torch.where(edges, border, black)
    return images


def _small_picture(view: Tensor, images: Tensor, draw: Draw, chance: float) -> Tensor:
    """A piece of another image over a part of the view, as stickers and logos are."""
    side, columns = view.shape[-1], images.shape[-1]
    size = draw.uniform(0.15, 0.45)
    x, y, sx, sy = (draw.uniform(0, 1) * (1 - size) for _ in range(4))
    kernel = torch.full((draw.batch,), resample.KERNELS.index("linear"), device=view.device)
    rows = resample.axis_matrix((sy, sy + size), (y, y + size), kernel, side, columns)
    cols = resample.axis_matrix((sx, sx + size), (x, x + size), kernel, side, columns)
    filled = (rows.sum(2) > 0.5)[:, None, :, None] & (cols.sum(2) > 0.5)[:, None, None, :]
    filled = filled & draw.chance(chance)[:, None, None, None]
    return torch.where(filled, resample.apply(rows, images[draw.permutation()], cols), view)


def _colours(view: Tensor, draw: Draw, recipe: Recipe) -> Tensor:
    """Hue, saturation, brightness and contrast as one 3×3 matrix and an offset for each image."""
    strength = recipe.jitter
    if not strength and not recipe.grey:
        return view
    changed = draw.chance(0.8)
    hue = draw.uniform(-strength, strength) * 0.6 * changed  # radians around the grey axis
    saturation = 1 + draw.uniform(-strength, strength) * 1.5 * changed
    saturation = torch.where(draw.chance(recipe.grey), torch.zeros_like(saturation), saturation).clamp_min(0)
    gain = torch.exp(draw.uniform(-strength, strength) * changed)
    contrast = torch.exp(draw.uniform(-strength, strength) * changed)
    grey = torch.tensor([0.299, 0.587, 0.114], device=view.device).expand(3, 3)
    eye = torch.eye(3, device=view.device)
    axis = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=view.device) * 3**-0.5
    third = torch.full((3, 3), 1 / 3, device=view.device)
    cos, sin = torch.cos(hue)[:, None, None], torch.sin(hue)[:, None, None]
    turn = third + cos * (eye - third) + sin * axis  # [B, 3, 3], rotation about (1, 1, 1)
    matrix = torch.bmm(grey + saturation[:, None, None] * (eye - grey), turn) * gain[:, None, None]
    mean = view.mean((1, 2, 3), keepdim=True)
    view = (view - mean) * contrast[:, None, None, None] + mean
    return torch.einsum("bdc,bchw->bdhw", matrix, view).clamp(0, 1)


def _degradation(draw: Draw, recipe: Recipe, side: int) -> Tensor:
    """Shrinking and enlarging, then blur, as one matrix for rows and columns alike, [B, R, R]."""
    full = torch.full((draw.batch,), float(side), device=draw.device)
    size = torch.where(draw.chance(0.5), draw.uniform(recipe.rescale, 1) * side, full).round()
    kinds = len(resample.KERNELS)
    matrix = resample.rescale_matrix(size, draw.integers(0, kinds), draw.integers(1, kinds), side)
    untouched = (size == side)[:, None, None]
    matrix = torch.where(untouched, torch.eye(side, device=draw.device), matrix)
    if recipe.blur:
        sigma = draw.uniform(0.5, side / 24) * draw.chance(recipe.blur)
        matrix = torch.bmm(resample.blur_matrix(sigma, side), matrix)
    return matrix


def _text_masks(count: int = 64, height: int = 32, width: int = 192) -> Tensor:
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
