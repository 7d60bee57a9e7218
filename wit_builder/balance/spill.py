"""Files between the passes: arrays, and results that a run taken up again need not make twice."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wit_builder import files


def write_arrays(path: str, **arrays: np.ndarray) -> None:
    """Write arrays as one file, atomically."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    files.write_bytes(path, buffer.getvalue())


def read_arrays(path: str, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote, or only the arrays of these names."""
    with files.open_read(path) as stream, np.load(stream) as arrays:
        return {name: arrays[name] for name in names or arrays.files}


def once(path: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result that stands in the file `path`; where there is none, make it and write it, after all else is written."""
    if files.exists(path):
        return files.read_json(path)
    result = make()
    files.write_json(path, result)
    return result


def numbered(folder: str, name: str, number: int, suffix: str = "npz") -> str:
    """Path of one part's spill file."""
    return files.join(folder, f"{name}-{number:05d}.{suffix}")
