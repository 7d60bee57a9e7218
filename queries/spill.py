"""Spill files: rows of one task, cut by partition, so that a later task can read one partition of all of them.

An Arrow IPC file with one record batch a partition; the reader fetches a batch without reading the others. Spill files
live under OUTPUT/.work and never outlive the run; only their names travel through the pipeline.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from wit_builder import files

_OPTIONS = ipc.IpcWriteOptions(compression="zstd")


def name(kind: str, index: int) -> str:
    """File name of a task's spill."""
    return f"{kind}-{index:06d}.arrow"


def partition_of(key: str, partitions: int) -> int:
    """Partition of a string. It decides only where rows meet, never what comes out."""
    return zlib.crc32(key.encode()) % partitions


def write(path: str, table: pa.Table, partition: np.ndarray, partitions: int) -> None:
    """Write the table's rows by partition, in their order within each.

    Args:
      partition: of each row, shape [rows].
    """
    order = np.argsort(partition, kind="stable")
    bounds = np.searchsorted(partition[order], np.arange(partitions + 1))
    sorted_table = table.take(pa.array(order)).combine_chunks()
    write_batches(path, table.schema, (sorted_table.slice(start, end - start) for start, end in zip(bounds[:-1], bounds[1:])))


def write_batches(path: str, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    """Write one batch a table, empty ones too."""
    with files.atomic_writer(path) as stream, ipc.new_file(stream, schema, options=_OPTIONS) as writer:
        for table in tables:
            batches = table.combine_chunks().to_batches()
            writer.write_batch(batches[0] if batches else pa.RecordBatch.from_pylist([], schema))


def read(path: str, partition: int) -> pa.RecordBatch:
    """One partition of a spill file."""
    with files.open_read(path) as stream, ipc.open_file(stream) as reader:
        return reader.get_batch(partition)


def read_all(path: str) -> pa.Table:
    """All partitions of a spill file, in order."""
    with files.open_read(path) as stream, ipc.open_file(stream) as reader:
        return reader.read_all()


def gather(paths: Sequence[str], partition: int) -> pa.Table:
    """One partition of several spill files."""
    return pa.Table.from_batches([read(path, partition) for path in paths])


def count_histogram(counts: Iterable[int]) -> Counter:
    """How many of the counts lie in each quarter of an octave: bin 4·log2(count), rounded down."""
    bins = np.floor(4 * np.log2(np.asarray(counts, np.float64))).astype(int)
    return Counter(dict(zip(*(values.tolist() for values in np.unique(bins, return_counts=True)))))
