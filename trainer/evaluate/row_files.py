"""Tables that users bring: CSV or Parquet, as rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from wit_builder import files, tables
from wit_builder.errors import UserError


def read_rows(path: str, columns: Sequence[str], fix: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of a CSV or Parquet file, and the names of its columns.

    Args:
      path: a file; what ends in .parquet is Parquet.
      columns: that it must have.
      fix: what to say where it lacks one.

    Raises:
      UserError: where the file cannot be read, or lacks a column.
    """
    if path.endswith(".parquet"):
        table = tables.read_table(path)
        rows, names = table.to_pylist(), list(table.column_names)
    else:
        reader = csv.DictReader(io.StringIO(files.read_bytes(path).decode("utf-8-sig", "replace")))
        try:
            rows, names = list(reader), list(reader.fieldnames or ())
        except csv.Error as error:
            raise UserError(f"not a CSV file: {error}", where=path, fix=fix) from error
    for name in columns:
        if name not in names:
            raise UserError(f"no column {name}", where=path, fix=fix)
    return rows, names
