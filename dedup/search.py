"""The search itself, task by task: build the index, send each shard's embeddings past it, gather the hits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from dedup.neighbours import (
    IVF,
    CellIndex,
    EvaluationIndex,
    FlatIndex,
    Hits,
    best_of_each_pair,
    build_index,
    cap_each_image,
    no_hits,
    recall_against_flat,
)
from dedup.tasks import Search, vectors_of
from dedup.views import PART_HANDICAP, PART_VIEWS, REGIONS, WHOLE, view_names
from wit_builder import files, tables
from wit_builder.hashing import file_of, pair_uid
from wit_builder.records import OVERLAPS
from wit_builder.shards import ShardPaths

REGION_NAMES = [WHOLE, *REGIONS]
IMAGES = 4096  # training images searched at a time
VECTORS, CELLS = "vectors.npy", "cells.faiss"
SAMPLED = 200  # training vectors of each shard on which an IVF index is compared with an exact search

EVALUATION = pa.schema([
    ("dataset", pa.string()),
    ("eval_key", pa.string()),
    ("label", pa.int32()),
    ("confounder", pa.string()),  # tiny, uniform, both, or nothing
    ("hits", pa.int64()),  # training images at or above the loose threshold, also those that the cap left out
    ("similarity", pa.float32()),  # of the nearest of them; null where there is none
])


def build(search: Search, folder: str, parts: Sequence[dict[str, Any]]) -> str:
    """Write the index over all parts of all evaluation sets and the table of their images; returns a name for its contents.

    Args:
      folder: gets vectors.npy, views.parquet and images.parquet, and cells.faiss where the index has cells.
      parts: results of `dedup.tasks.EmbedEvaluation`, in any order.
    """
    names = {name: number for number, name in enumerate(view_names(search.views))}
    tables_of_images, vectors, image, view = [], [], [], []
    first = 0
    for part in sorted(parts, key=lambda part: (part["dataset"], part["part"])):
        images = tables.read_table(part["images"])
        images = images.filter(pc.equal(images["error"], ""))
        number = {key: first + index for index, key in enumerate(images["eval_key"].to_pylist())}
        embedded = tables.read_table(part["vectors"])
        vectors.append(vectors_of(embedded["embedding"]))
        image.append(np.array([number[key] for key in embedded["key"].to_pylist()], np.int64))
        view.append(np.array([names[name] for name in embedded["region"].to_pylist()], np.int16))
        tables_of_images.append(images.append_column("dataset", pa.array([part["dataset"]] * images.num_rows, pa.string())))
        first += images.num_rows
    whole = np.concatenate(vectors)
    index = build_index(whole, search.index, search.probes)
    if isinstance(index, CellIndex):
        files.write_bytes(files.join(folder, CELLS), faiss.serialize_index(index.index).tobytes())
    with files.atomic_writer(files.join(folder, VECTORS)) as stream:
        np.save(stream, whole)
    tables.write_table(files.join(folder, "views.parquet"), pa.table({"image": np.concatenate(image), "view": np.concatenate(view)}))
    tables.write_table(files.join(folder, "images.parquet"), pa.concat_tables(tables_of_images))
    # Hits are kept by what they were searched in: the parts' paths name contents and detector.
    contents = sorted([part["dataset"], part["vectors"].rsplit("/", 1)[-1]] for part in parts)
    return search.kept("index", contents, search.index, search.probes)


def open_index(folder: str) -> EvaluationIndex:
    """The index of `build`'s folder, for one thread."""
    faiss.omp_set_num_threads(1)  # a process a core
    torch.set_num_threads(1)
    views = tables.read_table(files.join(folder, "views.parquet"))
    path, cells = files.join(folder, VECTORS), files.join(folder, CELLS)
    remote = files.is_remote(path)
    if remote:
        with files.open_read(path) as stream:
            vectors = np.lib.format.read_array(stream, allow_pickle=False)  # np.load would go back in it
    else:
        vectors = np.load(path, mmap_mode="c")  # the processes of a machine share it; nobody writes
    index: FlatIndex | CellIndex = FlatIndex(vectors)
    if files.exists(cells) and remote:
        index = CellIndex(faiss.deserialize_index(np.frombuffer(files.read_bytes(cells), np.uint8)))
    elif files.exists(cells):
        index = CellIndex(faiss.read_index(cells, faiss.IO_FLAG_MMAP_IFC))
    return EvaluationIndex(vectors, views["image"].to_numpy(), views["view"].to_numpy(), index)


@dataclass(frozen=True)
class Indexes:
    """What whole training images are searched in, and what their parts are (`dedup.views.PART_VIEWS`), exactly."""

    whole: EvaluationIndex
    parts: EvaluationIndex | None


@dataclass(frozen=True)
class SearchShard:
    """Hits of one shard. Result: path of a table of hits, and counts.

    The table: OVERLAPS' columns and `image`, the number of the evaluation image, sorted by it.
    """

    search: Search
    folder: str  # of `build`'s files

    def load(self) -> Indexes:
        whole = open_index(self.folder)
        if not self.search.regions:
            return Indexes(whole, None)
        names = view_names(self.search.views)
        chosen = np.isin(whole.view, [number for number, name in enumerate(names) if name in PART_VIEWS])
        vectors = whole.vectors[chosen]
        return Indexes(whole, EvaluationIndex(vectors, whole.image[chosen], whole.view[chosen], FlatIndex(vectors)))

    def __call__(self, indexes: Indexes, task: tuple[dict[str, Any], str]) -> dict[str, Any]:
        """`task`: a result of EmbedShard, and the name that `build` returned."""
        embedded, index_name = task
        shard: ShardPaths = embedded["shard"]
        place = [embedded["vectors"].rsplit("/", 1)[-1], index_name.rsplit("/", 1)[-1], shard.name, self.search.loose, self.search.max_hits]
        path = self.search.kept("hits", *place)
        counts = Counter()
        if not files.exists(path):
            self._search(indexes, embedded["vectors"], shard, path)
        if self.search.index == IVF:
            batch = next(tables.read_batches(embedded["vectors"], rows=SAMPLED), None)
            if batch is not None:
                found, there = recall_against_flat(indexes.whole, vectors_of(batch.column("embedding")), self.search.loose)
                counts += {"pairs found by the index, on a sample": found, "pairs found by exact search, on the same": there}
        return {"hits": path, "counts": dict(counts), "drops": {}}

    def _search(self, indexes: Indexes, vectors_path: str, shard: ShardPaths, path: str) -> None:
        embedded = tables.read_table(vectors_path)  # a shard's images, at most 10,000
        regions = {name: number for number, name in enumerate(REGION_NAMES)}
        region = np.array([regions[name] for name in embedded["region"].to_pylist()], np.int16)
        keys = embedded["key"].to_numpy(zero_copy_only=False)
        starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else np.zeros(0, np.int64)
        uids = keys[starts].astype(str)  # of each training image; its regions follow one another
        query = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(keys))))
        vectors = vectors_of(embedded["embedding"])
        images = tables.read_table(files.join(self.folder, "images.parquet"), ["dataset", "eval_key"])
        totals = np.zeros(images.num_rows, np.int64)  # before the cap
        kept = no_hits()
        edges = [*starts[::IMAGES], len(keys)]
        for first, last in zip(edges, edges[1:]):
            found = []
            for index, rows, handicap in (
                (indexes.whole, first + np.flatnonzero(region[first:last] == 0), 0.0),
                (indexes.parts, first + np.flatnonzero(region[first:last] > 0), PART_HANDICAP),
            ):
                if len(rows):
                    hits = index.search(vectors[rows], self.search.loose + handicap)
                    at = rows[hits.query]
                    found.append(Hits(hits.image, hits.view, query[at], region[at], hits.similarity - np.float32(handicap)))
            hits = best_of_each_pair(Hits.concatenate(found))
            np.add.at(totals, hits.image, 1)
            kept = Hits.concatenate([kept, hits])
            kept = kept.take(cap_each_image(kept.image, kept.similarity, uids[kept.query] if len(kept) else uids[:0], self.search.max_hits))
        uid = uids[kept.query].tolist() if len(kept) else []
        rows = _rows_of(shard, set(uid))
        views = view_names(self.search.views)
        chosen = images.take(pa.array(kept.image))
        table = pa.table({
            "dataset": chosen["dataset"],
            "eval_key": chosen["eval_key"],
            "view": pa.array([views[view] for view in kept.view.tolist()], pa.string()),
            "uid": pa.array(uid, pa.string()),
            "region": pa.array([REGION_NAMES[region] for region in kept.region.tolist()], pa.string()),
            "url": pa.array([rows[name][0] for name in uid], pa.string()),
            "shard": pa.array([shard.name] * len(uid), pa.string()),
            "key": pa.array([rows[name][1] for name in uid], pa.string()),
            "similarity": kept.similarity,
            "image": kept.image,
            "total": totals[kept.image],
        })  # fmt: skip
        tables.write_table(path, table.cast(HITS))


HITS = pa.schema([*OVERLAPS, ("image", pa.int64()), ("total", pa.int64())])


def _rows_of(shard: ShardPaths, wanted: set[str]) -> dict[str, tuple[str, str]]:
    """URL and key of the given uids, from the shard's rows; img2dataset's have no uid, which then follows from the pair."""
    if not wanted:
        return {}
    table = tables.read_table(shard.parquet)
    columns = table.column_names
    urls, keys = table["url"].to_pylist(), table["key"].to_pylist()
    if "uid" in columns:
        uids = table["uid"].to_pylist()
    else:
        uids = [pair_uid(url or key, text or "") for url, key, text in zip(urls, keys, table["caption"].to_pylist())]
    return {uid: (url, key) for uid, url, key in zip(uids, urls, keys) if uid in wanted}


@dataclass(frozen=True)
class GatherHits:
    """Hits of one output file's evaluation images from all shards, capped. Writes overlaps and evaluation tables."""

    search: Search
    folder: str  # of `build`'s files
    output: str
    count: int  # of output files

    def load(self) -> None:
        return None

    def __call__(self, loaded: None, task: tuple[int, list[str]]) -> dict[str, Any]:
        """`task`: number of the output file, and paths of the shards' hits."""
        number, paths = task
        images = tables.read_table(files.join(self.folder, "images.parquet"))
        names = zip(images["dataset"].to_pylist(), images["eval_key"].to_pylist())
        mine = np.array([file_of(f"{dataset}\0{key}", self.count) == number for dataset, key in names], bool)
        totals = np.zeros(images.num_rows, np.int64)
        kept = HITS.empty_table()
        for path in paths:
            table = tables.read_table(path)
            table = table.filter(pa.array(mine[table["image"].to_numpy()]))
            at, first = np.unique(table["image"].to_numpy(), return_index=True)
            totals[at] += table["total"].to_numpy()[first]
            # What the cap leaves out goes shard by shard, so memory holds the hits that may stay, and one shard's.
            kept = pa.concat_tables([kept, table])
            order = cap_each_image(
                kept["image"].to_numpy(), kept["similarity"].to_numpy(), kept["uid"].to_numpy().astype(str), self.search.max_hits
            )
            kept = kept.take(pa.array(order)).combine_chunks()
        tables.write_table(
            files.join(self.output, tables.numbered("overlaps", number, self.count)),
            kept.select(OVERLAPS.names),
            sort_by=("dataset", "eval_key", "uid"),
        )
        best = np.full(images.num_rows, np.nan, np.float32)
        np.fmax.at(best, kept["image"].to_numpy(), kept["similarity"].to_numpy())
        chosen = pa.array(mine)
        table = images.append_column("hits", pa.array(totals)).append_column("similarity", pa.array(best, from_pandas=True))
        table = table.filter(chosen).select(EVALUATION.names)
        tables.write_table(
            files.join(self.output, tables.numbered("evaluation", number, self.count)),
            table.cast(EVALUATION),
            sort_by=("dataset", "eval_key"),
        )
        counts = {
            "hits kept": kept.num_rows,
            "hits at or above the loose threshold": int(totals[mine].sum()),
            "evaluation images with hits": int((totals[mine] > 0).sum()),
        }
        return {"counts": counts, "drops": {}}
