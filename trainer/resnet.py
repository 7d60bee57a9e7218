"""The paper's ResNet: a three-convolution stem, anti-aliased strides, attention pooling. Parameter names are OpenAI's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

EXPANSION = 4  # channels leaving a bottleneck, over those inside it


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolution; a stride is an average pool before the convolution, on the shortcut too."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        channels_out = channels * EXPANSION
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(channels, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample = None
        if stride > 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(OrderedDict([
                ("-1", nn.AvgPool2d(stride) if stride > 1 else nn.Identity()),
                ("0", nn.Conv2d(channels_in, channels_out, 1, bias=False)),
                ("1", nn.BatchNorm2d(channels_out)),
            ]))

    def forward(self, x: Tensor) -> Tensor:  # [b, in, h, w] to [b, 4 · channels, h / stride, w / stride]
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(self.avgpool(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(y + shortcut, inplace=True)


class AttentionPool(nn.Module):
    """Multi-head attention over all places, whose one query is their mean."""

    def __init__(self, places: int, channels: int, heads: int, embed: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.empty(places + 1, channels))
        self.k_proj = nn.Linear(channels, channels)
        self.q_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, embed)

    def initialise(self) -> None:
        std = self.c_proj.in_features**-0.5
        nn.init.normal_(self.positional_embedding, std=std)
        for linear in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(linear.weight, std=std)
            nn.init.zeros_(linear.bias)

    def features(self, x: Tensor) -> Tensor:
        """[b, c], before the projection `c_proj`, of [b, c, h, w]."""
        x = x.flatten(2).transpose(1, 2)  # [b, hw, c]
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding.to(x.dtype)  # [b, 1 + hw, c]
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [b, heads, 1 or 1 + hw, c / heads]
            for y in (self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x))
        )
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1)  # [b, c]


class ResNet(nn.Module):
    """Stages at 1/4, 1/8, 1/16 and 1/32 of the picture's side."""

    def __init__(self, size: int, layers: Sequence[int], width: int, heads: int, embed: int) -> None:
        super().__init__()
        self.recompute = False  # gradient checkpointing
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        channels = width
        for stage, blocks in enumerate(layers):
            inside = width * 2**stage
            made = []
            for block in range(blocks):
                made.append(Bottleneck(channels, inside, stride=2 if stage and not block else 1))
                channels = inside * EXPANSION
            self.add_module(f"layer{stage + 1}", nn.Sequential(*made))
        self.attnpool = AttentionPool((size // 32) ** 2, channels, heads, embed)

    @property
    def blocks(self) -> list[Bottleneck]:
        return [block for layer in (self.layer1, self.layer2, self.layer3, self.layer4) for block in layer]

    def initialise(self) -> None:
        """Attention pool by its input's width; the last gain of each block zero, so that it starts as its shortcut."""
        self.attnpool.initialise()
        for block in self.blocks:
            nn.init.zeros_(block.bn3.weight)

    def features(self, images: Tensor) -> Tensor:
        """[b, 32 · width] before the projection, of images [b, 3, s, s]."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)  # [b, w/2, s/2, s/2]
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = F.relu(self.bn3(self.conv3(x)), inplace=True)  # [b, w, s/2, s/2]
        x = F.avg_pool2d(x, 2)  # [b, w, s/4, s/4]
        for block in self.blocks:
            if self.recompute and self.training:
                x = _recomputed(block, x)
            else:
                x = block(x)
        return self.attnpool.features(x)  # of [b, 32w, s/32, s/32]

    def project(self, features: Tensor) -> Tensor:
        return self.attnpool.c_proj(features)  # [b, e]


def _recomputed(block: Bottleneck, x: Tensor) -> Tensor:
    """Gradient checkpointing of one block; the second forward pass leaves the running statistics alone."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    calls = 0

    def run(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 1:
            return block(x)
        momenta = [norm.momentum for norm in norms]
        counts = [norm.num_batches_tracked.clone() for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        try:
            return block(x)
        finally:
            for norm, momentum, count in zip(norms, momenta, counts):
                norm.momentum = momentum
                norm.num_batches_tracked.copy_(count)

    return checkpoint(run, x, use_reentrant=False)
