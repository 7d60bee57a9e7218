"""From the rows of a table to pairs: the rules of extraction, and those for what cameras and people put into titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import pyarrow as pa

from wit_builder.hashing import pair_uid
from wit_builder.pairs.natural import why_not_natural
from wit_builder.pairs.rules import MAX_TEXT, Image, choose_url
from wit_builder.pairs.spill import RUN_ROWS
from wit_builder.pairs.table_rows import WRONG, Columns, CutOff, Row, TableTask, read_rows
from wit_builder.pairs.urls import image_url
from wit_builder.records import PAIRS
from wit_builder.text import clean, normal_form

JOINED, EACH = "joined", "each"
RUN_CHARACTERS = 64_000_000  # of URLs and texts that are held at a time, beside RUN_ROWS
_ENDS = ".!?…:;,"


@dataclass(frozen=True)
class TableRules:
    """How rows become pairs.

    Attributes:
      columns: which hold what.
      texts: `joined` makes one pair of all texts of a row that pass, `each` a pair of every one.
      url_encoded: texts are percent-encoded, spaces as plus signs (YFCC100M).
      file_names: drop names of files, settings of cameras, and texts without a letter.
      english: least `natural.english_share`; 0 takes every language.
    """

    columns: Columns
    texts: str = JOINED
    url_encoded: bool = False
    file_names: bool = False
    english: float = 0.0


def pairs_of_row(url: Any, texts: Sequence[Any], rules: TableRules) -> tuple[list[tuple[str, str]], int, list[str]]:
    """Pairs of a row as (url, text), the number of texts in them, and why other candidates are dropped.

    A row is a candidate once for each text that it has, and once where it has none, as an image is in extraction.
    """
    present = [text for text in texts if text is not None]
    if not present:
        return [], 0, ["text_missing"]
    dropped: list[str] = []
    kept: list[str] = []
    address, reason = _address(url)
    for value in present:
        if value is WRONG:
            dropped.append("text_wrong_type")
            continue
        text = clean(unquote_plus(value) if rules.url_encoded else value)
        why = "text_empty" if not text else reason or ("text_too_long" if len(text) > MAX_TEXT else "")
        why = why or why_not_natural(text, file_names=rules.file_names, english=rules.english)
        if why:
            dropped.append(why)
        else:
            kept.append(text)
    if rules.texts == JOINED and kept:
        return [(address, join(kept))], len(kept), dropped
    return [(address, text) for text in kept], len(kept), dropped


def _address(url: Any) -> tuple[str, str]:
    """The normalised URL, and ""; or "" and a drop reason."""
    if url is WRONG:
        return "", "url_wrong_type"
    chosen, reason = choose_url(Image(src=url))
    return ("", reason) if reason else image_url(chosen, None)


def join(texts: Sequence[str]) -> str:
    """One text of several: each once, with a full stop between where there is no mark, as far as the longest text allows.

    >>> join(["Old lighthouse", "Seen from the ferry!", "old Lighthouse"])
    'Old lighthouse. Seen from the ferry!'
    """
    joined, seen = "", set()
    for text in texts:
        form = normal_form(text)
        longer = text if not joined else f"{joined}{' ' if joined[-1] in _ENDS else '. '}{text}"
        if form not in seen and len(longer) <= MAX_TEXT:
            joined = longer
        seen.add(form)
    return joined


def table_batches(task: TableTask, rules: TableRules, counts: Counter, drops: Counter) -> Iterator[pa.Table]:
    """Pairs of a task as tables of bounded size, columns of `records.PAIRS`; what becomes of its rows is counted on the way."""
    columns: list[list[str]] = [[] for _ in PAIRS.names]
    held = 0
    rows = read_rows(task, rules.columns)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            break
        except CutOff:
            counts["tables cut off"] += 1
            break
        pairs, page = _count_row(row, rules, counts, drops)
        for url, text in pairs:
            for column, value in zip(columns, (pair_uid(url, text), url, text, page, task.name)):
                column.append(value)
            held += len(url) + len(text) + len(page)
        if len(columns[0]) >= RUN_ROWS or held >= RUN_CHARACTERS:
            yield pa.table(columns, schema=PAIRS)
            columns, held = [[] for _ in PAIRS.names], 0
    if columns[0]:
        yield pa.table(columns, schema=PAIRS)


def _count_row(row: Row | None, rules: TableRules, counts: Counter, drops: Counter) -> tuple[list[tuple[str, str]], str]:
    """Pairs of a row, None for a broken line, and its page's URL."""
    counts["rows of tables"] += 1
    if row is None:
        counts["texts of tables"] += 1
        drops["broken_line"] += 1
        return [], ""
    url, texts, page = row
    pairs, used, dropped = pairs_of_row(url, texts, rules)
    counts["texts of tables"] += used + len(dropped)
    counts["texts used of tables"] += used
    drops.update(dropped)
    return pairs, image_url(page, None)[0] if isinstance(page, str) else ""
