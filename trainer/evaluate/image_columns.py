"""Tables that come with images: columns by eval_key, from the set itself or from a CSV or Parquet file beside it."""

from __future__ import annotations

import json

import numpy as np

from trainer.evaluate.features import Features
from trainer.evaluate.row_files import read_rows
from wit_builder.errors import UserError


def columns_of(features: Features, names: list[str], path: str = "") -> dict[str, np.ndarray]:
    """Columns as texts, str [n] each; an image without a value has "".

    Args:
      features: n images.
      names: the columns.
      path: CSV or Parquet with eval_key and the columns; without, the set's own (KEY.json).

    Raises:
      UserError: where a column is nowhere, or no row of the file names an image of the set.
    """
    keys = features.rows["eval_key"].to_pylist()
    if not path:
        rows = [json.loads(text) for text in features.rows["columns"].to_pylist()]
        known = {name for row in rows for name in row}
        where, fix = "the set's KEY.json files", f"they hold {', '.join(sorted(known)) or 'none'}; or give --table FILE"
    else:
        table, known = _read(path)
        rows = [table.get(key, {}) for key in keys]
        where, fix = path, f"it has {', '.join(sorted(known))}"
        if not any(rows):
            raise UserError(f"no eval_key of the table is in the set (the set has {keys[0]!r})", where=path)
    for name in names:
        if name not in known:
            raise UserError(f"no column {name!r}", where=where, fix=fix)
    return {name: np.array(["" if row.get(name) is None else str(row[name]) for row in rows]) for name in names}


def _read(path: str) -> tuple[dict[str, dict], set[str]]:
    rows, names = read_rows(path, ["eval_key"], "give CSV or Parquet with eval_key and the group columns")
    return {str(row["eval_key"]): row for row in rows}, set(names) - {"eval_key"}
