"""The one text normal form, for Wikipedia, queries and alt texts alike.

NFKC, case-folded, NFKC again, invisible (default-ignorable) code points deleted. A token is a letter or decimal digit
followed by letters, decimal digits and marks; everything else separates. So "St. Louis" is `st louis`, "(dog)" and
"dog/cat" hold `dog`, and an accent is the same composed or decomposed.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

import numpy as np
import unicodedata2

SEPARATOR, START, MARK, IGNORED = range(4)  # classes of code points in the table

TEXT_VERSION = 1  # goes into manifests; raise it when the normal form of any text changes

_TABLE_FILE = os.path.join(os.path.dirname(__file__), "unicode_table.npz")


@lru_cache(maxsize=1)
def unicode_table() -> dict[str, np.ndarray]:
    """Arrays of the generated table: `classes` uint8 [0x110000], `fold_points` int32 [n], `fold_texts` str [n]."""
    with np.load(_TABLE_FILE) as table:
        return {name: table[name] for name in table.files}


def _ranges(wanted: tuple[int, ...]) -> str:
    """Inside of a regular expression's character class that holds the code points of these classes."""
    inside = np.isin(unicode_table()["classes"], wanted)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], inside, [False])).astype(np.int8)))
    return "".join(f"\\U{first:08x}-\\U{end - 1:08x}" for first, end in edges.reshape(-1, 2))


@lru_cache(maxsize=1)
def _rules() -> tuple[re.Pattern, re.Pattern, dict[int, str]]:
    table = unicode_table()
    token = re.compile(f"[{_ranges((START,))}][{_ranges((START, MARK))}]*")
    ignored = re.compile(f"[{_ranges((IGNORED,))}]+")
    return token, ignored, dict(zip(table["fold_points"].tolist(), table["fold_texts"].tolist()))


_ASCII_TOKEN = re.compile("[0-9a-z]+")


def fold(text: str) -> str:
    """NFKC, full case folding, NFKC, without default-ignorable code points."""
    if text.isascii():
        return text.lower()
    _, ignored, folds = _rules()
    text = unicodedata2.normalize("NFKC", ignored.sub("", text))
    return ignored.sub("", unicodedata2.normalize("NFKC", text.translate(folds)))


def tokens(text: str) -> list[str]:
    """Tokens of the normal form, in order.

    >>> tokens("St. Louis (dog/cat)")
    ['st', 'louis', 'dog', 'cat']
    """
    if text.isascii():
        return _ASCII_TOKEN.findall(text.lower())
    return _rules()[0].findall(fold(text))


def normal_form(text: str) -> str:
    """Tokens joined by single spaces: equal exactly for texts that the project holds to be the same words."""
    return " ".join(tokens(text))


_BROKEN = re.compile("[\0\ud800-\udfff]")


def clean(text: str) -> str:
    """White space collapsed to single spaces and trimmed; NUL and lone surrogates become U+FFFD."""
    text = " ".join(text.split())
    return text if text.isascii() and "\0" not in text else _BROKEN.sub("\ufffd", text)
