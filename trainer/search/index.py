"""Embeddings of parts, kept in a folder: one Parquet file a part, named by what was embedded and by the checkpoint.

Vectors are in half precision, whatever machine they were made on: an index that a GPU made serves a laptop.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from learning.vectors import unit_length
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import pictures
from trainer.evaluate.nearest import Nearest, rows_at_a_time
from trainer.search.sources import Part
from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.evalsets import Example, Skipped
from wit_builder.parallel import available_cores
from wit_builder.progress import progress
from wit_builder.records import embeddings

FORMAT = 1  # raise it when the same inputs give other files
LONGEST = 2000  # characters that are kept of a text or a value
MOST_COLUMNS = 64  # values of KEY.json that are kept
WHOLE = "whole"  # the region: all of the picture
ABANDONED = 3600  # seconds after which what a killed run left is removed


def index_schema(width: int) -> pa.Schema:
    """Columns of a part: those of an embeddings file (key: in the tar, or the file's name), then what results show."""
    return pa.schema([
        *embeddings(width),
        ("text", pa.string()),
        ("clip", pa.string()),  # the video that a frame belongs to, where KEY.json says so
        ("columns", pa.string()),  # JSON of KEY.json's scalars
        ("tar_offset", pa.int64()),  # of the picture's bytes in the tar; null for a file of its own
        ("tar_size", pa.int64()),
    ])


@dataclass(frozen=True)
class Index:
    """Embedded parts, in order.

    Attributes:
      parts: what was embedded.
      paths: Parquet file of each.
      rows: pictures in each.
      drops: what could not be used, by reason.
      made_with: pictures by the precision and device that embedded them.
    """

    parts: Sequence[Part]
    paths: Sequence[str]
    rows: Sequence[int]
    drops: Mapping[str, int]
    made_with: Mapping[str, int]

    def __len__(self) -> int:
        return sum(self.rows)

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Number of the part, and some rows of it, in order."""
        for number, path in enumerate(self.paths):
            for batch in tables.read_batches(path, columns, rows):
                yield number, batch

    def look_up(self, places: Sequence[int], columns: Sequence[str]) -> dict[int, dict[str, Any]]:
        """Rows by place, counted through all parts, with `part`, the number of its part."""
        found: dict[int, dict[str, Any]] = {}
        ends = np.cumsum(self.rows)
        wanted = np.unique(np.asarray(places, np.int64))
        owner = np.searchsorted(ends, wanted, side="right")
        for number in np.unique(owner).tolist():
            inside = wanted[owner == number] - (ends[number] - self.rows[number])
            first = 0
            for batch in tables.read_batches(self.paths[number], columns):
                here = inside[(inside >= first) & (inside < first + batch.num_rows)] - first
                for at, row in zip(here.tolist(), batch.take(pa.array(here)).to_pylist()):
                    found[int(ends[number] - self.rows[number]) + first + at] = {**row, "part": number}
                first += batch.num_rows
        return found

    def nearest(self, queries: np.ndarray, count: int, groups: Groups | None = None) -> Nearest:
        """The most similar pictures of each query, exactly, in one pass over the files.

        Args:
          queries: unit vectors, float32 [q, e].
          count: how many.
          groups: of each only the best is kept.
        """
        found, first = Nearest(queries, count), 0
        columns = ["embedding", *(groups.columns if groups else ())]
        with progress("searching", len(self), "image") as line:
            for number, batch in self.batches(columns, rows_at_a_time(len(queries))):
                found.add(unit_vectors(batch), first, groups.of(self.parts[number], batch, first) if groups else None)
                first += batch.num_rows
                line.update(batch.num_rows)
        return found


class Groups(Protocol):
    """Says which pictures belong together; `columns` are those that it looks at."""

    columns: Sequence[str]

    def of(self, part: Part, batch: pa.RecordBatch, first: int) -> np.ndarray:
        """Numbers int64 [b], equal for what belongs together; `first` is the place of the first row."""


def unit_vectors(batch: pa.RecordBatch) -> np.ndarray:
    """The embeddings of a batch, float32 [b, e], of unit length to single precision."""
    column = batch.column("embedding")
    vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size).astype(np.float32)
    return unit_length(vectors)


def build_index(encoder: Encoder, parts: Sequence[Part], folder: str, threads: int = 0) -> Index:
    """Embed the parts that are not in the folder yet.

    Args:
      encoder: the model.
      parts: what is to be searched.
      folder: where embeddings are kept; parts of other sets and checkpoints may stand there too.
      threads: that decode; 0 takes all cores.

    Raises:
      UserError: where no picture can be used.
    """
    _remove_abandoned(folder)
    paths = [part_path(folder, encoder, part) for part in parts]
    waiting = [(part, path) for part, path in zip(parts, paths) if not (files.exists(path) and files.exists(_notes_of(path)))]
    with progress("embedding", None, "image") as line:
        for done, (part, path) in enumerate(waiting):
            line.set_postfix_str(f"part {done + 1} of {len(waiting)}")
            _embed(encoder, part, path, threads or available_cores(), line)
    rows, drops, made_with = [], Counter(), Counter()
    for path in paths:
        notes = files.read_json(_notes_of(path))
        with files.reading_kept(_notes_of(path)):
            rows.append(notes["rows"])
            drops.update(notes["drops"])
            made_with[notes["made_with"]] += notes["rows"]
    if not sum(rows):
        told = ", ".join(f"{reason}: {number}" for reason, number in sorted(drops.items())) or "they are empty"
        raise UserError(f"no usable picture ({told})", where=parts[0].name, fix="pictures are JPEG, PNG, WebP, GIF, BMP or TIFF")
    return Index(parts, paths, rows, dict(drops), {name: number for name, number in made_with.items() if number})


def part_path(folder: str, encoder: Encoder, part: Part) -> str:
    """Where a part's embeddings by a checkpoint stand."""
    text = json.dumps([FORMAT, encoder.digest, "tar" if part.is_tar else "folder", part.digest])
    return files.join(folder, f"embeddings-{hashlib.sha256(text.encode()).hexdigest()[:40]}.parquet")


def _notes_of(path: str) -> str:
    return path.removesuffix(".parquet") + ".json"


def _embed(encoder: Encoder, part: Part, path: str, threads: int, line: Any) -> None:
    skipped = Skipped()
    schema = index_schema(encoder.model.config.embed)
    sizes: dict[str, int] = {}

    def sized(examples: Iterator[Example]) -> Iterator[Example]:
        for example in examples:
            sizes[example.eval_key] = len(example.image)  # what comes out of `pictures` has no bytes any more
            yield example

    def batches() -> Iterator[pa.Table]:
        found = pictures(sized(part.examples(skipped)), encoder.loaded.preprocessing, skipped, threads)
        while batch := list(itertools.islice(found, encoder.batch_size)):
            _, embedded = encoder.embed_images(np.stack([pixels for _, pixels in batch]))  # float32 [b, e]
            values = pa.FixedSizeListArray.from_arrays(pa.array(embedded.astype(np.float16).ravel(), pa.float16()), embedded.shape[1])
            rows = [_row(example, sizes[example.eval_key]) for example, _ in batch]
            columns = {name: pa.array([row[name] for row in rows], schema.field(name).type) for name in schema.names if name != "embedding"}
            line.update(len(batch))
            yield pa.table([columns.get(name, values) for name in schema.names], schema=schema)

    count = tables.write_batches(path, schema, batches())
    notes = {"rows": count, "drops": dict(skipped.counts), "made_with": f"{encoder.precision} on {encoder.device.type}"}
    files.write_json(_notes_of(path), notes)  # last: without it the part counts as missing


def _row(example: Example, size: int) -> dict[str, Any]:
    usable = ((name, value) for name, value in example.columns.items() if len(name) <= 100 and _is_json(value))
    columns = {name: _short(value) for name, value in itertools.islice(usable, MOST_COLUMNS)}
    in_tar = example.offset >= 0
    return {
        "key": example.eval_key.removeprefix("/") if in_tar else example.eval_key,
        "region": WHOLE,
        "text": _short(" · ".join(example.captions) or str(example.columns.get("caption", ""))),
        "clip": example.clip[:LONGEST],
        "columns": json.dumps(columns, sort_keys=True, ensure_ascii=False),
        "tar_offset": example.offset if in_tar else None,
        "tar_size": size if in_tar else None,
    }


def _short(value: Any) -> Any:
    return value[:LONGEST] if isinstance(value, str) else value


def _is_json(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)  # Python reads NaN from JSON, which has none


def _remove_abandoned(folder: str) -> None:
    if files.is_remote(folder):
        return
    for left in glob.glob(os.path.join(glob.escape(folder), "*.tmp-*")):
        if time.time() - os.path.getmtime(left) > ABANDONED:
            files.remove(left)
