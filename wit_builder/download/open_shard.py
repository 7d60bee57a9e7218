"""A shard under way: rows waiting for their outcome, images waiting for their place in the tar."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from wit_builder.download.planned import Folders, Planned
from wit_builder.download.reasons import is_transient
from wit_builder.download.retry import move_shard, staging, stored_rows
from wit_builder.download.summary import shard_statistics
from wit_builder.records import SHARD_ROWS
from wit_builder.shards import ShardPaths, ShardRow, other_columns, write_shard
from wit_builder.tables import read_schema, read_table

_OURS = ("uid", "url", "text", "query_ids")
_KEPT_IN_MEMORY = 1_000_000  # bytes of a shard's images; what exceeds this waits in a temporary file


@dataclass
class OpenShard:
    """A shard under way: its rows, and the images saved so far in a spool, in the order they came.

    Attributes:
      rows: in order of the plan.
      places: where in the spool each saved row's image stands: offset and size in bytes.
      settled: rows that failed in an earlier run, for good.
      left: rows without an outcome.
      done: set when none is left.
      is_again: the shard is whole, and is made again for its transient failures.
      kept: other columns of the pairs' tables that the shard holds too.
    """

    number: int
    rows: list[ShardRow]
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)
    left: int = 0
    done: asyncio.Future | None = None
    is_again: bool = False
    kept: pa.Schema = pa.schema([])
    spool: Any = field(default_factory=lambda: tempfile.SpooledTemporaryFile(max_size=_KEPT_IN_MEMORY))
    lock: Any = field(default_factory=threading.Lock)

    def keep(self, index: int, image: bytes) -> None:
        """Put a row's image into the spool. Called from decoding threads."""
        with self.lock:
            self.places[index] = (self.spool.tell(), len(image))
            self.spool.write(image)

    def finished_rows(self) -> Iterator[ShardRow]:
        """The rows in order, each with its image while it is looked at."""
        for index, row in enumerate(self.rows):
            if index in self.places:
                offset, size = self.places[index]
                self.spool.seek(offset)
                row.image = self.spool.read(size)
            yield row
            row.image = None


def open_planned(plan: Planned) -> OpenShard:
    """A planned shard with nothing done yet."""
    table = read_table(plan.pairs)
    kept = other_columns(table.schema, _OURS)
    pairs = table.to_pylist()
    rows = [
        ShardRow(pair["uid"], pair["url"], pair["text"], pair["query_ids"] or [], more={name: pair[name] for name in kept.names})
        for pair in pairs
    ]
    return OpenShard(plan.number, rows, kept=kept)


def reopen(number: int, paths: ShardPaths) -> OpenShard:
    """A whole shard with all that it holds, its transient failures to be tried again."""
    shard = OpenShard(number, [], is_again=True, kept=other_columns(read_schema(paths.parquet), SHARD_ROWS.names))
    for index, row in enumerate(stored_rows(paths)):
        if row.image is not None:
            shard.keep(index, row.image)
            row.image = None
        elif is_transient(row.error_message):
            row.error_message, row.sha256 = None, None
        else:
            shard.settled.add(index)
        shard.rows.append(row)
    return shard


def write(folders: Folders, shard: OpenShard, extension: str) -> dict[str, Any]:
    """Write a shard that has every outcome, and return its statistics."""
    target = staging(folders.work) if shard.is_again else folders.output
    more = shard_statistics(shard.rows)
    stats = write_shard(target, shard.number, shard.finished_rows(), extension=extension, more=more, kept=shard.kept)
    if shard.is_again:
        move_shard(folders.work, folders.output, shard.number)
    return stats
