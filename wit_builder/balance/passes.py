"""The three passes over the pool, as pieces of work on one part each (`wit_builder.parallel.Work`).

1. `MatchPart`: drop duplicates, match texts, count matches; the matches go to a spill file.
2. `FindWindows`: for queries over the cap, the few hashes near its place in their order.
3. `SelectPart`: the rows that some query selects, written sorted.

Between them, `merge` functions turn what all parts found into one small file that the next pass loads once a process.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from wit_builder import files, tables
from wit_builder.balance import cap, kernel, parts
from wit_builder.balance.parts import Part
from wit_builder.match import QueryMatcher
from wit_builder.records import BALANCED_PAIRS

WIDTH = 6.0  # standard deviations of the first windows; 1 query in 10^9 then needs the slow way
TEXT_SHOWN = 200  # characters of an example in the report
EXAMPLES = 3  # examples of each of the queries with most matches
TOP = 50


def write_arrays(path: str, **arrays: np.ndarray) -> None:
    """Write arrays as one file, atomically."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    files.write_bytes(path, buffer.getvalue())


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote."""
    with files.open_read(path) as stream, np.load(stream) as arrays:
        return {name: arrays[name] for name in arrays.files}


def prepare(queries: str, folder: str, seed: int) -> None:
    """Write the matcher and the salts of a query list into the folder of spill files."""
    token_lists = tables.read_table(queries, ["tokens"])["tokens"].to_pylist()
    matcher = QueryMatcher.from_tokens(token_lists)
    matcher.match(["compiled before workers start"])
    matcher.save(files.join(folder, "matcher.npz"))
    write_arrays(files.join(folder, "salts.npz"), salts=cap.salts(seed, [" ".join(tokens) for tokens in token_lists]))


@dataclass(frozen=True)
class MatchPart:
    """First pass. Result: counts of pairs, and of drops by reason."""

    folder: str

    def load(self) -> QueryMatcher:
        return QueryMatcher.load(files.join(self.folder, "matcher.npz"))

    def __call__(self, matcher: QueryMatcher, part: Part) -> dict[str, int]:
        table = parts.read_columns(part, ("uid", "text"))
        uids = parts.parse_uids(table["uid"], part.sources[0] if part.sources else "")
        rows = parts.unique_rows(part, uids, table["uid"])
        texts, queries = matcher.match(table["text"].take(pa.array(rows)))
        matches = np.bincount(texts, minlength=len(rows))
        matched = np.flatnonzero(matches)
        found, counts = np.unique(queries, return_counts=True)
        write_arrays(
            files.join(self.folder, f"matches-{part.number:05d}.npz"),
            rows=rows[matched],
            uids=uids[rows[matched]],
            offsets=np.concatenate([[0], np.cumsum(matches[matched])]).astype(np.int64),
            queries=queries,
            found=found,
            counts=counts,
        )
        return {
            "pairs": table.num_rows,
            "pairs that match": len(matched),
            "matches": len(queries),
            "drop: duplicate uid": table.num_rows - len(rows),
            "drop: matches no query": len(rows) - len(matched),
        }


def merge_counts(folder: str, number_of_parts: int, method: str, limit: int) -> None:
    """Sum the parts' counts and write the windows of the second pass; `probabilistic` has its limits already."""
    salts = read_arrays(files.join(folder, "salts.npz"))["salts"]
    matched = np.zeros(len(salts), np.int64)
    for number in range(number_of_parts):
        part = read_arrays(files.join(folder, f"matches-{number:05d}.npz"))
        matched[part["found"]] += part["counts"]
    low, high = cap.windows(matched, limit, WIDTH)
    write_arrays(files.join(folder, "windows.npz"), salts=salts, matched=matched, low=low, high=high, over=matched > limit)
    if method == "probabilistic":
        write_arrays(files.join(folder, "limits.npz"), salts=salts, matched=matched, limits=cap.probabilistic_limits(matched, limit))


@dataclass(frozen=True)
class FindWindows:
    """Second pass. Result: how many matches lie in the windows."""

    folder: str

    def load(self) -> dict[str, np.ndarray]:
        return read_arrays(files.join(self.folder, "windows.npz"))

    def __call__(self, windows: dict[str, np.ndarray], part: Part) -> dict[str, int]:
        sure, found, keys = part_window(self.folder, part.number, windows)
        some = np.flatnonzero(sure)
        write_arrays(files.join(self.folder, f"window-{part.number:05d}.npz"), some=some, sure=sure[some], found=found, keys=keys)
        return {"matches near a cap": len(found)}


def part_window(folder: str, number: int, windows: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `kernel.window` finds in the matches of one part."""
    part = read_arrays(files.join(folder, f"matches-{number:05d}.npz"))
    return kernel.window(
        part["uids"], part["offsets"], part["queries"], windows["salts"], windows["low"], windows["high"], windows["over"]
    )


def merge_windows(folder: str, number_of_parts: int, limit: int) -> None:
    """Find every query's exact limit and write them for the third pass."""
    windows = read_arrays(files.join(folder, "windows.npz"))
    matched = windows["matched"]
    sure, found, keys = np.zeros(len(matched), np.int64), [], []
    for number in range(number_of_parts):
        part = read_arrays(files.join(folder, f"window-{number:05d}.npz"))
        sure[part["some"]] += part["sure"]
        found.append(part["found"])
        keys.append(part["keys"])
    limits, missed = cap.limits_of_windows(matched, limit, sure, np.concatenate(found), np.concatenate(keys))
    width = WIDTH
    while len(missed):
        # One query in a billion: wider windows, for those queries alone, until the cap's place is inside.
        width *= 4
        over = np.zeros(len(matched), bool)
        over[missed] = True
        windows["low"], windows["high"] = cap.windows(np.where(over, matched, 0), limit, width)
        windows["over"] = over
        each = [part_window(folder, number, windows) for number in range(number_of_parts)]
        again, missed = cap.limits_of_windows(
            np.where(over, matched, 0),
            limit,
            sum(part[0] for part in each),
            np.concatenate([part[1] for part in each]),
            np.concatenate([part[2] for part in each]),
        )
        limits[over] = again[over]
    write_arrays(files.join(folder, "limits.npz"), salts=windows["salts"], matched=matched, limits=limits)


@dataclass(frozen=True)
class SelectPart:
    """Third pass: writes the part's rows that some query selects, and the counts for the report."""

    folder: str
    output: str

    def load(self) -> dict[str, np.ndarray]:
        loaded = read_arrays(files.join(self.folder, "limits.npz"))
        loaded["top"] = top_queries(loaded["matched"])
        return loaded

    def __call__(self, loaded: dict[str, np.ndarray], part: Part) -> dict[str, int]:
        spill = read_arrays(files.join(self.folder, f"matches-{part.number:05d}.npz"))
        queries, offsets = spill["queries"], spill["offsets"]
        chosen = kernel.select(spill["uids"], offsets, queries, loaded["salts"], loaded["limits"])
        selected = np.add.reduceat(chosen, offsets[:-1], dtype=np.int64) if len(queries) else np.zeros(0, np.int64)
        kept = np.flatnonzero(selected)
        of_kept = np.repeat(selected > 0, np.diff(offsets))
        pairs = parts.read_columns(part, parts.PAIR_COLUMNS).take(pa.array(spill["rows"][kept]))
        query_ids = _lists(queries[of_kept], np.diff(offsets)[kept])
        selected_by = _lists(queries[chosen], selected[kept])
        table = pa.table([*pairs.columns, query_ids, selected_by], names=BALANCED_PAIRS.names)
        path = files.join(self.output, tables.numbered("balanced-pairs", part.number, part.of))
        tables.write_batches(path, BALANCED_PAIRS, table.to_batches(max_chunksize=16_384))
        found, counts = np.unique(queries[chosen], return_counts=True)
        write_arrays(
            files.join(self.folder, f"selected-{part.number:05d}.npz"),
            found=found,
            counts=counts,
            **self._examples(loaded, spill, chosen, kept, pairs["text"]),
        )
        return {
            "balanced pairs": len(kept),
            "selections": int(chosen.sum()),
            "drop: selected by no query": len(selected) - len(kept),
        }

    def _examples(self, loaded, spill, chosen, kept, texts) -> dict[str, np.ndarray]:
        """For each of the top queries the selected texts with the smallest hashes: a sample that is the same every time."""
        rows = np.repeat(np.arange(len(spill["uids"])), np.diff(spill["offsets"]))
        shown = chosen & np.isin(spill["queries"], loaded["top"])
        queries, rows = spill["queries"][shown], rows[shown]
        hashes = kernel.pair_hashes(loaded["salts"], queries, spill["uids"][rows])
        order = np.lexsort((hashes, queries))
        queries, rows, hashes = queries[order], rows[order], hashes[order]
        first = np.searchsorted(queries, queries, "left")
        few = np.arange(len(queries)) - first < EXAMPLES
        places = np.searchsorted(kept, rows[few])
        shown_texts = [text[:TEXT_SHOWN] for text in texts.take(pa.array(places)).to_pylist()]
        return {"query": queries[few], "hash": hashes[few], "text": np.array([text.encode() for text in shown_texts], object).astype(bytes)}


def top_queries(matched: np.ndarray) -> np.ndarray:
    """The queries with most matches, at least one each, most first."""
    order = np.argsort(-matched, kind="stable")[:TOP]
    return order[matched[order] > 0]


def _lists(values: np.ndarray, lengths: np.ndarray) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.int32()))


def merge_selected(folder: str, number_of_parts: int, queries: int) -> tuple[np.ndarray, dict[int, list[str]]]:
    """Pairs that each query selected, int64 [queries], and a few texts of the queries with most matches."""
    selected = np.zeros(queries, np.int64)
    examples: dict[int, list[tuple[int, str]]] = {}
    for number in range(number_of_parts):
        part = read_arrays(files.join(folder, f"selected-{number:05d}.npz"))
        selected[part["found"]] += part["counts"]
        for query, value, text in zip(part["query"].tolist(), part["hash"].tolist(), part["text"].tolist()):
            examples.setdefault(query, []).append((value, text.decode("utf-8", "replace")))
    return selected, {query: [text for _, text in sorted(found)[:EXAMPLES]] for query, found in examples.items()}


def totals_of(results: Sequence[dict[str, int]]) -> tuple[dict[str, int], dict[str, int]]:
    """Counts and drops of the summed results of all passes."""
    totals: dict[str, Any] = {}
    for result in results:
        for name, number in result.items():
            totals[name] = totals.get(name, 0) + number
    drops = {name.removeprefix("drop: "): number for name, number in totals.items() if name.startswith("drop: ")}
    return {name: number for name, number in totals.items() if not name.startswith("drop: ")}, drops
