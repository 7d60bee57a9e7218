"""Pictures of a folder that excite a unit most, beside the one that was optimised for it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learning.images import ImageError, crop_resized, decode
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import pictures
from trainer.evaluate.targets import Target, values_of
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet, Skipped
from wit_builder.parallel import available_cores
from wit_builder.progress import progress

ACROSS = 3  # pictures on a side of a montage
SIDE = 96  # pixels of each


def most_exciting(
    encoder: Encoder, opened: EvaluationSet, split: str, targets: Sequence[Target], against: Sequence[str], *, least: bool = False
) -> tuple[dict[str, list[dict[str, Any]]], Skipped]:
    """The pictures with the largest values for each target, or the smallest, the best first, equal ones in their order.

    Args:
      encoder: the model.
      opened: the pictures.
      split: of them.
      targets: what they are measured by.
      against: texts whose mean logit is subtracted from a text's.
      least: the smallest values instead.

    Returns:
      eval_key and value of up to ACROSS² pictures, by the target's name; and what could not be used.

    Raises:
      UserError: where no picture could be used.
    """
    groups = [list(group) for _, group in itertools.groupby(targets, key=lambda target: target.layer)]
    measures, ordered = [values_of(encoder, group, against) for group in groups], [target for group in groups for target in group]
    best, keys, skipped = np.empty((0, len(ordered)), np.float32), np.empty((0, len(ordered)), object), Skipped()
    found = pictures(opened.examples(split, skipped), encoder.loaded.preprocessing, skipped, available_cores())
    with progress(f"{opened.name}: pictures", None, "image") as line, torch.inference_mode():
        while batch := list(itertools.islice(found, encoder.batch_size)):
            pixels = torch.from_numpy(np.stack([image for _, image in batch])).to(encoder.device)  # uint8 [b, s, s, 3]
            images: Tensor = pixels.permute(0, 3, 1, 2).float() / 255
            values = torch.cat([measure(images) for measure in measures], dim=1).float().cpu().numpy()  # [b, targets]
            own = np.array([example.eval_key for example, _ in batch], object)
            both = np.concatenate([best, values])
            names = np.concatenate([keys, np.broadcast_to(own[:, None], values.shape)])
            order = np.argsort(both if least else -both, axis=0, kind="stable")[: ACROSS**2]
            best, keys = np.take_along_axis(both, order, axis=0), np.take_along_axis(names, order, axis=0)
            line.update(len(batch))
    if not len(best):
        raise UserError("no usable picture", where=opened.path, fix=f"its {split} split was looked through")
    return {
        target.name: [{"eval_key": key, "value": float(value)} for key, value in zip(keys[:, column], best[:, column])]
        for column, target in enumerate(ordered)
    }, skipped


def montages(opened: EvaluationSet, split: str, chosen: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, np.ndarray]:
    """The chosen pictures of each name as the model sees them, row by row: uint8 [ACROSS · SIDE, ACROSS · SIDE, 3], empty places white."""
    wanted: dict[str, list[tuple[str, int]]] = {}
    for name, ones in chosen.items():
        for place, one in enumerate(ones):
            wanted.setdefault(one["eval_key"], []).append((name, place))
    made = {name: np.full((ACROSS * SIDE, ACROSS * SIDE, 3), 255, np.uint8) for name in chosen}
    for example in opened.examples(split):
        if example.eval_key not in wanted:
            continue
        try:
            pixels = crop_resized(decode(example.image), SIDE)
        except ImageError:
            continue
        for name, place in wanted[example.eval_key]:
            top, left = (SIDE * part for part in divmod(place, ACROSS))
            made[name][top : top + SIDE, left : left + SIDE] = pixels
    return made
