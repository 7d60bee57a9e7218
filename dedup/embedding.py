"""A trained detector, ready to embed: images in, unit vectors in half precision out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch

from dedup.model import Detector, DetectorConfig
from dedup.whitening import TENSORS, Whitening, from_tensors
from learning import checkpoint
from wit_builder.errors import UserError
from wit_builder.outputs import sha256_of

KIND = "webimagetext detector"
WHITENING = "whitening."  # before the names of its tensors
BATCH = 32  # fixed, and filled up: the arithmetic, and so the last bits, must not depend on how many images there are


@dataclass
class Embedder:
    """A detector for inference.

    Attributes:
      model: in evaluation mode, on its device.
      metadata: what the checkpoint says: configuration, recipe, calibration.
      sha256: of the checkpoint file, in hex; names the embeddings made with it.
      whitening: what is done to the model's vectors; None: nothing.
    """

    model: Detector
    metadata: Mapping[str, Any]
    sha256: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    whitening: Whitening | None = None

    @property
    def resolution(self) -> int:
        return self.model.config.resolution

    @property
    def dimension(self) -> int:
        return self.whitening.dimension if self.whitening else self.model.config.dimension

    @torch.inference_mode()
    def embed(self, squares: Sequence[np.ndarray], *, indexed: bool = False) -> np.ndarray:
        """Unit vectors float16 [n, dimension] of uint8 squares [resolution, resolution, 3].

        Args:
          indexed: whether they are what is searched in (evaluation images), not what is searched for (training images). The
            two differ where scores are normalised (`dedup.whitening`).
        """
        result = np.zeros((len(squares), self.dimension), np.float16)
        for start in range(0, len(squares), BATCH):
            some = np.stack(squares[start : start + BATCH])
            filled = np.zeros((BATCH, *some.shape[1:]), np.uint8)
            filled[: len(some)] = some
            # A view of [B, R, R, 3] memory: channels-last, as the convolutions like it.
            pixels = torch.from_numpy(filled).to(self.device).permute(0, 3, 1, 2).float() / 255
            vectors = self.model(pixels).cpu().numpy()
            if self.whitening:
                vectors = self.whitening(vectors, indexed=indexed)
            result[start : start + len(some)] = vectors[: len(some)].astype(np.float16)
        return result

    def embed_all(
        self, named: Iterable[tuple[Any, np.ndarray]], at_once: int = 16 * BATCH, *, indexed: bool = False
    ) -> Iterator[tuple[list[Any], np.ndarray]]:
        """Names and vectors of a stream of (name, square), some at a time, in order; `indexed` as in `embed`."""
        named = iter(named)
        while some := list(islice(named, at_once)):
            yield [name for name, _ in some], self.embed([pixels for _, pixels in some], indexed=indexed)


def load(path: str, device: str = "cpu") -> Embedder:
    """A detector from its checkpoint.

    Raises:
      UserError: where the file is missing, broken, or no detector.
    """
    tensors, metadata = checkpoint.load(path)
    if metadata.get("kind") != KIND:
        raise UserError("not a detector's checkpoint", where=path, fix="give detector.safetensors of python -m dedup train")
    try:
        model = Detector(DetectorConfig.from_json(metadata["config"]))
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:  # written by hand
        raise UserError(f"what it says of its sizes is broken: {error!r}", where=path, fix="use another copy") from error
    tensors = dict(tensors)
    found = [tensors.pop(WHITENING + name).numpy() for name in TENSORS if WHITENING + name in tensors]
    whitening = from_tensors(found, model.config.dimension, path) if found else None
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"the weights do not fit the detector: {error}", where=path, fix="use another copy") from error
    model = model.eval().to(device, memory_format=torch.channels_last)
    return Embedder(model, metadata, sha256_of(path), torch.device(device), whitening)


def save(path: str, model: Detector, metadata: Mapping[str, Any], whitening: Whitening | None = None) -> None:
    """Write a detector's checkpoint, atomically."""
    tensors = dict(model.state_dict())
    if whitening:
        tensors |= {WHITENING + name: torch.from_numpy(getattr(whitening, name)) for name in TENSORS}
    checkpoint.save(path, tensors, {"kind": KIND, "config": model.config.to_json(), **metadata})
