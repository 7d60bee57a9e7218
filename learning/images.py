"""Encoded images to tensors: decoded at a reduced JPEG scale where that is enough, normalised on the device.

Workers hand over bytes as uint8 [height, width, 3]; the division, mean and standard deviation happen once a batch, where
the model is, which moves a quarter of the bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of RGB in 0…1, over CLIP's training images
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

MAX_PIXELS = 100_000_000  # a picture that claims more is refused before it is decoded
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


class ImageError(ValueError):
    """Bytes that are no image we decode; the message is a short fixed reason."""


def decode(data: bytes, shorter_side: int = 0) -> Image.Image:
    """RGB picture of encoded bytes.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where the result still has at least `shorter_side` pixels on its
    shorter side: the inverse transform then does less work. 0 keeps the full size.

    Raises:
      ImageError: `not an image`, `too large` or `broken image`.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError("too large") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError("not an image") from error
    if image.width * image.height > MAX_PIXELS:
        raise ImageError("too large")
    try:
        if shorter_side and image.format == "JPEG":
            # Pillow picks the largest reduction that keeps both sides at or above what is asked for.
            image.draft("RGB", (shorter_side, shorter_side))
        return image.convert("RGB")
    except Exception as error:  # a hostile file can make a decoder raise nearly anything
        raise ImageError("broken image") from error


def crop_resized(image: Image.Image, size: int, across: float = 0.5, down: float = 0.5, side: float = 1.0) -> np.ndarray:
    """Square crop of the picture whose shorter side is resized to `size / side`, uint8 [size, size, 3].

    `across` and `down` in 0…1 place the crop: 0.5 is the centre. `side` in 0…1 is its side over the picture's shorter one.
    Only the crop is resampled (bicubic, anti-aliased); its place is rounded to whole pixels of the resized picture, so that
    this equals resizing first and cropping then.
    """
    width, height = image.size
    if (width, height) == (size, size) and side == 1.0:
        return np.asarray(image)
    scale = size / side / min(width, height)
    # Size of the whole resized picture, rounded down as torchvision's Resize does.
    whole = [max(size, int(scale * length + 1e-9)) for length in (width, height)]
    left, top = (round((length - size) * place) for length, place in zip(whole, (across, down)))
    unit_x, unit_y = width / whole[0], height / whole[1]  # pixels of the picture to one of the resized
    box = (left * unit_x, top * unit_y, (left + size) * unit_x, (top + size) * unit_y)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


@lru_cache
def _row(mean: tuple[float, ...], std: tuple[float, ...], width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What a row of pixels is reduced by and multiplied with, [width * 3] each. Kept, since bringing it to a GPU waits for the GPU."""
    with torch.inference_mode(False):  # training may use them later
        centre, spread = torch.tensor([m * 255 for m in mean]), torch.tensor([1 / (s * 255) for s in std])
        return centre.repeat(width).to(device), spread.repeat(width).to(device)


def to_tensor(
    batch: np.ndarray | Tensor,
    device: torch.device | str = "cpu",
    *,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Normalised images [batch, 3, height, width], channels-last in memory, of uint8 [batch, height, width, 3].

    A pinned tensor is copied without waiting for the device.
    """
    pixels = torch.as_tensor(batch).to(device, non_blocking=True)  # uint8 [b, h, w, 3]
    width = pixels.shape[2]
    centre, spread = _row(tuple(mean), tuple(std), width, pixels.device)
    # By whole rows and in place: three channels at a time, and a new array for each step, are slow on a CPU.
    normal = pixels.flatten(2).float().sub_(centre).mul_(spread).to(dtype)  # [b, h, w * 3]
    return normal.unflatten(2, (width, 3)).permute(0, 3, 1, 2)  # a view: memory stays [b, h, w, 3]
