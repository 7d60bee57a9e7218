"""Parts of the pool: which there are, and the rows of one, without duplicates.

A part is the pairs of one file of the output: those whose uid's leading 64 bits are its number, modulo the number of
parts, which follows the pool's size alone. `extract_pairs` places pairs by the same rule, so that a part usually is some
whole input files. Pairs that lie otherwise (several folders, another writer's files) are scattered into spill files first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wit_builder import files, tables
from wit_builder.balance import kernel
from wit_builder.errors import UserError
from wit_builder.records import PAIRS

ROWS_PER_PART = 1 << 18
PAIR_COLUMNS = tuple(PAIRS.names)
_RUN_ROWS = 1 << 18  # rows of a spill file of scattered pairs
_SAMPLED_FILES = 16


def number_of_parts(rows: int, rows_per_part: int = ROWS_PER_PART) -> int:
    """The least power of two that leaves at most about `rows_per_part` pairs in each part."""
    parts = 1
    while parts * rows_per_part < rows:
        parts *= 2
    return parts


@dataclass(frozen=True)
class Part:
    """One part of the pool.

    Attributes:
      number, of: its number, and how many parts there are.
      sources: files that hold its pairs: Parquet files that hold no others, or, where `scattered`, Arrow files of which
        the batch of its number holds them.
    """

    number: int
    of: int
    sources: tuple[str, ...]
    scattered: bool = False


def whole_parts(sources: Sequence[str], parts: int) -> list[Part] | None:
    """Parts made of whole files of one folder, or None where the files do not lie so.

    A few pairs of a few files are looked at here; all are checked when they are read.
    """
    if len(sources) % parts:
        return None
    step = max(1, len(sources) // _SAMPLED_FILES)
    for index in range(0, len(sources) if parts > 1 else 0, step):
        for batch in islice(tables.read_batches(sources[index], ("uid",), rows=256), 1):
            uids = parse_uids(batch.column("uid"), sources[index])
            if (uids[:, 0] % np.uint64(parts) != np.uint64(index % parts)).any():
                return None
    return [Part(number, parts, tuple(sources[number::parts])) for number in range(parts)]


def scattered_parts(runs: Sequence[str], parts: int) -> list[Part]:
    """Parts of the pool in the files that `scatter` wrote."""
    return [Part(number, parts, tuple(runs), scattered=True) for number in range(parts)]


def parse_uids(uids: pa.Array | pa.ChunkedArray, where: str) -> np.ndarray:
    """Halves of the uids, uint64 [rows, 2]. Their order is that of the strings.

    Raises:
      UserError: where one is not 32 lower-case hex digits.
    """
    array = pc.fill_null(uids.cast(pa.large_string()), "")
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if len(array) == 0:
        return np.zeros((0, 2), np.uint64)
    _, offsets, data = array.buffers()
    places = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    halves, wrong = kernel.parse_uids(np.frombuffer(data or b"", np.uint8), places)
    if wrong >= 0:
        raise UserError("a uid is not 32 lower-case hex digits", where=where, fix="make the pairs with extract_pairs")
    return halves


def read_columns(part: Part, columns: Sequence[str]) -> pa.Table:
    """Columns of all rows of a part, its files one after another, as large strings; null reads as empty."""
    schema = pa.schema([(column, pa.large_string()) for column in columns])
    tables_read = [tables.cast(_read_source(source, part, columns), schema, source) for source in part.sources]
    table = pa.concat_tables([schema.empty_table(), *tables_read])
    return pa.table([pc.fill_null(column, "") for column in table.columns], schema=schema)


def _read_source(source: str, part: Part, columns: Sequence[str]) -> pa.Table:
    if not part.scattered:
        return tables.read_table(source, columns).select(columns)
    with files.open_read(source) as stream, pa.ipc.open_file(stream) as reader:
        return pa.Table.from_batches([reader.get_batch(part.number)]).select(columns)


def unique_rows(part: Part, uids: np.ndarray) -> np.ndarray:
    """Rows to keep, in the order of their uids: of those with one uid, the smallest (page_url, source_file). int64 [n].

    Raises:
      UserError: where pairs lie in a part that is not theirs.
    """
    if (uids[:, 0] % np.uint64(part.of) != np.uint64(part.number)).any():
        raise UserError(
            "some pairs lie in another file than their uid says", where=part.sources[0], fix="make the folder again with extract_pairs"
        )
    order = np.lexsort((uids[:, 1], uids[:, 0]))
    ordered = uids[order]
    first = np.ones(len(order), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    if first.all():
        return order
    group = np.cumsum(first) - 1
    repeated = np.flatnonzero(np.bincount(group)[group] > 1)  # places in the order
    pages = read_columns(part, ("page_url", "source_file")).take(pa.array(order[repeated]))
    pages = pages.append_column("group", pa.array(group[repeated])).append_column("place", pa.array(repeated))
    smallest = pages.sort_by([(name, "ascending") for name in ("group", "page_url", "source_file", "place")])
    groups = smallest["group"].to_numpy()
    heads = np.ones(len(groups), bool)
    heads[1:] = groups[1:] != groups[:-1]
    kept = np.flatnonzero(first)
    kept[groups[heads]] = smallest["place"].to_numpy()[heads]
    return order[kept]


def scatter(source: str, folder: str, index: int, parts: int) -> list[str]:
    """Copy a file's pairs into Arrow files with one batch for each part; returns their paths."""
    batches = (pa.Table.from_batches([batch]) for batch in tables.read_batches(source, PAIR_COLUMNS, rows=_RUN_ROWS))
    return scatter_tables(batches, source, folder, index, parts)


def scatter_tables(some: Iterable[pa.Table], source: str, folder: str, index: int, parts: int) -> list[str]:
    """The same of pairs as tables, each of which makes one Arrow file; `source` is what errors name."""
    schema = pa.schema([(name, pa.large_string()) for name in PAIR_COLUMNS])
    runs = []
    for table in some:
        table = tables.cast(table, schema, source)
        numbers = (parse_uids(table["uid"], source)[:, 0] % np.uint64(parts)).astype(np.int64)
        order = np.argsort(numbers, kind="stable")
        edges = np.searchsorted(numbers[order], np.arange(parts + 1))
        ordered = table.take(pa.array(order)).combine_chunks()
        path = files.join(folder, f"scattered-{index:05d}-{len(runs):05d}.arrow")
        with files.atomic_writer(path) as stream, pa.ipc.new_file(stream, schema, options=_IPC) as writer:
            for start, end in zip(edges[:-1], edges[1:]):
                pieces = ordered.slice(start, end - start).to_batches()
                writer.write_batch(pieces[0] if pieces else pa.RecordBatch.from_pylist([], schema=schema))
        runs.append(path)
    return runs


_IPC = pa.ipc.IpcWriteOptions(compression="lz4")
