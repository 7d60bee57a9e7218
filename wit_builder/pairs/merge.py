"""Runs of pairs merged, one partition at a time, to files of unique pairs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wit_builder import files
from wit_builder.pairs.spill import SPILLED, unique
from wit_builder.records import PAIRS
from wit_builder.tables import numbered, write_batches

MERGE_ROWS = 2_000_000  # rows that are sorted at once, about 1 GB
TOP_HOSTS = 1000  # hosts of each file that the report's sums are made of


@dataclass(frozen=True)
class Merge:
    """A `Work` (`wit_builder.parallel`): a partition's number to its file of unique pairs, sorted by uid.

    The result maps `counts` to numbers by name and `hosts` to the pairs of the file's most frequent hosts.

    Args:
      runs_file: a JSON list of all runs.
      with_sources: keep the column text_source.
    """

    output: str
    runs_file: str
    partitions: int
    with_sources: bool = False

    def load(self) -> list[str]:
        return files.read_json(self.runs_file)

    def __call__(self, runs: list[str], partition: int) -> dict[str, Any]:
        schema = SPILLED if self.with_sources else PAIRS
        hosts: Counter = Counter()

        def pieces() -> Iterator[pa.Table]:
            for table in merge(runs, partition):
                hosts.update(hosts_of(table["url"]))
                yield table.select(schema.names)

        path = files.join(self.output, numbered("pairs", partition, self.partitions))
        rows = write_batches(path, schema, pieces())
        top = sorted(hosts.items(), key=lambda host: (-host[1], host[0]))[:TOP_HOSTS]
        return {"counts": {"pairs": rows}, "hosts": dict(top)}


def hosts_of(urls: pa.ChunkedArray) -> dict[str, int]:
    """How many of the normalised URLs each host has."""
    found = pc.value_counts(pc.struct_field(pc.extract_regex(urls, "^https?://(?P<host>[^/]*)"), "host"))
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist()))


def merge(runs: Sequence[str], partition: int, merge_rows: int = MERGE_ROWS) -> Iterator[pa.Table]:
    """Unique rows of one partition, sorted by uid, in pieces made of about `merge_rows` rows, duplicates and all."""
    rows = sum(_batch(path, partition).num_rows for path in runs)
    slices = max(1, math.ceil(rows / merge_rows))
    # Slices of equal width in the uid's leading 32 bits, as hex digits, which sort as the uids do.
    edges = ["", *(f"{(1 << 32) * index // slices:08x}" for index in range(1, slices)), "g"]
    for low, high in zip(edges[:-1], edges[1:]):
        pieces = [SPILLED.empty_table()]
        for path in runs:
            batch = _batch(path, partition)
            if slices > 1:
                uids = batch["uid"]
                batch = batch.filter(pc.and_(pc.greater_equal(uids, low), pc.less(uids, high)))
            pieces.append(pa.Table.from_batches([batch]))
        yield unique(pa.concat_tables(pieces))


def _batch(path: str, partition: int) -> pa.RecordBatch:
    with files.open_read(path) as stream, pa.ipc.open_file(stream) as reader:
        return reader.get_batch(partition)
