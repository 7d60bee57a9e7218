"""The report of balancing: how the cap flattens the head of the query list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wit_builder.balance.passes import top_queries
from wit_builder.report import Section, render

_CURVE_POINTS = 800  # enough for the eye; half a million would make a heavy page
_UNDER = 4  # width of the line that lies below, so that it is seen where both are one
_SILENT_SHOWN = 20  # queries without a match that are named, of each source


def query_numbers(matched: np.ndarray, cap: int) -> dict[str, int]:
    """How many queries there are, match something, and match more than the cap. `matched`: int64 [queries]."""
    return {
        "queries": len(matched),
        "queries that match": int(np.count_nonzero(matched)),
        "queries over the cap": int(np.count_nonzero(matched > cap)),
    }


def shares(matched: np.ndarray, selected: np.ndarray, cap: int) -> list[tuple[str, int, int, str, int, str]]:
    """Head (queries over the cap), tail and silent queries: (name, queries, matches, share, selections, share)."""
    groups = {"head: over the cap": matched > cap, "tail: within the cap": (matched > 0) & (matched <= cap), "no match": matched == 0}
    every = (max(1, int(matched.sum())), max(1, int(selected.sum())))
    rows = []
    for name, group in groups.items():
        before, after = int(matched[group].sum()), int(selected[group].sum())
        rows.append((name, int(group.sum()), before, f"{before / every[0]:.1%}", after, f"{after / every[1]:.1%}"))
    return rows


def _draw_curve(figure: Any, matched: np.ndarray, selected: np.ndarray, cap: int) -> None:
    """Pairs of each query before and after, queries by falling count, on logarithmic axes."""
    axes = figure.subplots()
    for counts, label, width in ((matched, "matched", _UNDER), (selected, "selected", 1.5)):
        ordered = np.sort(counts[counts > 0])[::-1]
        if len(ordered):
            ranks = np.unique(np.geomspace(1, len(ordered), _CURVE_POINTS).astype(np.int64))
            axes.plot(ranks, ordered[ranks - 1], label=label, linewidth=width)
    axes.axhline(cap, color="grey", linestyle=":", label=f"cap of {cap:,}")
    axes.set(xscale="log", yscale="log", xlabel="queries, by falling number of pairs", ylabel="pairs of the query")
    axes.legend()


def _draw_cumulative(figure: Any, matched: np.ndarray, selected: np.ndarray) -> None:
    """Share of all matches that the first queries hold: MetaCLIP's figure (Xu et al., 2023) of head and tail."""
    axes = figure.subplots()
    for counts, label, width in ((matched, "matched", _UNDER), (selected, "selected", 1.5)):
        rising = np.cumsum(np.sort(counts[counts > 0]))
        if len(rising):
            ranks = np.unique(np.geomspace(1, len(rising), _CURVE_POINTS).astype(np.int64))
            axes.plot(ranks, rising[ranks - 1], label=label, linewidth=width)
    axes.set(xscale="log", xlabel="queries, from tail to head", ylabel="pairs of all queries so far", ylim=(0, None))
    axes.legend()


def page(
    queries: Sequence[str],
    sources: Sequence[str],
    matched: np.ndarray,
    selected: np.ndarray,
    parameters: Mapping[str, Any],
    counts: Mapping[str, int],
    drops: Mapping[str, int],
    examples: Mapping[int, Sequence[str]],
) -> bytes:
    """The report as an HTML page.

    Args:
      queries, sources: the query list, as displayed, and where each comes from.
      matched, selected: pairs of each query before and after, int64 [queries].
      parameters: `cap`, `seed` and `method` of the run.
      counts, drops: those of the manifest.
      examples: texts selected by some of the queries with most matches; from the web, escaped in the page.
    """
    cap = parameters["cap"]
    curve = Section("Pairs of each query, before and after")
    curve.plot(lambda figure: _draw_curve(figure, matched, selected, cap), alt="sorted numbers of pairs of each query, before and after")
    curve.plot(lambda figure: _draw_cumulative(figure, matched, selected), alt="matches summed from the rarest query to the most frequent")
    split = Section("Head and tail")
    columns = ("queries", "number", "matches", "share of matches", "selections", "share of selections")
    split.table(columns, shares(matched, selected, cap))
    pairs = Section("Pairs in and out", note="A pair that several queries select is kept once.")
    pairs.table(("count", "number"), sorted(counts.items()))
    pairs.table(("dropped because", "pairs"), sorted(drops.items()))
    by_source = Section("Queries by source")
    names = np.array(sources, object)
    by_source.table(
        ("source", "queries", "with a match", "over the cap", "matches", "selections"),
        [
            (source, *query_numbers(matched[of], cap).values(), int(matched[of].sum()), int(selected[of].sum()))
            for source in dict.fromkeys(sources)
            for of in [names == source]
        ],
    )
    top = top_queries(matched)
    head = Section(f"The {len(top)} queries with most matches", note="With some of the pairs' texts that they selected.")
    head.table(
        ("query", "source", "matches", "selected", "examples"),
        [(queries[q], sources[q], int(matched[q]), int(selected[q]), " · ".join(examples.get(q, ()))) for q in top.tolist()],
    )
    silent = np.flatnonzero(matched == 0)
    none = Section("Queries that matched nothing", note=f"{len(silent):,} of {len(matched):,} queries; the first of each source.")
    of_source: dict[str, list[str]] = {}
    for query in silent.tolist():
        of_source.setdefault(sources[query], []).append(queries[query])
    none.table(
        ("source", "number", "the first"),
        [(source, len(found), ", ".join(found[:_SILENT_SHOWN])) for source, found in of_source.items()],
    )
    lead = f"Method {parameters['method']}, cap {cap:,}, seed {parameters['seed']}."
    return render("Balanced pairs", [curve, split, pairs, by_source, head, none], lead)
