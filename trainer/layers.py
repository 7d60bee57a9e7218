"""The layers of an image tower by name, and what they answer to pictures."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.model import CLIP
from wit_builder.errors import UserError

FEATURES, EMBEDDING = "features", "embedding"  # of the whole tower: before the projection, and after it


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
      name: of the module within the image tower; FEATURES and EMBEDDING beside them.
      kind: class of the module.
      channels: of its answer.
      height, width: places of its answer; 1 and 1 where it has none. A ViT's class token is no place.
    """

    name: str
    kind: str
    channels: int
    height: int
    width: int


def _as_maps(answer: Tensor, side: int) -> Tensor | None:
    """[b, c, h, w] of maps, of tokens [b, 1 + side², c] with the class token left out, or of vectors [b, c]; None for anything else."""
    if answer.ndim == 4:
        return answer
    if answer.ndim == 3 and answer.shape[1] == 1 + side**2:
        return answer[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    if answer.ndim == 3 and answer.shape[1] == 1:
        return answer[:, 0, :, None, None]
    return answer[:, :, None, None] if answer.ndim == 2 else None


def _side(model: CLIP) -> int:
    """Places on a side of a ViT's grid, or of the last map of a ResNet."""
    return model.config.image_size // (model.config.patch or 32)


def answer(model: CLIP, name: str, images: Tensor) -> Tensor:
    """What a layer answers, [b, c, h, w], to normalised images [b, 3, s, s].

    A module that a ReLU changes in place answers what the ReLU leaves.
    """
    if name in (FEATURES, EMBEDDING):
        vectors = model.image_features(images) if name == FEATURES else model.encode_image(images)
        return vectors[:, :, None, None]
    found: list[Tensor] = []
    handle = model.visual.get_submodule(name).register_forward_hook(lambda module, given, made: found.append(made))
    try:
        model.encode_image(images)
    finally:
        handle.remove()
    return _as_maps(found[0], _side(model))


def layers_of(model: CLIP) -> dict[str, Layer]:
    """Layers that `answer` takes, by name, in the order in which they answer."""
    shapes: dict[str, tuple[str, torch.Size]] = {}

    def note(name: str):
        def hook(module, given, made) -> None:
            maps = _as_maps(made, _side(model)) if isinstance(made, Tensor) else None
            if maps is not None and name not in shapes:
                shapes[name] = (type(module).__name__, maps.shape)

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.visual.named_modules() if name]
    parameter = next(model.parameters())
    try:
        with torch.inference_mode():
            size = model.config.image_size
            features = model.image_features(torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype))
            embedding = model.project_image(features)
    finally:
        for handle in handles:
            handle.remove()
    shapes[FEATURES] = ("before the projection", features[:, :, None, None].shape)
    shapes[EMBEDDING] = ("after the projection", embedding[:, :, None, None].shape)
    return {name: Layer(name, kind, *shape[1:]) for name, (kind, shape) in shapes.items()}


def layer_named(layers: dict[str, Layer], name: str) -> Layer:
    """Raises UserError where no layer has this name."""
    if name not in layers:
        near = difflib.get_close_matches(name, layers, 3)
        hint = f"perhaps {', '.join(near)}" if near else f"one of them is {EMBEDDING}"
        raise UserError(f"no layer {name!r}", where="--layer", fix=f"{hint}; --list names all")
    return layers[name]
