"""Evaluation sets of the made world in CLIP_benchmark's webdataset layout, and the copies that are planted in its web."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from sample_world.chance import chance
from sample_world.pictures import Scene, draw, encode, make_scene
from sample_world.vocabulary import CLASSES, COLOURS
from wit_builder import files

SHARD_SAMPLES = 200

_TEMPLATES = {
    "objects": ("a photo of a {c}", "picture of a {c}", "a {c}", "{c}", "this is a {c}"),
    "colours": ("{c}", "something {c}", *(f"a {{c}} {thing}" for thing in CLASSES)),
}
_CLASS_NAMES = {"objects": CLASSES, "colours": tuple(COLOURS)}
SETS = tuple(_CLASS_NAMES)


@dataclass(frozen=True)
class Example:
    """One evaluation image: its set, place in it, scene and label."""

    dataset: str
    number: int
    label: int
    scene: Scene

    @property
    def eval_key(self) -> str:
        """Name of the image in all of the project's files: split, tar, key in the tar."""
        return f"test/{self.number // SHARD_SAMPLES}.tar/{self.key}"

    @property
    def key(self) -> str:
        """Key in the tar."""
        return f"s{self.number:07d}"

    def stored(self) -> bytes:
        """The image file in the set."""
        return encode(draw(self.scene), "jpeg", 92)


def examples(dataset: str, seed: int, per_class: int) -> list[Example]:
    """The examples of one set, its classes mixed, from a seed that no picture of the web is made from."""
    names = _CLASS_NAMES[dataset]
    made = []
    for number in range(per_class * len(names)):
        label = number % len(names)
        key = f"evaluation/{dataset}/{seed}/{number}"
        scene = make_scene(key, thing=names[label]) if dataset == "objects" else make_scene(key, colour=names[label])
        made.append(Example(dataset, number, label, scene))
    return made


def write_set(folder: str, dataset: str, stored: list[tuple[Example, bytes]]) -> None:
    """Write one set: class names, templates, number of tars, tars of `KEY.jpg` and `KEY.cls`."""
    files.write_bytes(os.path.join(folder, "classnames.txt"), "".join(f"{name}\n" for name in _CLASS_NAMES[dataset]).encode())
    templates = "".join(f"{template}\n" for template in _TEMPLATES[dataset])
    files.write_bytes(os.path.join(folder, "zeroshot_classification_templates.txt"), templates.encode())
    shards = [stored[first : first + SHARD_SAMPLES] for first in range(0, len(stored), SHARD_SAMPLES)]
    files.write_bytes(os.path.join(folder, "test", "nshards.txt"), f"{len(shards)}\n".encode())
    for number, shard in enumerate(shards):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for example, data in shard:
                for suffix, content in (("jpg", data), ("cls", str(example.label).encode())):
                    member = tarfile.TarInfo(f"{example.key}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        files.write_bytes(os.path.join(folder, "test", f"{number}.tar"), buffer.getvalue())


def _cropped(share: float) -> Callable[[Image.Image, np.random.Generator], Image.Image]:
    def crop(picture: Image.Image, g: np.random.Generator) -> Image.Image:
        """A corner or middle part that keeps this share of the area."""
        width, height = (int(side * share**0.5) for side in picture.size)
        left, top = int(g.integers(picture.width - width + 1)), int(g.integers(picture.height - height + 1))
        return picture.crop((left, top, left + width, top + height))

    return crop


def _captioned(picture: Image.Image, g: np.random.Generator) -> Image.Image:
    copy = picture.copy()
    pen = ImageDraw.Draw(copy)
    y = int(g.uniform(0.05, 0.8) * copy.height)
    pen.rectangle([0, y, copy.width, y + 16], (16, 16, 16))
    pen.text((6, y + 2), "sample.invalid (c) 2026", (240, 240, 240))
    return copy


def _framed(picture: Image.Image, g: np.random.Generator) -> Image.Image:
    tone = tuple(int(v) for v in g.integers(200, 256, 3))
    edge = int(g.integers(6, 20))
    return ImageOps.expand(picture, (edge, edge + 14, edge, edge), tone)


# What people do to a picture before they post it again. Only the first two leave all of it in place.
TRANSFORMS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "recompressed": lambda picture, g: picture,
    "resized": lambda picture, g: picture.resize(
        tuple(max(48, round(side * g.uniform(0.5, 0.55))) for side in picture.size), Image.Resampling.BICUBIC
    ),
    "cropped to 80%": _cropped(0.8),
    "cropped to 50%": _cropped(0.5),
    "flipped": lambda picture, g: ImageOps.mirror(picture),
    "rotated": lambda picture, g: picture.rotate(float(g.choice([-1, 1]) * g.uniform(4, 8)), Image.Resampling.BICUBIC, expand=True),
    "brightened": lambda picture, g: ImageEnhance.Contrast(ImageEnhance.Brightness(picture).enhance(g.uniform(1.1, 1.3))).enhance(1.2),
    "captioned": _captioned,
    "framed": _framed,
}
EASY = ("recompressed", "resized")


def transformed(picture: Image.Image, transform: str, key: str) -> bytes:
    """A planted copy's file: the transform, then a JPEG of another quality."""
    g = chance("transform", transform, key)
    changed = TRANSFORMS[transform](picture.convert("RGB"), g)
    quality = int(g.integers(30, 56)) if transform == "recompressed" else int(g.integers(70, 91))
    return encode(changed, "jpeg", quality)
