"""A trained model with all that goes with it: sizes, tokenizer, preprocessing. One checkpoint file holds the four."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from learning import checkpoint
from learning.images import CLIP_MEAN, CLIP_STD, crop_resized, decode, to_tensor
from trainer.model import CLIP
from trainer.predictive import PREDICTIVE, build_for
from trainer.sizes import ModelConfig
from trainer.tokenizer import Tokenizer
from wit_builder.errors import UserError

MODEL_PREFIX = "model."  # of the model's tensors in a checkpoint, beside the optimiser's


@dataclass(frozen=True)
class Preprocessing:
    """How an encoded picture becomes the model's input: bicubic to `size` on the shorter side, centre crop, normalised."""

    size: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __call__(self, data: bytes) -> np.ndarray:
        """uint8 [size, size, 3] of an encoded picture. Raises learning.images.ImageError."""
        return crop_resized(decode(data), self.size)

    def to_tensor(self, batch: np.ndarray | Tensor, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
        """Normalised [b, 3, size, size] of uint8 [b, size, size, 3]."""
        return to_tensor(batch, device, mean=self.mean, std=self.std, dtype=dtype)

    def to_json(self) -> dict:
        return {"size": self.size, "mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode, its tokenizer and preprocessing, and the rest of the checkpoint's metadata.

    The model is a CLIP, except where `load` was told to take the predictive baselines too.
    """

    model: CLIP
    tokenizer: Tokenizer
    preprocessing: Preprocessing
    metadata: dict[str, Any]

    def tokenize(self, texts: list[str]) -> Tensor:
        """Token ids int64 [texts, context]."""
        return torch.from_numpy(self.tokenizer.encode(texts, self.model.config.context)).long()


def describe(model: nn.Module, tokenizer: Tokenizer, objective: str = "clip") -> dict[str, Any]:
    """The part of a checkpoint's metadata that `load` needs."""
    return {
        "model": model.config.to_json(),
        "objective": objective,
        "tokenizer": tokenizer.to_json(),
        "preprocessing": Preprocessing(model.config.image_size).to_json(),
    }


def load(path: str, device: torch.device | str = "cpu", *, predictive: bool = False) -> Loaded:
    """Load a checkpoint that `trainer train` wrote.

    Args:
      path: of the checkpoint.
      device: where the model goes.
      predictive: take a captioner or word predictor as well as a CLIP.

    Raises:
      UserError: where the file is not one, or not whole.
    """
    tensors, metadata = checkpoint.load(path)
    if not metadata.get("model") or not metadata.get("tokenizer"):
        raise UserError("this checkpoint holds no CLIP model with its tokenizer", where=path, fix="give one that trainer train wrote")
    objective = str(metadata.get("objective", "clip"))
    if objective in PREDICTIVE and not predictive:
        raise UserError(f"trained for {objective}: it embeds no text", where=path, fix="trainer compare-objectives evaluates such models")
    weights = {name.removeprefix(MODEL_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(MODEL_PREFIX)}
    try:
        saved = metadata["preprocessing"]
        preprocessing = Preprocessing(saved["size"], tuple(saved["mean"]), tuple(saved["std"]))
        tokenizer = Tokenizer.from_json(metadata["tokenizer"])
        model = build_for(objective, ModelConfig.from_json(metadata["model"]), seed=0)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:  # written by hand
        raise UserError(f"what it says of its model is broken: {error!r}", where=path, fix="use another copy") from error
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"the weights do not fit the model: {error}", where=path, fix="use another copy") from error
    return Loaded(model=model.to(device).eval(), tokenizer=tokenizer, preprocessing=preprocessing, metadata=metadata)
