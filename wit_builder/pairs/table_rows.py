"""Rows of tables that hold image URLs and texts: Parquet, CSV or TSV, also compressed, read a little at a time.

Nothing in them is trusted: lines and fields are bounded, bytes that are no UTF-8 become U+FFFD, a broken line is told and passed over,
and a file that breaks off keeps what came before.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wit_builder import files, tables
from wit_builder.errors import UserError

LONGEST_LINE = 1 << 20  # characters; a longer one is cut into several, which are then broken
ROWS = 8192  # of a Parquet file that are held at a time
TASK_ROWS = 500_000  # rows of a Parquet file that make one task
BYTES_A_ROW = 100  # of a CSV file, roughly; six times as many rows where it is compressed

_NAME = re.compile(r"\.(parquet|csv|tsv|txt)(\.gz|\.bz2|\.xz)?$", re.IGNORECASE)
_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_CUT_OFF = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowInvalid)


class Wrong:
    """Stands for a value that is no text."""


WRONG = Wrong()


@dataclass(frozen=True)
class Columns:
    """Which columns hold what.

    Attributes:
      url: of the image's URL.
      texts: of its texts, in the order in which they are joined.
      page: of the URL of the page that it stands on; "" for none.
      names: of all columns, for CSV and TSV files without a line of names; none where they have one.
    """

    url: str
    texts: tuple[str, ...]
    page: str = ""
    names: tuple[str, ...] = ()

    @property
    def wanted(self) -> list[str]:
        return [self.url, *self.texts, *([self.page] if self.page else [])]


@dataclass(frozen=True)
class TableTask:
    """A table, or some row groups of a Parquet file; `name` is its path below the input's root."""

    number: int
    path: str
    name: str
    groups: tuple[int, int] | None = None


Row = tuple[Any, tuple[Any, ...], Any]  # URL, texts, page; each a str, None, or WRONG


def plan(paths: Sequence[tuple[str, str]], columns: Columns) -> tuple[list[TableTask], int]:
    """Tasks for tables (path, name), and roughly the number of their rows. The same for any number of workers.

    Raises:
      UserError: where a file is no table, or lacks a column.
    """
    tasks: list[TableTask] = []
    rows = 0
    for path, name in paths:
        found = _NAME.search(path)
        if not found:
            raise UserError("neither Parquet nor CSV nor TSV by its name", where=path, fix="*.parquet, *.csv, *.tsv, *.csv.gz …")
        if found[1].lower() == "parquet":
            _check(columns, tables.read_schema(path).names, path)
            rows += tables.count_rows(path)
            tasks += [TableTask(len(tasks) + at, path, name, groups) for at, groups in enumerate(_groups(path))]
        else:
            if not columns.names:
                _check(columns, first_line(path), path)
            rows += files.size(path) * (6 if found[2] else 1) // BYTES_A_ROW
            tasks.append(TableTask(len(tasks), path, name))
    return tasks, rows


def first_line(path: str) -> list[str]:
    """Names of the columns of a CSV or TSV file that has a line of them.

    Raises:
      UserError: where the file cannot be read.
    """
    try:
        with _open_text(path) as stream:
            return next(_lines_as_rows(stream, path), None) or []
    except FileNotFoundError:
        raise
    except _CUT_OFF as error:
        raise UserError(f"cannot be read: {error}", where=path, fix="get the file again") from error


def _groups(path: str) -> list[tuple[int, int]]:
    """Ranges of row groups of about `TASK_ROWS` rows."""
    with pq.ParquetFile(files.open_read(path)) as source:
        sizes = [source.metadata.row_group(number).num_rows for number in range(source.num_row_groups)]
    edges, held = [0], 0
    for number, size in enumerate(sizes):
        if held and held + size > TASK_ROWS:
            edges.append(number)
            held = 0
        held += size
    return list(zip(edges, [*edges[1:], len(sizes)]))


def _check(columns: Columns, names: Sequence[str], path: str) -> None:
    shown = ", ".join(str(name)[:40] for name in list(names)[:20]) or "none"
    for name in columns.wanted:
        if list(names).count(name) != 1:
            what = "twice a column" if name in names else "no column"
            raise UserError(f"{what} {name} (it has {shown})", where=path, fix="name them by --url-column, --text-columns, --page-column")


def read_rows(task: TableTask, columns: Columns) -> Iterator[Row | None]:
    """Rows of a task, in order; None for a broken line.

    Raises:
      CutOff: at the end, where the file breaks off.
    """
    try:
        yield from _parquet_rows(task, columns) if task.groups else _text_rows(task, columns)
    except _CUT_OFF as error:
        raise CutOff(str(error)[:200]) from error


class CutOff(Exception):
    """A file ends before its end; what came before was good."""


def _parquet_rows(task: TableTask, columns: Columns) -> Iterator[Row]:
    wanted = list(dict.fromkeys(columns.wanted))
    with files.open_read(task.path) as stream, pq.ParquetFile(stream) as source:
        for batch in source.iter_batches(ROWS, row_groups=range(*task.groups), columns=wanted):
            values = {name: _texts(batch.column(batch.schema.get_field_index(name))) for name in wanted}
            pages = values[columns.page] if columns.page else [None] * batch.num_rows
            yield from zip(values[columns.url], zip(*(values[name] for name in columns.texts)), pages)


def _texts(column: pa.Array) -> list[Any]:
    """Values as str, null as None, what is no text as WRONG."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        column = column.cast(pa.large_binary())  # as text, one value that is no UTF-8 would stop the whole batch
    elif not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return [WRONG if valid else None for valid in column.is_valid().to_pylist()]
    return [None if value is None else value.decode("utf-8", "replace") for value in column.to_pylist()]


def _open_text(path: str) -> io.TextIOWrapper:
    stream: Any = files.open_read(path)
    packed = _NAME.search(path)[2]
    if packed:
        stream = _OPENERS[packed.lower()](stream)
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")


def _lines_as_rows(stream: io.TextIOWrapper, path: str) -> Iterator[list[str] | None]:
    """Fields of each line that is not empty; None for one that cannot be read."""
    tabs = _NAME.search(path)[1].lower() != "csv"
    lines = iter(lambda: stream.readline(LONGEST_LINE), "")
    # Tab-separated files as Conceptual Captions and YFCC100M have them know no quotation marks.
    settings: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {}
    reader = csv.reader(lines, **settings)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:  # a field over 128 KiB, as an opening quotation mark alone makes one
            reader = csv.reader(lines, **settings)
            yield None
            continue
        if fields:
            yield fields


def _text_rows(task: TableTask, columns: Columns) -> Iterator[Row | None]:
    with _open_text(task.path) as stream:
        rows = _lines_as_rows(stream, task.path)
        names = list(columns.names or next(rows, None) or [])
        url, *texts = (names.index(name) for name in (columns.url, *columns.texts))
        page = names.index(columns.page) if columns.page else -1
        for fields in rows:
            if fields is None or len(fields) != len(names):
                yield None
            else:
                yield fields[url], tuple(fields[at] for at in texts), fields[page] if columns.page else None
