"""Views of evaluation images that are indexed, and regions of training images that may be embedded too.

The evaluation side is the small one: seeing each of its images flipped, cropped and shrunk finds copies that were changed
so, and costs the training side nothing. For copies pasted small into a larger training image, parts of the training
image have to be embedded, at a multiple of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from dedup.images import contrast, square
from learning.images import decode
from wit_builder.errors import UserError

WHOLE = "whole"
VIEW_KINDS = ("flip", "crop75", "crop50", "shrunk")
_PLACES = {"centre": (0.5, 0.5), "top-left": (0, 0), "top-right": (1, 0), "bottom-left": (0, 1), "bottom-right": (1, 1)}
FLAT = 20.0  # standard deviation of grey values, 0…255
_SHRUNK = 0.65  # of the side, in the middle of a grey ground

# Edges left, top, right, bottom in 0…1.
REGIONS = {
    "left": (0, 0, 0.5, 1),
    "right": (0.5, 0, 1, 1),
    "top": (0, 0, 1, 0.5),
    "bottom": (0, 0.5, 1, 1),
    "top-left": (0, 0, 0.5, 0.5),
    "top-right": (0.5, 0, 1, 0.5),
    "bottom-left": (0, 0.5, 0.5, 1),
    "bottom-right": (0.5, 0.5, 1, 1),
    "middle": (0.25, 0.25, 0.75, 0.75),
}


# A part of one picture is easily like a part of another. So a part of a training image is compared with (nearly) whole
# evaluation images only, which also costs a quarter as much, and its similarity is its cosine less this.
PART_VIEWS = (WHOLE, "flip", "crop75-centre")
PART_HANDICAP = 0.1


def parse_views(text: str) -> tuple[str, ...]:
    """Kinds of views of `--views`: `all`, `none`, or names between commas; in the order of VIEW_KINDS.

    Raises:
      UserError: where a name is unknown.
    """
    if text in ("all", "none"):
        return VIEW_KINDS if text == "all" else ()
    asked = [name.strip() for name in text.split(",")]
    unknown = [name for name in asked if name not in VIEW_KINDS]
    if unknown:
        raise UserError(f"no view {unknown[0]!r}", fix=f"--views takes all, none, or some of {','.join(VIEW_KINDS)}")
    return tuple(kind for kind in VIEW_KINDS if kind in asked)


def view_names(kinds: Sequence[str]) -> list[str]:
    """Names of the views of each image, the whole first."""
    names = [WHOLE]
    for kind in kinds:
        names += [f"{kind}-{place}" for place in _PLACES] if kind.startswith("crop") else [kind]
    return names


def evaluation_views(image: Image.Image, size: int, kinds: Sequence[str]) -> list[np.ndarray]:
    """Squares uint8 [size, size, 3] of the views, in the order of `view_names`."""
    whole = square(image, size)
    views = [whole]
    for kind in kinds:
        if kind == "flip":
            views.append(whole[:, ::-1])
        elif kind == "shrunk":
            side = round(size * _SHRUNK)
            ground = Image.new("RGB", (size, size), (128, 128, 128))
            ground.paste(Image.fromarray(whole).resize((side, side), Image.Resampling.BICUBIC), ((size - side) // 2,) * 2)
            views.append(np.asarray(ground))
        else:
            side = (int(kind.removeprefix("crop")) / 100) ** 0.5
            for across, down in _PLACES.values():
                left, top = across * (1 - side), down * (1 - side)
                views.append(part(image, (left, top, left + side, top + side), size))
    return views


def part(image: Image.Image, edges: tuple[float, float, float, float], size: int) -> np.ndarray:
    """A part of a picture, edges in 0…1, squashed to uint8 [size, size, 3]."""
    width, height = image.size
    box = (edges[0] * width, edges[1] * height, edges[2] * width, edges[3] * height)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0))


def training_regions(image: Image.Image, size: int, regions: bool) -> list[tuple[str, np.ndarray]]:
    """Names and squares of what is embedded of a training image: the whole, and with `regions` its parts. See `telling` too."""
    parts = [(WHOLE, square(image, size))]
    if regions:
        parts += [(name, part(image, edges, size)) for name, edges in REGIONS.items()]
    return parts


def telling(squares: Sequence[np.ndarray]) -> np.ndarray:
    """Which views or regions of one picture can tell it from others, bool [n]; the first, the whole picture, always counts.

    A nearly even part (sky, a white ground) is like that of any other picture: parts below half of the picture's own contrast,
    and below `FLAT`, are neither indexed nor searched for.
    """
    contrasts = np.array([contrast(pixels) for pixels in squares])
    found = contrasts >= min(FLAT, contrasts[0] / 2)
    found[0] = True
    return found


def open_picture(data: bytes, size: int, detail: float = 1.0) -> Image.Image:
    """RGB picture, upright; a JPEG is decoded at a scale that leaves at least size / detail pixels on its shorter side.

    Args:
      detail: side of the smallest part that will be taken, in 0…1 of the picture's.

    Raises:
      ImageError: as `learning.images.decode` does.
    """
    return ImageOps.exif_transpose(decode(data, round(size / detail)))
