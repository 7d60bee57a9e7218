"""The paper's two predictive baselines, on the same image tower: captioning, and prediction of a text's words.

Both return a chunk's share of the loss; both classify zero-shot by the log-probability of a class's prompt given the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer import loss as losses
from trainer.model import build, image_tower
from trainer.sizes import ModelConfig
from trainer.transformer import Transformer

PREFIX = 4  # tokens that the image becomes, in front of the text


class Captioner(nn.Module):
    """A transformer that writes the text, token by token, behind four tokens made from the image (VirTex-like)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.text_width
        self.visual = image_tower(config)
        self.prefix = nn.Linear(config.image_features, PREFIX * width)
        self.token_embedding = nn.Embedding(config.vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(PREFIX + config.context, width))
        self.transformer = Transformer(width, config.text_layers, config.text_heads, causal=True)
        self.ln_final = nn.LayerNorm(width)

    def initialise(self) -> None:
        """As CLIP's towers."""
        self.visual.initialise()
        nn.init.normal_(self.prefix.weight, std=self.config.image_features**-0.5)
        nn.init.zeros_(self.prefix.bias)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        self.transformer.initialise()

    def logits(self, features: Tensor, tokens: Tensor) -> Tensor:
        """[b, l − 1, v], of the tokens 1…l−1, given image features [b, f] and tokens [b, l]."""
        prefix = self.prefix(features).unflatten(-1, (PREFIX, -1))  # [b, 4, w]
        x = torch.cat([prefix, self.token_embedding(tokens).to(prefix.dtype)], dim=1)  # [b, 4 + l, w]
        x = self.transformer(x + self.positional_embedding[: x.shape[1]].to(x.dtype))
        return self.ln_final(x[:, PREFIX:-1]) @ self.token_embedding.weight.t().to(x.dtype)

    def forward(self, images: Tensor, tokens: Tensor, valid: Tensor, count: Tensor) -> Tensor:
        scores = losses.caption_log_probability(self.logits(self.visual.features(images), tokens), tokens)  # [b]
        return -(scores * valid).sum() / count

    def class_scores(self, images: Tensor, prompts: Tensor) -> Tensor:
        """[b, c]: mean log-probability of the tokens of each prompt [c, l], given each image."""
        features = self.visual.features(images)
        columns = []
        for prompt in prompts:  # one class at a time: logits [b, l, v] are large
            tokens = prompt.expand(len(images), -1)
            columns.append(losses.caption_log_probability(self.logits(features, tokens), tokens))
        return torch.stack(columns, dim=1)


class WordPredictor(nn.Module):
    """A linear layer that predicts which tokens the text holds, in whatever order."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = image_tower(config)
        self.words = nn.Linear(config.image_features, config.vocabulary)

    def initialise(self) -> None:
        self.visual.initialise()
        nn.init.normal_(self.words.weight, std=self.config.image_features**-0.5)
        nn.init.zeros_(self.words.bias)

    def forward(self, images: Tensor, tokens: Tensor, valid: Tensor, count: Tensor) -> Tensor:
        scores = losses.words_log_probability(self.words(self.visual.features(images)), tokens)  # [b]
        return -(scores * valid).sum() / count

    def class_scores(self, images: Tensor, prompts: Tensor) -> Tensor:
        """[b, c]: mean log-probability of the words of each prompt [c, l], given each image."""
        scores = losses.words_log_probability(self.words(self.visual.features(images))[:, None], prompts)
        wordless = prompts.argmax(dim=-1) < 2  # end follows start
        return scores.masked_fill(wordless, float("-inf"))


PREDICTIVE = {"captioning": Captioner, "bow-prediction": WordPredictor}


def build_for(objective: str, config: ModelConfig, seed: int) -> nn.Module:
    """The model that an objective trains, with fresh weights."""
    if objective not in PREDICTIVE:
        return build(config, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # The attention pool's or ViT's projection stays unused: features come from before it, as a probe's do.
        model = PREDICTIVE[objective](config)
        model.initialise()
    for name, parameter in model.named_parameters():
        if name.startswith(("visual.attnpool.c_proj", "visual.proj")):
            parameter.requires_grad_(False)
    return model
