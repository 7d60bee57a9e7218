"""The pairs to download: outputs of earlier stages, or any tables with URLs and texts, read in batches."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.hashing import pair_uid
from wit_builder.pairs import table_rows
from wit_builder.records import SHARD_ROWS
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
_KEPT = "kept "  # before the name of a kept column, which may be that of one of ours
_STAGE_FILES = ("manifest.json", "run.json")


@dataclass(frozen=True)
class PairColumns:
    """Which columns hold what; "" for the usual names.

    Attributes:
      url, text: of the image's URL, and of its text.
      names: of all columns, for CSV and TSV files without a line of names.
      kept: of other columns that shards are to hold too.
    """

    url: str = ""
    text: str = ""
    names: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

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
        names = _names(file, columns)
        _url_and_text(names, columns, file)
        for name in columns.kept:
            _column(names, (name,), file, "--save-columns takes columns that every file has")
    return found


def planned_schema(paths: Sequence[str], columns: PairColumns) -> pa.Schema:
    """`PLANNED`, and the kept columns: int64, double or bool where all files hold such, else string (lists and the like as JSON).

    Raises:
      UserError: where a kept column has the name of one that shards have anyway.
    """
    taken = {*SHARD_ROWS.names, *PLANNED.names, "exif"}.intersection(columns.kept)
    if taken or len(set(columns.kept)) < len(columns.kept):
        named = ", ".join(sorted(taken)) or "a column twice"
        raise UserError(f"shards hold {named} already", where="--save-columns", fix="leave it out, or rename it in the table")
    kinds: dict[str, set[pa.DataType]] = {name: set() for name in columns.kept}
    for path in paths if columns.kept else ():
        schema = None if _TEXT_TABLE.search(path) else tables.read_schema(path)
        for name in columns.kept:
            kinds[name].add(pa.string() if schema is None else _plain(schema.field(name).type))
    return pa.schema([*PLANNED, *((name, found.pop() if len(found) == 1 else pa.string()) for name, found in kinds.items())])


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_boolean(kind):
        return pa.bool_()
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return pa.int64()
    return pa.float64() if pa.types.is_floating(kind) else pa.string()


def _as(value: object, kind: pa.DataType) -> object:
    """A value of a kept column; what is no finite number or no text becomes null or JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or not pa.types.is_string(kind) or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, dict)) else str(value)


def count_rows(path: str) -> int:
    """How many pairs a file holds; roughly, where it is no Parquet file."""
    return files.size(path) // table_rows.BYTES_A_ROW if _TEXT_TABLE.search(path) else tables.count_rows(path)


def read_pairs(path: str, columns: PairColumns = PairColumns(), schema: pa.Schema = PLANNED) -> Iterator[tuple[pa.Table, int]]:
    """Pairs of one file in batches with the columns of `planned_schema`, and how many rows had no URL (or were no whole lines).

    A uid that is no name of ours (32 hex digits) is not taken over.

    Raises:
      UserError: where a CSV or TSV file breaks off, or a column holds no texts.
    """
    url, text = _url_and_text(_names(path, columns), columns, path)
    batches = (_text_batches if _TEXT_TABLE.search(path) else _parquet_batches)(path, url, text, columns)
    for table in batches:
        whole = table.filter(pc.is_valid(table["url"]))
        urls, texts = whole["url"], pc.fill_null(whole["text"], "")
        uids = _uids(whole)
        if uids is None:
            urls = [clean(url) for url in urls.to_pylist()]
            texts = [clean(text) for text in texts.to_pylist()]
            uids = [pair_uid(url, text) for url, text in zip(urls, texts)]
        query_ids = whole["query_ids"] if "query_ids" in whole.column_names else [[]] * len(whole)
        kept = [
            pa.array([_as(value, schema.field(name).type) for value in whole[_KEPT + name].to_pylist()], schema.field(name).type)
            for name in columns.kept
        ]
        yield pa.table([uids, urls, texts, query_ids, *kept], schema=schema), len(table) - len(whole)


def _uids(table: pa.Table) -> pa.ChunkedArray | None:
    """The table's own uids, where all are names such as ours."""
    if "uid" not in table.column_names:
        return None
    kind = table.schema.field("uid").type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()):
        return None
    uids = table["uid"].cast(pa.string())
    return uids if pc.all(pc.fill_null(pc.match_substring_regex(uids, _UID), False), min_count=0).as_py() else None


def _names(path: str, columns: PairColumns) -> Sequence[str]:
    if not _TEXT_TABLE.search(path):
        return tables.read_schema(path).names
    return columns.names or table_rows.first_line(path)


def _url_and_text(names: Sequence[str], columns: PairColumns, path: str) -> tuple[str, str]:
    url = _column(names, (columns.url,) if columns.url else _URL_COLUMNS, path)
    return url, _column(names, (columns.text,) if columns.text else _TEXT_COLUMNS, path)


def _column(names: Sequence[str], wanted: Sequence[str], path: str, fix: str = "name them by --url-column and --text-column") -> str:
    for name in wanted:
        if name in names:
            return name
    shown = ", ".join(name[:40] for name in list(names)[:20]) or "none"
    raise UserError(f"no column {' or '.join(wanted)} (it has {shown})", where=path, fix=fix)


def _parquet_batches(path: str, url: str, text: str, columns: PairColumns) -> Iterable[pa.Table]:
    ours = [name for name in ("uid", "query_ids") if name in tables.read_schema(path).names]
    named = ["url", "text", *ours, *(_KEPT + name for name in columns.kept)]
    for batch in tables.read_batches(path, list(dict.fromkeys([url, text, *ours, *columns.kept]))):
        table = pa.table([batch[name] for name in (url, text, *ours, *columns.kept)], names=named)
        kinds = [PLANNED.field(name) if name in ("url", "text", "query_ids") else table.schema.field(name) for name in named]
        yield tables.cast(table, pa.schema(kinds), path)


def _text_batches(path: str, url: str, text: str, columns: PairColumns) -> Iterable[pa.Table]:
    wanted = table_rows.Columns(url, (text, *columns.kept), names=columns.names)
    schema = pa.schema([PLANNED.field("url"), PLANNED.field("text"), *((_KEPT + name, pa.string()) for name in columns.kept)])
    nothing = [None] * len(schema)
    held: list[Sequence[str | None]] = []
    try:
        for row in table_rows.read_rows(table_rows.TableTask(0, path, path), wanted):
            held.append([row[0] or None, *row[1]] if row else nothing)
            if len(held) == table_rows.ROWS:
                yield pa.table(list(zip(*held)), schema=schema)
                held = []
    except table_rows.CutOff as error:
        raise UserError(f"the table breaks off: {error}", where=path, fix="get the file again") from error
    if held:
        yield pa.table(list(zip(*held)), schema=schema)
