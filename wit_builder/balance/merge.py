"""Between the passes: what all parts found becomes one small file that the next pass loads."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow.compute as pc

from wit_builder import files, tables
from wit_builder.balance import cap
from wit_builder.balance.passes import EXAMPLES, window_of_part
from wit_builder.balance.spill import numbered, read_arrays, write_arrays
from wit_builder.errors import UserError
from wit_builder.match import QueryMatcher
from wit_builder.records import QUERIES

WIDTH = 6.0  # standard deviations of the windows: a query in a billion needs a second look
_ENTRIES_AT_ONCE = 1 << 22  # of windows, in memory


def check_queries(queries: str) -> None:
    """Look at a query list before an output is claimed for it.

    Raises:
      UserError: where there is none, a column is missing or of another kind, or the queries are not numbered from 0 in order.
    """
    table = tables.cast(tables.read_table(queries, QUERIES.names), QUERIES, queries)
    numbers = table["query_id"].to_numpy()
    if not len(numbers):
        raise UserError("there is no query", where=queries, fix="make the list with build_queries")
    if table["tokens"].null_count or pc.list_flatten(table["tokens"]).null_count:
        raise UserError("a query has no tokens", where=queries, fix="make the list with build_queries")
    if not np.array_equal(numbers, np.arange(len(numbers))):
        raise UserError("the queries are not numbered from 0 in order", where=queries, fix="make the list with build_queries")


def prepare(queries: str, folder: str, seed: int) -> None:
    """Write the matcher and the salts of a query list into the folder of spill files."""
    if sys.stderr.isatty():
        print("building the matcher (the first run on a machine also compiles it, some ten seconds)", file=sys.stderr)
    token_lists = tables.read_table(queries, ["tokens"])["tokens"].to_pylist()
    matcher = QueryMatcher.from_tokens(token_lists)
    matcher.match(["compiled here, before there are several processes to do it"])
    matcher.save(files.join(folder, "matcher.npz"))
    write_arrays(files.join(folder, "salts.npz"), salts=cap.salts(seed, [" ".join(tokens) for tokens in token_lists]))


def merge_counts(folder: str, parts: int, method: str, limit: int) -> None:
    """Sum the parts' counts; write the windows of the second pass, or at once the limits that `probabilistic` needs."""
    salts = read_arrays(files.join(folder, "salts.npz"))["salts"]
    matched = np.zeros(len(salts), np.int64)
    for number in range(parts):
        part = read_arrays(numbered(folder, "counts", number))
        matched[part["found"]] += part["counts"]
    if method == "probabilistic":
        _write_limits(folder, salts, matched, cap.probabilistic_limits(matched, limit))
    else:
        low, high = cap.windows(matched, limit, WIDTH)
        write_arrays(files.join(folder, "windows.npz"), salts=salts, matched=matched, low=low, high=high, over=matched > limit)


def merge_windows(folder: str, parts: int, limit: int, *, entries_at_once: int = _ENTRIES_AT_ONCE) -> None:
    """Find every query's exact limit and write them for the third pass; some queries at a time, to bound memory."""
    windows = read_arrays(files.join(folder, "windows.npz"))
    matched = windows["matched"]
    sure, waiting = np.zeros(len(matched), np.int64), np.zeros(len(matched), np.int64)
    for number in range(parts):
        part = read_arrays(numbered(folder, "window", number), ("some", "sure", "found"))
        sure[part["some"]] += part["sure"]
        waiting += np.bincount(part["found"], minlength=len(matched))
    limits, missed = np.full((len(matched), 3), cap.ALL, np.uint64), []
    for first, end in _ranges(waiting, entries_at_once):
        found, keys = [np.empty(0, np.int32)], [np.empty((0, 3), np.uint64)]
        for number in range(parts):
            part = read_arrays(numbered(folder, "window", number), ("found", "keys"))
            here = slice(*np.searchsorted(part["found"], (first, end)))
            found.append(part["found"][here] - np.int32(first))
            keys.append(part["keys"][here])
        limits[first:end], missed_here = cap.limits_of_windows(
            matched[first:end], limit, sure[first:end], np.concatenate(found), np.concatenate(keys)
        )
        missed += (missed_here + first).tolist()
    _look_again(folder, parts, limit, windows, limits, np.array(missed, np.int64))
    _write_limits(folder, windows["salts"], matched, limits)


def _ranges(waiting: np.ndarray, entries: int) -> list[tuple[int, int]]:
    """Ranges of queries with at most about `entries` in their windows."""
    group = np.cumsum(waiting) // entries
    edges = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(waiting)]
    return [(first, end) for first, end in zip(edges, edges[1:]) if first < end]


def _look_again(
    folder: str, parts: int, limit: int, windows: dict[str, np.ndarray], limits: np.ndarray, missed: np.ndarray
) -> None:
    """Set the limits of queries whose window missed the cap's place, by ever wider windows for those queries alone."""
    width = WIDTH
    while len(missed):
        width *= 4
        over = np.zeros(len(limits), bool)
        over[missed] = True
        matched = np.where(over, windows["matched"], 0)
        low, high = cap.windows(matched, limit, width)
        wider = {"salts": windows["salts"], "low": low, "high": high, "over": over}
        sure, found, keys = zip(*(window_of_part(folder, number, wider) for number in range(parts)))
        again, missed = cap.limits_of_windows(matched, limit, np.sum(sure, axis=0), np.concatenate(found), np.concatenate(keys))
        limits[over] = again[over]


def _write_limits(folder: str, salts: np.ndarray, matched: np.ndarray, limits: np.ndarray) -> None:
    write_arrays(files.join(folder, "limits.npz"), salts=salts, matched=matched, limits=limits)


def merge_selected(folder: str, parts: int) -> tuple[np.ndarray, np.ndarray, dict[int, list[str]]]:
    """Pairs that match and that are selected, of each query, int64 [queries] twice; examples of the top queries."""
    matched = read_arrays(files.join(folder, "limits.npz"), ("matched",))["matched"]
    selected = np.zeros(len(matched), np.int64)
    examples: dict[int, list[tuple[int, str]]] = {}
    for number in range(parts):
        part = read_arrays(numbered(folder, "selected", number))
        selected[part["found"]] += part["counts"]
        for query, value, text in files.read_json(numbered(folder, "examples", number, "json")):
            examples[query] = sorted([*examples.get(query, []), (value, text)])[:EXAMPLES]
    return matched, selected, {query: [text for _, text in found] for query, found in examples.items()}
