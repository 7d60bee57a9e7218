"""Vectors of many texts, such as all captions of a set: embedded once, streamed to disk, read in slices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from trainer.evaluate.encoder import TEXT_BATCH, Encoder
from trainer.evaluate.rows import Rows
from wit_builder import files
from wit_builder.progress import progress


def caption_vectors(encoder: Encoder, texts: pa.ChunkedArray, prefix: str, cache: str, label: str) -> Rows:
    """Unit vectors float32 [n, e] of texts; from the cache where they are there.

    Args:
      encoder: the model.
      texts: n strings.
      prefix: put before each.
      cache: a local folder; the vectors are kept there by model and texts.
      label: of the progress line.
    """

    def batches() -> Iterator[list[str]]:
        for start in range(0, len(texts), TEXT_BATCH):
            yield [prefix + text for text in texts.slice(start, TEXT_BATCH).to_pylist()]

    digest = blake2b(encoder.identity.encode(), digest_size=16)
    for batch in batches():
        for text in batch:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
    path = os.path.join(cache, f"texts-{digest.hexdigest()}.f32")
    if not os.path.exists(path):
        with files.atomic_writer(path) as stream, progress(label, len(texts), "text") as line:
            for batch in batches():
                stream.write(encoder.embed_batch(batch).astype("<f4").tobytes())
                line.update(len(batch))
    return Rows.of(np.memmap(path, "<f4", mode="r", shape=(len(texts), encoder.model.config.embed)))
