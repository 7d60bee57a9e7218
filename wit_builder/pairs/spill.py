"""Sorted runs of pairs on disk, from which exact duplicates are removed across all files in bounded memory.

A pair's partition is its uid's leading 64 bits modulo the number of partitions. A run is an Arrow IPC file with one
record batch for each partition, rows sorted by uid and unique in it; a partition's rows are its batches of all runs.
Of equal (url, text) the row with the smallest (page_url, source_file, text_source) is kept, so that neither the
order of the files nor the cutting of the work shows in the result.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wit_builder import files
from wit_builder.hashing import pair_uid
from wit_builder.records import PAIRS

PARTITION_BYTES = 256 << 20  # of input, for each partition
MAX_PARTITIONS = 4096
RUN_ROWS = 200_000  # pairs held in memory before they are sorted and written

SPILLED = PAIRS.append(pa.field("text_source", pa.string()))
_ORDER = [("uid", "ascending"), ("page_url", "ascending"), ("source_file", "ascending"), ("text_source", "ascending")]


def partitions_for(input_bytes: int) -> int:
    """How many partitions, and so output files, an input of this size gets: a power of two.

    `balance_pairs` cuts the pool by the same rule into a power of two of parts, so that a part is some whole files.
    """
    return min(MAX_PARTITIONS, 1 << (max(1, math.ceil(input_bytes / PARTITION_BYTES)) - 1).bit_length())


def partition_of(uids: pa.Array, partitions: int) -> np.ndarray:
    """Partition of each uid, shape [n], int64: its leading 64 bits modulo `partitions`."""
    digits = np.frombuffer(b"".join(uid[:16].encode() for uid in uids.to_pylist()), np.uint8).reshape(-1, 16).astype(np.uint64)
    values = np.where(digits > 57, digits - 87, digits - 48)
    shifts = np.arange(60, -4, -4, dtype=np.uint64)
    return ((values << shifts).sum(axis=1, dtype=np.uint64) % np.uint64(partitions)).astype(np.int64)


def unique(table: pa.Table) -> pa.Table:
    """Rows sorted by uid, of each uid the smallest row only."""
    table = table.sort_by(_ORDER)
    if table.num_rows < 2:
        return table
    uids = table["uid"].combine_chunks()
    first = pc.not_equal(uids.slice(1), uids.slice(0, len(uids) - 1))
    return table.filter(pa.concat_arrays([pa.array([True]), first.combine_chunks() if isinstance(first, pa.ChunkedArray) else first]))


class SpillWriter:
    """Collects pairs and writes them as sorted runs.

    Attributes:
      runs: paths of the runs written.
      pairs: pairs added, duplicates and all.
    """

    def __init__(self, folder: str, name: str, partitions: int, run_rows: int = RUN_ROWS) -> None:
        self.folder, self.name, self.partitions, self.run_rows = folder, name, partitions, run_rows
        self.runs: list[str] = []
        self.pairs = 0
        self.rows: list[tuple[str, str, str, str, str, str]] = []

    def add(self, url: str, text: str, page_url: str, source_file: str, text_source: str) -> None:
        self.rows.append((pair_uid(url, text), url, text, page_url, source_file, text_source))
        self.pairs += 1
        if len(self.rows) >= self.run_rows:
            self.flush()

    def flush(self) -> None:
        """Write what is held as one run; nothing happens where nothing is held."""
        if not self.rows:
            return
        columns = [pa.array(column, pa.string()) for column in zip(*self.rows)]
        self.rows = []
        table = unique(pa.Table.from_arrays(columns, schema=SPILLED))
        place = partition_of(table["uid"], self.partitions)
        order = np.argsort(place, kind="stable")
        table = table.take(order)
        edges = np.searchsorted(place[order], np.arange(self.partitions + 1))
        path = files.join(self.folder, f"{self.name}-{len(self.runs):05d}.arrow")
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with files.atomic_writer(path) as stream, pa.ipc.new_file(stream, SPILLED, options=options) as writer:
            for start, end in zip(edges[:-1], edges[1:]):
                piece = table.slice(start, end - start).combine_chunks()
                writer.write_batch(pa.RecordBatch.from_arrays([_one(column) for column in piece.columns], schema=SPILLED))
        self.runs.append(path)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
