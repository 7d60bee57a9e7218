"""Transformer blocks, shared by the text encoder and the ViT, and the ViT itself. Parameter names are OpenAI's."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), written with SiLU, whose backward pass needs fewer passes over memory."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(1.702 * x) / 1.702


class Attention(nn.Module):
    """Multi-head self-attention; `in_proj` holds queries, keys and values, one under the other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        batch, length, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # [b, l, 3w]
        q, k, v = qkv.view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)  # each [b, h, l, w/h]
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)  # [b, h, l, w/h]
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each behind a LayerNorm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(OrderedDict(c_fc=nn.Linear(width, width * 4), gelu=QuickGELU(), c_proj=nn.Linear(width * 4, width)))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:  # [b, l, w]
        x = x + self.attn(self.ln_1(x), causal)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A stack of blocks."""

    def __init__(self, width: int, layers: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.width, self.causal = width, causal
        self.recompute = False  # gradient checkpointing: activations within a block are computed again, not kept
        self.resblocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def initialise(self) -> None:
        """Normal weights whose deviation falls with width, and on the residual path with depth; biases zero."""
        width_std = self.width**-0.5
        residual_std = width_std * (2 * len(self.resblocks)) ** -0.5
        for block in self.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width_std)
            nn.init.normal_(block.attn.out_proj.weight, std=residual_std)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * self.width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=residual_std)
            for linear in (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj):
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:  # [b, l, w]
        for block in self.resblocks:
            if self.recompute and self.training:
                x = checkpoint(block, x, self.causal, use_reentrant=False)
            else:
                x = block(x, self.causal)
        return x


class VisionTransformer(nn.Module):
    """The paper's ViT: an extra LayerNorm before the blocks, the feature at a class token, a linear projection."""

    def __init__(self, size: int, patch: int, width: int, layers: int, heads: int, embed: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((size // patch) ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, causal=False)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, embed))

    def initialise(self) -> None:
        """Class token, positions and projection with deviation width^-0.5; the blocks as in the text encoder."""
        std = self.transformer.width**-0.5
        for parameter in (self.class_embedding, self.positional_embedding, self.proj):
            nn.init.normal_(parameter, std=std)
        self.transformer.initialise()

    def features(self, images: Tensor) -> Tensor:
        """[b, w] before the projection, of images [b, 3, s, s]."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)  # [b, p, w]
        first = self.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)  # [b, 1, w]
        x = torch.cat([first, patches], dim=1) + self.positional_embedding.to(patches.dtype)  # [b, 1 + p, w]
        x = self.transformer(self.ln_pre(x))
        return self.ln_post(x[:, 0])

    def project(self, features: Tensor) -> Tensor:
        return features @ self.proj.to(features.dtype)  # [b, e]
