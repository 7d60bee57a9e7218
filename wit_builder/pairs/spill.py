"""Sorted runs of pairs on disk, from which exact duplicates are removed across all files in bounded memory.

A pair's partition is its uid's leading 64 bits modulo the number of partitions. A run is an Arrow IPC file with one
record batch for each partition, rows sorted by uid and unique in it; a partition's rows are its batches of all runs.
Of equal (url, text) the row with the smallest (page_url, source_file, text_source) is kept, so that neither the
order of the files nor the cutting of the work shows in the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wit_builder import files
from wit_builder.hashing import pair_uid
from wit_builder.records import PAIRS

PARTITION_BYTES = 256 << 20  # of input, for each partition
MAX_PARTITIONS = 4096
RUN_ROWS = 200_000  # pairs held in memory, and those of a page more, before they are sorted and written

SPILLED = PAIRS.append(pa.field("text_source", pa.string()))
_ORDER = [("uid", "ascending"), ("page_url", "ascending"), ("source_file", "ascending"), ("text_source", "ascending")]


def partitions_for(input_bytes: int) -> int:
    """How many partitions, and so output files, an input of this size gets: a power of two.

    `balance_pairs` cuts the pool by the same rule into a power of two of parts, so that a part is some whole files.
    """
    return min(MAX_PARTITIONS, 1 << (max(1, math.ceil(input_bytes / PARTITION_BYTES)) - 1).bit_length())


def numbers_of(uids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Halves of each uid as numbers, shape [n, 2], uint64; they sort as the uids do."""
    return np.frombuffer(bytes.fromhex("".join(uids.to_pylist())), ">u8").reshape(-1, 2).astype(np.uint64)


def partition_of(uids: pa.Array | pa.ChunkedArray, partitions: int) -> np.ndarray:
    """Partition of each uid, shape [n], int64: its leading 64 bits modulo `partitions`."""
    return (numbers_of(uids)[:, 0] % np.uint64(partitions)).astype(np.int64)


def unique(table: pa.Table) -> pa.Table:
    """Rows sorted by uid, of each uid the smallest row only."""
    numbers = numbers_of(table["uid"])
    order = np.lexsort((numbers[:, 1], numbers[:, 0]))
    numbers = numbers[order]
    repeats = np.zeros(len(order) + 1, np.bool_)  # whether a row's uid is that of the row before it
    repeats[1:-1] = (numbers[1:] == numbers[:-1]).all(axis=1)
    alike = repeats[:-1] | repeats[1:]
    if alike.any():  # other columns need be compared among those only
        rows = order[alike]
        order[alike] = rows[pc.sort_indices(table.take(rows), _ORDER).to_numpy()]
    return table.take(order[~repeats[:-1]])


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
        self._clear()

    def _clear(self) -> None:
        self.held = 0
        self.columns: tuple[list[str], ...] = tuple([] for _ in SPILLED.names)

    def add(self, pairs: Sequence[tuple[str, str, str]], page_url: str, source_file: str) -> None:
        """Add a page's pairs, each a URL, a text and the text's source."""
        if not pairs:
            return
        urls, texts, sources = zip(*pairs)
        number = len(pairs)
        added = (map(pair_uid, urls, texts), urls, texts, [page_url] * number, [source_file] * number, sources)
        for column, values in zip(self.columns, added):
            column.extend(values)
        self.pairs += number
        self.held += number
        if self.held >= self.run_rows:
            self.flush()

    def flush(self) -> None:
        """Write what is held as one run; nothing happens where nothing is held."""
        if not self.held:
            return
        columns = [pa.array(column, pa.string()) for column in self.columns]
        self._clear()
        table = unique(pa.Table.from_arrays(columns, schema=SPILLED))
        place = partition_of(table["uid"], self.partitions)
        if self.partitions > 1:
            order = np.argsort(place, kind="stable")
            table, place = table.take(order), place[order]
        edges = np.searchsorted(place, np.arange(self.partitions + 1))
        path = files.join(self.folder, f"{self.name}-{len(self.runs):05d}.arrow")
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with files.atomic_writer(path) as stream, pa.ipc.new_file(stream, SPILLED, options=options) as writer:
            for start, end in zip(edges[:-1], edges[1:]):
                piece = table.slice(start, end - start).combine_chunks()
                writer.write_batch(pa.RecordBatch.from_arrays([_one(column) for column in piece.columns], schema=SPILLED))
        self.runs.append(path)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
