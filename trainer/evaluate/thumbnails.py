"""Small pictures for report pages, decoded and encoded again by us."""

from __future__ import annotations

import io
from collections.abc import Collection

from learning.images import ImageError, decode
from wit_builder.evalsets import EvaluationSet

SIDE = 192  # pixels of the longer side


def thumbnail(data: bytes, side: int = SIDE) -> bytes:
    """JPEG of an encoded picture, at most `side` pixels a side; empty where it cannot be decoded."""
    try:
        image = decode(data, side)
    except ImageError:
        return b""
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "jpeg", quality=85)
    return stream.getvalue()


def thumbnails(opened: EvaluationSet, split: str, keys: Collection[str], side: int = SIDE) -> dict[str, bytes]:
    """JPEG of each picture whose eval_key is asked for; those that cannot be decoded are left out."""
    found: dict[str, bytes] = {}
    for example in opened.examples(split):
        if len(found) == len(keys):
            break
        if example.eval_key in keys and (small := thumbnail(example.image, side)):
            found[example.eval_key] = small
    return found
