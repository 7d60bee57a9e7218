"""The overlap search's pieces of work: paths in, files out. `dedup.transforms` puts them in order.

Embeddings are kept under the SHA-256 of what was embedded and of the detector, so a folder given again, or a training
set grown by new shards, is only embedded where it is new. Hits are kept the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import torch

from dedup import embedding, views
from dedup.images import confounders
from learning.images import ImageError
from wit_builder import files, tables
from wit_builder.evalsets import Skipped, open_set
from wit_builder.outputs import sha256_of
from wit_builder.records import embeddings
from wit_builder.shards import ShardPaths, read_samples, read_stats

SEARCH_VERSION = 2  # part of the names under which hits are kept
AT_ONCE = 512  # images in memory while embedding

@dataclass(frozen=True)
class Search:
    """What an overlap search depends on beside its inputs, and where its files are.

    Attributes:
      detector: path of the checkpoint.
      detector_sha256: of that file.
      cache: folder of embeddings and hits.
      views: kinds of views of evaluation images (`dedup.views.VIEW_KINDS`).
      regions: whether parts of training images are embedded too.
      loose: hits at or above this cosine are kept.
      max_hits: of each evaluation image, the most similar ones.
      index: `flat` or `ivf`.
      probes: cells that an `ivf` search looks into.
      load: makes an embedder of the path `detector`; a module's function, since it travels to workers.
    """

    detector: str
    detector_sha256: str
    cache: str
    views: tuple[str, ...]
    regions: bool
    loose: float
    max_hits: int
    index: str
    probes: int
    load: Callable[[str], embedding.Embedder] = embedding.load

    def kept(self, kind: str, *what: Any, suffix: str = "parquet") -> str:
        """Path in the cache of something made of `what` with this detector."""
        text = json.dumps([SEARCH_VERSION, kind, self.detector_sha256, *what], sort_keys=True)
        return files.join(self.cache, f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:40]}.{suffix}")


def load_detector(path: str, threads: int = 1, load: Callable[[str], embedding.Embedder] = embedding.load) -> embedding.Embedder:
    """A detector on its own thread: one process a core is faster, and the sums come in one order."""
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    return load(path)


def tar_digest(shard: ShardPaths) -> str:
    """SHA-256 of a shard's tar: from its statistics, or for img2dataset's shards from the file."""
    return read_stats(shard).get("tar_sha256") or sha256_of(shard.tar)


@dataclass(frozen=True)
class EvaluationPart:
    """A share of one evaluation set's images: those whose place in the split, modulo `of`, is `number`."""

    dataset: str
    path: str
    split: str
    number: int
    of: int


@dataclass(frozen=True)
class EmbedEvaluation:
    """Embeds the views of a part of an evaluation set. Result: path of the embeddings, of the table of images, and counts."""

    search: Search
    indexed: bool = True  # False: of a split that is searched for in the index

    def load(self) -> embedding.Embedder:
        return load_detector(self.search.detector, load=self.search.load)

    def __call__(self, embedder: embedding.Embedder, part: EvaluationPart) -> dict[str, Any]:
        digest, skipped = hashlib.sha256(), Skipped()
        opened = open_set(part.path, part.dataset)

        def examples(skipped: Skipped | None = None):
            return islice(opened.examples(part.split, skipped), part.number, None, part.of)

        for example in examples(skipped):
            digest.update(f"{example.eval_key}\0{example.label}\0{len(example.image)}\0".encode())
            digest.update(example.image)
        vectors_path = self.search.kept("evaluation" if self.indexed else "other", digest.hexdigest(), list(self.search.views))
        images_path = vectors_path.removesuffix(".parquet") + "-images.parquet"
        if not (files.exists(images_path) and files.exists(vectors_path)):
            self._embed(embedder, examples(), vectors_path, images_path)
        errors = Counter(tables.read_table(images_path, ["error"])["error"].to_pylist())
        named = "evaluation image" if self.indexed else "other image"
        counts = {f"{named}s": errors.pop("", 0)}
        drops = {f"{named}: {reason}": number for reason, number in errors.items()}
        if part.number == 0:  # every part reads the whole split, and meets the same
            drops |= {f"{named}: {reason}": number for reason, number in skipped.counts.items()}
        place = {"dataset": part.dataset, "split": part.split, "part": part.number}
        return {**place, "vectors": vectors_path, "images": images_path, "counts": counts, "drops": drops}

    def _embed(self, embedder: embedding.Embedder, examples, vectors_path: str, images_path: str) -> None:
        names = views.view_names(self.search.views)
        schema = embeddings(embedder.dimension)
        rows: dict[str, list] = {"eval_key": [], "label": [], "confounder": [], "error": []}
        keys, regions, vectors = [], [], [np.zeros((0, embedder.dimension), np.float16)]

        def squares():
            for example in examples:
                error, confounder = "", ""
                try:
                    picture = views.open_picture(example.image, embedder.resolution, 0.7)
                    seen = views.evaluation_views(picture, embedder.resolution, self.search.views)
                    confounder = confounders(seen[0], picture)
                except ImageError as caught:
                    error, seen = str(caught), []
                for column, value in zip(rows.values(), (example.eval_key, example.label, confounder, error)):
                    column.append(value)
                kept = views.telling(seen) if seen else ()
                yield from (((example.eval_key, name), pixels) for name, pixels, tells in zip(names, seen, kept) if tells)

        for some, embedded in embedder.embed_all(squares(), AT_ONCE, indexed=self.indexed):
            keys += [key for key, _ in some]
            regions += [region for _, region in some]
            vectors.append(embedded)
        write_embeddings(vectors_path, keys, regions, np.concatenate(vectors), schema)
        types = pa.schema([("eval_key", pa.string()), ("label", pa.int32()), ("confounder", pa.string()), ("error", pa.string())])
        tables.write_table(images_path, pa.table(rows, schema=types))


def write_embeddings(path: str, keys: Sequence[str], regions: Sequence[str], vectors: np.ndarray, schema: pa.Schema) -> None:
    """Write an embeddings file (`wit_builder.records.embeddings`), float16 [n, D], rows in the given order."""
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float16()), vectors.shape[1])
    tables.write_table(path, pa.table([pa.array(keys, pa.string()), pa.array(regions, pa.string()), values], schema=schema))


def vectors_of(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """The embedding column as float16 [n, D]."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), whole.type.list_size)


@dataclass(frozen=True)
class EmbedShard:
    """Embeds a shard's images. Result: the shard, the path of its embeddings, and counts."""

    search: Search

    def load(self) -> embedding.Embedder:
        return load_detector(self.search.detector, load=self.search.load)

    def __call__(self, embedder: embedding.Embedder, shard: ShardPaths) -> dict[str, Any]:
        path = self.search.kept("embeddings", tar_digest(shard), self.search.regions)
        counts_path = path.removesuffix(".parquet") + ".json"
        if not (files.exists(path) and files.exists(counts_path)):
            self._embed(embedder, shard, path, counts_path)
        return {"shard": shard, "vectors": path, **files.read_json(counts_path)}

    def _embed(self, embedder: embedding.Embedder, shard: ShardPaths, path: str, counts_path: str) -> None:
        counts, drops = Counter(), Counter()
        detail = 0.5 if self.search.regions else 1.0

        def squares():
            for sample in read_samples(shard):
                try:
                    picture = views.open_picture(sample.image, embedder.resolution, detail)
                except ImageError as error:
                    drops[f"training image: {error}"] += 1
                    continue
                counts["training images"] += 1
                parts = views.training_regions(picture, embedder.resolution, self.search.regions)
                for (region, pixels), tells in zip(parts, views.telling([pixels for _, pixels in parts])):
                    if tells:
                        yield (sample.uid, region), pixels

        def batches():
            for names, embedded in embedder.embed_all(squares(), AT_ONCE):
                counts["training vectors"] += len(names)
                values = pa.FixedSizeListArray.from_arrays(pa.array(embedded.reshape(-1), pa.float16()), embedded.shape[1])
                yield pa.record_batch([pa.array([n[0] for n in names]), pa.array([n[1] for n in names]), values], schema=schema)

        schema = embeddings(embedder.dimension)
        tables.write_batches(path, schema, batches())
        files.write_json(counts_path, {"counts": dict(counts), "drops": dict(drops)})
