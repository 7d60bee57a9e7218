"""Parts of the pool: which there are, and the rows of one, without duplicates.

A part is a file of the output: the pairs whose uid hashes to its number. Their number follows the pool's size alone.
`extract_pairs` places pairs by the same hash in a power of two of files, so that a part is usually some whole input
files; pairs that lie otherwise are scattered into spill files first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wit_builder import files, tables
from wit_builder.balance import kernel
from wit_builder.errors import UserError
from wit_builder.hashing import file_of
from wit_builder.records import PAIRS

ROWS_PER_PART = 1 << 19


def number_of_parts(rows: int, rows_per_part: int = ROWS_PER_PART) -> int:
    """The least power of two that leaves at most about `rows_per_part` pairs in each part."""
    parts = 1
    while parts * rows_per_part < rows:
        parts *= 2
    return parts


@dataclass(frozen=True)
class Part:
    """One part of the pool: its number, how many there are, and the files that hold its pairs and no others."""

    number: int
    of: int
    sources: tuple[str, ...]


def whole_parts(sources: Sequence[str], parts: int) -> list[Part] | None:
    """Parts made of whole files of one `extract_pairs` output, in order; None where they must be scattered."""
    if len(sources) % parts:
        return None
    return [Part(number, parts, tuple(sources[number::parts])) for number in range(parts)]


def parse_uids(uids: pa.ChunkedArray, where: str) -> np.ndarray:
    """Halves of the uids, uint64 [rows, 2]. Their order is that of the strings.

    Raises:
      UserError: where one is not 32 lower-case hex digits.
    """
    array = uids.cast(pa.large_string()).combine_chunks()
    _, offsets, data = array.buffers()
    if len(array) == 0:
        return np.zeros((0, 2), np.uint64)
    places = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    halves, wrong = kernel.parse_uids(np.frombuffer(data or b"", np.uint8), places)
    if wrong >= 0 or array.null_count:
        raise UserError("a uid is not 32 lower-case hex digits", where=where, fix="make the pairs with extract_pairs")
    return halves


def read_columns(part: Part, columns: Sequence[str]) -> pa.Table:
    """Columns of all rows of a part, its files one after another, as large strings; null reads as empty."""
    schema = pa.schema([(column, pa.large_string()) for column in columns])
    read = [tables.read_table(source, columns).select(columns).cast(schema) for source in part.sources]
    table = pa.concat_tables(read) if read else schema.empty_table()
    return pa.table([pc.fill_null(column, "") for column in table.columns], schema=schema)


def unique_rows(part: Part, uids: np.ndarray, names: pa.ChunkedArray) -> np.ndarray:
    """Rows to keep, in the order of their uids: of those with one uid, the smallest (page_url, source_file). int64 [n].

    Raises:
      UserError: where pairs lie in a part that their uid does not hash to.
    """
    order = np.lexsort((uids[:, 1], uids[:, 0]))
    ordered = uids[order]
    repeats = (ordered[1:] == ordered[:-1]).all(axis=1)
    _check_placing(part, names.take(pa.array(order[:: max(1, len(order) // 256)])))
    if not repeats.any():
        return order
    pages = read_columns(part, ("page_url", "source_file"))
    keep = []
    ends = np.append(np.flatnonzero(~repeats) + 1, len(order)) if len(order) else []
    begin = 0
    for end in ends:
        if end - begin == 1:
            keep.append(order[begin])
        else:
            same = pages.take(pa.array(order[begin:end])).to_pylist()
            keep.append(min(zip(((row["page_url"], row["source_file"]) for row in same), order[begin:end]))[1])
        begin = end
    return np.array(keep, np.int64)


def _check_placing(part: Part, uids: pa.ChunkedArray) -> None:
    if part.of > 1 and any(file_of(uid, part.of) != part.number for uid in uids.to_pylist()):
        raise UserError(
            "pairs lie in another file than their uid's hash says",
            where=part.sources[0],
            fix="make the folder again with extract_pairs",
        )


PAIR_COLUMNS = tuple(PAIRS.names)


def scatter(source: str, folder: str, index: int, parts: int) -> list[str]:
    """Copy a file's pairs into one spill file for each part, and return their paths, in the order of the parts."""
    table = read_columns(Part(0, 1, (source,)), PAIR_COLUMNS)
    numbers = np.array([file_of(uid, parts) for uid in table["uid"].to_pylist()], np.int64)
    written = []
    for part in range(parts):
        path = files.join(folder, f"scattered-{part:05d}-{index:05d}.parquet")
        tables.write_table(path, table.filter(pa.array(numbers == part)))
        written.append(path)
    return written
