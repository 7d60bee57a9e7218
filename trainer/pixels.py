"""Pictures as parameters: parametrisations that make what is optimised readable, and the ascent itself.

Olah, Mordvintsev and Schubert (2017), "Feature Visualization": optimising the Fourier coefficients of decorrelated colours
spreads the gradient over all frequencies, and shaking the picture at each step leaves only what survives small movements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wit_builder.progress import progress

# Root of the covariance of colours over ImageNet, as published with Lucid: rows red, green, blue.
_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
START = 0.01  # standard deviation of fresh coefficients


def _noise(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """[n, …] of normal noise, each drawn from a seed of its own."""
    return START * torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


class Fourier(nn.Module):
    """Pictures by their spectrum: frequency f weighs 1/f, as in photographs, in decorrelated colours.

    Args:
      height, width: pixels.
      seeds: one for each picture, n of them; a picture's start does not depend on the others.
    """

    def __init__(self, height: int, width: int, seeds: Sequence[int]) -> None:
        super().__init__()
        self.height, self.width = height, width
        self.spectrum = nn.Parameter(_noise((3, height, width // 2 + 1, 2), seeds))  # [n, 3, h, w/2 + 1, 2]
        frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width))  # [h, w/2 + 1], cycles a pixel
        self.register_buffer("scale", 1 / frequency.clamp(min=1 / max(height, width)))
        colours = torch.tensor(_COLOURS)
        self.register_buffer("colours", colours / colours.norm(dim=0).max())

    def forward(self) -> Tensor:
        """Images [n, 3, h, w] in 0…1."""
        spectrum = torch.view_as_complex(self.spectrum) * self.scale
        planes = torch.fft.irfft2(spectrum, s=(self.height, self.width), norm="ortho") / 4
        return torch.sigmoid(torch.einsum("ndhw,cd->nchw", planes, self.colours))


class Plain(nn.Module):
    """Pictures by their pixels: logits of the values, independent of one another. Arguments are those of `Fourier`."""

    def __init__(self, height: int, width: int, seeds: Sequence[int]) -> None:
        super().__init__()
        self.logits = nn.Parameter(_noise((3, height, width), seeds))  # [n, 3, h, w]

    def forward(self) -> Tensor:
        """Images [n, 3, h, w] in 0…1."""
        return torch.sigmoid(self.logits)


PARAMETRISATIONS: dict[str, Callable[..., nn.Module]] = {"fourier": Fourier, "pixels": Plain}


@dataclass(frozen=True)
class Shake:
    """A random small movement of each picture, on a grey ground that pads it: one rotation, scale and shift.

    Attributes:
      jitter: largest shift, as a share of the side.
      rotate: largest angle, in degrees, either way.
      scale: largest change of size: 0.1 is from 1/1.1 to 1.1.
    """

    jitter: float = 1 / 16
    rotate: float = 10.0
    scale: float = 0.1

    def __call__(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """[n, 3, h, w] of the same, each picture moved as its own generator says."""
        draws = torch.stack([torch.rand(4, generator=generator, dtype=torch.float64) for generator in generators]) * 2 - 1  # [n, 4]
        angle, size = draws[:, 0] * math.radians(self.rotate), (1 + self.scale) ** draws[:, 1]
        cos, sin, (height, width) = angle.cos() / size, angle.sin() / size, images.shape[-2:]
        # Coordinates run from -1 to 1 over each side: the aspect ratio keeps a rotation a rotation.
        rows = [torch.stack([cos, -sin * height / width, 2 * self.jitter * draws[:, 2]], dim=1)]
        rows += [torch.stack([sin * width / height, cos, 2 * self.jitter * draws[:, 3]], dim=1)]
        grid = F.affine_grid(torch.stack(rows, dim=1).to(images), list(images.shape), align_corners=False)
        return F.grid_sample(images - 0.5, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + 0.5


def as_bytes(images: Tensor) -> np.ndarray:
    """uint8 [n, h, w, 3] of images [n, 3, h, w] in 0…1."""
    return (images.detach().float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def optimise(picture: nn.Module, loss: Callable[[Tensor], Tensor], steps: int, rate: float = 0.05, label: str = "pictures") -> np.ndarray:
    """Change pictures so that each one's loss falls, by Adam; they don't influence one another.

    Args:
      picture: a module without arguments that gives images [n, 3, h, w] in 0…1, such as `Fourier`.
      loss: of images, [n].
      steps: of gradient descent.
      rate: the learning rate.
      label: of the progress line.

    Returns:
      Losses before each step, float32 [steps, n].
    """
    optimiser = torch.optim.Adam(picture.parameters(), lr=rate)
    losses = []
    with progress(label, steps, "step") as line:
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            found = loss(picture())
            found.sum().backward()
            optimiser.step()
            losses.append(found.detach())
            line.update()
    return torch.stack(losses).float().cpu().numpy()
