"""The passes over the pool, as pieces of work on one part each (`wit_builder.parallel.Work`).

0. `Scatter`, only where the pairs do not lie by part: one file's pairs into spill files by part; `ScatterTable`: those of other tables.
1. `MatchPart`: drop duplicates, match texts, count matches; the matches go to a spill file.
2. `FindWindow`: for queries over the cap, the few hashes near its place in their order.
3. `SelectPart`: the rows that some query selects, written sorted.

Between them, `wit_builder.balance.merge` turns what all parts found into one small file that the next pass loads once a
process. A part that was done before a run broke off is not done again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from wit_builder import files, tables
from wit_builder.balance import kernel, parts
from wit_builder.balance.parts import Part
from wit_builder.balance.spill import numbered, once, read_arrays, write_arrays
from wit_builder.match import QueryMatcher
from wit_builder.pairs.table_pairs import TableRules, table_batches
from wit_builder.pairs.table_rows import TableTask
from wit_builder.records import BALANCED_PAIRS

TEXT_SHOWN = 200  # characters of an example in the report
EXAMPLES = 3  # examples of each of the queries with most matches
TOP = 50


@dataclass(frozen=True)
class Scatter:
    """A task is a file's index and path. Result: the paths of its spill files."""

    folder: str
    parts: int

    def load(self) -> None:
        return None

    def __call__(self, _: None, task: tuple[int, str]) -> dict[str, list[str]]:
        index, source = task
        path = numbered(self.folder, "scattered", index, "json")
        return once(path, lambda: {"runs": parts.scatter(source, self.folder, index, self.parts)})


@dataclass(frozen=True)
class ScatterTable:
    """A task is a table, or a piece of one. Result: the paths of its spill files, and counts of its rows and drops."""

    folder: str
    parts: int
    rules: TableRules
    first: int  # number of the first table's spill files

    def load(self) -> None:
        return None

    def __call__(self, _: None, task: TableTask) -> dict[str, Any]:
        return once(numbered(self.folder, "scattered", self.first + task.number, "json"), lambda: self._scatter(task))

    def _scatter(self, task: TableTask) -> dict[str, Any]:
        counts, drops = Counter(), Counter()
        tables_made = table_batches(task, self.rules, counts, drops)
        runs = parts.scatter_tables(tables_made, task.path, self.folder, self.first + task.number, self.parts)
        return {"runs": runs, "counts": {**counts, **{f"drop: {reason}": number for reason, number in drops.items()}}}


@dataclass(frozen=True)
class MatchPart:
    """First pass. Result: counts of pairs, and of drops by reason."""

    folder: str

    def load(self) -> QueryMatcher:
        return QueryMatcher.load(files.join(self.folder, "matcher.npz"))

    def __call__(self, matcher: QueryMatcher, part: Part) -> dict[str, int]:
        return once(numbered(self.folder, "matched", part.number, "json"), lambda: self._match(matcher, part))

    def _match(self, matcher: QueryMatcher, part: Part) -> dict[str, int]:
        table = parts.read_columns(part, ("uid", "text"))
        uids = parts.parse_uids(table["uid"], part.sources[0] if part.sources else "")
        rows = parts.unique_rows(part, uids)
        texts, queries = matcher.match(table["text"].take(pa.array(rows)))
        matches = np.bincount(texts, minlength=len(rows))
        matched = np.flatnonzero(matches)
        write_arrays(
            numbered(self.folder, "matches", part.number),
            rows=rows[matched].astype(np.int32),
            uids=uids[rows[matched]],
            offsets=np.concatenate([[0], np.cumsum(matches[matched])]).astype(np.int32),
            queries=queries,
        )
        found, counts = np.unique(queries, return_counts=True)
        write_arrays(numbered(self.folder, "counts", part.number), found=found, counts=counts)
        return {
            "pairs": table.num_rows,
            "pairs that match": len(matched),
            "matches": len(queries),
            "drop: duplicate uid": table.num_rows - len(rows),
            "drop: matches no query": len(rows) - len(matched),
        }


def window_of_part(folder: str, number: int, windows: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `kernel.window` finds among the matches of one part, in the order of the queries."""
    spill = read_arrays(numbered(folder, "matches", number))
    bounds = (windows["salts"], windows["low"], windows["high"], windows["over"])
    sure, found, keys = kernel.window(spill["uids"], spill["offsets"], spill["queries"], *bounds)
    order = np.argsort(found, kind="stable")
    return sure, found[order], keys[order]


@dataclass(frozen=True)
class FindWindow:
    """Second pass. Result: how many matches lie in the windows."""

    folder: str

    def load(self) -> dict[str, np.ndarray]:
        return read_arrays(files.join(self.folder, "windows.npz"))

    def __call__(self, windows: dict[str, np.ndarray], part: Part) -> dict[str, int]:
        return once(numbered(self.folder, "window", part.number, "json"), lambda: self._find(windows, part))

    def _find(self, windows: dict[str, np.ndarray], part: Part) -> dict[str, int]:
        sure, found, keys = window_of_part(self.folder, part.number, windows)
        some = np.flatnonzero(sure)
        write_arrays(numbered(self.folder, "window", part.number), some=some, sure=sure[some], found=found, keys=keys)
        return {"in windows": len(found)}


@dataclass(frozen=True)
class SelectPart:
    """Third pass: writes the part's rows that some query selects, and the counts for the report."""

    folder: str
    output: str

    def load(self) -> dict[str, np.ndarray]:
        loaded = read_arrays(files.join(self.folder, "limits.npz"))
        return {**loaded, "top": top_queries(loaded["matched"])}

    def __call__(self, loaded: dict[str, np.ndarray], part: Part) -> dict[str, int]:
        return once(numbered(self.folder, "selected", part.number, "json"), lambda: self._select(loaded, part))

    def _select(self, loaded: dict[str, np.ndarray], part: Part) -> dict[str, int]:
        spill = read_arrays(numbered(self.folder, "matches", part.number))
        queries, lengths = spill["queries"], np.diff(spill["offsets"])
        chosen = kernel.select(spill["uids"], spill["offsets"], queries, loaded["salts"], loaded["limits"])
        rows = np.repeat(np.arange(len(lengths)), lengths)  # of the spill, for each match
        selections = np.bincount(rows[chosen], minlength=len(lengths))
        kept = np.flatnonzero(selections)
        pairs = parts.read_columns(part, parts.PAIR_COLUMNS).take(pa.array(spill["rows"][kept]))
        table = pa.table(
            [
                *pairs.columns,
                _lists(queries[(selections > 0)[rows]], lengths[kept]),
                _lists(queries[chosen], selections[kept]),
            ],
            names=BALANCED_PAIRS.names,
        )
        tables.write_batches(
            files.join(self.output, tables.numbered("balanced-pairs", part.number, part.of)), BALANCED_PAIRS, [table]
        )
        found, counts = np.unique(queries[chosen], return_counts=True)
        write_arrays(numbered(self.folder, "selected", part.number), found=found, counts=counts)
        shown = chosen & np.isin(queries, loaded["top"])
        examples = _examples(loaded["salts"], queries[shown], rows[shown], spill["uids"], kept, pairs["text"])
        files.write_json(numbered(self.folder, "examples", part.number, "json"), examples)
        return {
            "balanced pairs": len(kept),
            "selections": int(chosen.sum()),
            "drop: selected by no query": len(lengths) - len(kept),
        }


def _examples(salts, queries, rows, uids, kept, texts) -> list[tuple[int, int, str]]:
    """(query, hash, text) of each query's selected pairs with the smallest hashes: the same sample every time."""
    hashes = kernel.pair_hashes(salts, queries, uids[rows])
    order = np.lexsort((hashes, queries))
    queries, rows, hashes = queries[order], rows[order], hashes[order]
    few = np.arange(len(queries)) - np.searchsorted(queries, queries, "left") < EXAMPLES
    shown = texts.take(pa.array(np.searchsorted(kept, rows[few]))).to_pylist()
    return list(zip(queries[few].tolist(), hashes[few].tolist(), [text[:TEXT_SHOWN] for text in shown]))


def top_queries(matched: np.ndarray) -> np.ndarray:
    """The queries with most matches, most first; none without a match."""
    order = np.argsort(-matched, kind="stable")[:TOP]
    return order[matched[order] > 0]


def _lists(values: np.ndarray, lengths: np.ndarray) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.int32()))
