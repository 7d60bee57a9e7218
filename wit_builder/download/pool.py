"""The pairs to download: outputs of earlier stages, or any tables with URLs and texts, read in batches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.hashing import pair_uid
from wit_builder.pairs import table_rows
from wit_builder.text import clean

PLANNED = pa.schema([
    ("uid", pa.string()),
    ("url", pa.string()),
    ("text", pa.string()),
    ("query_ids", pa.list_(pa.int32())),
])

_URL_COLUMNS = ("url", "URL")
_TEXT_COLUMNS = ("text", "caption", "TEXT")
_UID = "^[0-9a-f]{32}$"
_TEXT_TABLE = re.compile(r"\.(csv|tsv|txt)(\.gz|\.bz2|\.xz)?$", re.IGNORECASE)
_STAGE_FILES = ("manifest.json", "run.json")


@dataclass(frozen=True)
class PairColumns:
    """Which columns hold what; "" for the usual names.

    Attributes:
      url, text: of the image's URL, and of its text.
      names: of all columns, for CSV and TSV files without a line of names.
    """

    url: str = ""
    text: str = ""
    names: tuple[str, ...] = ()

    def chosen(self) -> dict[str, str | list[str]]:
        """Those that were given, for the manifest."""
        given = {"url_column": self.url, "text_column": self.text, "column_names": list(self.names)}
        return {name: value for name, value in given.items() if value}


def find_pairs(path: str, columns: PairColumns = PairColumns()) -> list[str]:
    """Files of pairs: of a finished folder of balance_pairs or extract_pairs, of any other folder of tables, or those that a pattern names.

    Raises:
      UserError: where there are none, or one is broken or lacks a column.
    """
    if not files.is_folder(path):
        found = files.match_all([path], what="table with url and text columns, or folder of balance_pairs,")
    elif any(files.exists(files.join(path, name)) for name in _STAGE_FILES):
        name = "pairs" if files.match(files.join(path, "pairs-*-of-*.parquet")) else "balanced-pairs"
        found = tables.find(path, name)
    else:
        everything = files.match(files.join(path, "*"))
        found = [file for file in everything if file.endswith(".parquet")] or [file for file in everything if _TEXT_TABLE.search(file)]
        if not found:
            raise UserError("no pairs-*.parquet files and no other tables in this folder", where=path, fix="give balance_pairs' output")
    for file in found:
        _url_and_text(_names(file, columns), columns, file)
    return found


def count_rows(path: str) -> int:
    """How many pairs a file holds; roughly, where it is no Parquet file."""
    return files.size(path) // table_rows.BYTES_A_ROW if _TEXT_TABLE.search(path) else tables.count_rows(path)


def read_pairs(path: str, columns: PairColumns = PairColumns()) -> Iterator[tuple[pa.Table, int]]:
    """Pairs of one file in batches with `PLANNED`'s columns, and how many rows had no URL (or were no whole lines).

    A uid that is no name of ours (32 hex digits) is not taken over.

    Raises:
      UserError: where a CSV or TSV file breaks off.
    """
    url, text = _url_and_text(_names(path, columns), columns, path)
    batches = _text_batches(path, url, text, columns.names) if _TEXT_TABLE.search(path) else _parquet_batches(path, url, text)
    for table in batches:
        whole = table.filter(pc.is_valid(table["url"]))
        urls, texts = whole["url"], pc.fill_null(whole["text"], "")
        uids = whole["uid"] if "uid" in whole.column_names and pa.types.is_string(whole.schema.field("uid").type) else None
        if uids is None or not pc.all(pc.fill_null(pc.match_substring_regex(uids, _UID), False), min_count=0).as_py():
            urls = [clean(url) for url in urls.to_pylist()]
            texts = [clean(text) for text in texts.to_pylist()]
            uids = [pair_uid(url, text) for url, text in zip(urls, texts)]
        query_ids = whole["query_ids"] if "query_ids" in whole.column_names else [[]] * len(whole)
        yield pa.table([uids, urls, texts, query_ids], schema=PLANNED), len(table) - len(whole)


def _names(path: str, columns: PairColumns) -> Sequence[str]:
    if not _TEXT_TABLE.search(path):
        return tables.read_schema(path).names
    return columns.names or table_rows.first_line(path)


def _url_and_text(names: Sequence[str], columns: PairColumns, path: str) -> tuple[str, str]:
    url = _column(names, (columns.url,) if columns.url else _URL_COLUMNS, path)
    return url, _column(names, (columns.text,) if columns.text else _TEXT_COLUMNS, path)


def _column(names: Sequence[str], wanted: Sequence[str], path: str) -> str:
    for name in wanted:
        if name in names:
            return name
    shown = ", ".join(name[:40] for name in list(names)[:20]) or "none"
    fix = "name them by --url-column and --text-column"
    raise UserError(f"no column {' or '.join(wanted)} (it has {shown})", where=path, fix=fix)


def _parquet_batches(path: str, url: str, text: str) -> Iterable[pa.Table]:
    more = [name for name in ("uid", "query_ids") if name in tables.read_schema(path).names]
    for batch in tables.read_batches(path, [url, text, *more]):
        yield pa.table([batch[name] for name in (url, text, *more)], names=["url", "text", *more])


def _text_batches(path: str, url: str, text: str, names: tuple[str, ...]) -> Iterable[pa.Table]:
    columns = table_rows.Columns(url, (text,), names=names)
    schema = pa.schema([PLANNED.field("url"), PLANNED.field("text")])
    held: list[tuple[str | None, str | None]] = []
    try:
        for row in table_rows.read_rows(table_rows.TableTask(0, path, path), columns):
            held.append((row[0] or None, row[1][0]) if row else (None, None))
            if len(held) == table_rows.ROWS:
                yield pa.table(list(zip(*held)), schema=schema)
                held = []
    except table_rows.CutOff as error:
        raise UserError(f"the table breaks off: {error}", where=path, fix="get the file again") from error
    if held:
        yield pa.table(list(zip(*held)), schema=schema)
