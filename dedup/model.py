"""The near-duplicate detector's network: a ResNet with weight normalisation, anti-aliasing and GELU.

The paper's (Radford et al. 2021, appendix C) is a ResNet-50 whose batch normalisation is replaced by weight
normalisation, because the statistics of a batch leak which views belong together. Smaller widths serve CPUs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wit_builder.errors import UserError


@dataclass(frozen=True)
class DetectorConfig:
    """Shape of a detector.

    Attributes:
      resolution: height and width of the input, in pixels; images are squashed to it, so that all of each is seen.
      stem: channels after the stem.
      widths: channels of each stage's 3×3 convolutions; each stage but the first halves the resolution.
      blocks: residual blocks of each stage.
      bottleneck: blocks of three convolutions that end four times as wide (ResNet-50), or of two.
      pooling: `mean` over positions, or `gem`: generalised mean with exponent 3, which favours what stands out.
      dimension: length of an embedding.
    """

    resolution: int = 112
    stem: int = 24
    widths: tuple[int, ...] = (24, 48, 96, 192)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    bottleneck: bool = False
    pooling: str = "gem"
    dimension: int = 256

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DetectorConfig:
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


SIZES = {
    "resnet50": DetectorConfig(
        resolution=224, stem=64, widths=(64, 128, 256, 512), blocks=(3, 4, 6, 3), bottleneck=True, pooling="mean", dimension=512
    ),
    "small": DetectorConfig(),  # 1.6 million parameters
    "tiny": DetectorConfig(resolution=64, stem=16, widths=(16, 32, 64, 128), blocks=(1, 1, 1, 1), dimension=128),
}


class WeightNormConv2d(nn.Module):
    """Convolution whose filters are gain · direction / ‖direction‖ (Salimans and Kingma, 2016).

    In its `calibrating` state the next batch sets gain and bias so that every output channel has mean zero and the
    standard deviation `scale`: their data-dependent initialisation, which stands in for batch normalisation's.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * 0.05)
        self.gain = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.stride, self.padding, self.scale = stride, kernel // 2, scale
        self.calibrating = False

    def weight(self) -> Tensor:
        """The filters, [outputs, inputs, kernel, kernel]."""
        norm = self.direction.flatten(1).norm(dim=1).clamp_min(1e-12)
        return self.direction * (self.gain / norm)[:, None, None, None]

    def forward(self, x: Tensor) -> Tensor:  # [B, inputs, H, W] -> [B, outputs, H/stride, W/stride]
        y = F.conv2d(x, self.weight(), self.bias, self.stride, self.padding)
        if self.calibrating:
            with torch.no_grad():
                deviation, mean = torch.std_mean(y.float(), dim=(0, 2, 3))  # [outputs]
                factor = self.scale / deviation.clamp_min(1e-5)
                self.gain.mul_(factor)
                self.bias.sub_(mean).mul_(factor)
                y = F.conv2d(x, self.weight(), self.bias, self.stride, self.padding)
        return y


def blur_halve(x: Tensor) -> Tensor:
    """Binomial blur (1, 2, 1) and stride two, as two average pools: [B, C, H, W] -> [B, C, H/2, W/2] (Zhang, 2019)."""
    return F.avg_pool2d(F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, stride=1), 2, stride=2)


class Block(nn.Module):
    """Residual block; where it halves the resolution, a blur comes before anything that strides."""

    def __init__(self, inputs: int, width: int, *, halve: bool, bottleneck: bool) -> None:
        super().__init__()
        outputs = width * 4 if bottleneck else width
        self.halve = halve
        if bottleneck:
            shapes = [(inputs, width, 1), (width, width, 3), (width, outputs, 1)]
        else:
            shapes = [(inputs, width, 3), (width, outputs, 3)]
        # The branch starts at half the shortcut's size, so that depth does not blow the sum up.
        scales = [1.0] * (len(shapes) - 1) + [0.5]
        self.branch = nn.ModuleList(WeightNormConv2d(*shape, scale=scale) for shape, scale in zip(shapes, scales))
        self.shortcut = WeightNormConv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.halve:
            x = blur_halve(x)
        y = x
        for index, convolution in enumerate(self.branch):
            y = convolution(F.gelu(y) if index else y)
        return F.gelu(self.shortcut(x) + y)


class Detector(nn.Module):
    """Images to unit vectors: `forward(pixels [B, 3, R, R] in 0…1) -> [B, dimension]`."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.ModuleList([WeightNormConv2d(3, config.stem, 5, stride=2), WeightNormConv2d(config.stem, config.stem, 3)])
        layers, inputs = [], config.stem
        for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks)):
            for index in range(blocks):
                # The first stage halves too where the input is large: a quarter of 224 is ResNet's 56.
                halve = index == 0 and (stage > 0 or config.resolution > 160)
                layers.append(Block(inputs, width, halve=halve, bottleneck=config.bottleneck))
                inputs = width * 4 if config.bottleneck else width
        self.stages = nn.ModuleList(layers)
        self.projection = nn.Linear(inputs, config.dimension)
        nn.init.normal_(self.projection.weight, std=inputs**-0.5)
        nn.init.zeros_(self.projection.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels - 0.5) * 4.0
        for convolution in self.stem:
            x = F.gelu(convolution(x))
        for block in self.stages:
            x = block(x)
        x = x.float()
        if self.config.pooling == "gem":
            x = x.clamp_min(1e-4).pow(3).mean((2, 3)).pow(1 / 3)  # [B, C]
        else:
            x = x.mean((2, 3))
        return F.normalize(self.projection(x.to(self.projection.weight.dtype)).float(), dim=1)

    @torch.no_grad()
    def calibrate(self, pixels: Tensor) -> None:
        """Data-dependent initialisation from one batch of training images, [B, 3, R, R]."""
        convolutions = [module for module in self.modules() if isinstance(module, WeightNormConv2d)]
        for convolution in convolutions:
            convolution.calibrating = True
        self(pixels)
        for convolution in convolutions:
            convolution.calibrating = False


def build(size: str) -> Detector:
    """A detector of a named size, weights random.

    Raises:
      UserError: where there is no such size.
    """
    if size not in SIZES:
        raise UserError(f"no detector size {size!r}", fix=f"choose one of {', '.join(SIZES)}")
    return Detector(SIZES[size])
