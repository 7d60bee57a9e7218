"""Sizes of the paper's models (tables 18 to 20 of Radford et al., 2021), and of a tiny one for tests and the demo."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from wit_builder import files
from wit_builder.errors import UserError


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides a model's shape.

    Attributes:
      embed: width of the space that images and texts share.
      image_size: pixels a side.
      image_layers: blocks of each of a ResNet's four stages, or one number, a ViT's layers.
      image_width: a ResNet's channels after its stem (the last stage has 32 times as many), or a ViT's width.
      image_heads: of a ResNet's attention pool, or of a ViT's layers.
      patch: pixels a side of a ViT's patches; 0 for a ResNet.
      text: `transformer`, or `cbow` (the mean of the token embeddings).
      context: tokens of the longest text, start and end included.
      projection: `linear`, CLIP's; `nonlinear` adds ConVIRT's hidden layer.
      logit_bias: a learned number added to all logits, as SigLIP needs.
    """

    embed: int
    image_size: int
    image_layers: tuple[int, ...]
    image_width: int
    image_heads: int
    patch: int = 0
    text: str = "transformer"
    text_width: int = 512
    text_heads: int = 8
    text_layers: int = 12
    context: int = 77
    vocabulary: int = 49_408
    projection: str = "linear"
    logit_bias: bool = False

    def __post_init__(self) -> None:
        problems = [
            ("text must be transformer or cbow", self.text not in ("transformer", "cbow")),
            ("projection must be linear or nonlinear", self.projection not in ("linear", "nonlinear")),
            ("image_layers must hold four numbers for a ResNet, one for a ViT", len(self.image_layers) != (1 if self.patch else 4)),
            ("text_width must be a multiple of text_heads", self.text_width % self.text_heads != 0),
            ("the width of the image features must be a multiple of image_heads", self.image_features % self.image_heads != 0),
            (f"image_size must be a multiple of {self.patch or 32}", self.image_size % (self.patch or 32) != 0),
            ("context must be at least 3", self.context < 3),
        ]
        for problem, present in problems:
            if present:
                raise UserError(problem, where="model", fix="see --model")

    @property
    def is_vit(self) -> bool:
        return self.patch > 0

    @property
    def image_features(self) -> int:
        """Width of the image features before the projection."""
        return self.image_width if self.is_vit else self.image_width * 32

    def to_json(self) -> dict:
        return dataclasses.asdict(self) | {"image_layers": list(self.image_layers)}

    @classmethod
    def from_json(cls, value: dict) -> ModelConfig:
        """Raises UserError where a name is unknown or one is missing."""
        kinds = {field.name: field.type for field in dataclasses.fields(cls)}
        unknown = sorted(set(value) - set(kinds))
        if unknown:
            raise UserError(f"unknown {', '.join(unknown)}", where="model", fix=f"it knows {', '.join(sorted(kinds))}")
        wrong = [name for name, given in value.items() if not _is_size(given, kinds[name], least=0 if name == "patch" else 1)]
        if wrong:
            raise UserError(f"{', '.join(wrong)} cannot be that", where="model", fix="sizes are whole numbers from 1")
        try:
            return cls(**{**value, "image_layers": tuple(value["image_layers"])})
        except (TypeError, KeyError) as error:
            raise UserError(f"a model needs more than that: {error}", where="model") from error


def _is_size(value: object, kind: str, least: int) -> bool:
    """Whether a value of a file is of a field's kind and, where it is a size, such that a tensor could have it."""
    if kind.startswith("tuple"):
        return isinstance(value, (list, tuple)) and bool(value) and all(_is_size(one, "int", 1) for one in value)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= 1 << 22
    return isinstance(value, bool if kind == "bool" else str)


def _resnet(embed, size, layers, width, heads, text_width, text_heads):
    return ModelConfig(embed, size, layers, width, heads, text_width=text_width, text_heads=text_heads)


def _vit(embed, size, patch, layers, width, heads, text_width=512, text_heads=8):
    return ModelConfig(embed, size, (layers,), width, heads, patch, text_width=text_width, text_heads=text_heads)


MODELS = {
    "RN50": _resnet(1024, 224, (3, 4, 6, 3), 64, 32, 512, 8),
    "RN101": _resnet(512, 224, (3, 4, 23, 3), 64, 32, 512, 8),
    "RN50x4": _resnet(640, 288, (4, 6, 10, 6), 80, 40, 640, 10),
    "RN50x16": _resnet(768, 384, (6, 8, 18, 8), 96, 48, 768, 12),
    "RN50x64": _resnet(1024, 448, (3, 15, 36, 10), 128, 64, 1024, 16),
    "ViT-B/32": _vit(512, 224, 32, 12, 768, 12),
    "ViT-B/16": _vit(512, 224, 16, 12, 768, 12),
    "ViT-L/14": _vit(768, 224, 14, 24, 1024, 16, 768, 12),
    "ViT-L/14@336": _vit(768, 336, 14, 24, 1024, 16, 768, 12),
    # A ResNet of the same make for 64-pixel pictures: stages at 16, 8, 4 and 2 pixels a side.
    "tiny": ModelConfig(128, 64, (1, 1, 1, 1), 16, 8, text_width=64, text_heads=2, text_layers=2, context=32, vocabulary=4_096),
}

LEARNING_RATES = {"RN50x16": 4e-4, "RN50x64": 3.6e-4, "ViT-L/14": 4e-4, "ViT-L/14@336": 2e-5, "tiny": 2e-3}  # 5e-4 for the others


def model_config(name: str) -> ModelConfig:
    """Sizes by the paper's name (`ViT-B-32` is understood too), or from a JSON file with ModelConfig's fields.

    Raises:
      UserError: where there is no such model.
    """
    plain = {known.replace("/", "-").replace("@", "-").lower(): config for known, config in MODELS.items()}
    found = plain.get(name.replace("/", "-").replace("@", "-").lower())
    if found:
        return found
    if name.endswith(".json"):
        return ModelConfig.from_json(files.read_object(name))
    raise UserError(f"no model named {name}", fix=f"one of {', '.join(MODELS)}, or a JSON file")
