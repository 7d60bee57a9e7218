"""Zero-shot classifiers: every prompt of a class embedded, averaged in embedding space (section 3.1.4 of the paper), cached."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np

from trainer.evaluate.encoder import Encoder
from wit_builder import files
from wit_builder.evalsets import class_prompt
from wit_builder.hashing import hash64

PROMPTS_AT_A_TIME = 8_192


def zero_shot_classifier(encoder: Encoder, class_names: Sequence[str], templates: Sequence[str], cache: str, label: str) -> np.ndarray:
    """Unit vectors float32 [c, e]: the prompts of a class, each of unit length, averaged, and of unit length again.

    Args:
      encoder: the model.
      class_names: c of them.
      templates: with `{}` where the class goes.
      cache: a local folder; the classifier is kept there by model, classes and templates.
      label: of the progress line.
    """
    stamp = hash64(encoder.identity, len(class_names), *class_names, *templates)
    path = os.path.join(cache, f"classifier-{stamp:016x}.npy")
    if os.path.exists(path):
        with files.reading_kept(path):
            return np.load(path, allow_pickle=False)
    vectors = np.empty((len(class_names), encoder.model.config.embed), np.float32)
    step = max(1, PROMPTS_AT_A_TIME // len(templates))
    for start in range(0, len(class_names), step):
        names = class_names[start : start + step]
        prompts = [class_prompt(template, name) for name in names for template in templates]
        embedded = encoder.embed_texts(prompts, label).reshape(len(names), len(templates), -1)  # [classes, templates, e]
        vectors[start : start + len(names)] = embedded.mean(axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stream = io.BytesIO()
    np.save(stream, vectors, allow_pickle=False)
    files.write_bytes(path, stream.getvalue())
    return vectors
