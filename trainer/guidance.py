"""CLIP as a loss: from pictures to how well they fit texts, differentiable, to guide a generator or to optimise pixels.

    loaded = load("model.safetensors")
    guidance = Guidance(loaded, {"a red circle": 1.0, "a blurry photo": -0.3}, views=Cutouts(32))
    images = generator(latent)                 # [b, 3, h, w] in 0…1, any size
    guidance(images).sum().backward()          # the latent gets a gradient, the model's weights get none
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.load import Loaded, Preprocessing
from trainer.model import CLIP
from wit_builder.errors import UserError

DISTANCES = ("cosine", "spherical")
_NEARLY_ONE = 1 - 1e-6  # the angle's derivative has no bound at a cosine of one


def resized(images: Tensor, size: int) -> Tensor:
    """[b, 3, size, size] of [b, 3, h, w]: the shorter side to `size`, bicubic and anti-aliased as in preprocessing, then the centre.

    The same as `learning.images.crop_resized`, but for rounding to whole numbers: values may overshoot 0…1 at an edge.
    """
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    shorter = min(height, width)
    tall, wide = int(size * height / shorter), int(size * width / shorter)
    top, left = round((tall - size) * 0.5), round((wide - size) * 0.5)
    whole = F.interpolate(images, (tall, wide), mode="bicubic", align_corners=False, antialias=True)
    return whole[..., top : top + size, left : left + size]


def normalised(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """The model's input, of images in 0…1: [b, 3, h, w] both."""
    mean, std = (torch.tensor(value, dtype=images.dtype, device=images.device) for value in (preprocessing.mean, preprocessing.std))
    return (images - mean[:, None, None]) / std[:, None, None]


def frozen(model: CLIP) -> CLIP:
    """The same model on the same memory, in evaluation mode, whose weights take no gradient; the given one stays as it is."""
    with torch.device("meta"):
        made = CLIP(model.config)
    made.load_state_dict(model.state_dict(), assign=True)
    return made.requires_grad_(False).eval()


@dataclass(frozen=True)
class Cutouts:
    """Random square cuts of a picture, all brought to the model's size: what is seen at many sizes and places holds for the picture.

    Attributes:
      count: cuts of each picture.
      whole: how many of these are the picture itself, preprocessed as in evaluation.
      smallest: side of the smallest cut, as a share of the picture's shorter side.
      power: above 1 there are more small cuts, below 1 more large ones.
      flip: whether half of the cuts are mirrored.
      noise: standard deviation of the noise on each cut is drawn from 0 up to this, in units of 0…1.
    """

    count: int = 16
    whole: int = 1
    smallest: float = 0.4
    power: float = 1.0
    flip: bool = True
    noise: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.whole <= self.count or self.count < 1 or not 0 < self.smallest <= 1 or not self.power > 0 or not self.noise >= 0:
            raise UserError(f"no such cutouts: {self}", fix="count ≥ 1, whole up to count, smallest in 0…1, power above 0, noise ≥ 0")

    def __call__(self, images: Tensor, size: int, generator: torch.Generator | None = None) -> Tensor:
        """[count, b, 3, size, size] of images [b, 3, h, w]; a cut is at the same place of all images."""
        height, width = images.shape[-2:]
        shorter = min(height, width)
        made = [resized(images, size)] * self.whole
        for _ in range(self.count - self.whole):
            draw = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
            side = min(shorter, max(1, round(shorter * (self.smallest + (1 - self.smallest) * draw[0] ** self.power))))
            top, left = int(draw[1] * (height - side + 1)), int(draw[2] * (width - side + 1))
            cut = resized(images[..., top : top + side, left : left + side], size)
            if self.flip and draw[3] < 0.5:
                cut = cut.flip(-1)
            if self.noise:
                cut = cut + self.noise * draw[4] * torch.randn(cut.shape, generator=generator).to(cut)
            made.append(cut)
        return torch.stack(made)


class Guidance(nn.Module):
    """A loss over pictures that falls as they come to fit their texts.

    Args:
      loaded: the model, its tokenizer and preprocessing (`trainer.load.load`).
      texts: what pictures should show; as a mapping, the weight of each, below zero for what they should not show.
      views: cuts that the picture is judged by; none judges it as evaluation does.
      distance: `cosine`, 1 − cosine; or `spherical`, half the squared angle, which pulls harder from far away.

    Raises:
      UserError: where there is no text, one is empty, or the weights are no numbers, or all zero.
    """

    def __init__(
        self, loaded: Loaded, texts: Mapping[str, float] | Sequence[str], *, views: Cutouts | None = None, distance: str = "cosine"
    ) -> None:
        super().__init__()
        given = dict(texts) if isinstance(texts, Mapping) else dict.fromkeys([texts] if isinstance(texts, str) else texts, 1.0)
        if not given or not all(text.strip() for text in given):
            raise UserError("an empty text guides nowhere", fix="say what the picture should show")
        if not all(math.isfinite(weight) for weight in given.values()) or not any(given.values()):
            raise UserError(f"these are no weights of texts: {list(given.values())}", fix="numbers, not all of them zero")
        if distance not in DISTANCES:
            raise UserError(f"no distance {distance!r}", fix=f"one of {', '.join(DISTANCES)}")
        self.model = frozen(loaded.model)
        self.preprocessing, self.views, self.distance = loaded.preprocessing, views, distance
        self.texts = tuple(given)
        weight = self.model.token_embedding.weight
        with torch.no_grad():
            vectors = self.model.encode_text(loaded.tokenize(list(given)).to(weight.device))
            vectors = F.normalize(vectors if vectors.dtype == torch.float64 else vectors.float(), dim=-1)  # weights may be bfloat16
        self.register_buffer("vectors", vectors, persistent=False)  # [t, e]
        self.register_buffer("weights", torch.tensor(list(given.values()), dtype=vectors.dtype, device=vectors.device), persistent=False)

    def _cosines(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """[views, b, t]."""
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(f"images are float [b, 3, h, w] in 0…1, not {images.dtype} {list(images.shape)}")
        size = self.preprocessing.size
        views = self.views(images, size, generator) if self.views else resized(images, size)[None]  # [v, b, 3, s, s]
        embedding = self.model.encode_image(normalised(views.flatten(0, 1), self.preprocessing))  # [v · b, e]
        unit = F.normalize(embedding.to(self.vectors.dtype), dim=-1)
        with torch.autocast(unit.device.type, enabled=False):  # the cosines themselves in full
            return (unit @ self.vectors.T).unflatten(0, views.shape[:2])

    def scores(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Cosine of each picture with each text, the mean over its views: [b, t] of float images [b, 3, h, w] in 0…1.

        Args:
          images: on the model's device; of any size.
          generator: on the CPU, of the cuts and their noise; torch's own where it is left out.

        Raises:
          ValueError: where the images have another shape or type.
        """
        return self._cosines(images, generator).mean(dim=0)

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Loss of each picture, [b]: Σ weight · distance / Σ |weight|; arguments and errors as for `scores`."""
        cosines = self._cosines(images, generator)
        if self.distance == "cosine":
            distances = 1 - cosines
        else:
            distances = cosines.clamp(-_NEARLY_ONE, _NEARLY_ONE).acos().square() / 2
        return distances.mean(dim=0) @ self.weights / self.weights.abs().sum()
