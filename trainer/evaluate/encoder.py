"""A trained model as two functions, from pictures and from texts to vectors, in batches and in mixed precision."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from learning.checkpoint import digest_of
from trainer.load import Loaded, Preprocessing, load
from trainer.model import CLIP, build
from trainer.sizes import model_config
from trainer.tokenizer import load_tokenizer
from trainer.weights import initialise_from
from wit_builder.errors import UserError
from wit_builder.progress import progress

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TEXT_BATCH = 256
_AUTO = {"cuda": "bfloat16"}


@dataclass(frozen=True)
class Encoder:
    """A model that is ready to embed.

    Attributes:
      loaded: model in evaluation mode, on `device`, with its tokenizer and preprocessing.
      digest: SHA-256 of the weights, the tokenizer and the preprocessing.
      device: where it runs.
      precision: of matrix products and convolutions: float32, bfloat16 or float16 (mixed, weights stay float32).
      batch_size: images embedded at a time.
    """

    loaded: Loaded = field(repr=False)
    digest: str
    device: torch.device
    precision: str = "float32"
    batch_size: int = 64

    @property
    def image_size(self) -> int:
        """Pixels a side of the square pictures that the model takes."""
        return self.loaded.preprocessing.size

    @property
    def model(self) -> CLIP:
        return self.loaded.model

    @property
    def scale(self) -> float:
        """What cosines are multiplied by to become logits."""
        return float(self.model.logit_scale.detach().exp())

    @property
    def identity(self) -> str:
        """Everything that its vectors depend on, for cache keys."""
        return f"{self.digest} {self.device.type} {self.precision}"

    def autocast(self) -> AbstractContextManager:
        """Context in which the model computes in `precision`."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=TYPES[self.precision])

    @torch.inference_mode()
    def embed_images(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features before the projection float32 [b, w], and unit vectors float32 [b, e], of uint8 [b, s, s, 3]."""
        images = self.loaded.preprocessing.to_tensor(pixels, self.device)  # [b, 3, s, s]
        with self.autocast():
            features = self.model.image_features(images)
            embedding = self.model.project_image(features)
        return features.float().cpu().numpy(), F.normalize(embedding.float(), dim=-1).cpu().numpy()

    @torch.inference_mode()
    def embed_batch(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors float32 [b, e] of texts that are encoded together; one longer than the context is cut."""
        tokens = self.loaded.tokenize(texts)  # [b, context]
        end = int(tokens.argmax(dim=1).max())  # of the longest; padding beyond it does not matter
        with self.autocast():
            embedding = self.model.encode_text(tokens[:, : end + 1].to(self.device))
        return F.normalize(embedding.float(), dim=-1).cpu().numpy()

    def embed_texts(self, texts: Sequence[str], label: str = "texts") -> np.ndarray:
        """Unit vectors float32 [n, e], in batches, with a progress line of that label."""
        vectors = np.empty((len(texts), self.model.config.embed), np.float32)
        with progress(label, len(texts), "text") as line:
            for start in range(0, len(texts), TEXT_BATCH):
                batch = texts[start : start + TEXT_BATCH]
                vectors[start : start + len(batch)] = self.embed_batch(batch)
                line.update(len(batch))
        return vectors


def load_encoder(
    path: str, device: str = "auto", precision: str = "auto", batch_size: int = 64, *, model: str = "", tokenizer: str = ""
) -> Encoder:
    """The model of a checkpoint, ready to embed.

    Args:
      path: what `trainer train` wrote; or, with `model` and `tokenizer`, weights under OpenAI's, open_clip's or Hugging Face's names.
      device: `auto` is the GPU where there is one.
      precision: `auto` is bfloat16 on a GPU and float32 on a CPU.
      batch_size: images embedded at a time.
      model: the sizes of weights that do not carry their own (`trainer.sizes.model_config`).
      tokenizer: the one that they were trained with (`trainer.tokenizer.load_tokenizer`).

    Raises:
      UserError: where the checkpoint or the device is not usable.
    """
    chosen = choose_device(device)
    if bool(model) != bool(tokenizer):
        raise UserError("--model and --tokenizer go together", fix="give both for weights that carry neither, or none")
    loaded = _load_weights(path, model, tokenizer, chosen) if model else load(path, chosen)
    described = json.dumps([loaded.tokenizer.to_json(), loaded.preprocessing.to_json(), loaded.model.config.to_json()], sort_keys=True)
    digest = digest_of(loaded.model.state_dict(), described)
    return Encoder(loaded, digest, chosen, precision if precision != "auto" else _AUTO.get(chosen.type, "float32"), batch_size)


def _load_weights(path: str, model: str, tokenizer: str, device: torch.device) -> Loaded:
    read = load_tokenizer(tokenizer)
    made = build(dataclasses.replace(model_config(model), vocabulary=read.vocabulary))
    initialise_from(made, path)
    return Loaded(made.to(device).eval(), read, Preprocessing(made.config.image_size), {})


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one.

    Raises:
      UserError: where the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {name!r}", where="--device", fix="give cpu, or leave it out") from error
    return device
