"""Features made elsewhere: a Parquet file of key and embedding in place of a checkpoint, so that any model can be probed.

A set's features stand in `FOLDER/SET.parquet`, or, where there is one set only, in a file of any name: `key`, the eval_key of an
image of any of the set's splits (docs/data-formats.md), and `embedding`, a list of floats, equally long throughout.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import FORMAT, ROWS, ROWS_AT_A_TIME, Features, cached, example_row, extract
from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet, Skipped
from wit_builder.hashing import hash64
from wit_builder.outputs import sha256_of

NO_FEATURES = "no features"  # why an image of the set is skipped
WIDEST = 65_536


@dataclass(frozen=True)
class GivenFeatures:
    """Files of features, by set.

    Attributes:
      paths: Parquet file of each set.
      digests: SHA-256 of each, in hex.
      device: where probes are fitted.
    """

    paths: dict[str, str]
    digests: dict[str, str]
    device: torch.device

    @classmethod
    def find(cls, path: str, sets: list[EvaluationSet], device: torch.device) -> GivenFeatures:
        """The files for these sets: `path/SET.parquet`, or `path` itself for a single set.

        Raises:
          UserError: where a file is missing, or one file is given for several sets.
        """
        if files.is_folder(path):
            paths = {opened.name: files.join(path, f"{opened.name}.parquet") for opened in sets}
        elif len(sets) == 1:
            paths = {sets[0].name: path}
        else:
            raise UserError("one file holds the features of one set", where=path, fix="give a folder with SET.parquet for each set")
        for name, found in paths.items():
            if not files.exists(found):
                raise UserError(f"no features of {name}", where=found, fix="Parquet with key and embedding; see docs/data-formats.md")
        return cls(paths, {name: sha256_of(found) for name, found in paths.items()}, device)


Source = Encoder | GivenFeatures


def split_features(source: Source, opened: EvaluationSet, split: str, cache: str, threads: int = 0) -> Features:
    """Features of a split, by a model or from elsewhere; from the cache where they are there. Given ones have no `embedding`.

    Raises:
      UserError: where the split is not there, or nothing in it can be used.
    """
    if isinstance(source, Encoder):
        return extract(source, opened, split, cache, threads)
    stamp = (FORMAT, "given", source.digests[opened.name], opened.fingerprint(split, times=True), opened.name, split)
    folder = os.path.join(cache, f"given-{hash64(*map(str, stamp)):016x}")
    return cached(folder, lambda made: _gather(made, source.paths[opened.name], opened, split))


def _gather(folder: str, path: str, opened: EvaluationSet, split: str) -> None:
    """Put the vectors of a file into the order of a set's images, which are read for their keys and labels alone."""
    skipped = Skipped()
    batches, rows = [], []
    for example in opened.examples(split, skipped):
        rows.append(example_row(example))
        if len(rows) >= ROWS_AT_A_TIME:
            batches.append(pa.RecordBatch.from_pylist(rows, ROWS))
            rows = []
    table = pa.Table.from_batches([*batches, pa.RecordBatch.from_pylist(rows, ROWS)], ROWS)
    width = vector_width(path)
    keys = table["eval_key"].combine_chunks()
    have = np.zeros(len(keys), bool)
    scattered = np.memmap(os.path.join(folder, "scattered.f32"), "<f4", mode="w+", shape=(max(1, len(keys)), width))
    for batch in tables.read_batches(path, ["key", "embedding"]):
        places = pc.index_in(batch.column("key").cast(pa.string()), value_set=keys)
        wanted = places.is_valid()
        places = places.filter(wanted).to_numpy()
        found = batch.filter(wanted)
        _check_unique(found.column("key"), have, places, path)
        scattered[places] = vectors(found, width, path)
        have[places] = True
    if not have.any():
        example = f"; the set has {keys[0].as_py()!r}" if len(keys) else ""
        raise UserError(f"no key is an image of the {split} split of {opened.name}{example}", where=path, fix="keys are eval_keys")
    kept = np.flatnonzero(have)
    for key in keys.filter(pa.array(~have)):
        skipped.add(NO_FEATURES, key.as_py())
    with open(os.path.join(folder, "features.f32"), "wb") as stream:
        for start in range(0, len(kept), ROWS_AT_A_TIME):
            stream.write(scattered[kept[start : start + ROWS_AT_A_TIME]].tobytes())
    del scattered
    files.remove(os.path.join(folder, "scattered.f32"))
    tables.write_table(os.path.join(folder, "rows.parquet"), table.take(kept))
    described = {"counts": dict(skipped.counts), "named": skipped.named}
    files.write_json(os.path.join(folder, "features.json"), {"count": len(kept), "features": width, "embedding": 0, "skipped": described})


def vector_width(path: str) -> int:
    """Length of the vectors of a file, from its first rows.

    Raises:
      UserError: where there is no column key or embedding, no row, or embedding is no list of floats.
    """
    batch = next(iter(tables.read_batches(path, ["key", "embedding"], rows=1)), None)
    if batch is None:
        raise UserError("no row in it", where=path)
    kind = batch.column("embedding").type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)) or not pa.types.is_floating(
        kind.value_type
    ):
        raise UserError(f"embedding is {kind}, not a list of floats", where=path, fix="for instance fixed_size_list<float32>")
    width = len(batch.column("embedding")[0].as_py() or ())
    if not 0 < width <= WIDEST:
        raise UserError(f"vectors of {width} numbers", where=path, fix=f"1 to {WIDEST:,}")
    return width


def vectors(batch: pa.RecordBatch, width: int, path: str) -> np.ndarray:
    """The embeddings of a batch, float32 [b, width].

    Raises:
      UserError: where one has another length, or a number in it is missing or not finite.
    """
    column = batch.column("embedding")
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(lengths != width)
    if not len(wrong):
        values = pc.list_flatten(column).to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if not len(wrong):
            return values
    key = batch.column("key")[int(wrong[0])].as_py()
    raise UserError(f"the embedding of {key!r} is not {width} finite numbers", where=path)


def _check_unique(keys: pa.Array, have: np.ndarray, places: np.ndarray, path: str) -> None:
    first = np.zeros(len(places), bool)
    first[np.unique(places, return_index=True)[1]] = True
    twice = np.flatnonzero(have[places] | ~first)
    if len(twice):
        raise UserError(f"the key {keys[int(twice[0])].as_py()!r} stands there twice", where=path, fix="give one row an image")
