"""Words written on pictures: where, how large, and in letters that can be read on any ground."""

from __future__ import annotations

import functools

from PIL import Image, ImageDraw, ImageFont

from wit_builder.errors import UserError

# Share of the free space to the left of the words, and above them.
PLACES = {
    "top": (0.5, 0.0), "middle": (0.5, 0.5), "bottom": (0.5, 1.0),
    "top-left": (0.0, 0.0), "top-right": (1.0, 0.0), "bottom-left": (0.0, 1.0), "bottom-right": (1.0, 1.0),
}  # fmt: skip
MARGIN = 0.03  # of the picture's side, around the words
SMALLEST = 5  # pixels of a font
LONGEST = 60  # characters that are written


@functools.lru_cache(maxsize=256)
def font_of(path: str, pixels: int) -> ImageFont.FreeTypeFont:
    """A font of a height; Pillow's own where no file is given.

    Raises:
      UserError: where the file is no font.
    """
    if not path:
        return ImageFont.load_default(pixels)
    try:
        return ImageFont.truetype(path, pixels, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise UserError(f"no font: {error}", where=path, fix="give a TrueType or OpenType file") from error


def seen_square(image: Image.Image, size: int) -> Image.Image:
    """The part of a picture that the model sees, the square in the centre, at `size` to twice that, so that words on it are sharp."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    wanted = min(max(side, size), 2 * size)
    return image.resize((wanted, wanted), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def letter(square: Image.Image, text: str, size: float, place: str, *, box: bool = False, font: str = "") -> Image.Image:
    """A copy of a square RGB picture with words on it: white with a black rim, or black in a white box.

    Args:
      square: the picture.
      text: one line; what is beyond LONGEST characters is cut.
      size: height of the font, as a share of the side; smaller where the words would be wider than the picture.
      place: one of PLACES.
      box: whether the ground behind the words is white.
      font: a font file.
    """
    text, side = text[:LONGEST], square.width
    room = side * (1 - 2 * MARGIN)
    pixels = max(SMALLEST, round(size * side))
    while True:
        chosen, rim = font_of(font, pixels), 0 if box else max(1, pixels // 16)
        left, top, right, bottom = chosen.getbbox(text, stroke_width=rim)
        if right - left <= room or pixels == SMALLEST:
            break
        pixels = max(SMALLEST, min(pixels - 1, int(pixels * room / (right - left))))
    across, down = PLACES[place]
    x, y = (side * MARGIN + share * (room - extent) for share, extent in ((across, right - left), (down, bottom - top)))
    made = square.copy()
    draw = ImageDraw.Draw(made)
    if box:
        pad = side * MARGIN / 2
        draw.rectangle((x - pad, y - pad, x + right - left + pad, y + bottom - top + pad), fill="white")
    draw.text((x - left, y - top), text, "black" if box else "white", font=chosen, stroke_width=rim, stroke_fill=None if box else "black")
    return made
