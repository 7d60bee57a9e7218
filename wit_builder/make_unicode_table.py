"""Writes `unicode_table.npz`, the one table behind the text normal form: `python -m wit_builder.make_unicode_table`.

Python's own Unicode data differs from version to version; the table is made from the pinned `unicodedata2`, so that
Python 3.11, 3.12 and the compiled matcher agree on every code point. Run it again only to move to a newer Unicode,
and raise `TEXT_VERSION` in `wit_builder/text.py` when you do: query lists and pairs made with another version differ.
"""

from __future__ import annotations

import io
import os

import numpy as np
import regex
import unicodedata2

from wit_builder.text import IGNORED, MARK, START

CODE_POINTS = 0x110000

_IGNORABLE = regex.compile(r"\p{Default_Ignorable_Code_Point}")


def classes() -> np.ndarray:
    """Class of every code point, shape [0x110000], uint8."""
    table = np.zeros(CODE_POINTS, np.uint8)  # separators
    for point in range(CODE_POINTS):
        character = chr(point)
        category = unicodedata2.category(character)
        if _IGNORABLE.match(character):
            table[point] = IGNORED
        elif category[0] == "L" or category == "Nd":
            table[point] = START
        elif category[0] == "M":
            table[point] = MARK
    return table


def folds() -> tuple[np.ndarray, np.ndarray]:
    """Full case folding: code points that change, shape [n] int32, and what they become, shape [n] str."""
    points = [point for point in range(CODE_POINTS) if chr(point).casefold() != chr(point)]
    return np.array(points, np.int32), np.array([chr(point).casefold() for point in points])


def main() -> None:
    fold_points, fold_texts = folds()
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, unicode=np.array(unicodedata2.unidata_version), classes=classes(), fold_points=fold_points, fold_texts=fold_texts
    )
    with open(os.path.join(os.path.dirname(__file__), "unicode_table.npz"), "wb") as stream:
        stream.write(buffer.getvalue())


if __name__ == "__main__":
    main()
