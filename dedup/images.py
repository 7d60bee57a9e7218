"""Encoded images to the detector's squares, and training images in a bounded pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from learning.images import ImageError, decode
from wit_builder import files, shards
from wit_builder.errors import UserError
from wit_builder.hashing import hash64

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FILES_A_PART = 1000
TINY = 32  # pixels; a shorter side below this is reported as a confounder
UNIFORM = 4.0  # standard deviation of grey values, 0…255; below it a picture is nearly one colour


def square(image: Image.Image, size: int) -> np.ndarray:
    """The whole picture squashed to uint8 [size, size, 3]: nothing is cut away, the aspect ratio is not kept."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0))


def load_square(data: bytes, size: int) -> np.ndarray:
    """Encoded bytes to uint8 [size, size, 3]. Raises ImageError as `learning.images.decode` does."""
    return square(decode(data, size), size)


def contrast(pixels: np.ndarray) -> float:
    """Standard deviation of the grey values, 0…255, of uint8 [height, width, 3]."""
    return float(pixels.mean(2, dtype=np.float32).std())


def confounders(pixels: np.ndarray, image: Image.Image) -> str:
    """Why a match of this picture may mean nothing: `tiny`, `uniform`, both with a comma, or nothing.

    Args:
      pixels: uint8 [size, size, 3].
      image: the picture it was made from; one decoded at a reduced scale is never tiny.
    """
    reasons = ["tiny"] if min(image.size) < TINY else []
    if contrast(pixels) < UNIFORM:
        reasons.append("uniform")
    return ", ".join(reasons)


def find_images(folder: str) -> list[str]:
    """Image files anywhere under a folder, by their suffix, sorted.

    Raises:
      UserError: where there is no folder, or no image in it.
    """
    if not files.is_folder(folder):
        raise UserError("no such folder", where=folder, fix="give a folder of images")
    found = [path for path in files.below(folder) if path.lower().endswith(IMAGE_SUFFIXES)]
    if not found:
        tars = any(path.endswith(".tar") for path in files.below(folder))
        fix = "unpack the tars first" if tars else f"their names must end in one of {' '.join(IMAGE_SUFFIXES)}"
        raise UserError("no images there", where=folder, fix=fix)
    return found


@dataclass(frozen=True)
class Part:
    """Some of the training images: one shard, or some files of a folder."""

    name: str
    read: Callable[[], Iterator[bytes]]


def parts_of_shards(pattern: str) -> list[Part]:
    """One part for each whole shard. Raises as `wit_builder.shards.find_shards` does."""
    return [
        Part(shard.name, lambda shard=shard: (sample.image for sample in shards.read_samples(shard)))
        for shard in shards.find_shards(pattern)
    ]


def parts_of_folder(folder: str) -> list[Part]:
    """One part for every thousand images under a folder. Raises as `find_images` does."""
    paths = find_images(folder)
    return [
        Part(str(start), lambda start=start: (files.read_bytes(path) for path in paths[start : start + FILES_A_PART]))
        for start in range(0, len(paths), FILES_A_PART)
    ]


class Pool:
    """Batches of training images, at most `capacity` of them decoded in memory at a time.

    Parts are read in an order that depends on seed and epoch alone; the images of a filled pool are dealt out in another
    such order. Where all images fit, they are decoded once and kept.

    Attributes:
      skipped: images that could not be decoded, by reason, each time they were met.
      held_out: images kept from training for calibration, uint8 [H, 3, size, size]; see `hold_out`.
    """

    def __init__(self, parts: Sequence[Part], size: int, capacity: int, seed: int, threads: int) -> None:
        self.parts, self.size, self.capacity, self.seed, self.threads = list(parts), size, capacity, seed, threads
        self.skipped: Counter[str] = Counter()
        self.held_out = torch.zeros(0, 3, size, size, dtype=torch.uint8)
        self._held_names: set[tuple[str, int]] = set()
        self._whole = False  # whether all images fit
        self._current = self.held_out  # those in memory

    def hold_out(self, limit: int) -> None:
        """Keep images from training: of as few parts as it takes, at most a tenth of each, at most `limit`."""
        kept: list[np.ndarray] = []
        for part in sorted(self.parts, key=lambda part: hash64("hold out", self.seed, part.name)):
            total = sum(1 for _ in part.read())
            ranks = sorted(range(total), key=lambda index: hash64("hold out", self.seed, part.name, index))
            chosen = {(part.name, index) for index in ranks[: min(limit - len(kept), total // 10)]}
            if chosen:
                kept += [pixels for index, pixels in self._decoded(part, {index for _, index in chosen})]
                self._held_names |= chosen
            if len(kept) >= limit:
                break
        if kept:
            self.held_out = _stack(kept)

    def some(self, limit: int) -> Tensor:
        """Up to `limit` of the training images now in memory, uint8 [n, 3, size, size]."""
        return self._current[:limit]

    def __len__(self) -> int:
        return len(self._current)

    def batches(self, batch_size: int, epoch: int = 0, first_part: int = 0, offset: int = 0) -> Iterator[tuple[Tensor, dict[str, int]]]:
        """Endless batches uint8 [batch_size, 3, size, size], each with the arguments that go on after it.

        Raises:
          UserError: where there are fewer usable images than a batch holds.
        """
        while True:
            order = sorted(self.parts, key=lambda part: hash64("parts", self.seed, epoch, part.name))
            dealt = offset > 0 or first_part > 0
            while first_part < len(order):
                images, next_part = self._fill(order, first_part)
                shuffled = torch.from_numpy(np.random.default_rng([self.seed, epoch, first_part]).permutation(len(images)))
                while offset + batch_size <= len(images):
                    offset += batch_size
                    dealt = True
                    state = {"epoch": epoch, "first_part": first_part, "offset": offset}
                    yield images[shuffled[offset - batch_size : offset]], state
                first_part, offset = next_part, 0
            if not dealt:
                raise UserError(f"fewer than {batch_size} usable images", fix="give more images, or a smaller --batch-size")
            epoch, first_part = epoch + 1, 0

    def _fill(self, order: Sequence[Part], first_part: int) -> tuple[Tensor, int]:
        """Images of as many parts as fit, and the number of the part after them."""
        if self._whole:
            return self._current, len(order)
        kept: list[np.ndarray] = []
        position = first_part
        while position < len(order) and (len(kept) < self.capacity):
            part = order[position]
            kept += [pixels for index, pixels in self._decoded(part) if (part.name, index) not in self._held_names]
            position += 1
        images = _stack(kept) if kept else torch.zeros(0, 3, self.size, self.size, dtype=torch.uint8)
        self._current, self._whole = images, first_part == 0 and position == len(order)
        return images, position

    def _decoded(self, part: Part, only: set[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Number in the part, and pixels, of every image that decodes, or of some."""

        def work(numbered: tuple[int, bytes]) -> tuple[int, np.ndarray | str]:
            index, data = numbered
            try:
                return index, load_square(data, self.size)
            except ImageError as error:
                return index, str(error)

        numbered = ((index, data) for index, data in enumerate(part.read()) if only is None or index in only)
        with ThreadPoolExecutor(self.threads) as pool:
            for index, pixels in pool.map(work, numbered):
                if isinstance(pixels, str):
                    self.skipped[pixels] += 1
                else:
                    yield index, pixels


def _stack(kept: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(kept)).permute(0, 3, 1, 2).contiguous()
