"""Small pictures for report pages, decoded and encoded again by us."""

from __future__ import annotations

import io
from collections.abc import Collection

from learning.images import ImageError, decode
from wit_builder.evalsets import EvaluationSet

SIDE = 192  # pixels of the longer side


def thumbnails(opened: EvaluationSet, split: str, keys: Collection[str], side: int = SIDE) -> dict[str, bytes]:
    """JPEG of each picture whose eval_key is asked for; those that cannot be decoded are left out."""
    found: dict[str, bytes] = {}
    for example in opened.examples(split):
        if len(found) == len(keys):
            break
        if example.eval_key not in keys:
            continue
        try:
            image = decode(example.image, side)
        except ImageError:
            continue
        image.thumbnail((side, side))
        stream = io.BytesIO()
        image.save(stream, "jpeg", quality=85)
        found[example.eval_key] = stream.getvalue()
    return found
