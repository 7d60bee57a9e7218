"""Places on the Earth: coordinates judged, distances, and the tables that give them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from scipy.spatial import cKDTree

from wit_builder import files, tables
from wit_builder.errors import UserError

RADIUS_KM = 6371.0088  # mean radius of the Earth (IUGG)
NAMES = {"key": ("key", "eval_key"), "latitude": ("latitude", "lat"), "longitude": ("longitude", "lon", "lng")}
FIX = "columns: key (or eval_key), latitude, longitude, in degrees"

# Why a picture has no place.
MISSING = "no coordinates"
OUTSIDE = "coordinates out of range"
ZERO = "at 0°, 0°"  # what cameras and tables write for a place that they do not know


def reasons(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Why coordinates in degrees, float64 [n] each, are of no use: "" where they are, str [n]."""
    missing = ~(np.isfinite(latitude) & np.isfinite(longitude))
    outside = (np.abs(latitude) > 90) | (np.abs(longitude) > 180)
    return np.select([missing, outside, (latitude == 0) & (longitude == 0)], [MISSING, OUTSIDE, ZERO], "")


def distance_km(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Great-circle distance in km by the haversine formula, of degrees (latitude, longitude) float64 [..., 2] twice, broadcast."""
    a, b = np.radians(first), np.radians(second)
    half = np.sin((b - a) / 2) ** 2
    inner = half[..., 0] + np.cos(a[..., 0]) * np.cos(b[..., 0]) * half[..., 1]
    return 2 * RADIUS_KM * np.arcsin(np.sqrt(np.clip(inner, 0, 1)))


def on_sphere(places: np.ndarray) -> np.ndarray:
    """Unit vectors float64 [n, 3] of degrees [n, 2]."""
    latitude, longitude = np.radians(places).T
    return np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1)


def chord(km: np.ndarray | float) -> np.ndarray:
    """Straight distance between points of the unit sphere that are so many km apart on the Earth."""
    return 2 * np.sin(np.clip(np.asarray(km) / (2 * RADIUS_KM), 0, np.pi / 2))


def bounds(references: np.ndarray, queries: np.ndarray, radii: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """What no model changes: for each radius in km, the mean share of references within it of a query, which is the accuracy of a
    reference taken by chance; and the number of queries with a reference within it. Places in degrees [n, 2] and [q, 2]."""
    reference, query = cKDTree(on_sphere(references)), cKDTree(on_sphere(queries))
    pairs = query.count_neighbors(reference, chord(np.array(radii)))
    nearest = reference.query(query.data)[0]
    return pairs / (len(references) * len(queries)), np.array([np.count_nonzero(nearest <= edge) for edge in chord(np.array(radii))])


def densest(places: np.ndarray, bandwidth: float) -> np.ndarray:
    """Of each query's neighbours, the one around which its neighbours lie densest, int [q]; of equal ones the first.

    Args:
      places: degrees of the neighbours, nearest first, float64 [q, k, 2].
      bandwidth: standard deviation in km of the Gaussian kernel (Vo et al., 2017).
    """
    distances = distance_km(places[:, :, None], places[:, None])  # [q, k, k]
    return np.exp(-0.5 * (distances / bandwidth) ** 2).sum(axis=2).round(9).argmax(axis=1)


def read_places(path: str) -> tuple[pa.Array, np.ndarray]:
    """Keys, and degrees float64 [n, 2] with NaN where a value is no number, of a CSV or Parquet table.

    Raises:
      UserError: where it cannot be read, lacks a column, or names a key twice.
    """
    table = tables.read_table(path) if path.endswith(".parquet") else _read_csv(path)
    columns = {}
    for name, others in NAMES.items():
        found = [other for other in others if other in table.column_names]
        if not found:
            raise UserError(f"no column {name}", where=path, fix=FIX)
        if table.column_names.count(found[0]) > 1:
            raise UserError(f"the column {found[0]} stands there twice", where=path, fix=FIX)
        columns[name] = table[found[0]].combine_chunks()
    try:
        keys = columns["key"].cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"the keys are {columns['key'].type}, not texts", where=path, fix=FIX) from error
    if len(keys.unique()) < len(keys):
        counts = keys.value_counts()
        twice = next(one["values"] for one in counts.to_pylist() if one["counts"] > 1)
        raise UserError(f"the key {twice!r} stands there twice", where=path, fix="give one row a picture")
    return keys, np.stack([_numbers(columns[name].to_pylist()) for name in ("latitude", "longitude")], axis=1).reshape(-1, 2)


def _read_csv(path: str) -> pa.Table:
    with files.open_read(path) as stream:
        head = stream.read(1 << 16).partition(b"\n")[0].decode("utf-8-sig", "replace")
        stream.seek(0)
        # All columns as texts: a guessed type would change with the rows, and a key such as 00012 would lose its zeros.
        try:
            names = next(csv.reader([head]), [])
            types = pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=True)
            table = pyarrow.csv.read_csv(stream, convert_options=types)
            _ = table.column_names  # decoded only now
            return table
        except (csv.Error, UnicodeDecodeError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
            told = "".join(letter if letter.isprintable() else "\ufffd" for letter in str(error)[:120])
            raise UserError(f"not a CSV file: {told}", where=path, fix=FIX) from error


def places_of_columns(columns: Iterable[str]) -> np.ndarray:
    """Degrees float64 [n, 2] of the JSON objects that pictures carry, NaN where they name none."""
    objects = [json.loads(text) for text in columns]
    found = [
        _numbers([next((one[name] for name in NAMES[axis] if name in one), None) for one in objects]) for axis in ("latitude", "longitude")
    ]
    return np.stack(found, axis=1).reshape(-1, 2)


def _numbers(values: Sequence[Any]) -> np.ndarray:
    return np.array([_number(value) for value in values], np.float64)


def _number(value: Any) -> float:
    try:
        return float("nan") if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
