"""Parquet files whose bytes depend on their rows alone: sorted, with pinned writer settings, renamed into place."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from wit_builder import files
from wit_builder.errors import UserError

ROW_GROUP_ROWS = 65_536

_WRITER_SETTINGS = dict(
    version="2.6",
    data_page_version="1.0",
    compression="zstd",
    compression_level=3,
    use_dictionary=True,
    write_statistics=True,
)


def numbered(name: str, index: int, count: int, suffix: str = "parquet") -> str:
    """File name of one of several: `pairs-00003-of-00016.parquet`."""
    return f"{name}-{index:05d}-of-{count:05d}.{suffix}"


def write_table(path: str, table: pa.Table, *, sort_by: Sequence[str] = ()) -> None:
    """Write one Parquet file atomically, rows sorted by the given columns (bytewise for strings)."""
    if sort_by:
        table = table.sort_by([(column, "ascending") for column in sort_by])
    write_batches(path, table.schema, table.to_batches())


def write_batches(path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch | pa.Table]) -> int:
    """Write already sorted batches as one Parquet file, atomically, and return the number of rows.

    Row groups are cut at fixed row counts, so the same rows give the same bytes however they were batched.
    """
    with files.atomic_writer(path) as stream:
        return _write(stream, schema, batches)


def parquet_bytes(table: pa.Table) -> bytes:
    """A small table as the bytes of the file that `write_table` would write."""
    buffer = io.BytesIO()
    _write(buffer, table.schema, [table])
    return buffer.getvalue()


def _write(stream: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch | pa.Table]) -> int:
    rows = 0
    with pq.ParquetWriter(stream, schema, **_WRITER_SETTINGS) as writer:
        pending: list[pa.Table] = []
        waiting = 0
        for batch in batches:
            piece = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
            pending.append(piece.cast(schema))
            waiting += piece.num_rows
            rows += piece.num_rows
            if waiting >= ROW_GROUP_ROWS:
                whole = pa.concat_tables(pending)
                full = waiting - waiting % ROW_GROUP_ROWS
                writer.write_table(whole.slice(0, full).combine_chunks(), row_group_size=ROW_GROUP_ROWS)
                pending, waiting = [whole.slice(full)], waiting - full
        if waiting:
            writer.write_table(pa.concat_tables(pending).combine_chunks(), row_group_size=ROW_GROUP_ROWS)
    return rows


def _open(path: str, columns: Sequence[str] | None) -> pq.ParquetFile:
    try:
        source = pq.ParquetFile(files.open_read(path) if files.is_remote(path) else path)
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            raise UserError("no such file", where=path, fix="check the path") from error
        raise UserError("not a whole Parquet file", where=path, fix="make it again with the stage that writes it") from error
    missing = [column for column in columns or () if column not in source.schema_arrow.names]
    if missing:
        raise UserError(
            f"no column {', '.join(missing)} (it has {', '.join(source.schema_arrow.names)})",
            where=path,
            fix="give the output of the stage before",
        )
    return source


@contextmanager
def _broken_inside(path: str) -> Iterator[None]:
    """Damage that shows only when rows are read."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        told = "".join(letter if letter.isprintable() else " " for letter in str(error)[:200])
        raise UserError(f"broken inside: {told}", where=path, fix="make or get it again") from error


def read_table(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """One Parquet file as a table.

    Raises:
      UserError: where it is missing, broken, or lacks one of `columns`.
    """
    with _open(path, columns) as source, _broken_inside(path):
        return source.read(columns=list(columns) if columns else None)


def cast(table: pa.Table, schema: pa.Schema, path: str) -> pa.Table:
    """The columns that a schema names, as its types, of a table that was read from `path`.

    Raises:
      UserError: where one holds something else.
    """
    columns = []
    for field in schema:
        column = table[field.name]
        try:
            columns.append(column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            found = f"the column {field.name} holds {column.type}, of which no {field.type} can be made"
            raise UserError(found, where=path, fix="give the output of the stage before") from error
    return pa.table(columns, schema=schema)


def read_batches(path: str, columns: Sequence[str] | None = None, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
    """One Parquet file in batches of at most `rows` rows, in order. Raises as `read_table` does."""
    with _open(path, columns) as source, _broken_inside(path):
        yield from source.iter_batches(batch_size=rows, columns=list(columns) if columns else None)


def read_schema(path: str) -> pa.Schema:
    """Columns of a Parquet file. Raises as `read_table` does."""
    with _open(path, None) as source:
        return source.schema_arrow


def count_rows(path: str) -> int:
    """Rows of a Parquet file, from its footer. Raises as `read_table` does."""
    with _open(path, None) as source:
        return source.metadata.num_rows


def find(folder: str, name: str) -> list[str]:
    """The numbered Parquet files of one kind in a finished output folder, in order.

    Raises:
      UserError: where the folder is not there, not finished, or a file of the series is missing.
    """
    if not files.exists(files.join(folder, "manifest.json")):
        fix = "run the stage that writes it to its end"
        if not files.is_folder(folder):
            raise UserError("no such folder", where=folder, fix=fix)
        raise UserError("no manifest.json in this folder, so its output is not whole", where=folder, fix=fix)
    found = files.match(files.join(folder, f"{name}-*-of-*.parquet"))
    if not found:
        raise UserError(f"no {name}-*.parquet files in this folder", where=folder, fix="check that it is the right stage's output")
    expected = int(found[0].rsplit("-of-", 1)[1].split(".")[0])
    if len(found) != expected:
        raise UserError(f"{len(found)} of {expected} {name} files are there", where=folder, fix="make the folder again")
    return found
