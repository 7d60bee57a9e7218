"""Embeddings of any folder of images, in one file."""

from __future__ import annotations

import pyarrow as pa

from dedup import embedding, views
from dedup.images import find_images, load_square
from learning.images import ImageError
from wit_builder import files, tables
from wit_builder.progress import progress
from wit_builder.records import embeddings


def embed_folder(checkpoint: str, folder: str, output: str) -> tuple[int, int]:
    """Write an embeddings file of all images under a folder, in order of their paths; a key is the path below it.

    Returns:
      How many were embedded, and how many could not be decoded.

    Raises:
      UserError: where the checkpoint or the images are not there.
    """
    embedder = embedding.load(checkpoint)
    paths = find_images(folder)
    schema = embeddings(embedder.dimension)
    skipped = 0

    def squares():
        nonlocal skipped
        with progress("embedding", len(paths), "image") as line:
            for path in paths:
                line.update()
                try:
                    yield files.relative_name(path, folder), load_square(files.read_bytes(path), embedder.resolution)
                except ImageError:
                    skipped += 1

    def batches():
        for keys, vectors in embedder.embed_all(squares()):
            values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float16()), vectors.shape[1])
            yield pa.record_batch([pa.array(keys), pa.array([views.WHOLE] * len(keys)), values], schema=schema)

    return tables.write_batches(output, schema, batches()), skipped
