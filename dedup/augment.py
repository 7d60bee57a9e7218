"""Two differing views of every image of a batch, made as tensors: the detector learns that they belong together.

Every choice is drawn for each image from one generator, so a run that goes on from a checkpoint draws the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dedup import changes, resample
from dedup.draw import Draw, change_some
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
        crop_area=(0.3, 1.0), crop_chance=0.6, rotation=20.0, jitter=0.5, flip=0.2, quarter_turn=0.02, grey=0.15, blur=0.15, noise=0.1,
        paste=0.3, text=0.25, picture=0.15, collage=0.1, mixup=0.05, clean_partner=0.5, temperature=0.05, entropy=3.0,
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
        self.texts = changes.text_masks().to(self.device) if recipe.text else None  # [T, 1, h, w] in 0…1

    def __call__(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Views of uint8 images [B, 3, S, S]: two of float32 [B, 3, R, R] in 0…1, the second one milder where the recipe says so."""
        images = images.to(self.device).float() / 255
        draw = Draw(len(images), generator, self.device)
        first = self._view(images, draw)
        clean = draw.chance(self.recipe.clean_partner)
        second = change_some(self._view(images, draw), clean, lambda _, places: self._small(images[places]))
        return first, second

    def _view(self, images: Tensor, draw: Draw) -> Tensor:
        recipe = self.recipe
        view = self._place(changes.turn(images, draw, recipe.rotation, recipe.quarter_turn), draw)
        if recipe.mixup:
            amount = draw.uniform(0.2, 0.5) * draw.chance(recipe.mixup)
            view = view + amount[:, None, None, None] * (view[draw.permutation()] - view)
        if recipe.picture:
            view = changes.small_picture(view, images, draw, recipe.picture)
        if self.texts is not None:
            for chance in (recipe.text, recipe.text / 2):  # some get a second line
                view = changes.write(view, self.texts, draw, chance)
        view = changes.colours(view, draw, recipe.jitter, recipe.grey)
        view = changes.degrade(view, draw, recipe.rescale, recipe.blur)
        if recipe.noise:
            view = changes.add_noise(view, draw, recipe.noise)
        if recipe.jpeg[1] > 0:
            view = changes.compress(view, draw, recipe.jpeg)
        return view

    def _place(self, images: Tensor, draw: Draw) -> Tensor:
        """Crop, zoom, aspect and flip; some views fill only a part of a larger picture."""
        recipe, side, columns = self.recipe, self.resolution, images.shape[-1]
        kernel = draw.integers(1, len(resample.KERNELS))
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
        view = resample.apply(rows, images, cols)
        filled = (rows.sum(2) > 0.5)[:, None, :, None] & (cols.sum(2) > 0.5)[:, None, None, :]  # [B, 1, R, R]
        for chosen, ground in ((quartered, self._quarters), (pasted & ~quartered, self._ground)):
            make = ground(images, draw)
            view = change_some(view, chosen, lambda some, places, make=make: torch.where(filled[places], some, make(places)))
        return view

    def _ground(self, images: Tensor, draw: Draw) -> Callable[[Tensor], Tensor]:
        """What surrounds a pasted image: a plain colour or another image, [n, 3, R, R] for places [n] in the batch."""
        shade = draw.choice(torch.tensor([0.0, 1.0, 0.5], device=self.device))
        plain = torch.where(draw.chance(0.5)[:, None], shade[:, None].expand(-1, 3), draw.uniform(0, 1, columns=3))  # [B, 3]
        is_plain, others = draw.chance(0.5), draw.permutation()

        def make(places: Tensor) -> Tensor:
            other = self._small(images[others[places]])
            return torch.where(is_plain[places][:, None, None, None], plain[places][:, :, None, None], other)

        return make

    def _quarters(self, images: Tensor, draw: Draw) -> Callable[[Tensor], Tensor]:
        """Four other images in the quarters of a collage, [n, 3, R, R] for places [n] in the batch."""
        others = [draw.permutation() for _ in range(4)]

        def make(places: Tensor) -> Tensor:
            small = [F.interpolate(self._small(images[other[places]]), scale_factor=0.5, mode="area") for other in others]
            return torch.cat([torch.cat(small[:2], 3), torch.cat(small[2:], 3)], 2)

        return make

    def _small(self, images: Tensor) -> Tensor:
        """Whole images at the views' size."""
        return F.interpolate(images, size=(self.resolution, self.resolution), mode="bilinear", antialias=True)
