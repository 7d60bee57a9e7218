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


# Kinds of entries for the compiled matcher (wit_builder/match/kernel.py). The lower bits hold a class and the code point
# that this one becomes: 0 where it stays as it is, so that equal pages are stored once.
CLASS_SHIFT = 21
COMPLEX = 0x10000000  # may compose or reorder with its neighbours: the text needs the reference
DELETED = 0x20000000
EXPANDS = 0x30000000  # start in `expansions`; their number where else the class stands
MARK_ABOVE = 0x40000000  # a combining mark that only must not be reordered


def _decomposed(text: str) -> str:
    return unicodedata2.normalize("NFKD", text)


def _second_in_composites() -> set[str]:
    """Code points that may compose with one before them (Unicode's NFC_Quick_Check=Maybe)."""
    found = {chr(point) for point in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}  # Hangul vowels and finals
    for point in range(CODE_POINTS):
        parts = unicodedata2.decomposition(chr(point)).split()
        if len(parts) == 2 and not parts[0].startswith("<") and unicodedata2.normalize("NFC", chr(point)) == chr(point):
            found.add(chr(int(parts[1], 16)))
    return found


def code_point_map(classes: np.ndarray, fold: dict[int, str]) -> dict[str, np.ndarray]:
    """What each code point becomes on its own, wherever that does not depend on its neighbours.

    A string's normal form is the sequence of its code points' normal forms when, at both normalisations, each one's
    decomposition begins with a starter that composes with nothing before it. A combining mark that composes with nothing
    and stays as it is may follow too, as long as it is not reordered: its class is at least the trailing class before it.

    Returns: `pages` uint16 [0x1100] of the numbers of 256-entry pages; `entries` uint32 and `trails` uint8 (trailing
      combining class) [pages * 256]; `expansions` uint32 [n], each a code point with its class.
    """
    seconds = _second_in_composites()
    combining = unicodedata2.combining
    entries, trails, expansions = np.zeros(CODE_POINTS, np.uint32), np.zeros(CODE_POINTS, np.uint8), []
    for point in range(CODE_POINTS):
        character = chr(point)
        if classes[point] == IGNORED:
            entries[point] = DELETED
            continue
        middle = unicodedata2.normalize("NFKC", character).translate(fold)
        stages = [_decomposed(character), _decomposed(middle)]
        after = unicodedata2.normalize("NFKC", middle)
        trails[point] = max(combining(stage[-1]) for stage in stages)
        if combining(character) and stages == [character, character] and character not in seconds:
            entries[point] = MARK_ABOVE | int(classes[point]) << CLASS_SHIFT
        elif any(combining(stage[0]) or stage[0] in seconds for stage in stages):
            entries[point] = COMPLEX
        else:
            kept = [ord(c) | int(classes[ord(c)]) << CLASS_SHIFT for c in after if classes[ord(c)] != IGNORED]
            if kept and not any(value >> CLASS_SHIFT for value in kept):
                entries[point] = 0  # separators only
            elif after == character:
                entries[point] = int(classes[point]) << CLASS_SHIFT
            elif len(kept) == 1:
                entries[point] = kept[0]
            else:
                entries[point] = EXPANDS | len(kept) << CLASS_SHIFT | len(expansions)
                expansions += kept
    both = entries.astype(np.uint64) << np.uint64(8) | trails
    unique, pages = np.unique(both.reshape(-1, 256), axis=0, return_inverse=True)
    return {
        "pages": pages.reshape(-1).astype(np.uint16),
        "entries": (unique >> np.uint64(8)).astype(np.uint32).reshape(-1),
        "trails": (unique & np.uint64(0xFF)).astype(np.uint8).reshape(-1),
        "expansions": np.array(expansions, np.uint32),
    }


def main() -> None:
    table = classes()
    fold_points, fold_texts = folds()
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        unicode=np.array(unicodedata2.unidata_version),
        classes=table,
        fold_points=fold_points,
        fold_texts=fold_texts,
        **code_point_map(table, dict(zip(fold_points.tolist(), fold_texts.tolist()))),
    )
    with open(os.path.join(os.path.dirname(__file__), "unicode_table.npz"), "wb") as stream:
        stream.write(buffer.getvalue())


if __name__ == "__main__":
    main()
