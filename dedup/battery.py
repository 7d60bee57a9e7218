"""Named changes that copies on the web go through, on Pillow images: what `python -m dedup evaluate` plants.

None of this is shared with the augmentations of training (`dedup.augment`): the test must not be the teacher. Choices
come from a hash of the picture's name and the change's.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from wit_builder.hashing import hash64

Change = Callable[[Image.Image, np.random.Generator, list[Image.Image]], Image.Image]


def _jpeg_20(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=20)
    return Image.open(buffer).convert("RGB")


def _half_size(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
    return image.resize((max(8, image.width // 2), max(8, image.height // 2)), Image.Resampling.BILINEAR)


def _crop(kept: float) -> Change:
    def change(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
        width, height = round(image.width * kept**0.5), round(image.height * kept**0.5)
        left, top = (int(chance.integers(0, spare + 1)) for spare in (image.width - width, image.height - height))
        return image.crop((left, top, left + width, top + height))

    return change


def _brightness_contrast(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
    brighter = bool(chance.integers(2))
    image = ImageEnhance.Brightness(image).enhance(1.35 if brighter else 0.7)
    return ImageEnhance.Contrast(image).enhance(1.35 if chance.integers(2) else 0.7)


def _rotation_10(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
    return image.rotate(10 if chance.integers(2) else -10, Image.Resampling.BICUBIC, expand=True, fillcolor=(0, 0, 0))


def _text(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
    image = image.copy()
    font = ImageFont.load_default(size=max(10, image.height // 7))
    lines = ["BREAKING", "when you find it", "SALE 50% off", "photo: J. Doe", "so true"]
    for _ in range(2):
        place = (int(chance.integers(0, image.width // 3 + 1)), int(chance.integers(0, max(1, image.height * 4 // 5))))
        ImageDraw.Draw(image).text(
            place, lines[int(chance.integers(len(lines)))], fill="white", font=font, stroke_width=2, stroke_fill="black"
        )
    return image


def _flip(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
    return ImageOps.mirror(image)


def _collage(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
    """One of four in a square, with a gap between them."""
    side, gap = max(image.size) // 2, 2
    sheet = Image.new("RGB", (2 * side + gap, 2 * side + gap), (255, 255, 255))
    mine = int(chance.integers(4))
    for cell in range(4):
        picture = image if cell == mine else others[cell]
        sheet.paste(ImageOps.fit(picture, (side, side)), ((cell % 2) * (side + gap), (cell // 2) * (side + gap)))
    return sheet


def _blur(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(min(image.size) / 60))


def _grey(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def _padding(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
    colour = (255, 255, 255) if chance.integers(2) else (0, 0, 0)
    return ImageOps.expand(image, (image.width // 4, image.height // 10), fill=colour)


def _screenshot(image: Image.Image, chance: np.random.Generator, others: list[Image.Image]) -> Image.Image:
    """A post on a telephone: a bar above, a line of text and buttons below."""
    width, height = image.size
    bar = max(12, height // 6)
    sheet = Image.new("RGB", (width + bar // 2, height + 3 * bar), (250, 250, 250) if chance.integers(2) else (20, 24, 30))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((0, 0, sheet.width, bar * 2 // 3), fill=(60, 90, 160))
    draw.ellipse((4, bar * 3 // 4, 4 + bar // 2, bar * 5 // 4), fill=(200, 120, 80))
    draw.text((bar, bar * 3 // 4), "a friend posted this", fill=(128, 128, 128), font=ImageFont.load_default(size=max(8, bar // 2)))
    sheet.paste(image, (bar // 4, bar * 3 // 2))
    for index in range(3):
        left = bar + index * sheet.width // 3
        draw.rectangle((left, sheet.height - bar, left + bar // 2, sheet.height - bar // 2), fill=(140, 140, 140))
    return sheet


BATTERY: dict[str, Change] = {
    "jpeg 20": _jpeg_20,
    "half size": _half_size,
    "crop 80%": _crop(0.8),
    "crop 50%": _crop(0.5),
    "brightness and contrast": _brightness_contrast,
    "rotation 10°": _rotation_10,
    "text": _text,
    "flip": _flip,
    "collage": _collage,
    "blur": _blur,
    "grey": _grey,
    "padding": _padding,
    "screenshot": _screenshot,
}


SHOWS_OTHERS = frozenset({"collage"})  # changes whose outcome holds other pictures too


def plant(name: str, key: str, image: Image.Image, others: list[Image.Image]) -> Image.Image:
    """The picture after one named change.

    Args:
      key: names the picture; with the change's name it settles all choices.
      others: at least four other pictures, for collages.
    """
    return BATTERY[name](image, np.random.default_rng(hash64("battery", name, key)), others)
