"""Downloaded bytes to the image that is stored: what is refused and why, how it is resized, how it is encoded.

Bytes from the web are hostile: only known formats are opened, and the number of pixels is read from the header and
judged before anything is decoded. Resize modes carry img2dataset's names and meanings. What is stored is always
encoded anew, in RGB and upright, so no metadata of the original survives in it.
"""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

RESIZE_MODES = ("no", "border", "keep_ratio", "keep_ratio_largest", "center_crop")
ENCODE_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}

# Reasons why an image is refused.
HTML = "html_not_image"
UNKNOWN_FORMAT = "unknown_format"
BROKEN = "broken_image"
TRUNCATED = "truncated_image"
TOO_MANY_PIXELS = "too_many_pixels"
TOO_SMALL = "image_too_small"
TOO_LONG = "aspect_ratio_too_large"
REASONS = frozenset({HTML, UNKNOWN_FORMAT, BROKEN, TRUNCATED, TOO_MANY_PIXELS, TOO_SMALL, TOO_LONG})

MAX_PIXELS = 64_000_000

# A JPEG is decoded at 1/2, 1/4 or 1/8 only where what comes out is still this many times the wanted size:
# its mean PSNR against a full decode is then above 38 dB (docs/download.md).
DRAFT_MARGIN = 1.25

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)

# Decoded images above this many pixels are worked on one at a time in a process, so that memory stays bounded.
_LARGE_PIXELS = 8_000_000
_one_large = threading.Lock()

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # the limit here is stricter than Pillow's


@dataclass(frozen=True)
class ImageRules:
    """How images are judged, resized and encoded.

    Attributes:
      image_size: side in pixels, as the mode takes it.
      resize_mode: one of `RESIZE_MODES`: `no` keeps the size; `keep_ratio` makes the shorter side `image_size`,
        `keep_ratio_largest` the longer; `center_crop` is `keep_ratio` and then the middle square; `border` is
        `keep_ratio_largest` and then a white border up to a square.
      only_if_bigger: leave images alone whose side, the one that the mode looks at, is not above `image_size`.
      quality: of JPEG and WebP, 1 to 100.
      encode_format: one of `ENCODE_FORMATS`.
      min_size: shorter sides below this many pixels are refused.
      max_aspect_ratio: longer sides above this many times the shorter are refused; 0 is no limit.
      max_pixels: more pixels than this in the header are refused.
      save_exif: hand the EXIF fields on.
    """

    image_size: int = 256
    resize_mode: str = "border"
    only_if_bigger: bool = False
    quality: int = 95
    encode_format: str = "jpg"
    min_size: int = 0
    max_aspect_ratio: float = 0.0
    max_pixels: int = MAX_PIXELS
    save_exif: bool = False


class Geometry(NamedTuple):
    """Where the stored image's pixels come from.

    Attributes:
      scaled: width and height of the whole image after scaling, in pixels.
      crop: left, top, right, bottom of the part that is kept, in pixels of the scaled image.
      canvas: width and height of the stored image; larger than the crop where a border is added.
    """

    scaled: tuple[int, int]
    crop: tuple[int, int, int, int]
    canvas: tuple[int, int]


class Encoded(NamedTuple):
    """An image as it is stored. Sizes in pixels; the original's as it is meant to be seen."""

    data: bytes
    width: int
    height: int
    original_width: int
    original_height: int
    exif: dict[str, str] | None


def sniff(head: bytes) -> str | None:
    """Why a file that begins with these bytes (32 suffice) cannot be an image we take; None where it may be one."""
    if (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or head[4:8] == b"ftyp"
    ):
        return None
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return HTML if text.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<!--")) else UNKNOWN_FORMAT


def judge(width: int, height: int, rules: ImageRules) -> str | None:
    """Why an image of this size is refused, or None."""
    if width < 1 or height < 1:
        return BROKEN
    if width * height > rules.max_pixels:
        return TOO_MANY_PIXELS
    if min(width, height) < rules.min_size:
        return TOO_SMALL
    if rules.max_aspect_ratio and max(width, height) > rules.max_aspect_ratio * min(width, height):
        return TOO_LONG
    return None


def geometry(width: int, height: int, rules: ImageRules) -> Geometry:
    """What becomes of an image of this size."""
    size = rules.image_size
    whole = Geometry((width, height), (0, 0, width, height), (width, height))
    if rules.resize_mode == "no":
        return whole
    by_shorter = rules.resize_mode in ("keep_ratio", "center_crop")
    side = min(width, height) if by_shorter else max(width, height)
    if rules.only_if_bigger and side <= size:
        return whole
    scaled = (max(1, round(width * size / side)), max(1, round(height * size / side)))
    if rules.resize_mode == "center_crop":
        left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
        return Geometry(scaled, (left, top, left + size, top + size), (size, size))
    canvas = (size, size) if rules.resize_mode == "border" else scaled
    return Geometry(scaled, (0, 0, *scaled), canvas)


def encode_image(data: bytes, rules: ImageRules) -> Encoded | str:
    """The image to store for downloaded bytes, or the reason why there is none.

    Never raises on account of the bytes, whatever they are.
    """
    refused = sniff(data[:32])
    if refused:
        return refused
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError:
        return TOO_MANY_PIXELS
    except Exception:  # noqa: BLE001  plugins raise anything at all on bytes made to hurt them
        return BROKEN
    with image:
        refused = judge(*image.size, rules)
        if refused:
            return refused
        try:
            return _encode(image, rules)
        except Exception as error:  # noqa: BLE001
            return TRUNCATED if "truncated" in str(error).lower() else BROKEN
        except MemoryError:
            return TOO_MANY_PIXELS


def _encode(image: Image.Image, rules: ImageRules) -> Encoded:
    original = image.size
    plan = geometry(*original, rules)
    orientation = _orientation(image)
    exif = _exif_fields(image) if rules.save_exif else None
    if image.format in ("JPEG", "MPO"):
        image.draft(None, (int(plan.scaled[0] * DRAFT_MARGIN + 0.5), int(plan.scaled[1] * DRAFT_MARGIN + 0.5)))
    if image.size[0] * image.size[1] > _LARGE_PIXELS:
        with _one_large:
            stored = _resized(image, plan)
    else:
        stored = _resized(image, plan)
    if orientation in _UPRIGHT:
        stored = stored.transpose(_UPRIGHT[orientation])
        if orientation in _SIDEWAYS:
            original = original[::-1]
    buffer = io.BytesIO()
    settings = {} if rules.encode_format == "png" else {"quality": rules.quality}
    stored.save(buffer, ENCODE_FORMATS[rules.encode_format], **settings)
    return Encoded(buffer.getvalue(), *stored.size, *original, exif)


def _resized(image: Image.Image, plan: Geometry) -> Image.Image:
    """The stored image's pixels, RGB."""
    image.load()
    image = _workable(image)
    left, top, right, bottom = plan.crop
    size = (right - left, bottom - top)
    across, down = image.size[0] / plan.scaled[0], image.size[1] / plan.scaled[1]
    if image.size != plan.scaled or size != plan.scaled:
        box = (left * across, top * down, min(right * across, image.size[0]), min(bottom * down, image.size[1]))
        image = image.resize(size, Image.Resampling.BICUBIC, box=box)
    if image.mode == "RGBA" or plan.canvas != size:
        canvas = Image.new("RGB", plan.canvas, "white")
        corner = ((plan.canvas[0] - size[0]) // 2, (plan.canvas[1] - size[1]) // 2)
        canvas.paste(image, corner, image if image.mode == "RGBA" else None)
        return canvas
    return image if image.mode == "RGB" else image.convert("RGB")


def _workable(image: Image.Image) -> Image.Image:
    """The same picture in a mode that resizing takes: RGB, RGBA, L, CMYK or YCbCr, eight bits a channel."""
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "I":
        values = np.asarray(image)
        return Image.fromarray((values >> 8 if values.max(initial=0) > 255 else values).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        return Image.fromarray((values * 255 if values.max(initial=0) <= 1 else values).clip(0, 255).astype(np.uint8))
    return image if image.mode in ("RGB", "L", "CMYK", "YCbCr") else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  broken EXIF says nothing
        return 1


def _exif_fields(image: Image.Image, longest: int = 500) -> dict[str, str]:
    """EXIF fields by name, as text cut to `longest` characters; fields of raw bytes are left out."""
    try:
        found = image.getexif()
        fields = {**found, **found.get_ifd(ExifTags.IFD.Exif)}
    except Exception:  # noqa: BLE001
        return {}
    named = ((ExifTags.TAGS.get(tag, str(tag)), value) for tag, value in fields.items() if not isinstance(value, bytes))
    return {name: str(value).encode("utf-8", "replace").decode()[:longest] for name, value in sorted(named, key=lambda item: item[0])}
