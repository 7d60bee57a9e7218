"""The query list: the four sources in the paper's order, each net of the ones before, cut to the size asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from wit_builder.errors import UserError
from wit_builder.records import QUERIES, QUERY_SOURCES
from wit_builder.text import normal_form

BIGRAM_SHARE, TITLE_SHARE = 100_646, 61_235  # of MetaCLIP's published list: what words and WordNet leave is divided so


@dataclass(frozen=True)
class Query:
    """A query as displayed, its normal form, and what its source says of it."""

    text: str
    key: str
    count: int
    score: float


@dataclass(frozen=True)
class Cuts:
    """What decides the length of the list. A threshold that is None is solved for from `size`."""

    size: int | None
    min_pmi: float | None = None
    min_views: int | None = None


@dataclass
class Chosen:
    """The list by source, and how its cut-offs came about."""

    queries: dict[str, list[Query]]
    cuts: dict[str, float | None] = field(default_factory=dict)  # score of the last one in
    asked: dict[str, int] = field(default_factory=dict)  # share of the size, where it was solved for
    short: dict[str, int] = field(default_factory=dict)  # how many a source lacked

    def size(self) -> int:
        return sum(len(found) for found in self.queries.values())


class _Source:
    """Candidates by falling score, net of what is taken: takes the next one whose normal form is new."""

    def __init__(self, candidates: Iterable[Query], taken: set[str]) -> None:
        self._candidates = iter(candidates)
        self._taken = taken
        self.chosen: dict[str, Query] = {}

    def take(self) -> Query | None:
        for query in self._candidates:
            if query.key and query.key not in self._taken and query.key not in self.chosen:
                self.chosen[query.key] = query
                return query
        return None


def choose(
    words: Sequence[Query],
    bigrams: Iterable[Query],
    titles: Iterable[Query],
    wordnet: Sequence[Query],
    cuts: Cuts,
    *,
    have_bigrams: bool = True,
    have_titles: bool = True,
) -> Chosen:
    """The list that `cuts` asks for.

    Bigrams and titles come by falling score, already above the thresholds given; a source whose threshold is None is
    cut so that the whole list has `cuts.size` queries. Both are cut in the reference shares. WordNet gives what no
    other source covers. Where a source runs out, the list is shorter by what it lacks: the other one's cut-off stays
    where its share puts it.

    Raises:
      UserError: where words and WordNet alone exceed the size.
    """
    unique_words = {query.key: query for query in words if query.key}
    rest = {query.key: query for query in wordnet if query.key and query.key not in unique_words}
    taken = set(unique_words)
    pool = {"bigram": _Source(bigrams, taken), "title": _Source(titles, taken)}
    solved = {
        "bigram": have_bigrams and cuts.min_pmi is None and cuts.size is not None,
        "title": have_titles and cuts.min_views is None and cuts.size is not None,
    }
    union = set(unique_words) | set(rest)
    short = dict.fromkeys(pool, 0)

    def add(source: str) -> bool:
        """Take one more of a source; False where it has no more. A bigram replaces an equal title."""
        query = pool[source].take() if source == "bigram" else _next_title(pool)
        if query is None:
            return False
        union.add(query.key)
        if source == "bigram" and pool["title"].chosen.pop(query.key, None):
            replacement = _next_title(pool)
            if replacement is not None:
                union.add(replacement.key)
            elif solved["title"]:
                short["title"] += 1
        return True

    for source in ("bigram", "title"):  # given thresholds first: the others fill what is left
        if not solved[source]:
            while add(source):
                pass
    picks = dict.fromkeys(pool, 0)
    if any(solved.values()):
        size = cuts.size or 0
        if len(union) > size:
            fixed = "words and WordNet names" + "".join(
                f", {name}s above the threshold" for name in pool if not solved[name] and pool[name].chosen
            )
            raise UserError(f"{fixed} alone are {len(union):,}, more than --size {size:,}", fix="raise --size, or raise --min-count")
        while len(union) + sum(short.values()) < size:
            source = _next_source(picks, solved)
            picks[source] += 1
            if not add(source):
                short[source] += 1
    found = {
        "unigram": list(unique_words.values()),
        "bigram": list(pool["bigram"].chosen.values()),
        "title": list(pool["title"].chosen.values()),
    }
    covered = {query.key for queries in found.values() for query in queries}
    found["wordnet"] = [query for key, query in rest.items() if key not in covered]
    chosen = Chosen({source: sorted(found[source], key=_order) for source in QUERY_SOURCES})
    for source in ("bigram", "title"):
        chosen.cuts[source] = chosen.queries[source][-1].score if chosen.queries[source] else None
        if solved[source]:
            chosen.asked[source] = picks[source]
    chosen.short = {source: number for source, number in short.items() if number}
    return chosen


def _next_title(pool: dict[str, _Source]) -> Query | None:
    while (query := pool["title"].take()) is not None:
        if query.key not in pool["bigram"].chosen:
            return query
        del pool["title"].chosen[query.key]
    return None


def _next_source(picks: dict[str, int], solved: dict[str, bool]) -> str:
    """Whose turn it is, so that the picks stay in the reference shares."""
    if not solved["title"]:
        return "bigram"
    if not solved["bigram"]:
        return "title"
    return "bigram" if picks["bigram"] * TITLE_SHARE <= picks["title"] * BIGRAM_SHARE else "title"


def _order(query: Query) -> tuple[float, str]:
    return -query.score, query.text


def to_table(chosen: Chosen) -> pa.Table:
    """The list in the columns of `QUERIES`: numbered by source in the paper's order, then falling score, then string."""
    rows = [(source, query) for source in QUERY_SOURCES for query in chosen.queries[source]]
    return pa.table(
        {
            "query_id": range(len(rows)),
            "query": [query.text for _, query in rows],
            "tokens": [query.key.split(" ") for _, query in rows],
            "source": [source for source, _ in rows],
            "count": [query.count for _, query in rows],
            "score": [query.score for _, query in rows],
        },
        schema=QUERIES,
    )


def candidates(tables: Sequence[pa.Table], *, keys: bool) -> Iterator[Query]:
    """Candidates of several tables, each by falling score and then string, merged in that order.

    Args:
      keys: the queries are in normal form already.
    """
    import heapq

    def rows(table: pa.Table) -> Iterator[tuple[float, str, int]]:
        for batch in table.to_batches(max_chunksize=8192):
            for row in zip(batch["score"].to_pylist(), batch["query"].to_pylist(), batch["count"].to_pylist()):
                yield -row[0], row[1], row[2]

    for score, query, count in heapq.merge(*map(rows, tables)):
        yield Query(query, query if keys else normal_form(query), count, -score)


