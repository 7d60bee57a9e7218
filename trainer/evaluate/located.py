"""Pictures with a place: vectors from a search index, or from a file made elsewhere, joined to coordinates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from learning.vectors import unit_length
from trainer.evaluate.coordinates import places_of_columns, read_places, reasons
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.given_features import vector_width, vectors
from trainer.search.frames import name_of
from trainer.search.index import Index, build_index, unit_vectors
from trainer.search.sources import Part, find_parts
from wit_builder import tables
from wit_builder.errors import UserError
from wit_builder.outputs import sha256_of

ROWS = 16_384  # vectors that are read at a time


@dataclass(frozen=True)
class Source:
    """Where vectors come from: pictures that a model embeds, or a Parquet file of key and embedding.

    Attributes:
      parts: of pictures; none for a file.
      file: of vectors; "" for pictures.
      identity: what a manifest says of it.
    """

    parts: Sequence[Part]
    file: str
    identity: Any
    left_out: dict[str, int]

    @classmethod
    def find(cls, paths: Sequence[str], index: str) -> Source:
        """The source that flags name. Raises UserError where there is none, or a file of vectors stands beside others."""
        given = [path for path in paths if path.endswith(".parquet")]
        if given and len(paths) > 1:
            raise UserError("a file of vectors stands alone", where=given[0], fix="give one Parquet file, or pictures")
        if given:
            vector_width(given[0])
            return cls((), given[0], sha256_of(given[0]), {})
        parts, left_out = find_parts(paths, index)
        return cls(parts, "", [[part.name, part.digest] for part in parts], left_out)


@dataclass(frozen=True)
class Located:
    """Pictures whose place is known, in the order of their source.

    Attributes:
      keys: path below the folder, key in the tar, or key in the file, n of them.
      places: degrees, float64 [n, 2].
      drops: pictures that are of no use, by reason.
      unmatched: rows of the table that name no picture.
    """

    keys: pa.Array
    places: np.ndarray
    drops: dict[str, int]
    unmatched: int
    _source: Index | str
    _kept: np.ndarray  # bool, of all pictures of the source

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return next(_vectors(self._source)).shape[1]

    def batches(self) -> Iterator[np.ndarray]:
        """Their unit vectors, float32 [b, e], in order."""
        first = 0
        for found in _vectors(self._source):
            yield found[self._kept[first : first + len(found)]]
            first += len(found)


def locate(source: Source, table: str, encoder: Encoder | None, index: str, threads: int = 0) -> Located:
    """Embed what is not embedded yet, and join the coordinates.

    Args:
      source: pictures or vectors.
      table: CSV or Parquet with key, latitude, longitude; "" takes those of KEY.json.
      encoder: the model; not needed for a file of vectors.
      index: folder of embeddings.
      threads: that decode; 0 takes all cores.

    Raises:
      UserError: where no picture has a place, or a key is not unique.
    """
    drops, unmatched = Counter(source.left_out), 0
    if source.file:
        if not table:
            raise UserError("a file of vectors has no coordinates", where=source.file, fix="give its table of key, latitude, longitude")
        made: Index | str = source.file
        keys = longer = tables.read_table(made, ["key"])["key"].cast(pa.string()).combine_chunks()
    else:
        assert encoder is not None
        made = build_index(encoder, source.parts, index, threads)
        drops.update(made.drops)
        keys, longer = _keys_of(made)
    if table:
        known, degrees = read_places(table)
        at = pc.coalesce(pc.index_in(longer, value_set=known), pc.index_in(keys, value_set=known))
        _check_single(at, known, table)
        unmatched = len(known) - len(pc.unique(at.drop_null()))
        places = np.full((len(keys), 2), np.nan)
        has = at.is_valid().to_numpy(zero_copy_only=False)
        places[has] = degrees[at.drop_null().to_numpy()]
    else:
        assert isinstance(made, Index)
        places = np.concatenate([places_of_columns(b.column("columns").to_pylist()) for _, b in made.batches(["columns"], ROWS)])
    why = reasons(*places.T)
    drops.update(reason for reason in why.tolist() if reason)
    kept = why == ""
    if not kept.any():
        told = ", ".join(f"{reason}: {number}" for reason, number in sorted(drops.items()))
        example = f"; a key is {longer[0].as_py()!r}" if len(longer) else ""
        raise UserError(f"no picture with coordinates ({told}{example})", where=table or source.parts[0].name)
    return Located(keys.filter(pa.array(kept)), places[kept], dict(drops), unmatched, made, kept)


def _keys_of(index: Index) -> tuple[pa.Array, pa.Array]:
    """Keys of an index as tables may name them: short ones, and in a tar also with the tar's path, as an eval_key has it."""
    short, longer = [], []
    for number, batch in index.batches(["key"], ROWS):
        part = index.parts[number]
        some = [name_of(part, key) for key in batch.column("key").to_pylist()]
        short += some
        longer += [f"{part.name.partition('/')[2]}/{key}" for key in some] if part.is_tar else some
    return pa.array(short, pa.string()), pa.array(longer, pa.string())


def _check_single(at: pa.Array, known: pa.Array, table: str) -> None:
    counts = at.drop_null().value_counts()
    several = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(several):
        key = known[several[0]["values"].as_py()].as_py()
        raise UserError(f"the key {key!r} is that of several pictures", where=table, fix="name pictures in tars as TAR/KEY")


def _vectors(source: Index | str) -> Iterator[np.ndarray]:
    if isinstance(source, Index):
        for _, batch in source.batches(["embedding"], ROWS):
            yield unit_vectors(batch)
        return
    width = vector_width(source)
    for batch in tables.read_batches(source, ["key", "embedding"], ROWS):
        yield unit_length(vectors(batch, width, source))
