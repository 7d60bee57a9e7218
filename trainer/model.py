"""CLIP: an image encoder and a text encoder into one space. Parameter names and numbers are those of OpenAI's models."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.resnet import ResNet
from trainer.sizes import ModelConfig
from trainer.transformer import Transformer, VisionTransformer

MAX_LOGIT_SCALE = math.log(100)  # the paper clamps the logarithm, so that logits are scaled by 100 at most


def image_tower(config: ModelConfig) -> VisionTransformer | ResNet:
    """The image encoder, its weights not yet drawn."""
    if config.is_vit:
        (layers,) = config.image_layers
        return VisionTransformer(config.image_size, config.patch, config.image_width, layers, config.image_heads, config.embed)
    return ResNet(config.image_size, config.image_layers, config.image_width, config.image_heads, config.embed)


class CLIP(nn.Module):
    """Image and text towers with a learned logit scale.

    A token array holds the end-of-text token as its largest id; what stands after the first one is padding and does not
    matter, so a batch may be cut to its longest text without changing the result.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = image_tower(config)
        self.token_embedding = nn.Embedding(config.vocabulary, config.text_width)
        if config.text == "transformer":
            self.positional_embedding = nn.Parameter(torch.empty(config.context, config.text_width))
            self.transformer = Transformer(config.text_width, config.text_layers, config.text_heads, causal=True)
        self.ln_final = nn.LayerNorm(config.text_width)
        self.text_projection = nn.Parameter(torch.empty(config.text_width, config.embed))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(10 if config.logit_bias else 1 / 0.07)))
        if config.logit_bias:
            self.logit_bias = nn.Parameter(torch.tensor(-10.0))
        if config.projection == "nonlinear":
            self.image_head = nn.Linear(config.embed, config.embed)
            self.text_head = nn.Linear(config.embed, config.embed)

    def initialise(self) -> None:
        """Draw fresh weights, as the paper and OpenAI's released code do, from torch's generator."""
        self.visual.initialise()
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        if self.config.text == "transformer":
            nn.init.normal_(self.positional_embedding, std=0.01)
            self.transformer.initialise()
        nn.init.normal_(self.text_projection, std=self.config.text_width**-0.5)

    def image_features(self, images: Tensor) -> Tensor:
        """[b, features] before the projection, of normalised images [b, 3, s, s]: what probes are fitted on."""
        return self.visual.features(images)

    def encode_image(self, images: Tensor) -> Tensor:
        """[b, e], not normalised, of normalised images [b, 3, s, s]."""
        return self.project_image(self.visual.features(images))

    def project_image(self, features: Tensor) -> Tensor:
        """[b, e], not normalised, of image features [b, features]."""
        embedding = self.visual.project(features)
        return self.image_head(F.relu(embedding)) if self.config.projection == "nonlinear" else embedding

    def text_features(self, tokens: Tensor) -> Tensor:
        """[b, w] before the projection, of token ids [b, l], l ≤ context."""
        x = self.token_embedding(tokens)  # [b, l, w]
        end = tokens.argmax(dim=-1)  # [b], of the first end-of-text token
        if self.config.text == "cbow":
            places = torch.arange(tokens.shape[1], device=tokens.device)
            inside = ((places > 0) & (places < end[:, None])).to(x.dtype)  # [b, l], without start and end
            mean = (x * inside[..., None]).sum(dim=1) / inside.sum(dim=1, keepdim=True).clamp(min=1)
            return self.ln_final(mean)
        x = self.transformer(x + self.positional_embedding[: x.shape[1]].to(x.dtype))
        return self.ln_final(x[torch.arange(len(x), device=x.device), end])

    def encode_text(self, tokens: Tensor) -> Tensor:
        """[b, e], not normalised, of token ids [b, l]."""
        features = self.text_features(tokens)
        embedding = features @ self.text_projection.to(features.dtype)
        return self.text_head(F.relu(embedding)) if self.config.projection == "nonlinear" else embedding

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of unit length, float32: [b, e] of images and [b, e] of texts."""
        return F.normalize(self.encode_image(images).float(), dim=-1), F.normalize(self.encode_text(tokens).float(), dim=-1)


def recompute_activations(model: nn.Module, wanted: bool = True) -> None:
    """Gradient checkpointing: less memory for about a third more computation."""
    for module in model.modules():
        if isinstance(module, (Transformer, ResNet)):
            module.recompute = wanted


def halve_text(model: CLIP) -> None:
    """Keep the text encoder's matrices in bfloat16; gains and biases, which are few, stay float32."""
    for name, parameter in model.named_parameters():
        if not name.startswith("visual.") and parameter.ndim >= 2:
            parameter.data = parameter.data.bfloat16()


def build(config: ModelConfig, seed: int | None = 0) -> CLIP:
    """A model with fresh weights drawn from `seed`, or from torch's generator where that is None."""
    if seed is None:
        model = CLIP(config)
        model.initialise()
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(config)
        model.initialise()
    return model
